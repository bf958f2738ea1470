/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "guarded/count.h"
#include "guarded/pool.h"
#include "malloc/hardened.h"
#include "os/options.h"

static void *sleep_on(void *unused)
{
	pause();
	return unused;
}

/* Each lock that is taken is a page that may be copied, twice. Those of what is off are not: here they are held already. */
Test(fork, takes_no_lock_of_what_is_off, .timeout = 20)
{
	int status = -1;
	pthread_t thread;

	bslab_free(bslab_malloc(1));
	cr_assert_not(bslab_options.hardened);
	cr_assert_not(guarded_is_on());
	cr_assert_eq(pthread_create(&thread, NULL, sleep_on, NULL), 0);
	hardened_fork_prepare();
	guarded_pool_fork_prepare();
	if (fork() == 0)
		_exit(5);
	wait(&status);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}
