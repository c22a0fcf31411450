/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Failing closed
 *
 * Whatever fails in Pigeonhole, it tries to store the message as it came. Two things are done about
 * that:
 *
 * - The failure action of the result, which runs when the rest of a script (or a later script)
 *   fails, is replaced by one that stores the current message, or by one that defers.
 *
 * - When even that fails, or the script ran out of resources, Dovecot's mail_deliver() falls back to
 *   its own delivery of the original: into the default mailbox, and if that is not the INBOX, into
 *   the INBOX after it. It does not if it believes that the first has been tried, and if it is told
 *   of a temporary failure.
 */

/*
 * Action: store the current message
 */

static int
act_store_current_start(const struct sieve_action_exec_env *aenv,
			void **tr_context)
{
	return act_store.start(aenv, tr_context);
}

static int
act_store_current_execute(const struct sieve_action_exec_env *aenv,
			  void *tr_context, bool *keep)
{
	struct sieve_action action = *aenv->action;
	struct sieve_action_exec_env current = *aenv;

	/* Without a mail of its own, the action would take the original. */
	action.mail = sieve_message_get_mail(aenv->msgctx);
	current.action = &action;
	return act_store.execute(&current, tr_context, keep);
}

static int
act_store_current_commit(const struct sieve_action_exec_env *aenv,
			 void *tr_context)
{
	return act_store.commit(aenv, tr_context);
}

static void
act_store_current_rollback(const struct sieve_action_exec_env *aenv,
			   void *tr_context, bool success)
{
	act_store.rollback(aenv, tr_context, success);
}

static const struct sieve_action_def act_store_current = {
	.name = "store_encrypted",
	.flags = SIEVE_ACTFLAG_TRIES_DELIVER | SIEVE_ACTFLAG_MAIL_STORAGE,
	.start = act_store_current_start,
	.execute = act_store_current_execute,
	.commit = act_store_current_commit,
	.rollback = act_store_current_rollback,
};

/*
 * Action: defer
 */

static int
act_defer_execute(const struct sieve_action_exec_env *aenv ATTR_UNUSED,
		  void *tr_context ATTR_UNUSED, bool *keep ATTR_UNUSED)
{
	return SIEVE_EXEC_TEMP_FAILURE;
}

static const struct sieve_action_def act_defer = {
	.name = "defer",
	.execute = act_defer_execute,
};

/*
 * mail_deliver()
 */

/* The context of the delivery; NULL if no delivery is under way (sieve-filter, imapsieve). */
static struct mail_deliver_context *
perot_deliver_context(const struct sieve_execute_env *eenv)
{
	if (eenv->svinst->env_location != SIEVE_ENV_LOCATION_MDA)
		return NULL;
	return eenv->scriptenv->script_context;
}

void perot_keep_encrypted_on_failure(const struct sieve_runtime_env *renv,
				     const struct sieve_extension *ext)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);

	sieve_result_set_failure_action(renv->result, ext, &act_store_current);
	if (eenv->exec_status != NULL)
		eenv->exec_status->tried_default_save = TRUE;
	/* Told of a temporary failure only where it is the one way to keep mail_deliver() from the
	   INBOX: else the sender is still told when the mailbox is full. */
	if (mdctx != NULL && mdctx->tempfail_error == NULL &&
	    strcasecmp(mdctx->rcpt_default_mailbox, "INBOX") != 0) {
		mdctx->tempfail_error =
			"Encrypted message could not be stored";
	}
}

void perot_defer(const struct sieve_runtime_env *renv,
		 const struct sieve_extension *ext, const char *reason)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);

	sieve_result_set_failure_action(renv->result, ext, &act_defer);
	if (eenv->exec_status != NULL)
		eenv->exec_status->tried_default_save = TRUE;
	if (mdctx != NULL) {
		mdctx->tempfail_error = p_strdup_printf(mdctx->pool,
			"Message could not be encrypted for its owner (%s): "
			"the log of the mail server says more", reason);
	}
}
