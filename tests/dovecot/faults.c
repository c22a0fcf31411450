/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* faults.rs preloads this library into lmtp, and shares a plan with it in a
   mapped file. The plan says which system call fails, waits, or ends the
   process, and how wrong the clock is. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The members have the order of `struct Plan` in faults.rs. */
static struct plan {
	/* The kinds of calls that are counted, and a part of their paths,
	   unless it is empty */
	int64_t kinds;
	char path[64];
	/* The number of the call at which `action` happens, counted from 1. If
	   `stays` is set, it also happens at all later calls. */
	int64_t at, stays, action;
	/* The number of calls so far */
	int64_t count;
	/* The seconds by which the clock is ahead */
	int64_t clock;
} none, *volatile plan = &none;

enum { KILL = -1, HANG = -2 };
enum {
	OPEN = 1,
	READ = 2,
	WRITE = 4,
	SYNC = 8,
	NAME = 16,
	STAT = 32,
	REMOVE = 64
};

__attribute__((constructor)) static void map_plan(void)
{
	const char *path = getenv("FAULTS");
	long fd = (path == NULL ? -1 :
		   syscall(SYS_openat, AT_FDCWD, path, O_RDWR));
	long at = syscall(SYS_mmap, 0, sizeof(none), PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);

	if (fd == -1 || at == -1)
		abort();
	plan = (struct plan *)at;
	syscall(SYS_close, fd);
}

/* Counts a call. Returns 1 and sets errno if the call has to fail. */
static int fails(int kind, const char *path, long fd)
{
	struct plan *now = plan;
	int64_t number;

	if ((now->kinds & kind) == 0 ||
	    (now->path[0] != '\0' &&
	     (path == NULL || strstr(path, now->path) == NULL)))
		return 0;
	/* Only files are counted, not sockets and pipes. */
	if (fd != -1 && syscall(SYS_lseek, fd, 0L, SEEK_CUR) == -1)
		return 0;
	number = __atomic_add_fetch(&now->count, 1, __ATOMIC_SEQ_CST);
	if (now->stays ? number < now->at : number != now->at)
		return 0;
	if (now->action == KILL)
		raise(SIGKILL);
	while (now->action == HANG) {
		const struct timespec moment = { .tv_nsec = 1000000 };
		syscall(SYS_nanosleep, &moment, NULL);
	}
	if (now->action <= 0)
		return 0;
	errno = (int)now->action;
	return 1;
}

/* All of these functions have at most six arguments, integers and pointers.
   Arguments that the caller has not given are in registers, which the real
   function does not read. */
#define WRAP(name, kind, path, fd, failure) \
	long my_##name(long a, long b, long c, long d, long e, long f) \
		__asm__(#name); \
	long my_##name(long a, long b, long c, long d, long e, long f) \
	{ \
		static long (*real)(long, long, long, long, long, long); \
		if (real == NULL) \
			*(void **)&real = dlsym(RTLD_NEXT, #name); \
		return fails(kind, (const char *)(path), fd) ? \
			(failure) : real(a, b, c, d, e, f); \
	}
#define BY_PATH(name, kind) WRAP(name, kind, a, -1, -1)
#define BY_PATH_AT(name, kind) WRAP(name, kind, b, -1, -1)
#define BY_FD(name, kind) WRAP(name, kind, NULL, a, -1)

BY_PATH(open, OPEN)
BY_PATH(open64, OPEN)
BY_PATH(__open_2, OPEN)
BY_PATH_AT(openat, OPEN)
BY_PATH_AT(__openat_2, OPEN)
WRAP(opendir, OPEN, a, -1, 0)
BY_FD(read, READ)
BY_FD(pread, READ)
WRAP(mmap, READ, NULL, -1, -1)
WRAP(mmap64, READ, NULL, -1, -1)
WRAP(readdir, READ, NULL, -1, 0)
WRAP(readdir64, READ, NULL, -1, 0)
BY_FD(write, WRITE)
BY_FD(pwrite, WRITE)
BY_FD(writev, WRITE)
BY_FD(fallocate, WRITE)
WRAP(posix_fallocate, WRITE, NULL, a, errno)
BY_FD(sendfile, WRITE)
BY_FD(fsync, SYNC)
BY_FD(fdatasync, SYNC)
BY_PATH(rename, NAME)
BY_PATH(link, NAME)
BY_PATH(unlink, REMOVE)
BY_PATH(mkdir, NAME)
BY_PATH(symlink, NAME)
BY_PATH(stat, STAT)
BY_PATH(stat64, STAT)
BY_PATH(lstat, STAT)
BY_PATH_AT(fstatat, STAT)
BY_PATH_AT(fstatat64, STAT)
BY_PATH_AT(statx, STAT)
BY_FD(fstat, STAT)
BY_FD(fstat64, STAT)

/*
 * The clock
 */

static int64_t ahead(clockid_t clock)
{
	return (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ?
		plan->clock : 0);
}

int clock_gettime(clockid_t clock, struct timespec *now_r)
{
	int ret = (int)syscall(SYS_clock_gettime, clock, now_r);

	now_r->tv_sec += ahead(clock);
	return ret;
}

int gettimeofday(struct timeval *restrict now_r, void *restrict zone)
{
	int ret = (int)syscall(SYS_gettimeofday, now_r, zone);

	now_r->tv_sec += ahead(CLOCK_REALTIME);
	return ret;
}

time_t time(time_t *now_r)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (now_r != NULL)
		*now_r = now.tv_sec;
	return now.tv_sec;
}
