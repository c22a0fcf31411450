/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Failing closed
 *
 * Whatever fails in Pigeonhole, it tries to store the message as it came. Two
 * things are done about that:
 *
 * - The failure action of the result, which runs when the rest of a script (or
 *   a later script) fails, is replaced by one that stores the current message,
 *   or by one that defers.
 *
 * - When even that fails, or the script ran out of resources, Dovecot's
 *   mail_deliver() falls back to its own delivery of the original: into the
 *   default mailbox, and if that is not the INBOX, into the INBOX after it. It
 *   does not if it believes that the first has been tried, and if it is told of
 *   a temporary failure.
 */

/*
 * mail_deliver()
 */

/* Returns the context of the delivery, or NULL if the message is in a mailbox
   already (sieve-filter, imapsieve). */
static struct mail_deliver_context *
perot_deliver_context(const struct sieve_execute_env *eenv)
{
	if (!perot_is_delivery(eenv))
		return NULL;
	i_assert(eenv->exec_status != NULL);
	return eenv->scriptenv->script_context;
}

/* IMAP and ManageSieve do not have the library of this function, and could not
   load the plugin if it were strictly wanted. Deliveries have it. */
#pragma weak mail_deliver_save

/* Stores the mail as mail_deliver() stores the original, which then does not do
   that any more. */
static int
perot_deliver(const struct sieve_execute_env *eenv, struct mail *mail,
	      const char *mailbox)
{
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);
	struct mail *src_mail = mdctx->src_mail;
	bool save_dest_mail = mdctx->save_dest_mail;
	int ret;

	mdctx->src_mail = mail;
	/* LMTP would take what is stored for the message of the next
	   recipient. */
	mdctx->save_dest_mail = FALSE;
	ret = mail_deliver_save(mdctx, mailbox, 0, NULL,
				&eenv->exec_status->last_storage);
	mdctx->src_mail = src_mail;
	mdctx->save_dest_mail = save_dest_mail;
	return ret;
}

static bool
perot_has_other_default(const struct mail_deliver_context *mdctx)
{
	return strcasecmp(mdctx->rcpt_default_mailbox, "INBOX") != 0;
}

/* Stores the current message in the INBOX if it cannot be stored in the default
   mailbox, as mail_deliver() does with the original. */
static void
perot_deliver_to_inbox(const struct sieve_action_exec_env *aenv)
{
	const struct sieve_execute_env *eenv = aenv->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);

	if (mdctx == NULL || mdctx->saved_mail ||
	    !perot_has_other_default(mdctx))
		return;
	(void)perot_deliver(eenv, sieve_message_get_mail(aenv->msgctx),
			    "INBOX");
}

/*
 * Side effect: the INBOX
 *
 * It goes with each keep from `encrypt` on.
 */

static void
seff_inbox_failed(const struct sieve_action_exec_env *aenv, void *tr_context)
{
	const struct act_store_transaction *trans = tr_context;

	/* After a temporary failure, the MTA tries again. */
	if (aenv->action->keep && trans != NULL &&
	    trans->error_code != MAIL_ERROR_NONE &&
	    trans->error_code != MAIL_ERROR_TEMP)
		perot_deliver_to_inbox(aenv);
}

static void
seff_inbox_post_commit(const struct sieve_side_effect *seffect ATTR_UNUSED,
		       const struct sieve_action_exec_env *aenv,
		       void *tr_context, void *se_tr_context ATTR_UNUSED,
		       int commit_status)
{
	if (commit_status != SIEVE_EXEC_OK)
		seff_inbox_failed(aenv, tr_context);
}

static void
seff_inbox_rollback(const struct sieve_side_effect *seffect ATTR_UNUSED,
		    const struct sieve_action_exec_env *aenv,
		    void *tr_context, void *se_tr_context ATTR_UNUSED,
		    bool success)
{
	if (!success)
		seff_inbox_failed(aenv, tr_context);
}

