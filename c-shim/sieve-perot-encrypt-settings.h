/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SIEVE_PEROT_ENCRYPT_SETTINGS_H
#define SIEVE_PEROT_ENCRYPT_SETTINGS_H

/* Reads the settings of a user. The strings live as long as the pool. */
void perot_settings_read(const struct perot_setting_source *source, pool_t pool,
			 struct perot_settings *set_r);

/* Returns TRUE if imapsieve expunges the messages that it replaces. */
bool perot_imapsieve_expunges(const struct perot_setting_source *source);

#endif
