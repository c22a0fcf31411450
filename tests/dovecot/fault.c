/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* memory.rs preloads this library: a function that the plugin calls has
   errors here, which valgrind must find. */

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int getrusage(__rusage_who_t who, struct rusage *usage)
{
	/* These bytes are never freed, and the byte after them is read. */
	volatile char *bytes = malloc(13);
	int ret = (int)syscall(SYS_getrusage, who, usage);

	(void)bytes[13];
	return ret;
}
