/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_ENCRYPT_H
#define PEROT_ENCRYPT_H

/* THE CONTRACT between the C shim (which knows Dovecot) and the core in Rust (which knows
   OpenPGP). No header of Dovecot is included here; bindgen makes Rust's side from this file.

   For all of it:

   - Bytes are borrowed for the duration of the call in which they are passed. Neither side keeps
     a pointer, except that the host keeps those to `struct perot_core`, which is a constant, and
     to each `struct perot_instance`.
   - A NULL `data` means that there is no such thing (a setting that is not set, no home); an empty
     thing has a non-NULL `data` and size 0.
   - All calls are made on one thread. The core starts none.
   - No function unwinds or longjmps across this border. A panic in the core ends as a failure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct perot_bytes {
	const unsigned char *data;
	size_t size;
};

/* Host side ---------------------------------------------------------------- */

enum perot_level {
	PEROT_LEVEL_DEBUG = 0,
	PEROT_LEVEL_INFO,
	PEROT_LEVEL_WARNING,
	PEROT_LEVEL_ERROR,
};

/* Where lines for the administrator go. `line` is UTF-8 without control characters. */
struct perot_log {
	void *context;
	void (*write)(void *context, enum perot_level level,
		      struct perot_bytes line);
};

/* The mail server cannot read it. */
#define PEROT_READ_FAILED -1
/* The message has taken most of the CPU time that a script may take. */
#define PEROT_READ_TOO_SLOW -2

/* The message as the mail server has it. */
struct perot_input {
	void *context;
	/* Reads up to `size` bytes, at least one. Returns 0 at the end of the message, or one of
	   the values below 0. */
	ptrdiff_t (*read)(void *context, unsigned char *buffer, size_t size);
	/* Goes back to the first byte. Returns -1 if that cannot be done. */
	int (*rewind)(void *context);
};

/* Where the encrypted message goes. */
struct perot_output {
	void *context;
	/* Takes all of the bytes. Returns 0, or the errno value of the failure. */
	int (*write)(void *context, struct perot_bytes bytes);
};

/* The settings of one user, as written in the configuration. */
struct perot_settings {
	struct perot_bytes certs;
	struct perot_bytes cert;
	struct perot_bytes on_error;
	struct perot_bytes hide_subject;
	/* If non-NULL: why the settings cannot be had at all. */
	struct perot_bytes unavailable;
};

/* Whose mailbox it is. */
struct perot_owner {
	struct perot_bytes user;
	struct perot_bytes recipient; /* the final envelope recipient */
	struct perot_bytes home;
};

struct perot_request {
	struct perot_owner owner;
	/* None: encrypt for the owner. */
	const struct perot_bytes *recipients;
	size_t recipient_count;
	/* Encrypt what is encrypted already. */
	bool force;
	/* Hide the subject, whatever the settings say. */
	bool hide_subject;
};

/* Core side ---------------------------------------------------------------- */

enum perot_outcome {
	/* The encrypted message is in the output. */
	PEROT_ENCRYPTED = 0,
	/* It was encrypted already; the output is to be thrown away. */
	PEROT_ALREADY_ENCRYPTED,
	/* It could not be encrypted; the output is to be thrown away. */
	PEROT_FAILED,
};

/* What became of a message, for log and event. */
struct perot_report {
	enum perot_outcome outcome;
	/* On failure: a word for the event, and a sentence for the log. */
	struct perot_bytes reason;
	struct perot_bytes text;
	/* Fingerprints, separated by commas. */
	struct perot_bytes recipients;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t microseconds;
};

struct perot_report_sink {
	void *context;
	/* Called exactly once in each call of encrypt(). */
	void (*done)(void *context, const struct perot_report *report);
};

/* What a check of a recipient in a script finds. */
enum perot_finding {
	PEROT_RECIPIENT_GOOD = 0,
	/* It can be used, but something will have to be done about it soon. */
	PEROT_RECIPIENT_WARNING,
	/* It is wrong, whatever the sources hold: damaged, secret, or not a recipient. */
	PEROT_RECIPIENT_WRONG,
	/* There is no usable certificate for it here and now. */
	PEROT_RECIPIENT_NOT_FOUND,
};

struct perot_finding_sink {
	void *context;
	/* Called once unless the recipient is good, with a sentence for the author. */
	void (*explain)(void *context, struct perot_bytes text);
};

/* The settings of one user, understood or not. */
struct perot_instance;

/* What the core can do. */
struct perot_core {
	/* Reads settings. Never NULL: wrong settings make an instance that fails with the reason. */
	struct perot_instance *(*open)(const struct perot_settings *settings,
				       const struct perot_log *log);
	void (*close)(struct perot_instance *instance);

	/* Whether the administrator asked to go on with the message as it was, on failure. */
	bool (*keep_on_error)(const struct perot_instance *instance);

	/* Encrypts `input` into `output`. */
	enum perot_outcome (*encrypt)(const struct perot_instance *instance,
				      const struct perot_request *request,
				      const struct perot_input *input,
				      const struct perot_output *output,
				      const struct perot_log *log,
				      const struct perot_report_sink *report);

	/* Whether all of the content of `input` is encrypted: 1, 0, or -1 if it cannot be read. */
	int (*is_encrypted)(const struct perot_input *input,
			    const struct perot_log *log);

	/* Looks at a recipient that stands in a script. */
	enum perot_finding (*check)(const struct perot_instance *instance,
				    const struct perot_owner *owner,
				    struct perot_bytes recipient,
				    const struct perot_log *log,
				    const struct perot_finding_sink *finding);
};

/* Most recipients of one `encrypt`. */
#define PEROT_MOST_RECIPIENTS 32

#endif
