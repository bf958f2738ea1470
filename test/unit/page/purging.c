/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "page/purging.h"

enum { SHORT_US = 5000, LONG_US = 60000 };

static _Atomic int nr_begun, nr_ended;

static void *purge(void *lasts_us)
{
	if (!purging_begin())
		return NULL;
	nr_begun++;
	usleep((useconds_t)(uintptr_t)lasts_us);
	nr_ended++;
	purging_end();
	return lasts_us;
}

static pthread_t start(useconds_t lasts_us, int nr_expected)
{
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, purge, (void *)(uintptr_t)lasts_us), 0);
	while (nr_begun < nr_expected)
		usleep(100);
	return t;
}

/* All of them, however long each takes. */
Test(purging, waits_for_what_is_under_way)
{
	pthread_t a, b;

	cr_assert_not(purging_wait());
	a = start(LONG_US, 1);
	b = start(SHORT_US, 2);
	cr_assert(purging_wait());
	cr_assert_eq(nr_ended, 2);
	cr_assert_not(purging_wait());
	pthread_join(a, NULL);
	pthread_join(b, NULL);
}

/* A handler's call within a purge of its thread comes back. */
Test(purging, nobody_waits_for_ever)
{
	cr_assert(purging_begin());
	cr_assert(purging_wait());
	purging_fork_prepare();
	purging_fork_done(false);
	purging_end();
	cr_assert(purging_begin());
	purging_end();
	cr_assert_not(purging_wait());
}

Test(purging, none_begins_during_a_fork)
{
	pthread_t a = start(LONG_US, 1), b = start(SHORT_US, 2);

	purging_fork_prepare();
	cr_assert_eq(nr_ended, 2);
	cr_assert_not(purging_begin());
	purging_fork_done(false);
	cr_assert(purging_begin());
	purging_end();
	cr_assert_not(purging_wait());
	pthread_join(a, NULL);
	pthread_join(b, NULL);
}

/* In the child nobody is there who could end it; but this thread may be, if a handler made the fork. */
Test(purging, the_child_waits_for_none)
{
	cr_assert(purging_begin());
	purging_fork_prepare();
	purging_fork_done(true);
	cr_assert_not(purging_wait());
	purging_end();
	cr_assert(purging_begin());
	purging_end();
	cr_assert_not(purging_wait());
}
