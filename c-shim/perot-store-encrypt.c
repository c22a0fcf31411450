/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"

/*
 * Asking the core
 */

static void
perot_store_owner(struct mail_user *user, struct perot_owner *owner_r)
{
	const char *home;

	i_zero(owner_r);
	owner_r->user = perot_bytes(user->username);
	/* LMTP has it, and dovecot-lda if it was called with -r. */
	owner_r->recipient = perot_bytes(
		event_find_field_recursive_str(user->event, "rcpt_to"));
	if (mail_user_get_home(user, &home) > 0)
		owner_r->home = perot_bytes(home);
}

static struct perot_result *
perot_store_ask(struct perot_store_user *suser, enum perot_place place,
		bool draft, struct istream *input, const char *error)
{
	struct mail_user *user = suser->user;
	struct perot_request request = {
		.place = place,
		.form = PEROT_FORM_STORE,
		.draft = draft,
		.temp_dir = perot_bytes(user->set->mail_temp_dir),
		.obstacle = (input == NULL ? PEROT_OBSTACLE_MESSAGE :
			     PEROT_OBSTACLE_NONE),
		.obstacle_text = perot_bytes(error),
	};
	struct perot_mail_input mail_input;
	struct perot_log log;

	perot_store_owner(user, &request.owner);
	perot_mail_input_init(&mail_input, input);
	perot_log_init(&log, user->event);
	return perot_core->encrypt(suser->instance, &request,
				   &mail_input.input, &log);
}

struct perot_result *
perot_store_encrypt(struct perot_store_user *suser, enum perot_place place,
		    bool draft, struct istream *input)
{
	return perot_store_ask(suser, place, draft, input, NULL);
}

struct perot_result *
perot_store_encrypt_mail(struct perot_store_user *suser, enum perot_place place,
			 bool draft, struct mail *mail)
{
	struct istream *input;
	const char *error = NULL;

	/* The stream belongs to the mail. */
	if (mail_get_stream(mail, NULL, NULL, &input) < 0) {
		error = mailbox_get_last_internal_error(mail->box, NULL);
		input = NULL;
	}
	return perot_store_ask(suser, place, draft, input, error);
}

/*
 * Ciphertext as a mail
 */

static int
perot_store_mail_try_open(struct perot_store_user *suser, struct istream *input,
			  struct mail *source, struct perot_store_mail *mail_r,
			  const char **error_r)
{
	if (suser->raw_user == NULL)
		suser->raw_user = perot_raw_user_create(suser->user);

	/* The name of the mailbox from which other plugins see a copy come */
	i_stream_set_name(input, mailbox_get_vname(source->box));
	if (raw_mailbox_alloc_stream(suser->raw_user, input, (time_t)-1, "",
				     &mail_r->box) < 0) {
		*error_r = t_strdup(mailbox_get_last_internal_error(
			mail_r->box, NULL));
		mailbox_free(&mail_r->box);
		return -1;
	}
	mail_r->trans = mailbox_transaction_begin(mail_r->box, 0, __func__);
	mail_r->mail = mail_alloc(mail_r->trans, 0, NULL);
	mail_set_seq(mail_r->mail, 1);
	return 0;
}

void perot_store_mail_open(struct perot_store_user *suser,
			   struct perot_result *result, struct mail *source,
			   struct perot_store_mail *mail_r)
{
	struct istream *input;
	const char *error;
	int ret = -1;

	i_zero(mail_r);
	input = perot_result_stream(result, &error);
	if (input != NULL) {
		ret = perot_store_mail_try_open(suser, input, source, mail_r,
						&error);
		i_stream_unref(&input);
	}
	if (ret < 0)
		perot_core->refuse(result, perot_bytes(error));
}

void perot_store_mail_close(struct perot_store_mail *mail)
{
	if (mail->box == NULL)
		return;
	mail_free(&mail->mail);
	mailbox_transaction_rollback(&mail->trans);
	mailbox_free(&mail->box);
}

/*
 * Copying
 */

int perot_store_refuse_copy(struct mail_save_context *ctx, enum mail_error error,
			    const struct perot_report *report)
{
	struct mail_storage *storage = ctx->transaction->box->storage;

	mailbox_save_cancel(&ctx);
	mail_storage_set_error(storage, error, perot_str(report->answer));
	return -1;
}

/* What a copy takes from the mail that is copied, if it has not been set. Not
   its GUID: what is stored is another message. */
static int
perot_store_keep_metadata(struct mail_save_context *ctx, struct mail *source)
{
	const char *from_envelope;
	time_t received_date;

	if (ctx->data.received_date == (time_t)-1) {
		if (mail_get_received_date(source, &received_date) < 0)
			return -1;
		mailbox_save_set_received_date(ctx, received_date, 0);
	}
	if (ctx->data.from_envelope == NULL) {
		if (mail_get_special(source, MAIL_FETCH_FROM_ENVELOPE,
				     &from_envelope) < 0)
			return -1;
		if (*from_envelope != '\0')
			mailbox_save_set_from_envelope(ctx, from_envelope);
	}
	return 0;
}

int perot_store_copy(struct mail_save_context *ctx, struct mail *ciphertext,
		     struct mail *source, const struct mailbox_vfuncs *super)
{
	struct mail_storage *storage = ctx->transaction->box->storage;

	if (perot_store_keep_metadata(ctx, source) < 0) {
		mailbox_save_cancel(&ctx);
		mail_storage_copy_error(storage, source->box->storage);
		return -1;
	}
	return super->copy(ctx, ciphertext);
}
