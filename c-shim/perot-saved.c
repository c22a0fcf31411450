/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Saved mail
 *
 * imapsieve runs scripts for what a mail program has saved, which is in the
 * mailbox then. The encrypted message is stored beside it, and imapsieve
 * removes the original, or marks it as deleted only. Two things are done about
 * what remains of it:
 *
 * - The administrator is warned if it is marked only.
 *
 * - imapsieve writes down that the original is to be removed, and the next who
 *   opens the mailbox does it. That may be never: mail programs do not always
 *   look at the mailbox for sent mail. So it is opened by us, as soon as the
 *   IMAP command is done.
 */

struct perot_saved_in {
	struct mailbox_list *list;
	char *vname;
};

/* What a user has saved in this session */
struct perot_saved {
	union mail_user_module_context module_ctx;
	/* Where originals are to be removed */
	ARRAY(struct perot_saved_in) mailboxes;
	struct timeout *to;
	bool warned;
};

static MODULE_CONTEXT_DEFINE_INIT(perot_saved_module,
				  &mail_user_module_register);

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

/* Called before deinit(), at which plugins such as quota are gone. */
static void perot_saved_user_deinit_pre(struct mail_user *user)
{
	struct perot_saved *saved =
		MODULE_CONTEXT_REQUIRE(user, perot_saved_module);

	perot_saved_sync(saved);
	array_free(&saved->mailboxes);
	saved->module_ctx.super.deinit_pre(user);
}

static struct perot_saved *perot_saved_get(struct mail_user *user)
{
	struct perot_saved *saved = MODULE_CONTEXT(user, perot_saved_module);

	if (saved == NULL) {
		saved = p_new(user->pool, struct perot_saved, 1);
		/* Plugins override what user->vlast points to. But that is set
		   only while a user is created, and this one was there before
		   its first script. */
		saved->module_ctx.super = user->v;
		user->v.deinit_pre = perot_saved_user_deinit_pre;
		i_array_init(&saved->mailboxes, 1);
		MODULE_CONTEXT_SET(user, perot_saved_module, saved);
	}
	return saved;
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

static bool perot_saved_expunges(const struct sieve_execute_env *eenv)
{
	struct perot_setting_source source = perot_sieve_settings(eenv->svinst);

	return perot_imapsieve_expunges(&source);
}

void perot_saved_encrypted(const struct sieve_runtime_env *renv)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct perot_saved *saved = perot_saved_get(eenv->scriptenv->user);

	if (perot_saved_expunges(eenv)) {
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

	if (perot_saved_expunges(eenv))
		mail_expunge(mail);
	else
		mail_update_flags(mail, MODIFY_ADD, MAIL_DELETED);
}
