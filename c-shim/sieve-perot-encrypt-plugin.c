/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Sieve plugin interface
 *
 * The exported functions are in Rust (src/plugin.rs), and call these.
 */

const struct perot_core *perot_core;

int perot_shim_load(struct sieve_instance *svinst, void **context,
		    const struct perot_core *core);
void perot_shim_unload(void *context);

int perot_shim_load(struct sieve_instance *svinst, void **context,
		    const struct perot_core *core)
{
	const struct sieve_extension *ext;

	perot_core = core;
	if (perot_register(svinst, &perot_extension, &ext) < 0) {
		/* There is a second extension of this name, or no memory. A script that requires it
		   does not compile; nothing else can be done from here. */
		e_error(svinst->event, "%s: the extension cannot be registered",
			PEROT_EXTENSION_NAME);
		return -1;
	}
	*context = (void *)ext;
	return 0;
}

void perot_shim_unload(void *context)
{
	if (context != NULL)
		sieve_extension_unregister(context);
}