static const struct sieve_side_effect_def seff_inbox = {
	.obj_def = { .identifier = "inbox" },
	.to_action = &act_store,
	.post_commit = seff_inbox_post_commit,
	.rollback = seff_inbox_rollback,
};

/*
 * Failure of a script
 */

/* Returns how many scripts of this delivery have ended. Pigeonhole counts when
   it executes what a script has asked for, and once more at the end. */
static unsigned int perot_scripts_ended(struct sieve_result *result)
{
	struct sieve_action action = { .exec_seq = 0 };

	while (sieve_action_is_executed(&action, result))
		action.exec_seq++;
	return action.exec_seq;
}

/* Has the core judge what has become of a message after `encrypt`, or without
   it, and logs what it says. */
static struct perot_result *
perot_judge(const struct sieve_extension *ext,
	    const struct sieve_execute_env *eenv,
	    const struct perot_request *request)
{
	const struct perot_input unread = { .context = NULL };
	struct event *event = event_create(eenv->event);
	struct perot_result *result;
	struct perot_log log;

	perot_log_init(&log, event);
	result = perot_core->encrypt(perot_ext_instance(ext), request, &unread,
				     &log);
	perot_report_log(perot_core->report(result), event, "encrypt");
	event_unref(&event);
	return result;
}

/* Has the core judge that a script has failed. Returns TRUE if the message is
   deferred. */
static bool
perot_script_failed(const struct sieve_extension *ext,
		    const struct sieve_execute_env *eenv)
{
	const struct perot_request request = {
		.place = PEROT_PLACE_DELIVERY,
		.form = PEROT_FORM_STORE,
		.obstacle = PEROT_OBSTACLE_FAILED,
	};
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);
	struct perot_result *result = perot_judge(ext, eenv, &request);
	const struct perot_report *report = perot_core->report(result);
	bool defers = report->defer;

	if (defers) {
		eenv->exec_status->tried_default_save = TRUE;
		mdctx->tempfail_error =
			p_strdup(mdctx->pool, perot_str(report->answer));
	}
	perot_core->free(result);
	return defers;
}

/*
 * Action: what is done when a script has failed
 */

static bool
act_failed_is_encrypted(const struct sieve_action_exec_env *aenv)
{
	return perot_history_get(aenv->result, aenv->action->ext)->encrypted;
}

/* Returns TRUE if the script itself has failed, and not what it has asked for.
   In between, Pigeonhole would have counted it among those that have ended. */
static bool
act_failed_is_armed(const struct sieve_action_exec_env *aenv)
{
	const struct perot_history *history =
		perot_history_get(aenv->result, aenv->action->ext);

	return history->armed && !history->encrypted &&
		perot_scripts_ended(aenv->result) == history->scripts_ended + 1;
}

/* Returns TRUE if the message has been stored where this action would store it.
   Pigeonhole looks for that itself if the failure action is its own, but is
   content with a store that is rolled back later. */
static bool
act_failed_is_stored(const struct sieve_action_exec_env *aenv)
{
	const struct sieve_execute_env *eenv = aenv->exec_env;
	const struct mail_deliver_context *mdctx = perot_deliver_context(eenv);
	struct sieve_result_iterate_context *iter;
	const struct sieve_action *action;

	if (mdctx != NULL && mdctx->saved_mail)
		return TRUE;
	if (!eenv->exec_status->message_saved)
		return FALSE;
	iter = sieve_result_iterate_init(aenv->result);
	while ((action = sieve_result_iterate_next(iter, NULL)) != NULL) {
		if (action->def == &act_store &&
		    act_store.equals(eenv->scriptenv, NULL, action))
			return TRUE;
	}
	return FALSE;
}

/* Begins no transaction if nothing is left to do. */
static int
act_failed_start(const struct sieve_action_exec_env *aenv, void **tr_context)
{
	if (act_failed_is_stored(aenv))
		return SIEVE_EXEC_OK;
	return act_store.start(aenv, tr_context);
}

