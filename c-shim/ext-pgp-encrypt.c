/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Extension vnd.dovecot.pgp-encrypt
 * ---------------------------------
 *
 * Specification: none that is public; doc/admin/pgp-encrypt.md
 * Implementation: another name for the action of vnd.perot.encrypt
 *
 */

#include "perot-shim.h"

/*
 * Extension
 */

static bool
ext_pgp_encrypt_validator_load(const struct sieve_extension *ext,
			       struct sieve_validator *valdtr);

static const struct sieve_extension_def pgp_encrypt_extension = {
	.name = "vnd.dovecot.pgp-encrypt",
	.validator_load = ext_pgp_encrypt_validator_load,
};

/*
 * Registration
 */

/* Returns the extension with this name, also one that is disabled. */
static const struct sieve_extension *
perot_extension_find(struct sieve_instance *svinst, const char *name)
{
	const struct sieve_extension *const *all;
	unsigned int i, count;

	all = sieve_extensions_get_all(svinst, &count);
	for (i = 0; i < count; i++) {
		if (all[i]->def != NULL && strcmp(all[i]->def->name, name) == 0)
			return all[i];
	}
	return NULL;
}

const struct sieve_extension *
perot_extension_main(const struct sieve_extension *ext)
{
	return perot_extension_find(ext->svinst, perot_extension.name);
}

void perot_alias_register(const struct sieve_extension *ext)
{
	struct sieve_instance *svinst = ext->svinst;
	const char *name = pgp_encrypt_extension.name;
	const struct sieve_extension *alias;

	if (!perot_core->offers_alias(perot_ext_instance(ext)))
		return;
	if (perot_extension_find(svinst, name) != NULL) {
		/* Pigeonhole would end the process. */
		e_warning(svinst->event, "%s: another plugin has registered "
			  "this extension, and %s does not",
			  name, perot_extension.name);
	} else {
		/* Compiled scripts need both, whatever sieve_extensions
		   says. */
		perot_require(svinst, &perot_extension);
		(void)perot_register(svinst, &pgp_encrypt_extension, &alias);
	}
}

void perot_alias_unregister(const struct sieve_extension *ext)
{
	const struct sieve_extension *alias =
		perot_extension_find(ext->svinst, pgp_encrypt_extension.name);

	if (alias != NULL && alias->def == &pgp_encrypt_extension)
		sieve_extension_unregister(alias);
}

/*
 * Validation
 */

static bool
ext_pgp_encrypt_validator_load(const struct sieve_extension *ext,
			       struct sieve_validator *valdtr)
{
	/* The operation is that of `encrypt`, and the run of the script is
	   noted as if it required that. */
	sieve_ast_extension_link(sieve_validator_ast(valdtr),
				 perot_extension_main(ext), TRUE);
	sieve_validator_register_command(valdtr, ext, &perot_cmd_pgp_encrypt);
	perot_order_register(valdtr, ext);
	return TRUE;
}
