/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"

/*
 * Copies
 *
 * Whatever stores a message in a delivery, a script or not, copies it into a
 * mailbox. COPY and MOVE do the same. Dovecot copies by saving what it reads
 * from the source, unless it can make a link to it. The plugin rules links out,
 * and has the ciphertext saved (perot-store-save.c).
 */

/*
 * Once a message
 */

void perot_store_forget(struct perot_store_user *suser)
{
	struct perot_store_last *last = &suser->last;

	if (last->result == NULL)
		return;
	i_stream_unref(&last->ciphertext);
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
	last->ciphertext = perot_store_ciphertext(last->result);
	if (last->ciphertext != NULL)
		last->source_end = stream->v_offset;
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

/* Copies the message, and has perot_store_save_begin() replace it. */
static int
perot_store_copy_replaced(struct perot_store_mailbox *sbox,
			  struct mail_save_context *ctx, struct mail *mail)
{
	struct mailbox *box = ctx->transaction->box;
	bool no_links = box->disable_reflink_copy_to;
	int ret;

	sbox->encrypted = TRUE;
	sbox->replaced = &sbox->suser->last;
	box->disable_reflink_copy_to = TRUE;
	/* The server of imapc would copy by itself. */
	if (box->storage == mail->box->storage &&
	    strcmp(box->storage->name, "imapc") == 0)
		ret = mail_storage_copy(ctx, mail);
	else
		ret = sbox->module_ctx.super.copy(ctx, mail);
	box->disable_reflink_copy_to = no_links;

	if (ret == 0 && sbox->replaced != NULL) {
		mailbox_set_critical(box, "encrypt: storage %s copies messages "
			"as they are", box->storage->name);
		ret = -1;
	}
	sbox->replaced = NULL;
	return ret;
}

static int
perot_store_copy_last(struct perot_store_mailbox *sbox,
		      struct mail_save_context *ctx, struct mail *mail)
{
	const struct perot_report *report =
		perot_core->report(sbox->suser->last.result);

	if (perot_store_check(ctx->transaction->box, report) < 0) {
		mailbox_save_cancel(&ctx);
		return -1;
	}
	return report->replaces ? perot_store_copy_replaced(sbox, ctx, mail) :
		sbox->module_ctx.super.copy(ctx, mail);
}

int perot_store_copy(struct mail_save_context *ctx, struct mail *mail)
{
	struct mailbox *box = ctx->transaction->box;
	struct perot_store_mailbox *sbox = perot_store_mailbox(box);
	int ret;

	if (perot_store_is_exempt(ctx))
		return sbox->module_ctx.super.copy(ctx, mail);
	if (perot_store_open_mail(mail) < 0) {
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
