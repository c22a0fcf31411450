/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_COMPAT_H
#define PEROT_COMPAT_H

/* This file and compat-sieve.h alone ask for the version of the host. There
   are two eras: Dovecot 2.3 with Pigeonhole 0.5, and Dovecot 2.4 with a
   Pigeonhole of the same number. dovecot-headers/ABI.md lists what differs.
   Here is what differs in Dovecot itself. */

#include "dovecot.h"

#if PEROT_DOVECOT_ERA == 24

#include "settings.h"
#include "settings-parser.h"

/* Dovecot has to know each setting, by a module of ours. */
#define PEROT_SETTINGS_FROM_MODULE 1

#else

/* Any key may stand in plugin { }. */
#define PEROT_SETTINGS_FROM_MODULE 0

#endif

#endif
