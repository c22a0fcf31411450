/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "perot-dovecot.h"
#include "sieve-perot-encrypt-settings.h"

/*
 * Settings
 *
 * The core knows what they mean: here they are text. The only values that are
 * looked into are those that Dovecot has changed on their way.
 */

struct perot_encrypt_settings {
	pool_t pool;

	const char *certs;
	const char *cert;
	const char *on_error;
	const char *on_no_certificate;
	const char *hide_subject;
	const char *compress;
	const char *subkeys;
	const char *prefer;
	const char *alias;
	const char *deliveries;
	const char *saved;

	/* sieve_user_email, a setting of Sieve */
	const char *user_email;
	/* imapsieve_expunge_discarded, a setting of imapsieve: does it expunge
	   the messages that it replaces? */
	bool expunge_discarded;
};

#if PEROT_SETTINGS_FROM_MODULE

/*
 * Dovecot 2.4
 *
 * It wants to know each setting. This file is compiled twice: for the plugin,
 * which reads the settings, and with PEROT_SETTINGS_MODULE for the module in
 * <moduledir>/settings, by which doveconf knows that they exist.
 */

#undef DEF
#define DEF(prefix, name) \
	SETTING_DEFINE_STRUCT_STR(prefix#name, name, \
				  struct perot_encrypt_settings)

