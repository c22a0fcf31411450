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
 *   leaves the two; the next run sees by the GUID that the encrypted one is there, and only expunges the
 *   original.
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

/* The GUID of the message that replaces `original`, without the sizes; NULL: it gets one like any other. */
static const char *perot_guid_derive(struct mail *original)
{
	const char *guid;
	guid_128_t derived;

	if (mail_get_special(original, MAIL_FETCH_GUID, &guid) < 0 ||
	    *guid == '\0')
		return NULL;
	mail_generate_guid_128_hash(t_strconcat("perot-encrypt ", guid, NULL),
				    derived);
	return guid_128_to_string(derived);
}

static void
perot_mail_set_guid(struct mail *mail, const char *guid,
		    struct mailbox *box)
{
	struct mail_private *private = (struct mail_private *)mail;
	struct perot_mail *pmail;
	struct mailbox_status status;

	if (PEROT_MAIL(private) != NULL)
		return;
	mailbox_get_open_status(box, 0, &status);
	if (!status.have_only_guid128)
		guid = perot_guid_with_sizes(guid, mail, box);

	pmail = p_new(private->pool, struct perot_mail, 1);
	pmail->guid = p_strdup(private->pool, guid);
	pmail->module_ctx.super = private->v;
	private->v.get_special = perot_mail_get_special;
	MODULE_CONTEXT_SET(private, perot_mail_module, pmail);
}

/* UIDs by GUID in the one mailbox that sieve-filter goes through, as they were at its first message. */
static HASH_TABLE(char *, void *) perot_guids;
static pool_t perot_guids_pool;

static void perot_guids_load(struct mailbox *box)
{
	struct mail_search_args *args;
	struct mailbox_transaction_context *trans;
	struct mail_search_context *search;
	struct mail *mail;
	const char *guid;
	char *key;

	perot_guids_pool = pool_alloconly_create("perot guids", 4096);
	hash_table_create(&perot_guids, perot_guids_pool, 0, str_hash, strcmp);

	args = mail_search_build_init();
	mail_search_build_add_all(args);
	trans = mailbox_transaction_begin(box, 0, __func__);
	search = mailbox_search_init(trans, args, NULL, MAIL_FETCH_GUID, NULL);
	mail_search_args_unref(&args);
	while (mailbox_search_next(search, &mail)) T_BEGIN {
		if (mail_get_special(mail, MAIL_FETCH_GUID, &guid) == 0) {
			key = p_strdup(perot_guids_pool, t_strcut(guid, ','));
			hash_table_update(perot_guids, key,
					  POINTER_CAST(mail->uid));
		}
	} T_END;
	/* A GUID that could not be read is not in the table: then a message is stored once more. */
	(void)mailbox_search_deinit(&search);
	mailbox_transaction_rollback(&trans);
}

/* Whether a message with this GUID is there, now, and its owner has not deleted it. */
static bool perot_guid_exists(const char *guid, struct mailbox *box)
{
	struct mailbox_transaction_context *trans;
	struct mail *mail;
	uint32_t uid;
	bool exists;

	if (!hash_table_is_created(perot_guids))
		perot_guids_load(box);
	uid = POINTER_CAST_TO(hash_table_lookup(perot_guids, guid), uint32_t);
	if (uid == 0 || mail_index_refresh(box->index) < 0)
		return FALSE;
	trans = mailbox_transaction_begin(box, 0, __func__);
	mail = mail_alloc(trans, MAIL_FETCH_FLAGS, NULL);
	exists = mail_set_uid(mail, uid) && !mail->expunged &&
		(mail_get_flags(mail) & MAIL_DELETED) == 0;
	mail_free(&mail);
	mailbox_transaction_rollback(&trans);
	return exists;
}

/*
 * Action: expunge the original
 */

/* The context of the action if the encrypted message is there already, from an earlier run */
static char act_replace_is_there[] = "";

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

static int
act_replace_execute(const struct sieve_action_exec_env *aenv,
		    void *tr_context ATTR_UNUSED, bool *keep)
{
	if (aenv->action->context == act_replace_is_there)
		*keep = FALSE;
	return SIEVE_EXEC_OK;
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

	if (status != SIEVE_EXEC_OK || estatus->keep_original ||
	    mailbox_is_readonly(box) ||
	    (!estatus->message_saved &&
	     aenv->action->context != act_replace_is_there))
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
	.execute = act_replace_execute,
	.finish = act_replace_finish,
};

void perot_replace_original(const struct sieve_runtime_env *renv,
			    const struct sieve_extension *ext)
{
	struct mail *original = renv->exec_env->msgdata->mail;
	const char *guid;
	char *context = NULL;

	if (strcmp(master_service_get_name(master_service), "sieve-filter") != 0)
		return;
	guid = perot_guid_derive(original);
	if (guid != NULL) {
		perot_mail_set_guid(sieve_message_get_mail(renv->msgctx), guid,
				    original->box);
		if (perot_guid_exists(guid, original->box))
			context = act_replace_is_there;
	}
	(void)sieve_result_add_action(renv, ext, NULL, &act_replace, NULL,
				      context, 0, FALSE);
}
