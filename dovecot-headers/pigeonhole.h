/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_PIGEONHOLE_HEADERS_H
#define PEROT_PIGEONHOLE_HEADERS_H

/* All that the shim takes from Dovecot and Pigeonhole, in the order in which
   they want it */

#include "dovecot.h"
#include "mail-deliver.h"

#include "pigeonhole-config.h"
#include "sieve-common.h"
#include "sieve-actions.h"
#include "sieve-ast.h"
#include "sieve-binary.h"
#include "sieve-code.h"
#include "sieve-commands.h"
#include "sieve-dump.h"
#include "sieve-error.h"
#include "sieve-extensions.h"
#include "sieve-generator.h"
#include "sieve-interpreter.h"
#include "sieve-message.h"
#include "sieve-result.h"
#include "sieve-runtime.h"
#include "sieve-runtime-trace.h"
#include "sieve-settings.h"
#include "sieve-stringlist.h"
#include "sieve-validator.h"

/* What the shim relies on, and the compiler can check */
_Static_assert(SIEVE_EXEC_OK == 1 && SIEVE_EXEC_TEMP_FAILURE < 0,
	       "a status above 0 is success, one below 0 a failure");
_Static_assert(sizeof(((struct mail_deliver_context *)NULL)->tempfail_error) ==
	       sizeof(const char *),
	       "mail_deliver() is told of a temporary failure by a string");

#endif
