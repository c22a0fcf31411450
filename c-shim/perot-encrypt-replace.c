/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"
#include "master-service.h"

/*
 * Existing mail
 *
 * A message in a mailbox is replaced by storing the encrypted one and expunging the original. Dovecot has no
 * way to do both at once, and sieve-filter by itself expunges all originals when it is through with the
 * mailbox: what ends it early would leave all of them there twice. So the original is expunged as soon as the
 * run of the script for this message has ended: what ends the process in between leaves that one message
 * twice. Nothing tries to find that out afterwards. It could only be guessed, and a wrong guess would lose
 * a message.
 */

/* sieve-filter, on a mailbox that it may change */
static bool perot_replaces(const struct sieve_execute_env *eenv)
{
	return strcmp(master_service_get_name(master_service),
		      "sieve-filter") == 0 &&
		!mailbox_is_readonly(eenv->msgdata->mail->box);
}

/*
 * Lock
 *
 * Two that go through one mailbox at the same time would both store each message.
 */

static struct file_lock *perot_replace_lock;

int perot_replace_begin(const struct sieve_execute_env *eenv,
			const char **error_r)
{
	const char *error;
	int ret;

	/* The process goes through one mailbox, and ends. */
	if (perot_replace_lock != NULL || !perot_replaces(eenv))
		return 0;
	ret = mailbox_lock_file_create(eenv->msgdata->mail->box,
				       "dovecot.perot-encrypt.lock", 1,
				       &perot_replace_lock, &error);
	if (ret > 0)
		return 0;
	*error_r = (ret < 0 ? error :
		    "another sieve-filter is encrypting this mailbox: "
		    "wait until it has ended");
	return -1;
}

void perot_replace_end(void)
{
	file_lock_free(&perot_replace_lock);
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

	if (status != SIEVE_EXEC_OK || estatus->keep_original ||
	    !estatus->message_saved)
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
	if (perot_replaces(renv->exec_env)) {
		(void)sieve_result_add_action(renv, ext, NULL, &act_replace,
					      NULL, NULL, 0, FALSE);
	}
}
