/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SIEVE_PEROT_ENCRYPT_SET_H
#define SIEVE_PEROT_ENCRYPT_SET_H

/* The settings as Dovecot 2.4 knows them: part of the plugin, which reads them, and of the settings
   module, by which doveconf knows that they exist. */

struct perot_encrypt_settings {
	pool_t pool;

	const char *certs;
	const char *cert;
	const char *on_error;
	const char *hide_subject;
};

extern const struct setting_parser_info perot_encrypt_setting_parser_info;

#endif