static const struct setting_define perot_encrypt_setting_defines[] = {
	DEF("sieve_perot_encrypt_", certs),
	DEF("sieve_perot_encrypt_", cert),
	DEF("sieve_perot_encrypt_", on_error),
	DEF("sieve_perot_encrypt_", on_no_certificate),
	DEF("sieve_perot_encrypt_", hide_subject),
	DEF("sieve_perot_encrypt_", compress),
	DEF("sieve_perot_encrypt_", subkeys),
	DEF("sieve_perot_encrypt_", prefer),
	DEF("sieve_perot_encrypt_", alias),
	DEF("perot_encrypt_", deliveries),
	DEF("perot_encrypt_", saved),

	/* Dovecot gives a setting to all who define it, with one type: as
	   base_dir, which many of its services define. */
	DEF("sieve_", user_email),
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
	.on_no_certificate = "tempfail",
	.hide_subject = "no",
	.compress = "no",
	.subkeys = "all",
	.prefer = "openpgp",
	.alias = "",
	.deliveries = "encrypt",
	.saved = "",

	.user_email = "",
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

#ifdef PEROT_SETTINGS_MODULE

/* The name of the module, without lib and .so, is in front of its symbols. */

extern const char *sieve_perot_encrypt_settings_version;
extern const struct setting_parser_info *
	sieve_perot_encrypt_settings_set_infos[];

const char *sieve_perot_encrypt_settings_version = DOVECOT_ABI_VERSION;

const struct setting_parser_info *sieve_perot_encrypt_settings_set_infos[] = {
	&perot_encrypt_setting_parser_info,
	NULL
};

#else

static int
perot_settings_get(const struct perot_setting_source *source,
		   const struct perot_encrypt_settings **set_r,
		   const char **error_r)
{
	return settings_get(source->event, &perot_encrypt_setting_parser_info,
			    0, set_r, error_r);
}

static void perot_settings_free(const struct perot_encrypt_settings *set)
{
	settings_free(set);
}

#endif

#else

/*
 * Dovecot 2.3
 *
 * Any key may stand in plugin { }. What is not set is NULL.
 */

static const char *
perot_setting(const struct perot_setting_source *source, const char *key)
{
	return source->get(source->context, key);
}

static int
perot_settings_get(const struct perot_setting_source *source,
		   const struct perot_encrypt_settings **set_r,
		   const char **error_r)
{
	struct perot_encrypt_settings *set =
		t_new(struct perot_encrypt_settings, 1);
	const char *expunge =
		perot_setting(source, "imapsieve_expunge_discarded");

	set->certs = perot_setting(source, "sieve_perot_encrypt_certs");
	set->cert = perot_setting(source, "sieve_perot_encrypt_cert");
	set->on_error = perot_setting(source, "sieve_perot_encrypt_on_error");
	set->on_no_certificate = perot_setting(
		source, "sieve_perot_encrypt_on_no_certificate");
	set->hide_subject =
		perot_setting(source, "sieve_perot_encrypt_hide_subject");
	set->compress = perot_setting(source, "sieve_perot_encrypt_compress");
	set->subkeys = perot_setting(source, "sieve_perot_encrypt_subkeys");
	set->prefer = perot_setting(source, "sieve_perot_encrypt_prefer");
	set->alias = perot_setting(source, "sieve_perot_encrypt_alias");
	set->deliveries = perot_setting(source, "perot_encrypt_deliveries");
	set->saved = perot_setting(source, "perot_encrypt_saved");
	set->user_email = perot_setting(source, "sieve_user_email");
	/* imapsieve takes nothing but `yes` for a yes. */
	set->expunge_discarded = (expunge != NULL &&
				  strcasecmp(expunge, "yes") == 0);
	*set_r = set;
	*error_r = NULL;
	return 0;
}

static void
perot_settings_free(const struct perot_encrypt_settings *set ATTR_UNUSED)
{
}

#endif

#ifndef PEROT_SETTINGS_MODULE

/*
 * Both
 */

static const struct perot_words perot_words = {
	.setting_prefix = PEROT_BYTES("sieve_perot_encrypt_"),
	.temp_dir = PEROT_BYTES("mail_temp_dir"),
	.cpu_limit = PEROT_BYTES("sieve_max_cpu_time"),
#ifdef PEROT_SIEVE
	.scripted = TRUE,
#endif
};

/* A setting that comes from a userdb field: Dovecot 2.3 makes `yes` of one that
   is empty. */
static const char *perot_setting_field(const char *value)
{
	return (value == NULL || strcmp(value, "yes") == 0 ? NULL : value);
}

/* The certificate: if it comes out of the auth cache (auth_cache_size), control
   characters are still escaped as by str_tabescape(): 2.3.19 and 2.4.1 forget
   to undo that in auth_request_userdb_import(). Neither armor nor base64 has
   the byte that begins an escape. */
static struct perot_bytes perot_setting_cert(const char *value)
{
	value = perot_setting_field(value);
	return perot_bytes(value == NULL ? NULL : t_str_tabunescape(value));
}

struct perot_instance *
perot_settings_open(const struct perot_setting_source *source)
{
	struct perot_settings settings = { .words = &perot_words };
	const struct perot_encrypt_settings *set;
	struct perot_instance *instance;
	struct perot_log log;
	const char *error;

	perot_log_init(&log, source->event);
	if (perot_settings_get(source, &set, &error) < 0) {
		settings.unavailable = perot_bytes(t_strdup_printf(
			"the settings cannot be read: %s. "
			"Is libsieve_perot_encrypt_settings.so in Dovecot's "
			"folder of settings modules (make install)?", error));
		return perot_core->open(&settings, &log);
	}
	settings.certs = perot_bytes(set->certs);
	settings.cert = perot_setting_cert(set->cert);
	settings.on_error = perot_bytes(set->on_error);
	settings.on_no_certificate = perot_bytes(set->on_no_certificate);
	settings.hide_subject = perot_bytes(set->hide_subject);
	settings.compress = perot_bytes(set->compress);
	settings.subkeys = perot_bytes(set->subkeys);
	settings.prefer = perot_bytes(set->prefer);
	settings.alias = perot_bytes(set->alias);
	settings.user_email = perot_bytes(perot_setting_field(set->user_email));
#ifndef PEROT_SIEVE
	settings.deliveries = perot_bytes(set->deliveries);
	settings.saved = perot_bytes(set->saved);
#endif
	instance = perot_core->open(&settings, &log);
	perot_settings_free(set);
	return instance;
}

bool perot_imapsieve_expunges(const struct perot_setting_source *source)
{
	const struct perot_encrypt_settings *set;
	const char *error;
	bool expunges;

	if (perot_settings_get(source, &set, &error) < 0)
		return FALSE;
	expunges = set->expunge_discarded;
	perot_settings_free(set);
	return expunges;
}

#endif
