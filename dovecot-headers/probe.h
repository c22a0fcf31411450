/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Preprocessed by build.rs, never compiled: what comes out tells the versions of the headers that
   are installed. Versions are not guessed from anything else. */
#include "config.h"
#include "pigeonhole-config.h"

PEROT_PROBE dovecot DOVECOT_ABI_VERSION
PEROT_PROBE pigeonhole PIGEONHOLE_ABI_VERSION