static int
act_failed_execute(const struct sieve_action_exec_env *aenv, void *tr_context,
		   bool *keep)
{
	const struct mail_deliver_context *mdctx =
		perot_deliver_context(aenv->exec_env);
	struct sieve_action action = *aenv->action;
	struct sieve_action_exec_env current = *aenv;

	if (act_failed_is_armed(aenv) &&
	    (mdctx->tempfail_error != NULL ||
	     perot_script_failed(aenv->action->ext, aenv->exec_env)))
		return SIEVE_EXEC_TEMP_FAILURE;
	if (tr_context == NULL)
		return SIEVE_EXEC_OK;
	/* Without a mail of its own, the action would take the original. */
	if (act_failed_is_encrypted(aenv))
		action.mail = sieve_message_get_mail(aenv->msgctx);
	current.action = &action;
	return act_store.execute(&current, tr_context, keep);
}

static int
act_failed_commit(const struct sieve_action_exec_env *aenv, void *tr_context)
{
	const struct sieve_execute_env *eenv = aenv->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);
	int ret = SIEVE_EXEC_OK;

	if (tr_context == NULL) {
		/* Nothing has begun. */
	} else if (act_failed_is_stored(aenv)) {
		/* An action of an earlier script has done it: it is committed
		   after this one has begun. */
		act_store.rollback(aenv, tr_context, TRUE);
	} else {
		ret = act_store.commit(aenv, tr_context);
	}
	/* Whatever else becomes of the script, the MTA is not to try again: the
	   message would be stored once more. */
	if (ret == SIEVE_EXEC_OK && mdctx != NULL)
		mdctx->saved_mail = TRUE;
	if (ret == SIEVE_EXEC_OK && perot_is_saved(eenv)) {
		perot_history_get(aenv->result, aenv->action->ext)->stored =
			TRUE;
		if (!eenv->exec_status->keep_original)
			perot_saved_remove(eenv);
	}
	return ret;
}

static void
act_failed_rollback(const struct sieve_action_exec_env *aenv,
		    void *tr_context, bool success)
{
	if (tr_context == NULL)
		return;
	act_store.rollback(aenv, tr_context, success);
	if (!success && act_failed_is_encrypted(aenv))
		seff_inbox_failed(aenv, tr_context);
}

static const struct sieve_action_def act_failed = {
	.name = "store_encrypted",
	.flags = SIEVE_ACTFLAG_TRIES_DELIVER | SIEVE_ACTFLAG_MAIL_STORAGE,
	.start = act_failed_start,
	.execute = act_failed_execute,
	.commit = act_failed_commit,
	.rollback = act_failed_rollback,
};

void perot_arm(const struct sieve_runtime_env *renv,
	       const struct sieve_extension *ext)
{
	struct perot_history *history = perot_history_get(renv->result, ext);

	history->armed = TRUE;
	history->scripts_ended = perot_scripts_ended(renv->result);
	sieve_result_set_failure_action(renv->result, ext, &act_failed);
}

void perot_disarm(const struct sieve_runtime_env *renv,
		  const struct sieve_extension *ext)
{
	perot_history_get(renv->result, ext)->armed = FALSE;
}

/* Stores the message where mail_deliver() stores the original. Leaves an error
   in `last_storage` if that fails. */
static void
perot_deliver_now(const struct sieve_execute_env *eenv, struct mail *mail)
{
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);
	enum mail_error error;

	if (perot_deliver(eenv, mail, mdctx->rcpt_default_mailbox) == 0 ||
	    !perot_has_other_default(mdctx))
		return;
	(void)mail_storage_get_last_error(eenv->exec_status->last_storage,
					  &error);
	if (error != MAIL_ERROR_TEMP)
		(void)perot_deliver(eenv, mail, "INBOX");
}

/* Pigeonhole then takes no failure action, and mail_deliver() stores the
   original. */
