/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-store.h"

/*
 * Deliveries
 *
 * Whatever stores a message in lmtp or dovecot-lda, a script or not, copies it
 * into a mailbox that has been opened for that. This is the outermost plugin:
 * quota and all others see ciphertext.
 */

struct perot_store_mailbox {
	union mailbox_module_context module_ctx;
	struct perot_store_user *suser;
	/* Something has been encrypted on its way into this mailbox. */
	bool encrypted;
};

static MODULE_CONTEXT_DEFINE_INIT(perot_store_mailbox_module,
				  &mail_storage_module_register);
static MODULE_CONTEXT_DEFINE_INIT(perot_store_mail_module,
				  &mail_module_register);

/*
 * Once a message
 */

void perot_store_delivery_forget(struct perot_store_user *suser)
{
	struct perot_store_last *last = &suser->last;

	if (last->result == NULL)
		return;
	perot_store_mail_close(&last->ciphertext);
	perot_core->free(last->result);
	i_zero(last);
}

/* By content: what a script makes of a message (editheader) is another mail, or
   the same in another size. */
static bool
perot_store_is_last(const struct perot_store_last *last, const struct mail *mail,
		    uoff_t size)
{
	return last->result != NULL && last->source == mail &&
		last->source_box == mail->box->generation_sequence &&
		last->source_size == size;
}

static const struct perot_store_last *
perot_store_deliver(struct perot_store_user *suser, struct mail *mail)
{
	struct perot_store_last *last = &suser->last;
	struct perot_result *result;
	uoff_t size;

	/* If there is no size, the message cannot be read either: the core
	   says so. */
	if (mail_get_physical_size(mail, &size) < 0)
		size = UOFF_T_MAX;
	else if (perot_store_is_last(last, mail, size))
		return last;

	perot_store_delivery_forget(suser);
	result = perot_store_encrypt_mail(suser, PEROT_PLACE_DELIVERY, FALSE,
					  mail);
	if (perot_core->report(result)->replaces) {
		perot_store_mail_open(suser, result, mail, &last->ciphertext);
	}
	perot_report_log(perot_core->report(result), suser->user->event,
			 "encrypt");
	last->result = result;
	last->source = mail;
	last->source_box = mail->box->generation_sequence;
	last->source_size = size;
	return last;
}

static int
perot_store_delivery_copy(struct mail_save_context *ctx, struct mail *mail)
{
	struct perot_store_mailbox *sbox = MODULE_CONTEXT_REQUIRE(
		ctx->transaction->box, perot_store_mailbox_module);
	const struct mailbox_vfuncs *super = &sbox->module_ctx.super;
	const struct perot_store_last *last =
		perot_store_deliver(sbox->suser, mail);
	const struct perot_report *report = perot_core->report(last->result);

	if (report->defer)
		return perot_store_refuse_copy(ctx, MAIL_ERROR_TEMP, report);
	if (!report->replaces)
		return super->copy(ctx, mail);
	sbox->encrypted = TRUE;
	return perot_store_copy(ctx, last->ciphertext.mail, mail, super);
}

void perot_store_delivery_mailbox(struct perot_store_user *suser,
				  struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct perot_store_mailbox *sbox;

	/* What other plugins copy for themselves is no delivery. A virtual
	   mailbox stores in another one, which is hooked, too. */
	if ((box->flags & MAILBOX_FLAG_POST_SESSION) == 0 ||
	    box->virtual_vfuncs != NULL)
		return;

	sbox = p_new(box->pool, struct perot_store_mailbox, 1);
	sbox->module_ctx.super = *v;
	box->vlast = &sbox->module_ctx.super;
	v->copy = perot_store_delivery_copy;
	sbox->suser = suser;
	MODULE_CONTEXT_SET(box, perot_store_mailbox_module, sbox);
}

/*
 * Several recipients
 *
 * LMTP takes what has been stored for the first recipient as the message for
 * the next. It asks for it by UID, and goes on with the original when there is
 * no such mail.
 */

static bool perot_store_mail_set_uid(struct mail *_mail, uint32_t uid)
{
	struct mail_private *mail = (struct mail_private *)_mail;
	union mail_module_context *smail =
		MODULE_CONTEXT_REQUIRE(mail, perot_store_mail_module);
	const struct perot_store_mailbox *sbox = MODULE_CONTEXT_REQUIRE(
		_mail->box, perot_store_mailbox_module);

	return !sbox->encrypted && smail->super.set_uid(_mail, uid);
}

void perot_store_delivery_mail(struct mail *_mail)
{
	struct mail_private *mail = (struct mail_private *)_mail;
	struct mail_vfuncs *v = mail->vlast;
	union mail_module_context *smail;

	if (MODULE_CONTEXT(_mail->box, perot_store_mailbox_module) == NULL)
		return;

	smail = p_new(mail->pool, union mail_module_context, 1);
	smail->super = *v;
	mail->vlast = &smail->super;
	v->set_uid = perot_store_mail_set_uid;
	MODULE_CONTEXT_SET_SELF(mail, perot_store_mail_module, smail);
}
