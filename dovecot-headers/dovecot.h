/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PEROT_DOVECOT_HEADERS_H
#define PEROT_DOVECOT_HEADERS_H

/* All that the shim takes from Dovecot itself, in the order in which Dovecot
   wants it */

#include "lib.h"
#include "array.h"
#include "file-lock.h"
#include "ioloop.h"
#include "istream.h"
#include "master-service.h"
#include "module-dir.h"
#include "smtp-address.h"
#include "str.h"
#include "str-sanitize.h"
#include "strescape.h"
#include "mail-cache-private.h"
#include "mail-index-view-private.h"
#include "mail-copy.h"
#include "mail-storage.h"
#include "mail-storage-private.h"
#include "mail-storage-hooks.h"
#include "mail-storage-service.h"
#include "mail-namespace.h"
#include "mail-user.h"
#include "mailbox-list-private.h"
#include "raw-storage.h"

#ifndef PEROT_DOVECOT_ERA
#  error "Build with cargo or make: build.rs asks the headers for the era"
#elif PEROT_DOVECOT_ERA != 23 && PEROT_DOVECOT_ERA != 24
#  error "The headers are neither of Dovecot 2.3 nor of 2.4"
#endif

#endif
