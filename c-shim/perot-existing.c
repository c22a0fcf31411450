/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Existing mail
 *
 * A message in a mailbox is replaced by storing the encrypted one and expunging
 * the original. Dovecot has no way to do both at once, and sieve-filter by
 * itself expunges all originals when it is through with the mailbox: if it
 * ended early, all of them would be there twice. So the original is expunged as
 * soon as the run of the script for this message has ended: if the process ends
 * in between, that one message is there twice. Nothing tries to find that out
 * afterwards. It could only be guessed, and a wrong guess would lose a message.
 */

/* Outside of a delivery nothing but sieve-filter, sieve-test and IMAP sessions
   runs scripts, and the message of sieve-test is a file, which is read-only. */
bool perot_is_existing(const struct sieve_execute_env *eenv)
{
	return !perot_is_delivery(eenv) && !perot_is_in_imap(eenv) &&
		!mailbox_is_readonly(eenv->msgdata->mail->box);
}

/*
 * What is left as it is
 */

/* Fields of notes, calendars, contacts and settings that programs keep in
   mailboxes: Apple's, and those for Kolab's formats */
static const char *const perot_no_mail_fields[] = {
	"X-Uniform-Type-Identifier",
	"X-Kolab-Type",
	"X-Kolab-Mime-Version",
	NULL
};

static bool perot_is_for_unsent(const struct mailbox *box)
{
	const char *uses = perot_special_use(box);
	const char *name = strrchr(box->vname,
				   mail_namespace_get_sep(box->list->ns));

	name = (name == NULL ? box->vname : name + 1);
	return strcasecmp(name, "Templates") == 0 ||
		strcasecmp(name, "Outbox") == 0 ||
		(uses != NULL &&
		 str_array_icase_find(t_strsplit_spaces(uses, " "),
				      "\\Drafts"));
}

enum perot_exemption
perot_existing_exemption(const struct sieve_execute_env *eenv,
			 struct mail *mail)
{
	struct mailbox *box = eenv->msgdata->mail->box;
	const char *const *field, *value;

	/* That of sieve-test is a file, for a delivery that is tried out. */
	if (perot_is_delivery(eenv) || perot_is_saved(eenv) ||
	    strcmp(box->storage->name, RAW_STORAGE_NAME) == 0)
		return PEROT_EXEMPTION_NONE;
	if (perot_is_for_unsent(box))
		return PEROT_EXEMPTION_UNSENT;
	for (field = perot_no_mail_fields; *field != NULL; field++) {
		if (mail_get_first_header(mail, *field, &value) > 0)
			return PEROT_EXEMPTION_NO_MAIL;
	}
	return PEROT_EXEMPTION_NONE;
}

/*
 * Lock
 *
 * Two that go through one mailbox at the same time would both store each
 * message.
 */

static struct file_lock *perot_mailbox_lock;
/* The lock is asked for once in a run, since asking takes a second. */
static bool perot_mailbox_locked_out = FALSE;

int perot_existing_lock(const struct sieve_execute_env *eenv,
			const char **error_r)
{
	struct mailbox *box = eenv->msgdata->mail->box;
	int ret = 0;

	/* The process goes through one mailbox only. */
	if (perot_mailbox_lock != NULL || !perot_is_existing(eenv))
		return 0;
	if (strcmp(box->storage->name, "virtual") == 0) {
		*error_r = "a virtual mailbox would have it stored elsewhere: "
			"go through the mailbox that has the message";
		return -1;
	}
	if (!perot_mailbox_locked_out) {
		ret = mailbox_lock_file_create(box,
					       "dovecot.perot-encrypt.lock", 1,
					       &perot_mailbox_lock, error_r);
	}
	if (ret > 0)
		return 0;
	if (ret == 0) {
		perot_mailbox_locked_out = TRUE;
		*error_r = "another sieve-filter is encrypting this mailbox: "
			"wait until it has ended";
	}
	return -1;
}

void perot_existing_unlock(void)
{
	file_lock_free(&perot_mailbox_lock);
}

/*
 * Expunge
 */

/* Each expunge makes a new mail_index_map of the mailbox, and a view keeps each
   map in which it has looked something up until it is synchronized. That does
   not happen before sieve-filter ends: memory would grow with the square of the
   number of messages. Between two messages none of these maps is in use. */
static void perot_forget_old_maps(struct mailbox_transaction_context *trans)
{
	mail_index_view_unref_maps(trans->view);
	mail_index_view_unref_maps(trans->cache_view->trans_view);
}

void perot_existing_expunge(const struct sieve_action_exec_env *aenv,
			    int status)
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
	perot_forget_old_maps(original->transaction);
}
