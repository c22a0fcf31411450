/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"

/*
 * Copies
 *
 * Whatever stores a message in a delivery, a script or not, copies it into a
 * mailbox. COPY and MOVE do the same. The plugin has a mail with the
 * ciphertext copied instead.
 */

/*
 * Ciphertext as a mail
 */

static int
perot_store_mail_open(struct perot_store_user *suser, struct istream *input,
		      struct mail *source, struct perot_store_mail *mail_r,
		      const char **error_r)
{
	if (suser->raw_user == NULL)
		suser->raw_user = perot_raw_user_create(suser->user);

	/* Other plugins learn from this name where a copy comes from. */
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

static void perot_store_mail_close(struct perot_store_mail *mail)
{
	if (mail->box == NULL)
		return;
	mail_free(&mail->mail);
	mailbox_transaction_rollback(&mail->trans);
	mailbox_free(&mail->box);
}

/* If there is ciphertext and no mail can be made of it, this turns the result
   into a failure. */
static void
perot_store_mail_replace(struct perot_store_user *suser,
			 struct perot_result *result, struct mail *source,
			 struct perot_store_mail *mail_r)
{
	struct istream *input;
	const char *error;
	int ret = -1;

	if (!perot_core->report(result)->replaces)
		return;
	input = perot_result_stream(result, &error);
	if (input != NULL) {
		ret = perot_store_mail_open(suser, input, source, mail_r,
					    &error);
		i_stream_unref(&input);
	}
	if (ret < 0)
		perot_core->refuse(result, perot_bytes(error));
}

/*
 * Once a message
 */

void perot_store_forget(struct perot_store_user *suser)
{
	struct perot_store_last *last = &suser->last;

	if (last->result == NULL)
		return;
	perot_store_mail_close(&last->ciphertext);
	perot_core->free(last->result);
	i_zero(last);
}

/* Returns TRUE if the message is the one that was encrypted last. The size is
   compared, too, because editheader makes another mail of a message, or the
   same one with another size. */
static bool
perot_store_is_last(const struct perot_store_last *last,
		    const struct mail *mail, uoff_t size)
{
	return last->result != NULL && last->source == mail &&
		last->source_box == mail->box->generation_sequence &&
		last->source_size == size;
}

static void
perot_store_encrypt_mail(struct perot_store_user *suser,
			 const struct mail_save_context *ctx, struct mail *mail)
{
	struct perot_store_last *last = &suser->last;
	struct perot_store_request request;
	struct perot_mail_input input;
	struct istream *stream;

	perot_store_request_init(&request, ctx);
	request.request.by_script = (strcmp(mailbox_get_vname(mail->box),
					    PEROT_CIPHERTEXT_NAME) == 0);
	/* The mail owns the stream: it is not released here. */
	if (mail_get_stream(mail, NULL, NULL, &stream) < 0) {
		request.request.obstacle = PEROT_OBSTACLE_MESSAGE;
		request.request.obstacle_text = perot_bytes(
			mailbox_get_last_internal_error(mail->box, NULL));
		stream = NULL;
	}
	perot_mail_input_init(&input, stream);
	last->result = perot_store_encrypt(&request, &input.input);
	perot_store_mail_replace(suser, last->result, mail, &last->ciphertext);
	(void)perot_store_finish(&request, last->result);
}

/* Opens a message, before anything else is asked of it. Returns -1 if another
   session has removed it. Other failures are reported by the core. */
static int perot_store_open_mail(struct mail *mail)
{
	struct mail_private *pmail =
		container_of(mail, struct mail_private, mail);
	struct istream *stream;

	/* This follows mail_storage_copy(): the mail is read whole, so nothing
	   is gained by adding to its cache. Besides, Dovecot reads freed memory
	   for its answer to a COPY that fails (as of 2.4.4) if the source has
	   changed meanwhile, even if only its cache has. */
	pmail->v.set_uid_cache_updates(mail, TRUE);
	if (mail_get_stream(mail, NULL, NULL, &stream) < 0 && mail->expunged)
		return -1;
	return 0;
}

static void
perot_store_see(struct perot_store_user *suser,
		const struct mail_save_context *ctx, struct mail *mail)
{
	struct perot_store_last *last = &suser->last;
	uoff_t size;

	/* A mail without a size cannot be read either, and the core reports
	   that. */
	if (mail_get_physical_size(mail, &size) < 0)
		size = UOFF_T_MAX;
	else if (perot_store_is_last(last, mail, size))
		return;

	perot_store_forget(suser);
	perot_store_encrypt_mail(suser, ctx, mail);
	last->source = mail;
	last->source_box = mail->box->generation_sequence;
	last->source_size = size;
}

/*
 * Copying
 */

/* Copies the fields that a copy takes from its source, if they have not been
   set. The GUID stays behind, because another message is stored. */
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

static int
perot_store_copy_last(struct perot_store_mailbox *sbox,
		      struct mail_save_context *ctx, struct mail *mail)
{
	struct mailbox *box = ctx->transaction->box;
	const struct perot_store_last *last = &sbox->suser->last;
	const struct perot_report *report = perot_core->report(last->result);

	if (perot_store_check(box, report) < 0) {
		mailbox_save_cancel(&ctx);
		return -1;
	}
	if (!report->replaces)
		return sbox->module_ctx.super.copy(ctx, mail);
	if (perot_store_keep_metadata(ctx, mail) < 0) {
		mailbox_save_cancel(&ctx);
		mail_storage_copy_error(box->storage, mail->box->storage);
		return -1;
	}
	sbox->encrypted = TRUE;
	/* The mail with the ciphertext is copied, not moved. For a move, acl
	   would ask for the right to expunge it in its mailbox, which no plugin
	   knows, and would panic. perot_store_copy() has asked instead. */
	ctx->moving = FALSE;
	return sbox->module_ctx.super.copy(ctx, last->ciphertext.mail);
}

int perot_store_copy(struct mail_save_context *ctx, struct mail *mail)
{
	struct mailbox *box = ctx->transaction->box;
	struct perot_store_mailbox *sbox = perot_store_mailbox(box);
	int ret;

	if (perot_store_is_exempt(ctx))
		return sbox->module_ctx.super.copy(ctx, mail);
	if ((ctx->moving && !perot_store_may_expunge(mail->box)) ||
	    perot_store_open_mail(mail) < 0) {
		mailbox_save_cancel(&ctx);
		mail_storage_copy_error(box->storage, mail->box->storage);
		return -1;
	}
	perot_store_see(sbox->suser, ctx, mail);
	ret = perot_store_copy_last(sbox, ctx, mail);
	/* In IMAP the result is freed at once: a mail program copies a message
	   once, and its session may last for days. */
	if (sbox->place != PEROT_PLACE_DELIVERY)
		perot_store_forget(sbox->suser);
	return ret;
}
