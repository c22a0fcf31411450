/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/* Encrypted test
 *
 * Syntax:
 *   encrypted
 */

static bool
tst_encrypted_generate(const struct sieve_codegen_env *cgenv,
		       struct sieve_command *tst);

const struct sieve_command_def perot_tst_encrypted = {
	.identifier = "encrypted",
	.type = SCT_TEST,
	.positional_args = 0,
	.subtests = 0,
	.block_allowed = FALSE,
	.block_required = FALSE,
	.generate = tst_encrypted_generate,
};

/*
 * Encrypted operation
 */

static bool
tst_encrypted_operation_dump(const struct sieve_dumptime_env *denv,
			     sieve_size_t *address);
static int
tst_encrypted_operation_execute(const struct sieve_runtime_env *renv,
				sieve_size_t *address);

const struct sieve_operation_def perot_opr_encrypted = {
	.mnemonic = "ENCRYPTED",
	.ext_def = &perot_extension,
	.code = PEROT_OPERATION_ENCRYPTED,
	.dump = tst_encrypted_operation_dump,
	.execute = tst_encrypted_operation_execute,
};

/*
 * Code generation
 */

static bool
tst_encrypted_generate(const struct sieve_codegen_env *cgenv,
		       struct sieve_command *tst)
{
	sieve_operation_emit(cgenv->sblock, tst->ext, &perot_opr_encrypted);
	return TRUE;
}

/*
 * Code dump
 */

static bool
tst_encrypted_operation_dump(const struct sieve_dumptime_env *denv,
			     sieve_size_t *address ATTR_UNUSED)
{
	sieve_code_dumpf(denv, "ENCRYPTED");
	return TRUE;
}

/*
 * Code execution
 */

static int
tst_encrypted_operation_execute(const struct sieve_runtime_env *renv,
				sieve_size_t *address ATTR_UNUSED)
{
	const struct sieve_extension *ext = renv->oprtn->ext;
	const struct perot_report *report;
	struct perot_request request;
	struct perot_result *result;
	struct perot_mail_input input;
	int status = SIEVE_EXEC_OK;

	i_zero(&input);
	perot_request_init(&request, PEROT_FORM_TEST, renv);
	perot_message_open(renv, &request, &input);
	result = perot_core->inspect(perot_ext_instance(ext), &request,
				     &input.input);
	report = perot_core->report(result);

	perot_report_log(report, renv->event, "encrypted");
	if (report->defer) {
		status = perot_defer(renv, ext, perot_str(report->answer));
	} else if (request.obstacle == PEROT_OBSTACLE_EXPUNGED) {
		perot_end_script(renv);
	} else {
		sieve_runtime_trace(renv, SIEVE_TRLVL_TESTS, "encrypted test: "
				    "all of the message is encrypted: %s",
				    (report->encrypted ? "yes" : "no"));
		sieve_interpreter_set_test_result(renv->interp,
						  report->encrypted);
	}
	perot_core->free(result);
	return status;
}
