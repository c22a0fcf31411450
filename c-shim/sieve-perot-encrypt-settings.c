/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-shim.h"

/*
 * Reading the settings, in both eras
 *
 * What they mean is the core's business: here they are text.
 */

#if PEROT_SETTINGS_FROM_MODULE

#include "sieve-perot-encrypt-set.h"

/* Dovecot 2.4 gives defaults instead of NULL, and doveconf shows them. */
void perot_settings_read(struct sieve_instance *svinst, pool_t pool,
			 struct perot_settings *set_r)
{
	const struct perot_encrypt_settings *set;
	const char *error;

	i_zero(set_r);
	if (settings_get(svinst->event, &perot_encrypt_setting_parser_info, 0,
			 &set, &error) < 0) {
		set_r->unavailable = perot_bytes(p_strdup(pool, error));
		return;
	}
	set_r->certs = perot_bytes(p_strdup(pool, set->certs));
	set_r->cert = perot_bytes(p_strdup(pool, set->cert));
	set_r->on_error = perot_bytes(p_strdup(pool, set->on_error));
	set_r->hide_subject = perot_bytes(p_strdup(pool, set->hide_subject));
	settings_free(set);
}

#else

static struct perot_bytes
perot_setting(struct sieve_instance *svinst, pool_t pool, const char *key)
{
	return perot_bytes(p_strdup(pool, sieve_setting_get(svinst, key)));
}

void perot_settings_read(struct sieve_instance *svinst, pool_t pool,
			 struct perot_settings *set_r)
{
	i_zero(set_r);
	set_r->certs = perot_setting(svinst, pool,
				     "sieve_perot_encrypt_certs");
	set_r->cert = perot_setting(svinst, pool, "sieve_perot_encrypt_cert");
	set_r->on_error = perot_setting(svinst, pool,
					"sieve_perot_encrypt_on_error");
	set_r->hide_subject = perot_setting(svinst, pool,
					    "sieve_perot_encrypt_hide_subject");
}

#endif
