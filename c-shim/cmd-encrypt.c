/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

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

/* The program that compiles is known by its name: Pigeonhole tells nothing else
   by which sievec would differ from sieve-test and sieve-filter. Those compile
   in order to run the script, and the command has its say then. */
static enum perot_author cmd_encrypt_author(struct sieve_validator *valdtr)
{
	enum sieve_compile_flags flags = sieve_validator_compile_flags(valdtr);

	if ((flags & (SIEVE_COMPILE_FLAG_UPLOADED |
		      SIEVE_COMPILE_FLAG_ACTIVATED)) != 0)
		return PEROT_AUTHOR_UPLOADS;
	if (strcmp(master_service_get_name(master_service), "sievec") == 0)
		return PEROT_AUTHOR_COMPILES;
	return PEROT_AUTHOR_AWAY;
}

/* Warns of the nearest action in front of the command that stores or sends the
   message as it is. What stands in front of an earlier `encrypt` has been
   looked at already. */
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

static bool
cmd_encrypt_check_recipient(struct sieve_validator *valdtr,
			    struct sieve_command *cmd,
			    struct sieve_ast_argument *arg,
			    enum perot_author author)
{
	struct sieve_instance *svinst = sieve_validator_svinst(valdtr);
	const struct perot_owner owner = {
		.user = perot_bytes(svinst->username),
		.home = perot_bytes(sieve_environment_get_homedir(svinst)),
	};
	const string_t *text = sieve_ast_argument_str(arg);
	const struct perot_bytes recipient = {
		.data = str_data(text),
		.size = str_len(text),
	};
	const struct perot_report *report;
	struct perot_result *result;
	struct perot_log log;
	bool accepted = TRUE;

	/* The value of a variable is not known before the script runs. */
	if (!sieve_argument_is_string_literal(arg))
		return TRUE;

	perot_log_init(&log, svinst->event);
	result = perot_core->check(perot_ext_instance(cmd->ext), &owner,
				   recipient, author, &log);
	report = perot_core->report(result);
	if (report->has_line && report->level == PEROT_LEVEL_ERROR) {
		sieve_argument_validate_error(valdtr, arg, "encrypt: %s",
					      perot_str(report->line));
		accepted = FALSE;
	} else if (report->has_line) {
		sieve_argument_validate_warning(valdtr, arg, "encrypt: %s",
						perot_str(report->line));
	}
	perot_core->free(result);
	return accepted;
}

