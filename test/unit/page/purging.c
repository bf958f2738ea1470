/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "page/purging.h"

static _Atomic int nr_begun, nr_ended;

/* Until somebody waits, and some time longer. */
static void *purge(void *longer_us)
{
	cr_assert(purging_begin());
	nr_begun++;
	while (purging_begin()) {
		purging_end();
		usleep(100);
	}
	usleep((useconds_t)(uintptr_t)longer_us);
	nr_ended++;
	purging_end();
	return NULL;
}

/* A long one and a short one: how long each takes does not matter to who waits. */
static void start(pthread_t t[2])
{
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, purge, (void *)(uintptr_t)(i ? 0 : 20000)), 0);
	while (nr_begun < 2)
		usleep(100);
}

static void join(pthread_t t[2])
{
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

Test(purging, waits_for_what_is_under_way)
{
	pthread_t t[2];

	cr_assert_not(purging_wait(purging_mark()));
	start(t);
	cr_assert(purging_wait(purging_mark()));
	cr_assert_eq(nr_ended, 2);
	cr_assert_not(purging_wait(purging_mark()));
	join(t);
}

Test(purging, none_begins_during_a_fork)
{
	uint32_t mark = purging_mark();
	pthread_t t[2];

	start(t);
	purging_fork_prepare();
	cr_assert_eq(nr_ended, 2);
	cr_assert_not(purging_begin());
	purging_fork_done(false);
	cr_assert(purging_wait(mark), "one was put off");
	cr_assert(purging_begin());
	purging_end();
	cr_assert_not(purging_wait(purging_mark()));
	join(t);
}

/* A handler's call within a purge of its thread comes back, and is not worth a try again. */
Test(purging, nobody_waits_for_ever)
{
	cr_assert(purging_begin());
	cr_assert_not(purging_wait(purging_mark()));
	purging_fork_prepare();
	purging_fork_done(false);
	purging_end();
	cr_assert(purging_begin());
	purging_end();
	cr_assert_not(purging_wait(purging_mark()));
}

/* In the child nobody is there who could end it; but this thread may be, if a handler made the fork. */
Test(purging, the_child_waits_for_none)
{
	cr_assert(purging_begin());
	purging_fork_prepare();
	purging_fork_done(true);
	cr_assert_not(purging_wait(purging_mark()));
	purging_end();
	purging_fork_done(false); /* of one that was interrupted in its turn */
	cr_assert(purging_begin());
	purging_end();
	cr_assert_not(purging_wait(purging_mark()));
}

static void *hold(void *unused)
{
	forks_hold();
	nr_begun++;
	usleep(20000);
	nr_ended++;
	forks_let_go();
	return unused;
}

/* What holds forks up, and what they hold up. */
Test(purging, a_fork_waits_for_what_holds_it)
{
	pthread_t t;

	pthread_create(&t, NULL, hold, NULL);
	while (!nr_begun)
		usleep(100);
	purging_fork_prepare();
	cr_assert_eq(nr_ended, 1);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, hold, NULL);
	usleep(20000);
	cr_assert_eq(nr_begun, 1);
	purging_fork_done(false);
	pthread_join(t, NULL);
	cr_assert_eq(nr_ended, 2);
}

/* By a handler's fork within what holds it: not for ever, and what goes on in the child ends there. */
Test(purging, a_fork_within_what_holds_it)
{
	forks_hold();
	purging_fork_prepare();
	purging_fork_done(true);
	forks_let_go();
	forks_hold();
	forks_let_go();
	purging_fork_prepare();
	purging_fork_done(false);
	cr_assert(purging_begin());
	purging_end();
}
