/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "page/purging.h"

enum { LASTS_US = 30000 };

static _Atomic int nr_begun, nr_ended;

static void *purge(void *arg)
{
	(void)arg;
	purging_begin();
	nr_begun++;
	usleep(LASTS_US);
	nr_ended++;
	purging_end();
	return NULL;
}

static pthread_t start(int nr_expected)
{
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, purge, NULL), 0);
	while (nr_begun < nr_expected)
		usleep(100);
	return t;
}

Test(purging, waits_for_what_is_under_way)
{
	pthread_t a, b;

	purging_wait();
	a = start(1);
	b = start(2);
	purging_wait();
	cr_assert_eq(nr_ended, 2);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
}

/* A handler's call within a purge of its thread comes back. */
Test(purging, nobody_waits_for_ever)
{
	purging_begin();
	purging_wait();
	purging_fork_prepare();
	purging_fork_done(false);
	purging_end();
	purging_begin();
	purging_end();
}

Test(purging, a_fork_waits_and_is_waited_for)
{
	pthread_t a = start(1), b;

	purging_fork_prepare();
	cr_assert_eq(nr_ended, 1);
	pthread_join(a, NULL);
	cr_assert_eq(pthread_create(&b, NULL, purge, NULL), 0);
	usleep(LASTS_US);
	cr_assert_eq(nr_begun, 1);
	purging_fork_done(false);
	pthread_join(b, NULL);
	cr_assert_eq(nr_ended, 2);
}

/* In the child nobody is there who could end it. */
Test(purging, the_child_waits_for_none)
{
	pthread_t a = start(1);

	purging_fork_done(true);
	purging_wait();
	cr_assert_eq(nr_ended, 0);
	pthread_join(a, NULL);
}
