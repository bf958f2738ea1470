/* SPDX-License-Identifier: MIT */
/*
 * The programs' shrinkers (Linux: mm/shrinker.c, do_shrink_slab()).
 *
 * One thread calls them, `runner`, and whoever comes meanwhile does not. It holds no lock while a callback runs: `cursor` is where it
 * goes on, which unregister moves off a shrinker that leaves, and `current` what runs, which unregister waits for.
 */
#include "malloc/shrinker.h"

#include <errno.h>

#include "base/probe.h"
#include "bslab/shrinker.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/os.h"

#define DEFAULT_BATCH 128
/* By a soft limit, 1/4 of what there is: the rest is asked for when it comes nearer. */
#define LIMIT_SHIFT 2

static struct {
	struct lock lock; /* RANK_COMPACT: the list, the cursor, and every change of current */
	struct bslab_shrinker *first, *cursor;
	_Atomic(struct bslab_shrinker *) current;
	_Atomic(struct thread_state *) runner;
	_Atomic uint32_t nr_ended; /* callbacks: a futex word */
} shrinkers;

/* --- the list -------------------------------------------------------------------------------------------------------- */

static struct bslab_shrinker **find(const struct bslab_shrinker *s)
{
	struct bslab_shrinker **link = &shrinkers.first;

	while (*link && *link != s)
		link = &(*link)->next;
	return link;
}

int bslab_shrinker_register(struct bslab_shrinker *s)
{
	bool was_there;

	if (!s || !s->count || !s->scan) {
		errno = EINVAL;
		return -1;
	}
	process_boot();
	lock_take(&shrinkers.lock, RANK_COMPACT);
	was_there = *find(s) != NULL;
	if (!was_there) {
		s->next = shrinkers.first;
		__atomic_store_n(&shrinkers.first, s, __ATOMIC_RELAXED);
	}
	lock_drop(&shrinkers.lock, RANK_COMPACT);
	if (was_there)
		bug_caller("shrinker %p is registered already", (void *)s);
	return 0;
}

/* Until the callback of another thread is over; one of this thread goes on without the struct. */
static void wait_for(const struct bslab_shrinker *s)
{
	for (;;) {
		uint32_t nr_ended = atomic_load(&shrinkers.nr_ended);

		if (atomic_load(&shrinkers.current) != s)
			return;
		os_futex_wait(&shrinkers.nr_ended, nr_ended);
	}
}

void bslab_shrinker_unregister(struct bslab_shrinker *s)
{
	struct bslab_shrinker **link;
	bool was_there;

	process_boot();
	lock_take(&shrinkers.lock, RANK_COMPACT);
	link = find(s);
	was_there = *link != NULL;
	if (was_there)
		__atomic_store_n(link, s->next, __ATOMIC_RELAXED);
	if (shrinkers.cursor == s)
		shrinkers.cursor = s->next;
	if (atomic_load(&shrinkers.current) == s && atomic_load(&shrinkers.runner) == &thread_state)
		atomic_store(&shrinkers.current, NULL);
	lock_drop(&shrinkers.lock, RANK_COMPACT);
	if (was_there)
		wait_for(s);
	else
		bug_caller("shrinker %p is not registered", (void *)s);
}

/* --- calling --------------------------------------------------------------------------------------------------------- */

/* Whether it is still there: a callback may unregister its own shrinker. */
static bool is_current(const struct bslab_shrinker *s)
{
	return atomic_load(&shrinkers.current) == s;
}

static void shrink(struct bslab_shrinker *s, enum pressure why)
{
	struct bslab_shrink_control sc = {.is_urgent = why != PRESSURE_LIMIT};
	size_t nr = s->count(s, &sc), batch, freed = 0, total = 0, n;

	if (why == PRESSURE_LIMIT)
		nr = (nr >> LIMIT_SHIFT) + (nr & ((1u << LIMIT_SHIFT) - 1) ? 1 : 0);
	while (nr && is_current(s)) {
		batch = s->batch ? s->batch : DEFAULT_BATCH;
		sc.nr_to_scan = sc.nr_scanned = nr < batch ? nr : batch;
		n = s->scan(s, &sc);
		if (n == BSLAB_SHRINK_STOP)
			break;
		freed += n;
		total += sc.nr_scanned;
		if (!sc.nr_scanned)
			break;
		nr -= nr < sc.nr_scanned ? nr : sc.nr_scanned;
	}
	atomic_fetch_add_explicit(&counts.nr_shrink_scanned, total, memory_order_relaxed);
	atomic_fetch_add_explicit(&counts.nr_shrink_freed, freed, memory_order_relaxed);
	PROBE(shrink, s, total, freed);
}

static struct bslab_shrinker *next_shrinker(void)
{
	struct bslab_shrinker *s;

	lock_take(&shrinkers.lock, RANK_COMPACT);
	s = shrinkers.cursor;
	if (s)
		shrinkers.cursor = s->next;
	atomic_store(&shrinkers.current, s);
	lock_drop(&shrinkers.lock, RANK_COMPACT);
	return s;
}

static void end_current(void)
{
	atomic_store(&shrinkers.current, NULL);
	atomic_fetch_add(&shrinkers.nr_ended, 1);
	os_futex_wake(&shrinkers.nr_ended, INT32_MAX);
}

void shrinkers_call(enum pressure why)
{
	struct thread_state *nobody = NULL;
	struct bslab_shrinker *s;
	int saved = errno;

	if (likely(!READ_ONCE(shrinkers.first)) || !atomic_compare_exchange_strong(&shrinkers.runner, &nobody, &thread_state))
		return;
	lock_take(&shrinkers.lock, RANK_COMPACT);
	shrinkers.cursor = shrinkers.first;
	lock_drop(&shrinkers.lock, RANK_COMPACT);
	while ((s = next_shrinker())) {
		shrink(s, why);
		end_current();
	}
	atomic_store(&shrinkers.runner, NULL);
	errno = saved;
}

void shrinkers_fork_prepare(void)
{
	lock_take_nested(&shrinkers.lock);
}

void shrinkers_fork_done(bool child)
{
	if (!child) {
		lock_drop_nested(&shrinkers.lock);
		return;
	}
	if (atomic_load(&shrinkers.runner) != &thread_state) {
		atomic_store(&shrinkers.runner, NULL);
		atomic_store(&shrinkers.current, NULL);
	}
	lock_reset(&shrinkers.lock);
}
