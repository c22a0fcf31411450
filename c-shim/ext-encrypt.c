/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Extension vnd.perot.encrypt
 * ---------------------------
 *
 * Specification: vendor-defined; doc/admin/vnd.perot.encrypt.txt
 * Implementation: full
 *
 */

#include "perot-shim.h"

/*
 * Operations
 */

static const struct sieve_operation_def *const perot_operations[] = {
	[PEROT_OPERATION_ENCRYPT] = &perot_opr_encrypt,
	[PEROT_OPERATION_ENCRYPTED] = &perot_opr_encrypted,
};

/*
 * Extension
 */

static perot_load_t
ext_encrypt_load(const struct sieve_extension *ext, void **context);
static void ext_encrypt_unload(const struct sieve_extension *ext);
static bool
ext_encrypt_validator_load(const struct sieve_extension *ext,
			   struct sieve_validator *valdtr);
static bool
ext_encrypt_interpreter_load(const struct sieve_extension *ext,
			     const struct sieve_runtime_env *renv,
			     sieve_size_t *address);

const struct sieve_extension_def perot_extension = {
	.name = PEROT_EXTENSION_NAME,
	/* To be raised with each change of the operands of an operation */
	.version = 3,
	.load = ext_encrypt_load,
	.unload = ext_encrypt_unload,
	.validator_load = ext_encrypt_validator_load,
	.interpreter_load = ext_encrypt_interpreter_load,
	SIEVE_EXT_DEFINE_OPERATIONS(perot_operations),
};

/*
 * Context
 */

/* Never fails: Pigeonhole answers a failure here with delivery in clear. Wrong
   settings make every `encrypt` fail instead. */
static perot_load_t
ext_encrypt_load(const struct sieve_extension *ext, void **context)
{
	struct perot_setting_source source = perot_sieve_settings(ext->svinst);
	struct perot_ext *perot;

	if (*context != NULL)
		ext_encrypt_unload(ext);
	perot = i_new(struct perot_ext, 1);
	perot->instance = perot_settings_open(&source);
	*context = perot;
	return PEROT_LOAD_OK;
}

static void ext_encrypt_unload(const struct sieve_extension *ext)
{
	struct perot_ext *perot = ext->context;

	perot_extra_action_end(&perot->extra_action, ext->svinst);
	perot_existing_unlock();
	perot_core->close(perot->instance);
	i_free(perot);
}

/*
 * Validation
 */

static bool
ext_encrypt_validator_load(const struct sieve_extension *ext,
			   struct sieve_validator *valdtr)
{
	sieve_validator_register_command(valdtr, ext, &perot_cmd_encrypt);
	sieve_validator_register_command(valdtr, ext, &perot_tst_encrypted);
	perot_order_register(valdtr, ext);
	return TRUE;
}

/*
 * Interpreter
 */

static bool
ext_encrypt_interpreter_load(const struct sieve_extension *ext,
			     const struct sieve_runtime_env *renv,
			     sieve_size_t *address ATTR_UNUSED)
{
	return perot_run_register(ext, renv);
}
