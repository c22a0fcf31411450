/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Sieve plugin interface
 *
 * The exported functions are in Rust (src/plugin.rs), and call these.
 */

struct perot_plugin_context {
	const struct sieve_extension *ext;
};

const struct perot_core *perot_core;

int perot_shim_load(struct sieve_instance *svinst, void **context,
		    const struct perot_core *core);
void perot_shim_unload(void *context);

int perot_shim_load(struct sieve_instance *svinst, void **context,
		    const struct perot_core *core)
{
	struct perot_plugin_context *pctx;
	const struct sieve_extension *ext;

	perot_core = core;
	if (perot_register(svinst, &perot_extension, &ext) < 0) {
		/* There is a second extension of this name, or no memory. A script that requires it
		   does not compile; nothing else can be done from here. */
		e_error(svinst->event, PEROT_EXTENSION_NAME
			": the extension cannot be registered");
		return -1;
	}
	pctx = i_new(struct perot_plugin_context, 1);
	pctx->ext = ext;
	*context = pctx;
	return 0;
}

void perot_shim_unload(void *context)
{
	struct perot_plugin_context *pctx = context;

	if (pctx == NULL)
		return;
	sieve_extension_unregister(pctx->ext);
	i_free(pctx);
}
