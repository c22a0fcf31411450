/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Preloaded by memory.rs: a fault in a function that the plugin calls, for
   valgrind to notice. */

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile char behind;

int getrusage(__rusage_who_t who, struct rusage *usage)
{
	/* Reads the byte behind what it has allocated, which is then lost. */
	volatile size_t size = 13;
	const char *bytes = calloc(size, 1);

	behind = bytes[size];
	return (int)syscall(SYS_getrusage, who, usage);
}
