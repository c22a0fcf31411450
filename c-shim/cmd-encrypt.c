/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"
#include "master-service.h"

/* Encrypt command
 *
 * Syntax:
 *   encrypt [":force"] [":try"] [":hidesubject"] [<to: string-list>]
 */

static bool
cmd_encrypt_registered(struct sieve_validator *valdtr,
		       const struct sieve_extension *ext,
		       struct sieve_command_registration *cmd_reg);
static bool
cmd_encrypt_validate(struct sieve_validator *valdtr, struct sieve_command *cmd);
static bool
cmd_encrypt_generate(const struct sieve_codegen_env *cgenv,
		     struct sieve_command *cmd);

const struct sieve_command_def perot_cmd_encrypt = {
	.identifier = "encrypt",
	.type = SCT_HYBRID,
	.positional_args = -1, /* none or one: checked below */
	.subtests = 0,
	.block_allowed = FALSE,
	.block_required = FALSE,
	.registered = cmd_encrypt_registered,
	.validate = cmd_encrypt_validate,
	.generate = cmd_encrypt_generate,
};

/*
 * Tagged arguments
 */

static const struct sieve_argument_def encrypt_force_tag = {
	.identifier = "force",
};

static const struct sieve_argument_def encrypt_try_tag = {
	.identifier = "try",
};

static const struct sieve_argument_def encrypt_hidesubject_tag = {
	.identifier = "hidesubject",
};

enum cmd_encrypt_optional {
	OPT_END,
	OPT_FORCE,
	OPT_TRY,
	OPT_HIDESUBJECT,
};

static bool
cmd_encrypt_registered(struct sieve_validator *valdtr,
		       const struct sieve_extension *ext,
		       struct sieve_command_registration *cmd_reg)
{
	sieve_validator_register_tag(valdtr, cmd_reg, ext, &encrypt_force_tag,
				     OPT_FORCE);
	sieve_validator_register_tag(valdtr, cmd_reg, ext, &encrypt_try_tag,
				     OPT_TRY);
	sieve_validator_register_tag(valdtr, cmd_reg, ext,
				     &encrypt_hidesubject_tag,
				     OPT_HIDESUBJECT);
	return TRUE;
}

/*
 * Encrypt operation
 */

static bool
cmd_encrypt_operation_dump(const struct sieve_dumptime_env *denv,
			   sieve_size_t *address);
static int
cmd_encrypt_operation_execute(const struct sieve_runtime_env *renv,
			      sieve_size_t *address);

const struct sieve_operation_def perot_opr_encrypt = {
	.mnemonic = "ENCRYPT",
	.ext_def = &perot_extension,
	.code = PEROT_OPERATION_ENCRYPT,
	.dump = cmd_encrypt_operation_dump,
	.execute = cmd_encrypt_operation_execute,
};

/*
 * Validation
 */

/* What a finding means depends on who asks. Whoever uploads a script is told, and the script is not
   accepted. When Dovecot compiles a stored script again during a delivery, an error would make it
   deliver in clear: there the command says it when it runs. sievec is run by administrators, often
   as another user and with another home: certificates that are not found are a warning there. */
enum cmd_encrypt_author {
	AUTHOR_UPLOADS,
	AUTHOR_COMPILES,
	AUTHOR_IS_AWAY,
};

static enum cmd_encrypt_author
cmd_encrypt_author(struct sieve_validator *valdtr)
{
	enum sieve_compile_flags flags = sieve_validator_compile_flags(valdtr);

	if ((flags & (SIEVE_COMPILE_FLAG_UPLOADED |
		      SIEVE_COMPILE_FLAG_ACTIVATED)) != 0)
		return AUTHOR_UPLOADS;
	if (strcmp(master_service_get_name(master_service), "sievec") == 0)
		return AUTHOR_COMPILES;
	return AUTHOR_IS_AWAY;
}

/* Warns of what stores or sends the message before it is encrypted: of the nearest such action, and
   not of what stands before an earlier `encrypt`, which has been looked at already. */
static void
cmd_encrypt_warn_of_earlier_action(struct sieve_validator *valdtr,
				   struct sieve_command *cmd)
{
	static const char *const actions[] = {
		"keep", "fileinto", "redirect", "pipe", NULL
	};
	struct sieve_command *outer, *earlier;

