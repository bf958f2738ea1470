/* SPDX-License-Identifier: MIT */
/*
 * The coverage build links all that it counts with --wrap=abort and --wrap=_exit: what ends by one of these has its
 * counters written first, as exit() would have done.
 *
 * Writing them allocates. Where the library gives up, it may hold a lock or be half booted, so there a child of the
 * process writes, and is ended after a second: what only such a process ran is then not counted.
 *
 * And the library's handlers of exit run after its destructors, of which gcc's own writing is one: that is left out
 * (--wrap=__gcov_exit), for a handler that runs behind all others.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

void __gcov_dump(void);
void __real_abort(void) __attribute__((noreturn));
void __real__exit(int status) __attribute__((noreturn));
void __wrap___gcov_exit(void) __attribute__((visibility("hidden")));
void __wrap_abort(void) __attribute__((noreturn, visibility("hidden")));
void __wrap__exit(int status) __attribute__((noreturn, visibility("hidden")));

void __wrap_abort(void)
{
	sigset_t alarm_only;
	pid_t pid = _Fork();

	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		sigemptyset(&alarm_only);
		sigaddset(&alarm_only, SIGALRM);
		sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
		alarm(1);
		__gcov_dump();
		__real__exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	__real_abort();
}

void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}

/* The first to register is the last to run. */
static __attribute__((constructor(101))) void register_last(void)
{
	atexit(__gcov_dump);
}

void __wrap___gcov_exit(void)
{
}
