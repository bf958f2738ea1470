/* SPDX-License-Identifier: MIT */
/*
 * The coverage build links all that it counts with --wrap=abort and --wrap=_exit: what ends by one of these has its
 * counters written first, as exit() would have done. So has what gives a signal its default back, which is about to end by
 * it, or raises one.
 *
 * Writing them allocates. Where the library gives up, it may hold a lock or be half booted, so there a child of the
 * process writes, and is ended after a second: what only such a process ran is then not counted.
 *
 * gcc's own fork() sets the child's counters to zero when the child's handlers have run: that is left out
 * (--wrap=__gcov_fork), so that they count. What the parent had counted before is then counted twice.
 *
 * And the library's handlers of exit run after its destructors, of which gcc's own writing is one: that is left out
 * (--wrap=__gcov_exit), for a handler that runs behind all others.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

void __gcov_dump(void);
void __real_abort(void) __attribute__((noreturn));
void __real__exit(int status) __attribute__((noreturn));
void __wrap___gcov_exit(void) __attribute__((visibility("hidden")));
void __wrap_abort(void) __attribute__((noreturn, visibility("hidden")));
void __wrap__exit(int status) __attribute__((noreturn, visibility("hidden")));
pid_t __wrap___gcov_fork(void) __attribute__((visibility("hidden")));
int __real_raise(int signal);
int __wrap_raise(int signal) __attribute__((visibility("hidden")));
int __real_sigaction(int signal, const struct sigaction *new, struct sigaction *old);
int __wrap_sigaction(int signal, const struct sigaction *new, struct sigaction *old) __attribute__((visibility("hidden")));

/* What it comes upon, on its part, is not said, and ends it. */
static void dump_in_child(void)
{
	static bool is_child;
	sigset_t alarm_only;
	pid_t pid = is_child ? -1 : _Fork();

	if (pid == 0) {
		is_child = true;
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
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
}

void __wrap_abort(void)
{
	dump_in_child();
	__real_abort();
}

int __wrap_raise(int signal)
{
	dump_in_child();
	return __real_raise(signal);
}

int __wrap_sigaction(int signal, const struct sigaction *new, struct sigaction *old)
{
	if (new && !(new->sa_flags & SA_SIGINFO) && new->sa_handler == SIG_DFL)
		dump_in_child();
	return __real_sigaction(signal, new, old);
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

pid_t __wrap___gcov_fork(void)
{
	return fork();
}