static bool
cmd_encrypt_validate(struct sieve_validator *valdtr, struct sieve_command *cmd)
{
	struct sieve_ast_argument *arg = cmd->first_positional;
	struct sieve_ast_argument *item;
	enum perot_author author = cmd_encrypt_author(valdtr);
	bool success = TRUE;

	if (author != PEROT_AUTHOR_AWAY)
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
	if (author != PEROT_AUTHOR_AWAY &&
	    sieve_ast_argument_type(arg) == SAAT_STRING_LIST &&
	    sieve_ast_strlist_count(arg) > PEROT_MAX_RECIPIENTS) {
		sieve_argument_validate_error(valdtr, arg,
			"the encrypt command takes up to %u recipients, "
			"and these are %u: leave some out",
			PEROT_MAX_RECIPIENTS, sieve_ast_strlist_count(arg));
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

	/* Emit an empty block of optional operands when there is no argument at
	   all: the placeholder below begins with the same byte as such a block,
	   and would be taken for one. */
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

/* A list that says it is longer than the script is, or that is empty, must not
   count as omitted. */
static int
cmd_encrypt_read_recipients(const struct sieve_runtime_env *renv,
			    sieve_size_t *address,
			    struct perot_request *request)
{
	struct sieve_operand operand;
	struct sieve_stringlist *list = NULL;
	const char *const *texts;
	struct perot_bytes *recipients;
	int ret;

	ret = sieve_operand_runtime_read(renv, address, "to", &operand);
	if (ret <= 0 || sieve_operand_is_omitted(&operand))
		return ret;
	ret = sieve_opr_stringlist_read_data(renv, &operand, address, "to",
					     &list);
	if (ret <= 0)
		return ret;
	if (list == NULL) {
		sieve_runtime_trace_error(renv, "invalid to operand");
		return SIEVE_EXEC_BIN_CORRUPT;
	}
	if (sieve_stringlist_read_all(list, pool_datastack_create(),
				      &texts) < 0) {
		sieve_runtime_trace_error(renv, "failed to read to operand");
		return list->exec_status;
	}
	if (texts[0] == NULL)
		return SIEVE_EXEC_BIN_CORRUPT;

	/* Up to one more than are allowed: then the core says so. */
	recipients = t_new(struct perot_bytes, PEROT_MAX_RECIPIENTS + 1);
	while (*texts != NULL &&
	       request->recipient_count <= PEROT_MAX_RECIPIENTS)
		recipients[request->recipient_count++] = perot_bytes(*texts++);
	request->recipients = recipients;
	return SIEVE_EXEC_OK;
}

static int
cmd_encrypt_read_operands(const struct sieve_runtime_env *renv,
			  sieve_size_t *address, struct perot_request *request)
{
	unsigned int is_test = 0;
	int ret, opt_code = 0;

	/* The is_test flag */
	if (!sieve_binary_read_byte(renv->sblock, address, &is_test)) {
		sieve_runtime_trace_error(renv, "invalid is_test flag");
		return SIEVE_EXEC_BIN_CORRUPT;
	}
	if (is_test > 0)
		request->form = PEROT_FORM_TEST;

	/* Optional operands */
	while ((ret = sieve_opr_optional_read(renv, address, &opt_code)) != 0) {
		if (ret < 0)
			return SIEVE_EXEC_BIN_CORRUPT;
		switch (opt_code) {
		case OPT_FORCE:
			request->force = TRUE;
			break;
		case OPT_TRY:
			request->try_only = TRUE;
			break;
		case OPT_HIDESUBJECT:
			request->hide_subject = TRUE;
			break;
		default:
			sieve_runtime_trace_error(renv,
				"unknown optional operand");
			return SIEVE_EXEC_BIN_CORRUPT;
		}
	}

	/* Fixed operands */
	return cmd_encrypt_read_recipients(renv, address, request);
}

/* Lines of the core go to the trace, too. */
static void
cmd_encrypt_log_write(void *context, enum perot_level level,
		      struct perot_bytes line)
{
	const struct sieve_runtime_env *const *renv = context;
	struct perot_run *run = perot_run_get(*renv, (*renv)->oprtn->ext);
	struct perot_log log;

	sieve_runtime_trace(*renv, SIEVE_TRLVL_ACTIONS, "%s", perot_str(line));
	if (level == PEROT_LEVEL_DEBUG ||
	    !perot_run_says(run, perot_str(line)))
		return;
	perot_log_init(&log, (*renv)->event);
	log.write(log.context, level, line);
}

/* Opens the message, unless it is clear already that it will not be read. */
static void
cmd_encrypt_prepare(const struct sieve_runtime_env *renv,
		    struct perot_request *request,
		    struct perot_mail_input *input_r)
{
	struct mail *mail = sieve_message_get_mail(renv->msgctx);
	struct perot_run *run = perot_run_get(renv, renv->oprtn->ext);
	const char *error;

	sieve_runtime_trace(renv, SIEVE_TRLVL_ACTIONS, "encrypt %s",
			    (request->form == PEROT_FORM_TEST ?
			     "test" : "action"));
	sieve_runtime_trace_descend(renv);

	if (sieve_interpreter_loop_get_global(renv->interp, NULL,
					      NULL) != NULL) {
		/* foreverypart: the loop holds on to parts of the message that
		   a substitution frees. */
		request->obstacle = PEROT_OBSTACLE_LOOP;
		return;
	}
	request->draft = (mail_get_flags(mail) & MAIL_DRAFT) != 0;
	if (request->draft)
		return;
	if (run->calls++ >= PEROT_MAX_CALLS) {
		request->obstacle = PEROT_OBSTACLE_CALLS;
		return;
	}
	if (run->layers >= PEROT_MAX_LAYERS && request->force) {
		request->obstacle = PEROT_OBSTACLE_LAYERS;
		return;
	}
	if (request->foreign && request->recipient_count == 0)
		return;
	perot_message_open(renv, request, input_r);
	if (request->obstacle == PEROT_OBSTACLE_NONE &&
	    perot_existing_lock(renv->exec_env, &error) < 0) {
		request->obstacle = PEROT_OBSTACLE_STORE;
		request->obstacle_text = perot_bytes(error);
	}
}

/* Puts the encrypted message, if there is one, in the place of the current one,
   and says what has become of it. */
static const struct perot_report *
cmd_encrypt_finish(const struct sieve_runtime_env *renv,
		   struct perot_result *result, struct event *event)
{
	const struct perot_report *report = perot_core->report(result);
	struct perot_run *run = perot_run_get(renv, renv->oprtn->ext);
	const char *error;

	if (report->replaces &&
	    perot_message_replace(renv, result, &error) < 0) {
		perot_core->refuse(result, perot_bytes(error));
		report = perot_core->report(result);
	}
	if (report->replaces)
		run->layers++;
	if (report->level > PEROT_LEVEL_DEBUG || report->field_count > 0) {
		if (perot_run_says(run, perot_str(report->line)))
			perot_report_log(report, event, "encrypt");
	} else if (report->has_line) {
		sieve_runtime_trace(renv, SIEVE_TRLVL_ACTIONS, "%s",
				    perot_str(report->line));
	}
	return report;
}

static int
cmd_encrypt_operation_execute(const struct sieve_runtime_env *renv,
			      sieve_size_t *address)
{
	const struct sieve_extension *ext = renv->oprtn->ext;
	struct event *event = event_create(renv->event);
	const struct perot_log log = {
		.context = &renv,
		.write = cmd_encrypt_log_write,
	};
	const struct perot_report *report;
	struct perot_request request;
	struct perot_mail_input input;
	struct perot_result *result;
	int status = SIEVE_EXEC_OK;

	i_zero(&input);
	perot_request_init(&request, PEROT_FORM_ACTION, renv);
	if (cmd_encrypt_read_operands(renv, address, &request) > 0) {
		cmd_encrypt_prepare(renv, &request, &input);
	} else {
		/* The status is not BIN_CORRUPT, though the binary is:
		   Pigeonhole would run the script a second time, and end the
		   process in an assertion. The version of the extension
		   (ext-encrypt.c) makes it compile scripts anew where the
		   operands have changed. */
		request.obstacle = PEROT_OBSTACLE_SCRIPT;
	}

	result = perot_core->encrypt(perot_ext_instance(ext), &request,
				     &input.input, &log);
	report = cmd_encrypt_finish(renv, result, event);
	if (report->encrypted)
		perot_keep_encrypted(renv, ext);
	if (report->defer) {
		status = perot_defer(renv, ext, perot_str(report->answer));
	} else if (request.obstacle == PEROT_OBSTACLE_EXPUNGED) {
		perot_end_script(renv);
	} else if (request.form == PEROT_FORM_TEST) {
		sieve_interpreter_set_test_result(renv->interp,
						  report->encrypted);
	}
	perot_core->free(result);
	event_unref(&event);
	return status;
}
