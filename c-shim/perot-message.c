/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Request
 */

/* Returns TRUE if the message is in a mailbox of others: shared, or public. A
   virtual mailbox of the user may show it, too. */
static bool perot_is_foreign(const struct sieve_execute_env *eenv)
{
	struct mail *mail;

	if (mail_get_backend_mail(eenv->msgdata->mail, &mail) < 0)
		return TRUE;
	return (mail->box->list->ns->type & (MAIL_NAMESPACE_TYPE_SHARED |
					     MAIL_NAMESPACE_TYPE_PUBLIC)) != 0;
}

void perot_request_init(struct perot_request *request_r, enum perot_form form,
			const struct sieve_runtime_env *renv)
{
	const struct sieve_execute_env *eenv = renv->exec_env;
	struct sieve_instance *svinst = eenv->svinst;

	i_zero(request_r);
	request_r->place = PEROT_PLACE_MAILBOX;
	if (perot_is_delivery(eenv)) {
		request_r->place = PEROT_PLACE_DELIVERY;
		request_r->owner.recipient =
			perot_bytes(perot_recipient(eenv->scriptenv->user));
	} else {
		request_r->foreign = perot_is_foreign(eenv);
	}
	request_r->form = form;
	request_r->owner.user = perot_bytes(svinst->username);
	request_r->owner.home =
		perot_bytes(sieve_environment_get_homedir(svinst));
	request_r->temp_dir = perot_bytes(svinst->temp_dir == NULL ? "/tmp" :
					  svinst->temp_dir);
	request_r->cpu_limit = (uint64_t)perot_max_cpu_secs(svinst) * 1000;
	request_r->cpu_begin =
		perot_run_get(renv, renv->oprtn->ext)->cpu_begin;
}

/*
 * Clear copies
 *
 * What stands in front of `encrypt`, in this script or in an earlier one, has
 * been given the message as it was.
 */

/* Most actions that are named in a line */
#define PEROT_MAX_NAMED 3

static const char *
perot_action_describe(const struct sieve_action *action)
{
	const struct act_store_context *store = action->context;

	if (action->def != &act_store || store == NULL) {
		return t_strdup_printf("%s (%s)", sieve_action_name(action),
				       action->location);
	}
	return t_strdup_printf("%s \"%s\" (%s)", sieve_action_name(action),
			       str_sanitize(store->mailbox, 80),
			       action->location);
}

void perot_request_add_clear_copies(struct perot_request *request,
				    const struct sieve_runtime_env *renv)
{
	struct sieve_result_iterate_context *iter;
	const struct sieve_action *action;
	string_t *text = t_str_new(128);

	iter = sieve_result_iterate_init(renv->result);
	while ((action = sieve_result_iterate_next(iter, NULL)) != NULL) {
		/* An action without a mail takes none, or the one that is
		   current in the end. So does a keep of an earlier script
		   (perot-outcome.c). */
		if (action->mail == NULL ||
		    (action->keep && action->def == NULL &&
		     sieve_action_is_executed(action, renv->result)))
			continue;
		if (request->clear_copies++ >= PEROT_MAX_NAMED)
			continue;
		if (str_len(text) > 0)
			str_append(text, ", ");
		str_append(text, perot_action_describe(action));
	}
	if (request->clear_copies > PEROT_MAX_NAMED) {
		str_printfa(text, ", and %u more",
			    request->clear_copies - PEROT_MAX_NAMED);
	}
	request->clear_copies_text = perot_bytes(str_c(text));
}

/*
 * Message in
 */

void perot_message_open(const struct sieve_runtime_env *renv,
			struct perot_request *request,
			struct perot_mail_input *input_r)
{
	struct mail *mail = sieve_message_get_mail(renv->msgctx);
	struct istream *stream;

	/* The stream belongs to the mail. */
	if (mail_get_stream(mail, NULL, NULL, &stream) == 0) {
		perot_mail_input_init(input_r, stream);
		return;
	}
	/* In a delivery the MTA still has it. */
	request->obstacle =
		(mail->expunged && request->place == PEROT_PLACE_MAILBOX ?
		 PEROT_OBSTACLE_EXPUNGED : PEROT_OBSTACLE_MESSAGE);
	request->obstacle_text = perot_bytes(
		mailbox_get_last_internal_error(mail->box, NULL));
}

/*
 * Message out
 */

/* What stays with the message */
struct perot_state {
	enum mail_flags flags;
	const char *const *keywords;
	time_t received_date;
};

static int
perot_state_get(struct mail *mail, struct perot_state *state_r,
		const char **error_r)
{
	if (mail_get_received_date(mail, &state_r->received_date) < 0) {
		*error_r = mailbox_get_last_internal_error(mail->box, NULL);
		return -1;
	}
	state_r->flags = mail_get_flags(mail) & MAIL_FLAGS_NONRECENT;
	state_r->keywords = p_strarray_dup(pool_datastack_create(),
					   mail_get_keywords(mail));
	return 0;
}

/* The mail is a substituted one, and so in a raw mailbox of its own. */
static int
perot_state_set(struct mail *mail, const struct perot_state *state,
		const char **error_r)
{
	struct mailbox *box = mail->box;
	struct raw_mailbox *raw_box = RAW_MAILBOX(box);
	struct mail_keywords *keywords;
	uoff_t size;

	/* Dovecot overwrites the date when it is first asked for the size, so
	   ask now: `size` is a test. */
	if (mail_get_physical_size(mail, &size) < 0) {
		*error_r = mailbox_get_last_internal_error(box, NULL);
		return -1;
	}
	raw_box->mtime = state->received_date;
	if (state->flags != 0)
		mail_update_flags(mail, MODIFY_REPLACE, state->flags);
	if (*state->keywords != NULL) {
		keywords = mailbox_keywords_create_valid(box, state->keywords);
		mail_update_keywords(mail, MODIFY_REPLACE, keywords);
		mailbox_keywords_unref(&keywords);
	}
	return 0;
}

int perot_message_replace(const struct sieve_runtime_env *renv,
			  struct perot_result *result, const char **error_r)
{
	struct perot_state state;
	struct istream *stream;
	const char *error;
	int ret;

	if (perot_state_get(sieve_message_get_mail(renv->msgctx), &state,
			    error_r) < 0)
		return -1;
	stream = perot_result_stream(result, error_r);
	if (stream == NULL)
		return -1;
	ret = sieve_message_substitute(renv->msgctx, stream);
	i_stream_unref(&stream);
	if (ret < 0) {
		*error_r = "the mail server does not take the encrypted "
			"message";
		return -1;
	}
	/* From here on the script goes on with the encrypted message. */
	if (perot_state_set(sieve_message_get_mail(renv->msgctx), &state,
			    &error) < 0) {
		e_warning(renv->event, "encrypt: flags, keywords and date are "
			  "not those of the message as it was: %s", error);
	}
	return 0;
}
