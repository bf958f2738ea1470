/* SPDX-License-Identifier: MIT */
/*
 * What is done where a process has one thread, as far as libc knows: in a child, for Criterion has a thread of its own.
 */
#ifndef BSLAB_TEST_ALONE_H
#define BSLAB_TEST_ALONE_H

#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/lock.h"

static inline void run_alone(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		__libc_single_threaded = 1; /* libc leaves it as it was in the parent */
		alarm(60); /* an assertion that fails here waits for Criterion for ever */
		run();
		_exit(lock_is_alone() ? 0 : 3);
	}
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

#endif
