/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Sieve plugin interface
 *
 * Rust exports the functions that Pigeonhole looks for, and calls these.
 */

int perot_shim_load(struct sieve_instance *svinst, void **context,
		    const struct perot_core *core);
void perot_shim_unload(void *context);

int perot_shim_load(struct sieve_instance *svinst, void **context,
		    const struct perot_core *core)
{
	const struct sieve_extension *ext;

	perot_core = core;
	if (perot_register(svinst, &perot_extension, &ext) < 0) {
		/* Another extension has this name, or memory is exhausted. A
		   script that requires the extension does not compile: nothing
		   else can be done from here. */
		e_error(svinst->event, "%s: the extension cannot be registered",
			PEROT_EXTENSION_NAME);
		return -1;
	}
	perot_alias_register(ext);
	*context = (void *)ext;
	return 0;
}

void perot_shim_unload(void *context)
{
	if (context == NULL)
		return;
	perot_alias_unregister(context);
	sieve_extension_unregister(context);
}
