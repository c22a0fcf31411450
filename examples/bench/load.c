/* Prints the nanoseconds that dlopen() of the second file takes, in a process
   that has loaded the first. */

#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char *argv[])
{
	struct timespec begin, end;

	if (argc != 3 || dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL) == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL +
	       end.tv_nsec - begin.tv_nsec);
	return 0;
}
