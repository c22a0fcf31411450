/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Saved mail
 *
 * imapsieve runs scripts for what a mail program has saved, which is in the mailbox then. The encrypted
 * message is stored beside it, and imapsieve removes the original, or marks it as deleted only. Two
 * things are done about what remains of it:
 *
 * - The administrator is warned if it is marked only.
 *
 * - imapsieve writes down that the original is to be removed, and the next who opens the mailbox does
 *   it. That may be never: mail programs do not always look at the mailbox for sent mail. So it is
 *   opened by us, as soon as the IMAP command is done.
 */

struct perot_saved_in {
	struct mailbox_list *list;
	char *vname;
};

struct perot_saved {
	/* Where originals are to be removed: names, since a mailbox may not outlive the user's session */
	ARRAY(struct perot_saved_in) mailboxes;
	struct timeout *to;
	bool warned;
};

struct perot_saved *perot_saved_init(void)
{
	struct perot_saved *saved = i_new(struct perot_saved, 1);

	i_array_init(&saved->mailboxes, 1);
	return saved;
}

static void perot_saved_sync(struct perot_saved *saved)
{
	struct perot_saved_in *in;

	timeout_remove(&saved->to);
	array_foreach_modifiable(&saved->mailboxes, in) {
		struct mailbox *box = mailbox_alloc(in->list, in->vname, 0);

		if (mailbox_sync(box, 0) < 0) {
			e_warning(box->event, "encrypt: the original of an "
				  "encrypted message is not removed until this "
				  "mailbox is next opened: %s",
				  mailbox_get_last_internal_error(box, NULL));
		}
		mailbox_free(&box);
		i_free(in->vname);
	}
	array_clear(&saved->mailboxes);
}

void perot_saved_deinit(struct perot_saved **_saved)
{
	struct perot_saved *saved = *_saved;

	*_saved = NULL;
	perot_saved_sync(saved);
	array_free(&saved->mailboxes);
	i_free(saved);
}

static void
perot_saved_sync_later(struct perot_saved *saved, struct mailbox *box)
{
	struct perot_saved_in *in;

	array_foreach_modifiable(&saved->mailboxes, in) {
		if (in->list == box->list && strcmp(in->vname, box->vname) == 0)
			return;
	}
	in = array_append_space(&saved->mailboxes);
	in->list = box->list;
	in->vname = i_strdup(box->vname);
	if (saved->to == NULL) {
		saved->to = timeout_add_to(io_loop_get_root(), 0,
					   perot_saved_sync, saved);
	}
}

void perot_saved_encrypted(struct perot_saved *saved,
			   const struct sieve_runtime_env *renv)
{
	const struct sieve_execute_env *eenv = renv->exec_env;

	if (perot_imapsieve_expunges(eenv->svinst)) {
		perot_saved_sync_later(saved, eenv->msgdata->mail->box);
	} else if (!saved->warned) {
		saved->warned = TRUE;
		e_warning(renv->event, "encrypt: the original of the message "
			  "stays in the mailbox, not encrypted and marked as "
			  "deleted: set imapsieve_expunge_discarded = yes");
	}
}

void perot_saved_remove(const struct sieve_execute_env *eenv)
{
	struct mail *mail = eenv->msgdata->mail;

	if (perot_imapsieve_expunges(eenv->svinst))
		mail_expunge(mail);
	else
		mail_update_flags(mail, MODIFY_ADD, MAIL_DELETED);
}
