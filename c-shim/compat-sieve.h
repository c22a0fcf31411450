/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_COMPAT_SIEVE_H
#define PEROT_COMPAT_SIEVE_H

/* What differs between the eras in Pigeonhole (see compat.h) */

#include "pigeonhole.h"
#include "compat.h"

#if PEROT_DOVECOT_ERA == 24

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

static inline struct perot_setting_source
perot_sieve_settings(struct sieve_instance *svinst)
{
	return (struct perot_setting_source) { .event = svinst->event };
}

#else

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

static inline const char *perot_sieve_setting(void *context, const char *key)
{
	return sieve_setting_get(context, key);
}

static inline struct perot_setting_source
perot_sieve_settings(struct sieve_instance *svinst)
{
	return (struct perot_setting_source) {
		.event = svinst->event,
		.context = svinst,
		.get = perot_sieve_setting,
	};
}

#endif

#endif
