/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A Sieve plugin of another vendor, which registers a name that the plugin may
   want, too. What it uses of Pigeonhole is the same in both eras. */

#include <stdbool.h>
#include <stddef.h>

/* struct sieve_extension_def: nothing but the name is set. */
static const struct {
	const char *name;
	void *others[32];
} extension = { .name = "vnd.dovecot.pgp-encrypt" };

/* In Dovecot 2.3, the result is the extension, and there is no fourth
   argument. */
const void *sieve_extension_register(void *svinst, const void *def, bool load,
				     const void **ext_r);
void sieve_extension_unregister(const void *ext);

int sieve_other_vendor_plugin_load(void *svinst, void **context);
void sieve_other_vendor_plugin_unload(void *svinst, void *context);
void sieve_other_vendor_plugin_init(void);
void sieve_other_vendor_plugin_deinit(void);

int sieve_other_vendor_plugin_load(void *svinst, void **context)
{
	const void *ext = NULL, *result;

	result = sieve_extension_register(svinst, &extension, true, &ext);
	*context = (void *)(ext == NULL ? result : ext);
	return 0;
}

void sieve_other_vendor_plugin_unload(void *svinst, void *context)
{
	(void)svinst;
	sieve_extension_unregister(context);
}

void sieve_other_vendor_plugin_init(void)
{
}

void sieve_other_vendor_plugin_deinit(void)
{
}