void perot_out_of_time(const struct sieve_extension *ext,
		       const struct perot_run *run)
{
	const struct sieve_execute_env *eenv = &run->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);

	if (!run->history->encrypted) {
		if (run->history->armed && mdctx->tempfail_error == NULL)
			(void)perot_script_failed(ext, eenv);
		return;
	}
	eenv->exec_status->tried_default_save = TRUE;
	/* If nothing of the script was left, it may have ended well, and
	   Pigeonhole stores the message. */
	if (run->is_cut_off)
		perot_deliver_now(eenv, sieve_message_get_mail(run->msgctx));
	/* What has no storage has no error to be told, either. */
	if (!mdctx->saved_mail && mdctx->tempfail_error == NULL &&
	    (eenv->exec_status->last_storage == NULL ||
	     perot_has_other_default(mdctx)))
		mdctx->tempfail_error = "Encrypted message could not be stored";
}

/*
 * Action: see to the original
 *
 * It is not the script's. It is there so that Pigeonhole tells how all others
 * have ended: existing mail is replaced then, or stays as it was.
 */

/* The log has said that the message is encrypted, and it stays in clear. */
static void
act_original_stays(const struct sieve_action_exec_env *aenv)
{
	const struct sieve_execute_env *eenv = aenv->exec_env;
	const struct sieve_exec_status *estatus = eenv->exec_status;
	struct perot_request request = {
		.place = PEROT_PLACE_MAILBOX,
		.obstacle = PEROT_OBSTACLE_UNSTORED,
	};
	struct perot_result *result;

	if (estatus->store_failed) {
		request.obstacle_text = perot_bytes(
			mail_storage_get_last_internal_error(
				estatus->last_storage, NULL));
	}
	result = perot_judge(aenv->action->ext, eenv, &request);
	perot_core->free(result);
}

static int
act_original_check_duplicate(const struct sieve_runtime_env *renv ATTR_UNUSED,
			     const struct sieve_action *act ATTR_UNUSED,
			     const struct sieve_action *act_other ATTR_UNUSED)
{
	return 1;
}

/* Called when all else is done, also the implicit keep. */
static void
act_original_finish(const struct sieve_action_exec_env *aenv,
		    void *tr_context ATTR_UNUSED, int status)
{
	const struct sieve_extension *ext = aenv->action->ext;
	struct perot_ext *perot = ext->context;

	perot_extra_action_end(&perot->extra_action, ext->svinst);
	if (!perot_is_in_imap(aenv->exec_env))
		perot_existing_expunge(aenv, status);
	else if (status != SIEVE_EXEC_OK &&
		 !perot_history_get(aenv->result, ext)->stored)
		act_original_stays(aenv);
}

static const struct sieve_action_def act_original = {
	.name = "see to the message as it was",
	.check_duplicate = act_original_check_duplicate,
	.finish = act_original_finish,
};

static void
perot_see_to_original(const struct sieve_runtime_env *renv,
		      const struct sieve_extension *ext)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct perot_ext *perot = ext->context;

	if (!perot_is_in_imap(eenv) && !perot_is_existing(eenv))
		return;
	perot_extra_action_begin(&perot->extra_action, ext->svinst);
	(void)sieve_result_add_action(renv, ext, NULL, &act_original, NULL,
				      NULL, 0, FALSE);
}

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
 * From here on
 */

/* A `keep` of an earlier script has been given the message as it was then, and
   hands it on to the implicit keep at the end.

   The result hands out its actions as constant, and offers no function to give
   a keep another mail but sieve_result_add_keep(). That one would count as a
   `keep` of this script, which does not go together with a `reject` in it. */
static void perot_update_earlier_keeps(const struct sieve_runtime_env *renv)
{
	struct sieve_result_iterate_context *iter;
	struct sieve_action *action;
	struct mail *mail = sieve_message_get_mail(renv->msgctx);
	bool found = FALSE;

	iter = sieve_result_iterate_init(renv->result);
	while ((action = (struct sieve_action *)
		sieve_result_iterate_next(iter, NULL)) != NULL) {
		if (!action->keep || action->def != NULL ||
		    !sieve_action_is_executed(action, renv->result))
			continue;
		action->mail = mail;
		found = TRUE;
	}
	/* The mail now belongs to an action, too: what changes the message next
	   makes a new one. */
	if (found)
		sieve_message_snapshot(renv->msgctx);
}

