/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Dovecot 2.4 only: the module in <moduledir>/settings by which doveconf knows the settings. Its
   name, without lib and .so, is in front of its symbols. */

#include "lib.h"
#include "settings.h"
#include "settings-parser.h"
#include "sieve-perot-encrypt-set.h"

extern const char *sieve_perot_encrypt_settings_version;
extern const struct setting_parser_info *
	sieve_perot_encrypt_settings_set_infos[];

const char *sieve_perot_encrypt_settings_version = DOVECOT_ABI_VERSION;

const struct setting_parser_info *sieve_perot_encrypt_settings_set_infos[] = {
	&perot_encrypt_setting_parser_info,
	NULL
};
