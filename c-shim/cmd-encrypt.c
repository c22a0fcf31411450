/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/* Encrypt command
 *
 * Syntax:
 *   encrypt [":force"] [":try"] [":hidesubject"] [":also" <more: string-list>]
 *           [<to: string-list>]
 *
 * Pgp_encrypt command (vnd.dovecot.pgp-encrypt)
 *
 * Syntax:
 *   pgp_encrypt [":keys" <keys: string-list>]
 */

static bool
cmd_encrypt_registered(struct sieve_validator *valdtr,
		       const struct sieve_extension *ext,
		       struct sieve_command_registration *cmd_reg);
static bool
cmd_pgp_encrypt_registered(struct sieve_validator *valdtr,
			   const struct sieve_extension *ext,
			   struct sieve_command_registration *cmd_reg);
static bool
cmd_encrypt_validate(struct sieve_validator *valdtr, struct sieve_command *cmd);
static bool
cmd_pgp_encrypt_validate(struct sieve_validator *valdtr,
			 struct sieve_command *cmd);
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

const struct sieve_command_def perot_cmd_pgp_encrypt = {
	.identifier = "pgp_encrypt",
	.type = SCT_COMMAND,
	.positional_args = -1, /* none, or the keys: checked below */
	.subtests = 0,
	.block_allowed = FALSE,
	.block_required = FALSE,
	.registered = cmd_pgp_encrypt_registered,
	.validate = cmd_pgp_encrypt_validate,
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

static const struct sieve_argument_def encrypt_smime_tag = {
	.identifier = "smime",
};

static bool
cmd_encrypt_validate_also_tag(struct sieve_validator *valdtr,
			      struct sieve_ast_argument **arg,
			      struct sieve_command *cmd);

static const struct sieve_argument_def encrypt_also_tag = {
	.identifier = "also",
	.validate = cmd_encrypt_validate_also_tag,
};

/* The keys that follow are what <to> is to `encrypt`: to the parser, they are
   no parameter of the tag. */
static bool
cmd_pgp_encrypt_validate_keys_tag(struct sieve_validator *valdtr,
				  struct sieve_ast_argument **arg,
				  struct sieve_command *cmd);

static const struct sieve_argument_def pgp_encrypt_keys_tag = {
	.identifier = "keys",
	.validate = cmd_pgp_encrypt_validate_keys_tag,
};

enum cmd_encrypt_optional {
	OPT_END,
	OPT_FORCE,
	OPT_TRY,
	OPT_HIDESUBJECT,
	OPT_ALSO,
	OPT_KEYS,
	OPT_SMIME,
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
	sieve_validator_register_tag(valdtr, cmd_reg, ext, &encrypt_smime_tag,
				     OPT_SMIME);
	sieve_validator_register_tag(valdtr, cmd_reg, ext, &encrypt_also_tag,
				     OPT_ALSO);
	return TRUE;
}

static bool
cmd_pgp_encrypt_registered(struct sieve_validator *valdtr,
			   const struct sieve_extension *ext,
			   struct sieve_command_registration *cmd_reg)
{
	sieve_validator_register_tag(valdtr, cmd_reg, ext,
				     &pgp_encrypt_keys_tag, OPT_KEYS);
	return TRUE;
}

static bool
cmd_encrypt_validate_also_tag(struct sieve_validator *valdtr,
			      struct sieve_ast_argument **arg,
			      struct sieve_command *cmd)
{
	struct sieve_ast_argument *tag = *arg;

	/* Detach the tag itself */
	*arg = sieve_ast_arguments_detach(*arg, 1);

	/* Check syntax:
	 *   ":also" <more: string-list>
	 */
	if (!sieve_validate_tag_parameter(valdtr, cmd, tag, *arg, NULL, 0,
					  SAAT_STRING_LIST, FALSE))
		return FALSE;

	/* Skip the parameter, which stands for the tag from now on */
	cmd->data = *arg;
	*arg = sieve_ast_argument_next(*arg);
	return TRUE;
}

static bool
cmd_pgp_encrypt_validate_keys_tag(
	struct sieve_validator *valdtr ATTR_UNUSED,
	struct sieve_ast_argument **arg, struct sieve_command *cmd)
{
	cmd->data = *arg;
	*arg = sieve_ast_argument_next(*arg);
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

static bool
cmd_encrypt_check_recipient(struct sieve_validator *valdtr,
			    struct sieve_command *cmd,
			    struct sieve_ast_argument *arg,
			    enum perot_author author)
{
	struct sieve_instance *svinst = sieve_validator_svinst(valdtr);
	const struct sieve_extension *ext = perot_extension_main(cmd->ext);
	bool only_certificates = sieve_command_is(cmd, perot_cmd_pgp_encrypt);
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
	if (!sieve_argument_is_string_literal(arg)) {
		if (!only_certificates)
			return TRUE;
		sieve_argument_validate_error(valdtr, arg,
			"%s: a key cannot come from a variable: paste the "
			"armored certificate into the script",
			sieve_command_identifier(cmd));
		return FALSE;
	}

	perot_log_init(&log, svinst->event);
	result = perot_core->check(perot_ext_instance(ext), &owner, recipient,
				   only_certificates, author, &log);
	report = perot_core->report(result);
	if (report->has_line && report->level == PEROT_LEVEL_ERROR) {
		sieve_argument_validate_error(valdtr, arg, "%s: %s",
					      sieve_command_identifier(cmd),
					      perot_str(report->line));
		accepted = FALSE;
	} else if (report->has_line) {
		sieve_argument_validate_warning(valdtr, arg, "%s: %s",
						sieve_command_identifier(cmd),
						perot_str(report->line));
	}
	perot_core->free(result);
	return accepted;
}

static unsigned int cmd_encrypt_count(struct sieve_ast_argument *list)
{
	if (list == NULL)
		return 0;
	return (sieve_ast_argument_type(list) == SAAT_STRING_LIST ?
		sieve_ast_strlist_count(list) : 1);
}

static bool
cmd_encrypt_check_recipients(struct sieve_validator *valdtr,
			     struct sieve_command *cmd,
			     struct sieve_ast_argument *list,
			     enum perot_author author)
{
	struct sieve_ast_argument *item;
	bool success = TRUE;

	if (list == NULL)
		return TRUE;
	if (sieve_ast_argument_type(list) != SAAT_STRING_LIST)
		return cmd_encrypt_check_recipient(valdtr, cmd, list, author);
	for (item = sieve_ast_strlist_first(list); item != NULL;
	     item = sieve_ast_strlist_next(item)) {
		if (!cmd_encrypt_check_recipient(valdtr, cmd, item, author))
			success = FALSE;
	}
	return success;
}

static bool
cmd_encrypt_validate_to(struct sieve_validator *valdtr,
			struct sieve_command *cmd,
			struct sieve_ast_argument *to)
{
	if (!sieve_validate_positional_argument(valdtr, cmd, to, "to", 1,
						SAAT_STRING_LIST))
		return FALSE;
	if (sieve_ast_argument_next(to) != NULL) {
		sieve_command_validate_error(valdtr, cmd,
			"the %s command takes one argument, "
			"a string or a list of strings: the recipients",
			sieve_command_identifier(cmd));
		return FALSE;
	}
	return sieve_validator_argument_activate(valdtr, cmd, to, FALSE);
}

static bool cmd_encrypt_is_in_loop(struct sieve_command *cmd)
{
	const struct sieve_ast_node *outer;

	for (outer = cmd->ast_node; outer != NULL; outer = outer->parent) {
		if (outer->identifier != NULL &&
		    strcasecmp(outer->identifier, "foreverypart") == 0)
			return TRUE;
	}
	return FALSE;
}

static bool
cmd_encrypt_validate_recipients(struct sieve_validator *valdtr,
				struct sieve_command *cmd,
				struct sieve_ast_argument *to,
				struct sieve_ast_argument *also)
{
	enum perot_author author = perot_script_author(valdtr);
	unsigned int count;
	bool success = TRUE;

	if (to != NULL && !cmd_encrypt_validate_to(valdtr, cmd, to))
		return FALSE;
	if (author == PEROT_AUTHOR_AWAY)
		return TRUE;

	if (cmd_encrypt_is_in_loop(cmd)) {
		sieve_command_validate_error(valdtr, cmd,
			"%s cannot stand in a foreverypart loop: "
			"put it in front of the loop or behind it",
			sieve_command_identifier(cmd));
		success = FALSE;
	}
	count = cmd_encrypt_count(to) + cmd_encrypt_count(also);
	if (count > PEROT_MAX_RECIPIENTS) {
		sieve_argument_validate_error(valdtr,
			(to != NULL ? to : also),
			"the %s command takes up to %u recipients, "
			"and these are %u: leave some out",
			sieve_command_identifier(cmd), PEROT_MAX_RECIPIENTS,
			count);
		return FALSE;
	}
	if (!cmd_encrypt_check_recipients(valdtr, cmd, to, author))
		success = FALSE;
	if (!cmd_encrypt_check_recipients(valdtr, cmd, also, author))
		success = FALSE;
	return success;
}

static bool
cmd_encrypt_validate(struct sieve_validator *valdtr, struct sieve_command *cmd)
{
	return cmd_encrypt_validate_recipients(valdtr, cmd,
					       cmd->first_positional,
					       cmd->data /* set by :also */);
}

static bool
cmd_pgp_encrypt_validate(struct sieve_validator *valdtr,
			 struct sieve_command *cmd)
{
	struct sieve_ast_argument *keys = cmd->first_positional;
	bool has_tag = (cmd->data != NULL);

	if (has_tag != (keys != NULL)) {
		sieve_command_validate_error(valdtr, cmd,
			"the pgp_encrypt command takes nothing, or the tag "
			":keys with a string or a list of strings: "
			"armored certificates");
		return FALSE;
	}
	return cmd_encrypt_validate_recipients(valdtr, cmd, keys, NULL);
}

/*
 * Code generation
 */

static bool
cmd_encrypt_generate(const struct sieve_codegen_env *cgenv,
		     struct sieve_command *cmd)
{
	sieve_operation_emit(cgenv->sblock, perot_extension_main(cmd->ext),
			     &perot_opr_encrypt);

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
		case OPT_SMIME:
			sieve_code_dumpf(denv, "smime");
			break;
		case OPT_ALSO:
			if (!sieve_opr_stringlist_dump(denv, address, "also"))
				return FALSE;
			break;
		case OPT_KEYS:
			sieve_code_dumpf(denv, "keys");
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
cmd_encrypt_read_list(const struct sieve_runtime_env *renv,
		      struct sieve_stringlist *list, const char *name,
		      const struct perot_bytes **recipients_r, size_t *count_r)
{
	const char *const *texts;
	struct perot_bytes *recipients;
	size_t count = 0;

	if (list == NULL) {
		sieve_runtime_trace_error(renv, "invalid %s operand", name);
		return SIEVE_EXEC_BIN_CORRUPT;
	}
	if (sieve_stringlist_read_all(list, pool_datastack_create(),
				      &texts) < 0) {
		sieve_runtime_trace_error(renv, "failed to read %s operand",
					  name);
		return list->exec_status;
	}
	if (texts[0] == NULL)
		return SIEVE_EXEC_BIN_CORRUPT;

	/* Up to one more than are allowed: then the core says so. */
	recipients = t_new(struct perot_bytes, PEROT_MAX_RECIPIENTS + 1);
	while (*texts != NULL && count <= PEROT_MAX_RECIPIENTS)
		recipients[count++] = perot_bytes(*texts++);
	*recipients_r = recipients;
	*count_r = count;
	return SIEVE_EXEC_OK;
}

static int
cmd_encrypt_read_to(const struct sieve_runtime_env *renv, sieve_size_t *address,
		    struct perot_request *request)
{
	struct sieve_operand operand;
	struct sieve_stringlist *list = NULL;
	int ret;

	ret = sieve_operand_runtime_read(renv, address, "to", &operand);
	if (ret <= 0 || sieve_operand_is_omitted(&operand))
		return ret;
	ret = sieve_opr_stringlist_read_data(renv, &operand, address, "to",
					     &list);
	if (ret <= 0)
		return ret;
	return cmd_encrypt_read_list(renv, list, "to", &request->recipients,
				     &request->recipient_count);
}

static int
cmd_encrypt_read_also(const struct sieve_runtime_env *renv,
		      sieve_size_t *address, struct perot_request *request)
{
	struct sieve_stringlist *list = NULL;
	int ret;

	ret = sieve_opr_stringlist_read(renv, address, "also", &list);
	if (ret <= 0)
		return ret;
	return cmd_encrypt_read_list(renv, list, "also", &request->also,
				     &request->also_count);
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
		case OPT_SMIME:
			request->smime = TRUE;
			break;
		case OPT_ALSO:
			ret = cmd_encrypt_read_also(renv, address, request);
			if (ret <= 0)
				return ret;
			break;
		case OPT_KEYS:
			request->only_certificates = TRUE;
			break;
		default:
			sieve_runtime_trace_error(renv,
				"unknown optional operand");
			return SIEVE_EXEC_BIN_CORRUPT;
		}
	}

	/* Fixed operands */
	return cmd_encrypt_read_to(renv, address, request);
}

/* Lines of the core go to the trace, too. */
static void
cmd_encrypt_log_write(void *context, enum perot_level level,
		      struct perot_bytes line)
{
	const struct sieve_runtime_env *const *renv = context;
	struct perot_history *history =
		perot_history_get((*renv)->result, (*renv)->oprtn->ext);
	struct perot_log log;

	sieve_runtime_trace(*renv, SIEVE_TRLVL_ACTIONS, "%s", perot_str(line));
	if (level == PEROT_LEVEL_DEBUG ||
	    !perot_history_says(history, perot_str(line)))
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
	struct perot_history *history =
		perot_history_get(renv->result, renv->oprtn->ext);
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
	request->exemption = ((mail_get_flags(mail) & MAIL_DRAFT) != 0 ?
			      PEROT_EXEMPTION_DRAFT :
			      perot_existing_exemption(renv->exec_env, mail));
	if (request->exemption != PEROT_EXEMPTION_NONE)
		return;
	if (history->calls++ >= PEROT_MAX_CALLS) {
		request->obstacle = PEROT_OBSTACLE_CALLS;
		return;
	}
	if (history->layers >= PEROT_MAX_LAYERS && request->force) {
		request->obstacle = PEROT_OBSTACLE_LAYERS;
		return;
	}
	if (request->foreign && request->recipient_count == 0)
		return;
	if (!history->encrypted)
		perot_request_add_clear_copies(request, renv);
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
	struct perot_history *history =
		perot_history_get(renv->result, renv->oprtn->ext);
	const char *error;

	if (report->replaces &&
	    perot_message_replace(renv, result, &error) < 0) {
		perot_core->refuse(result, perot_bytes(error));
		report = perot_core->report(result);
	}
	if (report->replaces)
		history->layers++;
	if (report->level > PEROT_LEVEL_DEBUG || report->field_count > 0) {
		if (perot_history_says(history, perot_str(report->line)))
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
	if (request.form == PEROT_FORM_ACTION && report->passes)
		perot_disarm(renv, ext);
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
