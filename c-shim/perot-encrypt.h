/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_ENCRYPT_H
#define PEROT_ENCRYPT_H

/* THE CONTRACT between the C shim, which knows Dovecot, and the core in Rust,
   which knows OpenPGP. No header of Dovecot is included here; bindgen makes
   Rust's side from this file.

   The way of a message: the shim calls encrypt() and gets a result. It takes
   the ciphertext out of the result and puts it in the place of the message
   (if that fails, it tells the result so), logs the line of the report, goes
   on or defers as the report says, and frees the result.

   For all of it:

   - Bytes are borrowed for the duration of the call in which they are passed.
     Neither side keeps a pointer, except that the host keeps those to
     `struct perot_core`, which is a constant, to each `struct perot_instance`
     until close(), and to each `struct perot_result` until free(). What a
     result hands out lives as long as the result.
   - A NULL `data` means that there is no such thing (a setting that is not
     set, no home); an empty thing has a non-NULL `data` and size 0.
   - All calls are made on one thread. The core starts none.
   - No function unwinds or longjmps across this border. A panic in the core
     ends as a failure.
   - A NULL where the core needs something is a failure, never undefined. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct perot_bytes {
	const unsigned char *data;
	size_t size;
};

/* The bytes of a string literal */
#define PEROT_BYTES(literal) \
	{ (const unsigned char *)(literal), sizeof(literal) - 1 }

/*
 * Host side
 */

enum perot_level {
	PEROT_LEVEL_DEBUG = 0,
	PEROT_LEVEL_INFO,
	PEROT_LEVEL_WARNING,
	PEROT_LEVEL_ERROR,
};

/* Where lines for the administrator go. `line` is UTF-8 without control
   characters. */
struct perot_log {
	void *context;
	void (*write)(void *context, enum perot_level level,
		      struct perot_bytes line);
};

/* The message as the mail server has it */
struct perot_input {
	void *context;
	/* Reads up to `size` bytes, at least one. Returns 0 at the end of the
	   message, and a value below 0 if it cannot be read. */
	ptrdiff_t (*read)(void *context, unsigned char *buffer, size_t size);
	/* Goes back to the first byte. Returns -1 if that cannot be done. */
	int (*rewind)(void *context);
};

/* What the host calls the things that log lines speak of. Constant strings:
   the core keeps them. */
struct perot_words {
	/* In front of the name of each setting */
	struct perot_bytes setting_prefix;
	/* Where the encrypted message waits until it is stored */
	struct perot_bytes temp_dir;
	/* What limits the CPU time of a script */
	struct perot_bytes cpu_limit;
	/* There are scripts, which may name recipients. */
	bool scripted;
};

/* The settings of one user, as written in the configuration */
struct perot_settings {
	const struct perot_words *words;
	struct perot_bytes certs;
	struct perot_bytes cert;
	struct perot_bytes on_error;
	struct perot_bytes on_no_certificate;
	struct perot_bytes hide_subject;
	struct perot_bytes compress;
	struct perot_bytes subkeys;
	struct perot_bytes prefer;
	/* Of Sieve: another name under which the extension is offered */
	struct perot_bytes alias;
	/* Of Sieve: the address of the user */
	struct perot_bytes user_email;
	/* Of the mail plugin: what is done with deliveries, and where saved
	   mail is encrypted */
	struct perot_bytes deliveries;
	struct perot_bytes saved;
	/* If non-NULL: why the settings cannot be had at all, and what
	   helps */
	struct perot_bytes unavailable;
};

/* Whose mailbox it is */
struct perot_owner {
	struct perot_bytes user;
	/* The final envelope recipient, as the client of the mail server named
	   it: no field of a header counts */
	struct perot_bytes recipient;
	struct perot_bytes home;
};

/* Where the message is */
enum perot_place {
	/* On its way into a mailbox: the MTA keeps it until it is stored. */
	PEROT_PLACE_DELIVERY = 0,
	/* In a mailbox already: what fails leaves it there as it is. */
	PEROT_PLACE_MAILBOX,
};

/* How it is asked for */
enum perot_form {
	PEROT_FORM_ACTION = 0,
	PEROT_FORM_TEST,
	/* By no script: the mail server is about to store the message. The
	   settings say what is done about it. */
	PEROT_FORM_STORE,
};

