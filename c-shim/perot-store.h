/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_STORE_H
#define PEROT_STORE_H

/* What the files of the mail plugin share. Nothing of Pigeonhole is needed. */

#include "perot-dovecot.h"

/*
 * Users (perot-store-plugin.c)
 */

/* Ciphertext as a mail that can be copied: the one message of a mailbox of
   its own */
struct perot_store_mail {
	struct mailbox *box;
	struct mailbox_transaction_context *trans;
	struct mail *mail;
};

/* What became of the last message of a delivery. It may be stored in several
   mailboxes, and is encrypted once. */
struct perot_store_last {
	/* Which message it is: a script can make another one of it. */
	const struct mail *source;
	unsigned int source_box;
	uoff_t source_size;

	/* NULL: there is none. */
	struct perot_result *result;
	struct perot_store_mail ciphertext;
};

struct perot_store_user {
	union mail_user_module_context module_ctx;
	struct mail_user *user;
	/* The settings; NULL where nothing is encrypted: in other processes,
	   and for users that Dovecot makes up for itself */
	struct perot_instance *instance;
	/* To whom ciphertext belongs while it is a mail; made when first
	   needed */
	struct mail_user *raw_user;
	struct perot_store_last last;
};

struct perot_store_user *perot_store_user(struct mail_user *user);

/*
 * Encryption (perot-store-encrypt.c)
 */

/* Asks the core what is to become of a message, with `input` to read it. */
struct perot_result *
perot_store_encrypt(struct perot_store_user *suser, enum perot_place place,
		    bool draft, struct istream *input);
/* The same for a mail */
struct perot_result *
perot_store_encrypt_mail(struct perot_store_user *suser, enum perot_place place,
			 bool draft, struct mail *mail);

/* Makes a mail of the ciphertext of a result, in the place of `source`. If that
   cannot be done, the result is a failure from then on. */
void perot_store_mail_open(struct perot_store_user *suser,
			   struct perot_result *result, struct mail *source,
			   struct perot_store_mail *mail_r);
void perot_store_mail_close(struct perot_store_mail *mail);

/* Ends a copy that has not begun, as the report of a failure says. Returns
   -1. */
int perot_store_refuse_copy(struct mail_save_context *ctx, enum mail_error error,
			    const struct perot_report *report);
/* Copies the mail of the ciphertext instead of `source`. */
int perot_store_copy(struct mail_save_context *ctx, struct mail *ciphertext,
		     struct mail *source, const struct mailbox_vfuncs *super);

/*
 * Deliveries (perot-store-delivery.c)
 */

void perot_store_delivery_mailbox(struct perot_store_user *suser,
				  struct mailbox *box);
void perot_store_delivery_mail(struct mail *mail);
void perot_store_delivery_forget(struct perot_store_user *suser);

#endif
