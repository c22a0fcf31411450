/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Preloaded by memory.rs: a fault in a function that the plugin calls, for
   valgrind to notice. */

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int getrusage(__rusage_who_t who, struct rusage *usage)
{
	/* Reads the byte behind what it has allocated, which is then lost. */
	volatile char *bytes = malloc(13);
	int ret = (int)syscall(SYS_getrusage, who, usage);

	(void)bytes[13];
	return ret;
}