/* Why a message is left as it is, whatever else is asked for */
enum perot_exemption {
	PEROT_EXEMPTION_NONE = 0,
	/* Its owner has not finished writing it. */
	PEROT_EXEMPTION_DRAFT,
	/* It lies in a mailbox for what is to be sent or to be written. */
	PEROT_EXEMPTION_UNSENT,
	/* A program keeps something there that is no mail. */
	PEROT_EXEMPTION_NO_MAIL,
};

/* What keeps the host from going on */
enum perot_obstacle {
	PEROT_OBSTACLE_NONE = 0,
	/* The mail server cannot read the message. */
	PEROT_OBSTACLE_MESSAGE,
	/* The command stands where the message cannot be replaced. */
	PEROT_OBSTACLE_LOOP,
	/* The operands of the compiled script cannot be read: it is not known
	   what is to be done on failure. */
	PEROT_OBSTACLE_SCRIPT,
	/* The encrypted message cannot be put in the place of the original. */
	PEROT_OBSTACLE_STORE,
	/* The message cannot wait until it is complete: it is not stored,
	   whatever the settings say. */
	PEROT_OBSTACLE_WAIT,
	/* A script that requires the extension has failed before the message
	   was encrypted. */
	PEROT_OBSTACLE_FAILED,
	/* `encrypt` has been run PEROT_MAX_CALLS times for the message. */
	PEROT_OBSTACLE_CALLS,
	/* `encrypt` has encrypted the message PEROT_MAX_LAYERS times. */
	PEROT_OBSTACLE_LAYERS,
	/* Another session has removed the message from its mailbox: the script
	   is to end. */
	PEROT_OBSTACLE_EXPUNGED,
	/* The script has ended, and the encrypted message is not stored: the
	   original stays. */
	PEROT_OBSTACLE_UNSTORED,
};

/* One message, and what is asked for it */
struct perot_request {
	enum perot_place place;
	enum perot_form form;
	/* Go on with the message as it was, on failure. */
	bool try_only;
	/* Encrypt what is encrypted already. */
	bool force;
	/* Hide the subject, whatever the settings say. */
	bool hide_subject;
	/* S/MIME where a recipient has both, whatever the settings say. */
	bool smime;
	/* The message is not read then. */
	enum perot_exemption exemption;
	/* Its mailbox is not the user's own: only named recipients are
	   encrypted to, and without them it is not read either. */
	bool foreign;
	/* A script has just encrypted it, and said so: that all of it is
	   encrypted is looked at, and is not said again. */
	bool by_script;

	struct perot_owner owner;
	/* None: encrypt for the owner. */
	const struct perot_bytes *recipients;
	size_t recipient_count;
	/* Each of them is to be a certificate itself. */
	bool only_certificates;
	/* Further ones, besides those or the owner */
	const struct perot_bytes *also;
	size_t also_count;

	/* The folder for ciphertext that is too large for memory */
	struct perot_bytes temp_dir;
	/* User CPU time that one run of a script may take, and that of the
	   process when this run began, in milliseconds; 0: no limit */
	uint64_t cpu_limit;
	uint64_t cpu_begin;

	/* How many actions store or send the message as it is now, whatever
	   becomes of it, and which */
	unsigned int clear_copies;
	struct perot_bytes clear_copies_text;

	/* Found by the host before the core is asked: then `input` is not
	   read. `obstacle_text` says more, in the host's words, or is NULL. */
	enum perot_obstacle obstacle;
	struct perot_bytes obstacle_text;
};

/* Who reads what a check of a script finds */
enum perot_author {
	/* Nobody: Dovecot compiles a stored script anew, perhaps during a
	   delivery, and would answer an error with delivery in clear. */
	PEROT_AUTHOR_AWAY = 0,
	/* Whoever runs sievec: often an administrator, as another user and
	   with another home */
	PEROT_AUTHOR_COMPILES,
	/* The owner, who uploads the script */
	PEROT_AUTHOR_UPLOADS,
};

/*
 * Core side
 */

/* A field of the event */
struct perot_field {
	const char *name;
	/* NULL: `number` is the value. */
	struct perot_bytes text;
	int64_t number;
};

