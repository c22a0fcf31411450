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

/* Has compiled scripts find an extension that is registered, also where it is
   disabled. */
static inline void
perot_require(struct sieve_instance *svinst,
	      const struct sieve_extension_def *def)
{
	(void)sieve_extension_require(svinst, def, FALSE, NULL);
}

/* sieve_max_cpu_time; 0: no limit */
static inline unsigned int perot_max_cpu_secs(struct sieve_instance *svinst)
{
	return svinst->set->max_cpu_time;
}

/* sieve_max_actions, raised by one for an action of our own, until that has
   ended: it is not the script's. */
struct perot_extra_action {
	const struct sieve_settings *set;
	struct sieve_settings raised;
};

static inline void
perot_extra_action_begin(struct perot_extra_action *extra,
			 struct sieve_instance *svinst)
{
	/* Settings are constant, but not which ones they are. */
	if (svinst->set == &extra->raised || svinst->set->max_actions == 0)
		return;
	extra->set = svinst->set;
	extra->raised = *svinst->set;
	extra->raised.max_actions++;
	svinst->set = &extra->raised;
}

static inline void
perot_extra_action_end(struct perot_extra_action *extra,
		       struct sieve_instance *svinst)
{
	if (svinst->set == &extra->raised)
		svinst->set = extra->set;
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

static inline void
perot_require(struct sieve_instance *svinst,
	      const struct sieve_extension_def *def)
{
	(void)sieve_extension_require(svinst, def, FALSE);
}

static inline unsigned int perot_max_cpu_secs(struct sieve_instance *svinst)
{
	return svinst->max_cpu_time_secs;
}

struct perot_extra_action {
	unsigned int max_actions;
};

static inline void
perot_extra_action_begin(struct perot_extra_action *extra,
			 struct sieve_instance *svinst)
{
	if (extra->max_actions > 0 || svinst->max_actions == 0)
		return;
	extra->max_actions = svinst->max_actions++;
}

static inline void
perot_extra_action_end(struct perot_extra_action *extra,
		       struct sieve_instance *svinst)
{
	if (extra->max_actions > 0)
		svinst->max_actions = extra->max_actions;
	extra->max_actions = 0;
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