	for (outer = cmd; outer != NULL; outer = sieve_command_parent(outer)) {
		for (earlier = sieve_command_prev(outer); earlier != NULL;
		     earlier = sieve_command_prev(earlier)) {
			const char *name = earlier->ast_node->identifier;

			if (strcasecmp(name, "encrypt") == 0)
				return;
			if (!str_array_icase_find(actions, name))
				continue;
			sieve_command_validate_warning(valdtr, cmd,
				"'%s' on line %u comes before 'encrypt': "
				"it takes the message as it is, not encrypted",
				name, earlier->ast_node->source_line);
			return;
		}
	}
}

static void cmd_encrypt_explain(void *context, struct perot_bytes text)
{
	const char **explanation = context;

	*explanation = perot_str(text);
}

static bool
cmd_encrypt_check_recipient(struct sieve_validator *valdtr,
			    struct sieve_command *cmd,
			    struct sieve_ast_argument *arg,
			    enum cmd_encrypt_author author)
{
	struct sieve_instance *svinst = sieve_validator_svinst(valdtr);
	const char *explanation = "";
	const struct perot_finding_sink sink = {
		.context = &explanation,
		.explain = cmd_encrypt_explain,
	};
	const struct perot_owner owner = {
		.user = perot_bytes(svinst->username),
		.home = perot_bytes(sieve_environment_get_homedir(svinst)),
	};
	const string_t *text = sieve_ast_argument_str(arg);
	const struct perot_bytes recipient = {
		.data = str_data(text),
		.size = str_len(text),
	};
	struct perot_log log;
	enum perot_finding finding;

	if (author == AUTHOR_IS_AWAY || !sieve_argument_is_string_literal(arg))
		return TRUE;

	perot_log_init(&log, svinst->event);
	finding = perot_core->check(perot_ext_instance(cmd->ext), &owner,
				    recipient, &log, &sink);
	switch (finding) {
	case PEROT_RECIPIENT_GOOD:
		return TRUE;
	case PEROT_RECIPIENT_NOT_FOUND:
		if (author == AUTHOR_UPLOADS)
			break;
		/* fall through */
	case PEROT_RECIPIENT_WARNING:
		sieve_argument_validate_warning(valdtr, arg, "encrypt: %s",
						explanation);
		return TRUE;
	case PEROT_RECIPIENT_WRONG:
		break;
	}
	sieve_argument_validate_error(valdtr, arg, "encrypt: %s", explanation);
	return FALSE;
}

static bool
cmd_encrypt_validate(struct sieve_validator *valdtr, struct sieve_command *cmd)
{
	struct sieve_ast_argument *arg = cmd->first_positional;
	struct sieve_ast_argument *item;
	enum cmd_encrypt_author author = cmd_encrypt_author(valdtr);
	bool success = TRUE;

	if (author != AUTHOR_IS_AWAY)
		cmd_encrypt_warn_of_earlier_action(valdtr, cmd);
	if (arg == NULL)
		return TRUE;

	if (!sieve_validate_positional_argument(valdtr, cmd, arg, "to", 1,
						SAAT_STRING_LIST))
		return FALSE;
	if (sieve_ast_argument_next(arg) != NULL) {
		sieve_command_validate_error(valdtr, cmd,
			"the encrypt command takes one argument, "
			"a string or a list of strings: the recipients");
		return FALSE;
	}
	if (author != AUTHOR_IS_AWAY &&
	    sieve_ast_argument_type(arg) == SAAT_STRING_LIST &&
	    sieve_ast_strlist_count(arg) > PEROT_MAX_RECIPIENTS) {
		sieve_argument_validate_error(valdtr, arg,
			"the encrypt command takes up to %u recipients, "
			"and these are %u: leave some out", PEROT_MAX_RECIPIENTS,
			sieve_ast_strlist_count(arg));
		return FALSE;
	}
	if (!sieve_validator_argument_activate(valdtr, cmd, arg, FALSE))
		return FALSE;

	if (sieve_ast_argument_type(arg) != SAAT_STRING_LIST)
		return cmd_encrypt_check_recipient(valdtr, cmd, arg, author);
	for (item = sieve_ast_strlist_first(arg); item != NULL;
	     item = sieve_ast_strlist_next(item)) {
		if (!cmd_encrypt_check_recipient(valdtr, cmd, item, author))
			success = FALSE;
	}
	return success;
}

/*
 * Code generation
 */

static bool
cmd_encrypt_generate(const struct sieve_codegen_env *cgenv,
		     struct sieve_command *cmd)
{
	sieve_operation_emit(cgenv->sblock, cmd->ext, &perot_opr_encrypt);

