/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-dovecot.h"
#include "sieve-perot-encrypt-settings.h"

/*
 * Settings
 *
 * The core knows what they mean: here they are text. The only values that are
 * looked into are those that Dovecot has changed on their way.
 */

#if PEROT_SETTINGS_FROM_MODULE

/*
 * Definition
 *
 * Dovecot 2.4 wants to know each setting. This file is compiled twice: for the
 * plugin, which reads the settings, and with PEROT_SETTINGS_MODULE for the
 * module in <moduledir>/settings, by which doveconf knows that they exist.
 */

struct perot_encrypt_settings {
	pool_t pool;

	const char *certs;
	const char *cert;
	const char *on_error;
	const char *hide_subject;
	const char *deliveries;
	const char *saved;

	/* A setting of imapsieve, too: Dovecot gives it to all who define it
	   (as the setting base_dir of many of its services). */
	bool expunge_discarded;
};

#undef DEF
#define DEF(prefix, name) \
	SETTING_DEFINE_STRUCT_STR(prefix#name, name, \
				  struct perot_encrypt_settings)

static const struct setting_define perot_encrypt_setting_defines[] = {
	DEF("sieve_perot_encrypt_", certs),
	DEF("sieve_perot_encrypt_", cert),
	DEF("sieve_perot_encrypt_", on_error),
	DEF("sieve_perot_encrypt_", hide_subject),
	DEF("perot_encrypt_", deliveries),
	DEF("perot_encrypt_", saved),

	SETTING_DEFINE_STRUCT_BOOL("imapsieve_expunge_discarded",
				   expunge_discarded,
				   struct perot_encrypt_settings),

	SETTING_DEFINE_LIST_END,
};

/* Values are strings even where few are right: a value that doveconf refused
   would keep Dovecot from starting, and one that the plugin refuses keeps the
   mail in the queue. */
static const struct perot_encrypt_settings perot_encrypt_default_settings = {
	.certs = "~/pgp-certs /etc/dovecot/pgp-certs",
	.cert = "",
	.on_error = "tempfail",
	.hide_subject = "no",
	.deliveries = "encrypt",
	.saved = "",

	.expunge_discarded = FALSE,
};

extern const struct setting_parser_info perot_encrypt_setting_parser_info;

const struct setting_parser_info perot_encrypt_setting_parser_info = {
	.name = "sieve_perot_encrypt",

	.defines = perot_encrypt_setting_defines,
	.defaults = &perot_encrypt_default_settings,

	.struct_size = sizeof(struct perot_encrypt_settings),
	.pool_offset1 = 1 + offsetof(struct perot_encrypt_settings, pool),
};

#endif

#ifdef PEROT_SETTINGS_MODULE

/*
 * Module
 *
 * The name of its file, without lib and .so, is in front of its symbols.
 */

extern const char *sieve_perot_encrypt_settings_version;
extern const struct setting_parser_info *
	sieve_perot_encrypt_settings_set_infos[];

const char *sieve_perot_encrypt_settings_version = DOVECOT_ABI_VERSION;

const struct setting_parser_info *sieve_perot_encrypt_settings_set_infos[] = {
	&perot_encrypt_setting_parser_info,
	NULL
};

#else

/*
 * Reading
 */

static const struct perot_words perot_words = {
	.setting_prefix = PEROT_BYTES("sieve_perot_encrypt_"),
	.temp_dir = PEROT_BYTES("mail_temp_dir"),
	.cpu_limit = PEROT_BYTES("sieve_max_cpu_time"),
#ifdef PEROT_SIEVE
	.scripted = TRUE,
#endif
};

static struct perot_bytes perot_setting(pool_t pool, const char *value)
{
	return perot_bytes(p_strdup(pool, value));
}

/* The certificate, which comes from a userdb field:

   - Dovecot 2.3 makes `yes` of a field that is empty.

   - If it comes out of the auth cache (auth_cache_size), control characters are
     still escaped as by str_tabescape(): 2.3.19 and 2.4.1 forget to undo that
     in auth_request_userdb_import(). Neither armor nor base64 has the byte that
     begins an escape. */
static struct perot_bytes perot_setting_cert(pool_t pool, const char *value)
{
	if (value == NULL || strcmp(value, "yes") == 0)
		return perot_bytes(NULL);
	return perot_setting(pool, t_str_tabunescape(value));
}

#if PEROT_SETTINGS_FROM_MODULE

static int
perot_settings_get(const struct perot_setting_source *source,
		   const struct perot_encrypt_settings **set_r,
		   const char **error_r)
{
	return settings_get(source->event, &perot_encrypt_setting_parser_info,
			    0, set_r, error_r);
}

void perot_settings_read(const struct perot_setting_source *source, pool_t pool,
			 struct perot_settings *set_r)
{
	const struct perot_encrypt_settings *set;
	const char *error;

	i_zero(set_r);
	set_r->words = &perot_words;
	if (perot_settings_get(source, &set, &error) < 0) {
		set_r->unavailable = perot_bytes(p_strdup_printf(pool,
			"the settings cannot be read: %s. "
			"Is libsieve_perot_encrypt_settings.so in Dovecot's "
			"folder of settings modules (make install)?", error));
		return;
	}
	set_r->certs = perot_setting(pool, set->certs);
	set_r->cert = perot_setting_cert(pool, set->cert);
	set_r->on_error = perot_setting(pool, set->on_error);
	set_r->hide_subject = perot_setting(pool, set->hide_subject);
#ifndef PEROT_SIEVE
	set_r->deliveries = perot_setting(pool, set->deliveries);
	set_r->saved = perot_setting(pool, set->saved);
#endif
	settings_free(set);
}

bool perot_imapsieve_expunges(const struct perot_setting_source *source)
{
	const struct perot_encrypt_settings *set;
	const char *error;
	bool expunges;

	if (perot_settings_get(source, &set, &error) < 0)
		return FALSE;
	expunges = set->expunge_discarded;
	settings_free(set);
	return expunges;
}

#else

static struct perot_bytes
perot_setting_get(const struct perot_setting_source *source, pool_t pool,
		  const char *key)
{
	return perot_setting(pool, source->get(source->context, key));
}

void perot_settings_read(const struct perot_setting_source *source, pool_t pool,
			 struct perot_settings *set_r)
{
	const char *cert =
		source->get(source->context, "sieve_perot_encrypt_cert");

	i_zero(set_r);
	set_r->words = &perot_words;
	set_r->certs = perot_setting_get(source, pool,
					 "sieve_perot_encrypt_certs");
	set_r->cert = perot_setting_cert(pool, cert);
	set_r->on_error = perot_setting_get(source, pool,
					    "sieve_perot_encrypt_on_error");
	set_r->hide_subject = perot_setting_get(source, pool,
		"sieve_perot_encrypt_hide_subject");
#ifndef PEROT_SIEVE
	set_r->deliveries = perot_setting_get(source, pool,
					      "perot_encrypt_deliveries");
	set_r->saved = perot_setting_get(source, pool, "perot_encrypt_saved");
#endif
}

/* imapsieve takes nothing but `yes` for a yes. */
bool perot_imapsieve_expunges(const struct perot_setting_source *source)
{
	const char *value =
		source->get(source->context, "imapsieve_expunge_discarded");

	return value != NULL && strcasecmp(value, "yes") == 0;
}

#endif
#endif
