/* SPDX-License-Identifier: MIT */
/*
 * Preloaded: a program's clock goes on while the program works, and not while others do. What the library learns from how
 * soon pages are wanted again is then the same on a busy machine.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	if (syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, now) != 0)
		return -1;
	now->tv_sec += 1000; /* long after whatever was at 0 */
	return 0;
}
