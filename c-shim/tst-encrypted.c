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
	struct mail *mail = sieve_message_get_mail(renv->msgctx);
	struct perot_mail_input input;
	struct perot_log log;
	const char *error = "it cannot be looked at";
	int ret = -1;

	perot_log_init(&log, renv->event);
	if (perot_input_open(mail, renv, &input, &error) == 0)
		ret = perot_core->is_encrypted(&input.input, &log);
	if (ret < 0) {
		e_error(renv->event, "encrypted: "
			"the message cannot be read, %s: %s",
			perot_deferred(renv->exec_env), error);
		return perot_defer(renv, renv->oprtn->ext,
				   "unreadable_message");
	}
	sieve_runtime_trace(renv, SIEVE_TRLVL_TESTS, "encrypted test: "
			    "all of the message is encrypted: %s",
			    (ret > 0 ? "yes" : "no"));
	sieve_interpreter_set_test_result(renv->interp, ret > 0);
	return SIEVE_EXEC_OK;
}