	/* Emit is_test flag */
	sieve_binary_emit_byte(cgenv->sblock,
		(uint8_t)(cmd->ast_node->type == SAT_TEST ? 1 : 0));

	/* An empty block of optional operands when there is no argument at all: the placeholder below
	   begins with the same byte as such a block, and would be taken for one. */
	if (sieve_ast_argument_first(cmd->ast_node) == NULL) {
		sieve_binary_emit_byte(cgenv->sblock, SIEVE_OPERAND_OPTIONAL);
		sieve_binary_emit_byte(cgenv->sblock, OPT_END);
	}

	/* Generate arguments */
	if (!sieve_generate_arguments(cgenv, cmd, NULL))
		return FALSE;

	/* Emit a placeholder when the <to> argument is missing */
	if (cmd->first_positional == NULL)
		sieve_opr_omitted_emit(cgenv->sblock);
	return TRUE;
}

/*
 * Code dump
 */

static bool
cmd_encrypt_operation_dump(const struct sieve_dumptime_env *denv,
			   sieve_size_t *address)
{
	unsigned int is_test = 0;
	int ret, opt_code = 0;

	/* Read is_test flag */
	if (!sieve_binary_read_byte(denv->sblock, address, &is_test))
		return FALSE;

	sieve_code_dumpf(denv, "ENCRYPT (%s)",
			 (is_test > 0 ? "test" : "command"));
	sieve_code_descend(denv);

	/* Dump optional operands */
	for (;;) {
		ret = sieve_opr_optional_dump(denv, address, &opt_code);
		if (ret < 0)
			return FALSE;
		if (ret == 0)
			break;
		switch (opt_code) {
		case OPT_FORCE:
			sieve_code_dumpf(denv, "force");
			break;
		case OPT_TRY:
			sieve_code_dumpf(denv, "try");
			break;
		case OPT_HIDESUBJECT:
			sieve_code_dumpf(denv, "hidesubject");
			break;
		default:
			return FALSE;
		}
	}

	return sieve_opr_stringlist_dump_ex(denv, address, "to",
					    "(the owner)");
}

/*
 * Code execution
 */

struct cmd_encrypt_call {
	const struct sieve_runtime_env *renv;
	const struct sieve_extension *ext;
	/* Parent of what is logged and counted: its age is Dovecot's field "duration". */
	struct event *event;
	bool is_test, force, try, hide_subject;
	/* The operands cannot be read, nor what to do on failure */
	bool damaged;
	const char *const *recipients;
	/* Where the encrypted message is put together */
	struct perot_temp *temp;
	/* What became of it, and why it failed if it did */
	enum perot_outcome outcome;
	const char *failure_reason;
};

static int
cmd_encrypt_read_operands(struct cmd_encrypt_call *call, sieve_size_t *address)
{
	const struct sieve_runtime_env *renv = call->renv;
	struct sieve_operand operand;
	struct sieve_stringlist *list = NULL;
	unsigned int is_test = 0;
	int ret, opt_code = 0;

	/* The is_test flag */
	if (!sieve_binary_read_byte(renv->sblock, address, &is_test)) {
		sieve_runtime_trace_error(renv, "invalid is_test flag");
		return SIEVE_EXEC_BIN_CORRUPT;
	}
	call->is_test = (is_test > 0);

	/* Optional operands */
	while ((ret = sieve_opr_optional_read(renv, address, &opt_code)) != 0) {
		if (ret < 0)
			return SIEVE_EXEC_BIN_CORRUPT;
		switch (opt_code) {
		case OPT_FORCE:
			call->force = TRUE;
			break;
		case OPT_TRY:
			call->try = TRUE;
			break;
		case OPT_HIDESUBJECT:
			call->hide_subject = TRUE;
			break;
		default:
			sieve_runtime_trace_error(renv,
				"unknown optional operand");
			return SIEVE_EXEC_BIN_CORRUPT;
		}
	}

	/* Fixed operands */
	ret = sieve_operand_runtime_read(renv, address, "to", &operand);
	if (ret <= 0 || sieve_operand_is_omitted(&operand))
		return ret;
	ret = sieve_opr_stringlist_read_data(renv, &operand, address, "to",
					     &list);
	if (ret <= 0)
		return ret;
	/* A list that says it is longer than the script is, or is empty, must not count as omitted. */
	if (list == NULL) {
		sieve_runtime_trace_error(renv, "invalid to operand");
		return SIEVE_EXEC_BIN_CORRUPT;
	}
	if (sieve_stringlist_read_all(list, pool_datastack_create(),
				      &call->recipients) < 0) {
		sieve_runtime_trace_error(renv, "failed to read to operand");
		return list->exec_status;
	}
	return (call->recipients[0] != NULL ? SIEVE_EXEC_OK :
		SIEVE_EXEC_BIN_CORRUPT);
}