/* What follows from a result */
struct perot_report {
	/* The outcome is a temporary failure: the message is not to be stored
	   as it is. */
	bool defer;
	/* All of the message is encrypted now, by this call or before. */
	bool encrypted;
	/* The message may be stored as it is, and not because something has
	   failed. */
	bool passes;
	/* There is ciphertext to be taken and put in the message's place. */
	bool replaces;
	/* There is something to be logged; with which level, and what. */
	bool has_line;
	enum perot_level level;
	struct perot_bytes line;
	/* On failure: a sentence for whoever delivers the message, which names
	   no path, key or person */
	struct perot_bytes answer;
	/* The fields of the event; none: there is no event. */
	const struct perot_field *fields;
	size_t field_count;
};

/* The settings of one user, understood or not */
struct perot_instance;

/* What has become of one call */
struct perot_result;

/* A message that waits until it is complete: in memory, or enciphered in an
   unlinked file, with a key that nobody else has */
struct perot_spool;

/* What the core can do. Functions that return a pointer never return NULL. */
struct perot_core {
	/* Reads settings. Wrong settings make an instance that fails with the
	   reason. */
	struct perot_instance *(*open)(const struct perot_settings *settings,
				       const struct perot_log *log);
	void (*close)(struct perot_instance *instance);

	/* Encrypts the message in `input`. */
	struct perot_result *(*encrypt)(const struct perot_instance *instance,
					const struct perot_request *request,
					const struct perot_input *input,
					const struct perot_log *log);
	/* Looks whether all of the content of `input` is encrypted. Of the
	   request, place, CPU time and obstacle count. */
	struct perot_result *(*inspect)(const struct perot_instance *instance,
					const struct perot_request *request,
					const struct perot_input *input);
	/* Looks at a recipient that stands in a script, and is to be a
	   certificate itself if `only_certificate` is set. The level of the
	   report says what it means for the script: a warning, or an error
	   with which it is not accepted. */
	struct perot_result *(*check)(const struct perot_instance *instance,
				      const struct perot_owner *owner,
				      struct perot_bytes recipient,
				      bool only_certificates,
				      enum perot_author author,
				      const struct perot_log *log);

	/* Says whether the settings want the extension to be offered under its
	   other name, too. A value that is not understood counts: scripts then
	   fail, where they would not compile without the name. */
	bool (*offers_alias)(const struct perot_instance *instance);

	/* Says whether what a mail program saves in this mailbox is to be
	   encrypted. `special_use` is what the mailbox is used for, as in the
	   configuration ("\\Sent"), or NULL. */
	bool (*saves)(const struct perot_instance *instance,
		      struct perot_bytes mailbox,
		      struct perot_bytes special_use);

	/* A message is written, then read as often as needed. Writing returns 0
	   or an errno, the others return what those of `struct perot_input`
	   do. */
	struct perot_spool *(*spool_open)(struct perot_bytes temp_dir);
	int (*spool_write)(struct perot_spool *spool, struct perot_bytes bytes);
	ptrdiff_t (*spool_read)(struct perot_spool *spool,
				unsigned char *buffer, size_t size);
	int (*spool_rewind)(struct perot_spool *spool);
	void (*spool_close)(struct perot_spool *spool);

	/* Takes the ciphertext, once. Returns a descriptor that is at its
	   beginning and now belongs to the host, or -1: then it is in
	   `bytes_r`. */
	int (*take)(struct perot_result *result, struct perot_bytes *bytes_r);
	/* Says that the ciphertext could not be put in the place of the
	   message: from now on the result is a failure. */
	void (*refuse)(struct perot_result *result, struct perot_bytes why);
	/* What follows from the result as it is now. Valid until refuse() or
	   free(). */
	const struct perot_report *(*report)(struct perot_result *result);
	void (*free)(struct perot_result *result);
};

/* Most recipients of one `encrypt`, both lists together */
#define PEROT_MAX_RECIPIENTS 32
/* How often `encrypt` may be run for a message, and encrypt it. Each time takes
   as much CPU time and room as the message does. */
#define PEROT_MAX_CALLS 32
#define PEROT_MAX_LAYERS 4

#endif
