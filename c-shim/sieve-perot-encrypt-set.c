/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Dovecot 2.4 only */

#include "lib.h"
#include "settings.h"
#include "settings-parser.h"
#include "sieve-perot-encrypt-set.h"

#undef DEF
#define DEF(name) \
	SETTING_DEFINE_STRUCT_STR("sieve_perot_encrypt_"#name, name, \
				  struct perot_encrypt_settings)

static const struct setting_define perot_encrypt_setting_defines[] = {
	DEF(certs),
	DEF(cert),
	DEF(on_error),
	DEF(hide_subject),

	SETTING_DEFINE_LIST_END,
};

/* Values are strings even where few are right: a value that doveconf refused would keep Dovecot from
   starting, and one that the plugin refuses keeps the mail in the queue. */
static const struct perot_encrypt_settings perot_encrypt_default_settings = {
	.certs = "~/pgp-certs /etc/dovecot/pgp-certs",
	.cert = "",
	.on_error = "tempfail",
	.hide_subject = "no",
};

const struct setting_parser_info perot_encrypt_setting_parser_info = {
	.name = "sieve_perot_encrypt",

	.defines = perot_encrypt_setting_defines,
	.defaults = &perot_encrypt_default_settings,

	.struct_size = sizeof(struct perot_encrypt_settings),
	.pool_offset1 = 1 + offsetof(struct perot_encrypt_settings, pool),
};