static void
cmd_encrypt_trace(void *context, enum perot_level level,
		  struct perot_bytes line)
{
	const struct sieve_runtime_env *renv = context;
	struct perot_log log;

	sieve_runtime_trace(renv, SIEVE_TRLVL_ACTIONS, "%s", perot_str(line));
	if (level == PEROT_LEVEL_DEBUG)
		return;
	perot_log_init(&log, renv->event);
	log.write(log.context, level, line);
}

/* What happens to the message when it could not be encrypted */
static bool cmd_encrypt_defers(const struct cmd_encrypt_call *call)
{
	if (call->damaged)
		return TRUE;
	return !call->is_test && !call->try &&
		!perot_core->keep_on_error(perot_ext_instance(call->ext));
}

static const char *cmd_encrypt_consequence(const struct cmd_encrypt_call *call)
{
	if (!cmd_encrypt_defers(call)) {
		return (call->is_test ? "the test is false" :
			"the script goes on with it as it was");
	}
	return perot_deferred(call->renv->exec_env);
}

/* One line and one event for each message */
static void
cmd_encrypt_finished(struct cmd_encrypt_call *call,
		     const struct perot_report *report)
{
	static const char *const outcomes[] = {
		[PEROT_ENCRYPTED] = "encrypted",
		[PEROT_ALREADY_ENCRYPTED] = "already_encrypted",
		[PEROT_FAILED] = "failed",
	};
	const char *reason = perot_str(report->reason);
	const char *recipients = perot_str(report->recipients);
	bool deferred = report->outcome == PEROT_FAILED &&
		cmd_encrypt_defers(call) &&
		perot_is_delivery(call->renv->exec_env);
	struct event_passthrough *e;

	call->outcome = report->outcome;

	e = event_create_passthrough(call->event)->
		set_name("sieve_perot_encrypt_finished")->
		add_str("outcome", outcomes[report->outcome])->
		add_str("reason", reason)->
		add_str("deferred", deferred ? "yes" : "no")->
		add_int("bytes_in", (intmax_t)report->bytes_in)->
		add_int("bytes_out", (intmax_t)report->bytes_out)->
		add_str("recipients", recipients);

	switch (report->outcome) {
	case PEROT_ENCRYPTED:
		e_info(e->event(), "encrypt: message encrypted: "
		       "%"PRIu64" -> %"PRIu64" bytes, %"PRIu64".%03u ms, to %s",
		       report->bytes_in, report->bytes_out,
		       report->microseconds / 1000,
		       (unsigned int)(report->microseconds % 1000),
		       recipients);
		break;
	case PEROT_ALREADY_ENCRYPTED:
		e_info(e->event(), "encrypt: message left as it is: "
		       "it is encrypted already");
		break;
	case PEROT_FAILED:
		call->failure_reason = reason;
		e_error(e->event(), "encrypt: message not encrypted, %s: %s",
			cmd_encrypt_consequence(call), perot_str(report->text));
		break;
	}
}

/* For failures that are found on this side of the border */
static void
cmd_encrypt_failed(struct cmd_encrypt_call *call, const char *reason,
		   const char *text)
{
	const struct perot_report report = {
		.outcome = PEROT_FAILED,
		.reason = perot_bytes(reason),
		.text = perot_bytes(text),
	};

	cmd_encrypt_finished(call, &report);
}

static void
cmd_encrypt_done(void *context, const struct perot_report *report)
{
	struct cmd_encrypt_call *call = context;
	const char *error;

	if (report->outcome == PEROT_ENCRYPTED &&
	    perot_temp_substitute(call->temp, call->renv, &error) < 0)
		cmd_encrypt_failed(call, "write_failed", error);
	else
		cmd_encrypt_finished(call, report);
}

