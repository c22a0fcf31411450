/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* build.rs preprocesses this file, and nothing compiles it: the result tells
   the versions of the headers that are installed. They are guessed from nothing
   else. */
#include "config.h"

PEROT_PROBE dovecot DOVECOT_ABI_VERSION

#ifdef PEROT_SIEVE
#include "pigeonhole-config.h"

PEROT_PROBE pigeonhole PIGEONHOLE_ABI_VERSION
#endif
