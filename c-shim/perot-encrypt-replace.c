/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"
#include "master-service.h"

/*
 * Existing mail
 *
 * A message in a mailbox is replaced by storing the encrypted one and expunging the original. Dovecot has no
 * way to do both at once, and sieve-filter by itself expunges all originals when it is through with the
 * mailbox: what ends it early would leave all of them there twice. So two things are done:
 *
 * - The original is expunged when the run of the script for this message ends.
 *
 * - The GUID of the encrypted message is made from that of the original. What ends the process in between
 *   leaves the two, and by their GUIDs `perot-encrypt mailbox` knows them (src/bin/perot-encrypt/mailbox/).
 */

/*
 * GUID
 */

struct perot_mail {
	union mail_module_context module_ctx;
	const char *guid;
};

static MODULE_CONTEXT_DEFINE_INIT(perot_mail_module, &mail_module_register);
#define PEROT_MAIL(obj) MODULE_CONTEXT(obj, perot_mail_module)

static int
perot_mail_get_special(struct mail *_mail, enum mail_fetch_field field,
		       const char **value_r)
{
	struct mail_private *mail = (struct mail_private *)_mail;
	struct perot_mail *pmail = PEROT_MAIL(mail);

	if (field != MAIL_FETCH_GUID)
		return pmail->module_ctx.super.get_special(_mail, field,
							   value_r);
	*value_r = pmail->guid;
	return 0;
}

/* A Maildir has the GUID as the name of the file, and so from the moment on at which the file is there, if
   it ends with the right sizes. Otherwise the name is another one, and the GUID is noted later. */
static const char *
perot_guid_with_sizes(const char *guid, struct mail *mail,
		      const struct mailbox *box)
{
	struct message_size header, body;
	struct istream *input;
	uoff_t size, virtual_size;

	if (mail_get_stream(mail, &header, &body, &input) < 0)
		return guid;
	virtual_size = header.virtual_size + body.virtual_size;
	size = virtual_size;
	if (!box->storage->set->mail_save_crlf)
		size -= header.lines + body.lines;
	return t_strdup_printf("%s,S=%"PRIuUOFF_T",W=%"PRIuUOFF_T,
			       guid, size, virtual_size);
}

static void perot_mail_set_guid(struct mail *mail, struct mail *original)
{
	struct mail_private *private = (struct mail_private *)mail;
	struct perot_mail *pmail;
	struct mailbox_status status;
	const char *guid;
	guid_128_t derived;

	if (PEROT_MAIL(private) != NULL)
		return;
	/* Without it the message gets a GUID like any other. */
	if (mail_get_special(original, MAIL_FETCH_GUID, &guid) < 0 ||
	    *guid == '\0')
		return;
	mail_generate_guid_128_hash(t_strconcat("perot-encrypt ", guid, NULL),
				    derived);
	guid = guid_128_to_string(derived);
	mailbox_get_open_status(original->box, 0, &status);
	if (!status.have_only_guid128)
		guid = perot_guid_with_sizes(guid, mail, original->box);

	pmail = p_new(private->pool, struct perot_mail, 1);
	pmail->guid = p_strdup(private->pool, guid);
	pmail->module_ctx.super = private->v;
	private->v.get_special = perot_mail_get_special;
	MODULE_CONTEXT_SET(private, perot_mail_module, pmail);
}

/*
 * Action: expunge the original
 */

static int
act_replace_check_duplicate(const struct sieve_runtime_env *renv ATTR_UNUSED,
			    const struct sieve_action *act ATTR_UNUSED,
			    const struct sieve_action *act_other ATTR_UNUSED)
{
	return 1;
}

/* Each expunge makes a new copy of the list of messages, and what sieve-filter has looked up in one keeps
   it in memory as long as it is at this mailbox: memory would grow with the square of their number. Between
   two messages nothing of it is in use. */
static void perot_forget_old_lists(struct mailbox *box)
{
	struct mail_index_view *view;

	for (view = box->index->views; view != NULL; view = view->next)
		mail_index_view_unref_maps(view);
}

/* Called when all else is done, also the implicit keep */
static void
act_replace_finish(const struct sieve_action_exec_env *aenv,
		   void *tr_context ATTR_UNUSED, int status)
{
	struct sieve_exec_status *estatus = aenv->exec_env->exec_status;
	struct mail *original = aenv->exec_env->msgdata->mail;
	struct mailbox *box = original->box;
	struct mailbox_transaction_context *trans;
	struct mail *mail;

	if (status != SIEVE_EXEC_OK || !estatus->message_saved ||
	    estatus->keep_original || mailbox_is_readonly(box))
		return;

	trans = mailbox_transaction_begin(box, 0, __func__);
	mail = mail_alloc(trans, 0, NULL);
	if (mail_set_uid(mail, original->uid))
		mail_expunge(mail);
	mail_free(&mail);
	if (mailbox_transaction_commit(&trans) < 0) {
		/* sieve-filter tries it again at the end. */
		e_error(aenv->event, "encrypt: the message is stored "
			"encrypted, and cannot be removed as it was: %s",
			mailbox_get_last_internal_error(box, NULL));
		return;
	}
	/* Nothing is left for sieve-filter to do. */
	estatus->keep_original = TRUE;
	perot_forget_old_lists(box);
}

static const struct sieve_action_def act_replace = {
	.name = "expunge the message as it was",
	.check_duplicate = act_replace_check_duplicate,
	.finish = act_replace_finish,
};

void perot_replace_original(const struct sieve_runtime_env *renv,
			    const struct sieve_extension *ext)
{
	if (strcmp(master_service_get_name(master_service), "sieve-filter") != 0)
		return;
	perot_mail_set_guid(sieve_message_get_mail(renv->msgctx),
			    renv->exec_env->msgdata->mail);
	(void)sieve_result_add_action(renv, ext, NULL, &act_replace, NULL,
				      NULL, 0, FALSE);
}