static void
cmd_encrypt_perform(struct cmd_encrypt_call *call, struct mail *mail)
{
	const struct sieve_runtime_env *renv = call->renv;
	struct sieve_instance *svinst = renv->exec_env->svinst;
	/* For mail that is stored already there is no envelope: Pigeonhole makes one up from fields of the
	   header, which the sender has written. */
	const struct smtp_address *rcpt =
		(!perot_is_delivery(renv->exec_env) ? NULL :
		 sieve_message_get_final_recipient(renv->msgctx));
	struct perot_bytes recipients[PEROT_MAX_RECIPIENTS + 1];
	struct perot_request request = {
		.owner = {
			.user = perot_bytes(svinst->username),
			.recipient = perot_bytes(rcpt == NULL ? NULL :
				smtp_address_encode_raw(rcpt)),
			.home = perot_bytes(
				sieve_environment_get_homedir(svinst)),
		},
		.recipients = recipients,
		.force = call->force,
		.hide_subject = call->hide_subject,
	};
	const struct perot_log log = {
		.context = (void *)renv,
		.write = cmd_encrypt_trace,
	};
	const struct perot_report_sink report = {
		.context = call,
		.done = cmd_encrypt_done,
	};
	struct perot_mail_input input;
	struct perot_output output;
	const char *error;

	/* One more than allowed at most: then the core says so. */
	while (call->recipients != NULL &&
	       request.recipient_count < N_ELEMENTS(recipients) &&
	       call->recipients[request.recipient_count] != NULL) {
		recipients[request.recipient_count] = perot_bytes(
			call->recipients[request.recipient_count]);
		request.recipient_count++;
	}
	if (perot_input_open(mail, renv, &input, &error) < 0) {
		cmd_encrypt_failed(call, "unreadable_message", error);
		return;
	}
	if (perot_replace_begin(renv->exec_env, &error) < 0) {
		cmd_encrypt_failed(call, "write_failed", error);
		return;
	}

	call->temp = perot_temp_create(svinst);
	perot_temp_output(call->temp, &output);
	perot_core->encrypt(perot_ext_instance(call->ext), &request,
			    &input.input, &output, &log, &report);
	perot_temp_destroy(&call->temp);
}

static int
cmd_encrypt_operation_run(struct cmd_encrypt_call *call)
{
	const struct sieve_runtime_env *renv = call->renv;
	struct mail *mail = sieve_message_get_mail(renv->msgctx);
	bool encrypted = FALSE;

	sieve_runtime_trace(renv, SIEVE_TRLVL_ACTIONS, "encrypt %s",
			    (call->is_test ? "test" : "action"));
	sieve_runtime_trace_descend(renv);

	call->outcome = PEROT_FAILED;
	if (sieve_interpreter_loop_get_global(renv->interp, NULL, NULL) != NULL) {
		/* The loop holds on to parts of the message that a substitution frees. */
		cmd_encrypt_failed(call, "bad_script",
			"encrypt cannot stand in a foreverypart loop: "
			"put it in front of the loop or behind it");
	} else if ((mail_get_flags(mail) & MAIL_DRAFT) != 0) {
		sieve_runtime_trace(renv, SIEVE_TRLVL_ACTIONS,
			"the message is a draft: left as it is");
		if (call->is_test)
			sieve_interpreter_set_test_result(renv->interp, FALSE);
		return SIEVE_EXEC_OK;
	} else {
		cmd_encrypt_perform(call, mail);
	}

	if (call->outcome != PEROT_FAILED) {
		encrypted = TRUE;
		perot_keep_encrypted(renv, call->ext);
	} else if (cmd_encrypt_defers(call)) {
		return perot_defer(renv, call->ext, call->failure_reason);
	}
	if (call->is_test)
		sieve_interpreter_set_test_result(renv->interp, encrypted);
	return SIEVE_EXEC_OK;
}

static int
cmd_encrypt_operation_execute(const struct sieve_runtime_env *renv,
			      sieve_size_t *address)
{
	struct cmd_encrypt_call call = {
		.renv = renv,
		.ext = renv->oprtn->ext,
		.event = event_create(renv->event),
		.failure_reason = "internal",
	};
	int ret;

	if (cmd_encrypt_read_operands(&call, address) > 0) {
		ret = cmd_encrypt_operation_run(&call);
	} else {
		/* Not BIN_CORRUPT, though the binary is: Pigeonhole would run the script a second time,
		   and end the process in an assertion. The version of the extension (ext-encrypt.c)
		   makes it compile scripts anew where the operands have changed. */
		call.damaged = TRUE;
		cmd_encrypt_failed(&call, "internal", "the compiled script is "
				   "damaged: remove its .svbin file");
		ret = perot_defer(renv, call.ext, call.failure_reason);
	}
	event_unref(&call.event);
	return ret;
}