/* Not all that Pigeonhole does asks for the current message: `report` sends,
   the old `notify` quotes, and the implicit keep after a failure stores the
   message that the delivery began with. From here on that is the encrypted one.

   Scripts see it as constant, and nothing else leads to it. It is a variable of
   the delivery, which does not read it after the scripts; an included script
   has an exec_env of its own, but all of them share this. */
static void perot_forget_original(const struct sieve_runtime_env *renv)
{
	struct sieve_message_data *msgdata =
		(struct sieve_message_data *)renv->exec_env->msgdata;

	msgdata->mail = sieve_message_get_mail(renv->msgctx);
	/* That mail has to stay until the end: what changes the message next
	   makes a new one. */
	sieve_message_snapshot(renv->msgctx);
}

void perot_keep_encrypted(const struct sieve_runtime_env *renv,
			  const struct sieve_extension *ext)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);
	perot_history_get(renv->result, ext)->encrypted = TRUE;
	perot_update_earlier_keeps(renv);
	/* What came encrypted may be stored as it came. */
	if (sieve_message_get_mail(renv->msgctx) == eenv->msgdata->mail)
		return;
	if (perot_is_saved(eenv)) {
		perot_saved_encrypted(renv);
		sieve_result_set_failure_action(renv->result, ext,
						&act_failed);
	}
	/* Other existing mail (sieve-filter, FILTER=SIEVE) just stays as it is
	   when something fails. */
	if (mdctx == NULL) {
		perot_see_to_original(renv, ext);
		return;
	}
	perot_forget_original(renv);
	sieve_result_add_implicit_side_effect(renv->result, &act_store, TRUE,
					      ext, &seff_inbox, NULL);
	eenv->exec_status->tried_default_save = TRUE;
	/* mail_deliver() is told of a temporary failure only where that alone
	   keeps it from the INBOX: elsewhere the sender is still told when the
	   mailbox is full. */
	if (mdctx->tempfail_error == NULL && perot_has_other_default(mdctx)) {
		mdctx->tempfail_error =
			"Encrypted message could not be stored";
	}
}

/* Pigeonhole rolls back what this script has asked for, though nothing of it
   has begun: the process ends in the rollback of `pipe`. What is not there is
   not rolled back. A keep may have begun in an earlier script. */
static void perot_forget_actions(const struct sieve_runtime_env *renv)
{
	struct sieve_result_iterate_context *iter;
	const struct sieve_action *action;

	iter = sieve_result_iterate_init(renv->result);
	while ((action = sieve_result_iterate_next(iter, NULL)) != NULL) {
		if (!action->keep &&
		    !sieve_action_is_executed(action, renv->result))
			sieve_result_iterate_delete(iter);
	}
}

void perot_end_script(const struct sieve_runtime_env *renv)
{
	perot_forget_actions(renv);
	sieve_interpreter_interrupt(renv->interp);
}

int perot_defer(const struct sieve_runtime_env *renv,
		const struct sieve_extension *ext, const char *answer)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct mail_deliver_context *mdctx = perot_deliver_context(eenv);

	perot_forget_actions(renv);
	if (mdctx != NULL) {
		sieve_result_set_failure_action(renv->result, ext, &act_defer);
		eenv->exec_status->tried_default_save = TRUE;
		mdctx->tempfail_error = p_strdup(mdctx->pool, answer);
	}
	if (!perot_is_in_imap(eenv))
		return SIEVE_EXEC_TEMP_FAILURE;
	/* FILTER=SIEVE: the user is at the other end, and is told. */
	if (!perot_is_saved(eenv))
		sieve_runtime_error(renv, NULL, "%s", answer);
	/* A temporary failure would keep the script from the other messages of
	   the IMAP command. */
	return SIEVE_EXEC_FAILURE;
}
