/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_STORE_H
#define PEROT_STORE_H

/* The files of the mail plugin share these declarations. No header of
   Pigeonhole is included, because the plugin also works where Sieve is not
   loaded. */

#include "perot-dovecot.h"

/*
 * Plugin (perot-store-plugin.c)
 */

/* The result for the last message that was copied. It is kept because a
   delivery may put a message into several mailboxes, and encrypts it once. */
struct perot_store_last {
	/* The result is NULL if there is none. */
	struct perot_result *result;
	/* The ciphertext is NULL if the message is stored as it is, or not at
	   all. */
	struct istream *ciphertext;

	/* These identify the message. */
	const struct mail *source;
	unsigned int source_box;
	uoff_t source_size;
	/* Where its stream ends. */
	uoff_t source_end;
};

struct perot_store_user {
	union mail_user_module_context module_ctx;
	struct mail_user *user;
	/* The settings. They are NULL where nothing is encrypted: in other
	   processes, and for users that Dovecot makes up. */
	struct perot_instance *instance;
	struct perot_store_last last;
};

/* A mailbox in which mail is stored encrypted. */
struct perot_store_mailbox {
	union mailbox_module_context module_ctx;
	struct perot_store_user *suser;
	enum perot_place place;
	/* What replaces the message that is being copied. NULL if it is copied
	   as it is, and as soon as the save has begun. */
	const struct perot_store_last *replaced;
	/* TRUE if a message has been encrypted on its way into this mailbox. */
	bool encrypted;
};

struct perot_store_mailbox *perot_store_mailbox(struct mailbox *box);

/*
 * Encryption (perot-store-encrypt.c)
 */

/* Returns an event for lines about what is stored for the user. */
struct event *perot_store_event_create(struct mail_user *user);

/* A message on its way into a mailbox. */
struct perot_store_request {
	struct perot_request request;
	struct mailbox *box;
	struct event *event;
};

void perot_store_request_init(struct perot_store_request *request_r,
			      const struct mail_save_context *ctx);
/* Asks the core what becomes of the message, which it reads from `input`. */
struct perot_result *
perot_store_encrypt(const struct perot_store_request *request,
		    const struct perot_input *input);
/* Logs the line of the result. Returns the same as perot_store_check(). */
int perot_store_finish(struct perot_store_request *request,
		       struct perot_result *result);
/* Returns TRUE for a message that is left alone. It is not read: only a line
   about it is logged. */
bool perot_store_is_exempt(const struct mail_save_context *ctx);
/* Returns -1 if the message is not to be stored. The error of the mailbox then
   says why. */
int perot_store_check(struct mailbox *box, const struct perot_report *report);

/*
 * Copies (perot-store-copy.c)
 */

int perot_store_copy(struct mail_save_context *ctx, struct mail *mail);
void perot_store_forget(struct perot_store_user *suser);

/*
 * Saves (perot-store-save.c)
 */

/* Returns the ciphertext of a result, or NULL if it has none. If it cannot be
   read back, the result becomes a failure. */
struct istream *perot_store_ciphertext(struct perot_result *result);

int perot_store_save_begin(struct mail_save_context *ctx,
			   struct istream *input);
int perot_store_save_continue(struct mail_save_context *ctx);
int perot_store_save_finish(struct mail_save_context *ctx);
void perot_store_save_cancel(struct mail_save_context *ctx);

#endif
