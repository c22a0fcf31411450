/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_COMPAT_H
#define PEROT_COMPAT_H

/* This file and compat-sieve.h alone ask for the version of the host. There
   are two eras: Dovecot 2.3 with Pigeonhole 0.5, and Dovecot 2.4 with a
   Pigeonhole of the same number. dovecot-headers/ABI.md lists what differs.
   Here is what differs in Dovecot itself. */

#include "dovecot.h"

#if PEROT_DOVECOT_ERA == 24

#include "mail-storage-service.h"
#include "settings.h"
#include "settings-parser.h"

/* Dovecot has to know each setting, by a module of ours. */
#define PEROT_SETTINGS_FROM_MODULE 1

/* Where the settings of a user are found, and where is said what is wrong with
   them */
struct perot_setting_source {
	struct event *event;
};

/* `event` is a child of the user's. */
static inline struct perot_setting_source
perot_user_settings(struct mail_user *user ATTR_UNUSED, struct event *event)
{
	return (struct perot_setting_source) { .event = event };
}

/* What the mailbox is used for, separated by spaces; NULL if nobody says */
static inline const char *perot_special_use(const struct mailbox *box)
{
	if (box->set == NULL || !array_is_created(&box->set->special_use))
		return NULL;
	return t_array_const_string_join(&box->set->special_use, " ");
}

#else

/* Any key may stand in plugin { }. */
#define PEROT_SETTINGS_FROM_MODULE 0

struct perot_setting_source {
	struct event *event;
	void *context;
	const char *(*get)(void *context, const char *key);
};

static inline const char *perot_user_setting(void *context, const char *key)
{
	return mail_user_plugin_getenv(context, key);
}

static inline struct perot_setting_source
perot_user_settings(struct mail_user *user, struct event *event)
{
	return (struct perot_setting_source) {
		.event = event,
		.context = user,
		.get = perot_user_setting,
	};
}

static inline const char *perot_special_use(const struct mailbox *box)
{
	return (box->set == NULL ? NULL : box->set->special_use);
}

#endif

#endif
