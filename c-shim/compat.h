/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_COMPAT_H
#define PEROT_COMPAT_H

/* The only place that asks for the version of the host. Two eras: Dovecot 2.3 with Pigeonhole 0.5,
   and Dovecot 2.4 with Pigeonhole of the same number. What differs is in dovecot-headers/ABI.md. */

#include "pigeonhole.h"

#if PEROT_DOVECOT_ERA == 24

#include "settings.h"
#include "settings-parser.h"

#include <dlfcn.h>

#define PEROT_SETTINGS_FROM_MODULE 1

/* `load` of an extension: the same slot, the opposite sense */
typedef int perot_load_t;
#define PEROT_LOAD_OK 0

static inline int
perot_register(struct sieve_instance *svinst,
	       const struct sieve_extension_def *def,
	       const struct sieve_extension **ext_r)
{
	return sieve_extension_register(svinst, def, TRUE, ext_r);
}

/* sieve_max_cpu_time; 0: no limit */
static inline unsigned int perot_max_cpu_secs(struct sieve_instance *svinst)
{
	return svinst->set->max_cpu_time;
}

/* In 2.4 there is no limit for deliveries unless the administrator sets one: then
   sieve_resource_usage_timeout has to be set, too (conf.d-example). Settings are constant here. */
static inline void
perot_forget_cpu_time(struct sieve_instance *svinst ATTR_UNUSED)
{
}

/* How settings begin, whatever they are */
struct perot_any_settings {
	pool_t pool;
};

/* imapsieve_expunge_discarded, which is a setting of another plugin. Where imapsieve runs, that plugin
   is loaded, and its own description of its settings tells where the value is. */
static inline bool perot_imapsieve_expunges(struct sieve_instance *svinst)
{
	const struct setting_parser_info *info =
		dlsym(RTLD_DEFAULT, "imap_sieve_setting_parser_info");
	const struct setting_define *def;
	const struct perot_any_settings *set;
	const char *error;
	bool expunges = FALSE;

	if (info == NULL || info->pool_offset1 != 1 ||
	    settings_get(svinst->event, info, 0, &set, &error) < 0)
		return FALSE;
	for (def = info->defines; def->key != NULL; def++) {
		if (def->type == SET_BOOL &&
		    strcmp(def->key, "imapsieve_expunge_discarded") == 0)
			expunges = *(const bool *)CONST_PTR_OFFSET(set, def->offset);
	}
	settings_free(set);
	return expunges;
}

#elif PEROT_DOVECOT_ERA == 23

#define PEROT_SETTINGS_FROM_MODULE 0

typedef bool perot_load_t;
#define PEROT_LOAD_OK TRUE

static inline int
perot_register(struct sieve_instance *svinst,
	       const struct sieve_extension_def *def,
	       const struct sieve_extension **ext_r)
{
	*ext_r = sieve_extension_register(svinst, def, TRUE);
	return (*ext_r == NULL ? -1 : 0);
}

static inline unsigned int perot_max_cpu_secs(struct sieve_instance *svinst)
{
	return svinst->max_cpu_time_secs;
}

/* Pigeonhole adds up the CPU time of a user's script over an hour, and disables it when that is more than
   sieve_max_cpu_time: it delivers in clear then. Large messages take time, so that a sender could have
   it come to that. What a single run may take stays limited. */
static inline void perot_forget_cpu_time(struct sieve_instance *svinst)
{
	svinst->resource_usage_timeout_secs =
		I_MIN(svinst->resource_usage_timeout_secs, 1);
}

/* imapsieve takes nothing but `yes` for a yes. */
static inline bool perot_imapsieve_expunges(struct sieve_instance *svinst)
{
	const char *value =
		sieve_setting_get(svinst, "imapsieve_expunge_discarded");

	return value != NULL && strcasecmp(value, "yes") == 0;
}

#endif

#endif
