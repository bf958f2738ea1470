/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

#include "os/lock.h"

#define NR_THREADS 4
#define NR_ROUNDS 200000

static struct lock lock;
static size_t count; /* under lock */

static void *add(void *unused)
{
	for (int i = 0; i < NR_ROUNDS; i++) {
		lock_take(&lock, RANK_ZONE);
		count++;
		lock_drop(&lock, RANK_ZONE);
	}
	return unused;
}

Test(lock, excludes)
{
	pthread_t threads[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, add, NULL), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(count, NR_THREADS * NR_ROUNDS);
	cr_assert_not(lock_is_held(&lock));
}

static void *take_once(void *unused)
{
	lock_take(&lock, RANK_ZONE);
	count++;
	lock_drop(&lock, RANK_ZONE);
	return unused;
}

Test(lock, wakes_who_sleeps)
{
	pthread_t thread;

	lock_take(&lock, RANK_ZONE);
	cr_assert_eq(pthread_create(&thread, NULL, take_once, NULL), 0);
	while (atomic_load(&lock.word) != 2) /* asleep, or about to be */
		;
	cr_assert_eq(count, 0);
	lock_drop(&lock, RANK_ZONE);
	pthread_join(thread, NULL);
	cr_assert_eq(count, 1);
}

Test(lock, try_takes_only_a_free_one)
{
	cr_assert(lock_try(&lock));
	cr_assert(lock_is_held(&lock));
	cr_assert_not(lock_try(&lock));
	lock_drop_nested(&lock);
	cr_assert(lock_try(&lock));
	lock_reset(&lock);
	cr_assert_not(lock_is_held(&lock));
}

#ifdef BSLAB_DEBUG
Test(lock, rising_ranks_are_fine)
{
	static struct lock inner;

	lock_take(&lock, RANK_CACHE);
	lock_take(&inner, RANK_META);
	lock_drop(&inner, RANK_META);
	lock_drop(&lock, RANK_CACHE);
}

Test(lock, falling_rank_dies, .signal = SIGABRT)
{
	static struct lock inner;

	lock_take(&lock, RANK_ZONE);
	lock_take(&inner, RANK_BUDDY);
}

Test(lock, same_rank_dies, .signal = SIGABRT)
{
	static struct lock inner;

	lock_take(&lock, RANK_ZONE);
	lock_take(&inner, RANK_ZONE);
}
#endif
