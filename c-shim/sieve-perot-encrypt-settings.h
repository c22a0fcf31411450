/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SIEVE_PEROT_ENCRYPT_SETTINGS_H
#define SIEVE_PEROT_ENCRYPT_SETTINGS_H

/* Has the core read the settings of the user. */
struct perot_instance *perot_settings_open(struct sieve_instance *svinst);

/* Returns TRUE if imapsieve expunges the messages that it replaces. */
bool perot_imapsieve_expunges(struct sieve_instance *svinst);

#endif
