/* SPDX-License-Identifier: MIT */
#include "page/purging.h"

#include "os/os.h"

#define MAX_YIELDS 50
#define MAX_WAIT_MS 250

/* Sequentially consistent: a purge that begins sees who waits, or who waits sees the purge. */
static _Atomic uint32_t nr_purges, nr_forks, nr_waiting, nr_holds;
static _Atomic uint32_t nr_put_off; /* since the start, modulo 2^32 */

/* False: they did not end in time. */
static bool wait_for_none_of(const _Atomic uint32_t *nr)
{
	unsigned i;

	for (i = 0; i < MAX_YIELDS + MAX_WAIT_MS && atomic_load(nr); i++) {
		if (i < MAX_YIELDS)
			os_yield();
		else
			os_sleep_ms(1);
	}
	return !atomic_load(nr);
}

/* Not below 0: in the child of a fork that a handler made in between, it is not counted any more. */
static void count_down(_Atomic uint32_t *nr)
{
	uint32_t n = atomic_load(nr);

	while (n && !atomic_compare_exchange_weak(nr, &n, n - 1))
		;
}

bool purging_begin(void)
{
	atomic_fetch_add(&nr_purges, 1);
	if (likely(!atomic_load(&nr_forks) && !atomic_load(&nr_waiting)))
		return true;
	atomic_fetch_add(&nr_put_off, 1);
	purging_end();
	return false;
}

void purging_end(void)
{
	count_down(&nr_purges);
}

uint32_t purging_mark(void)
{
	return atomic_load(&nr_put_off);
}

static bool any_is_under_way(void)
{
	return atomic_load(&nr_purges) || atomic_load(&nr_forks) || atomic_load(&nr_waiting);
}

bool purging_wait(uint32_t mark)
{
	bool in_time;

	if (likely(!any_is_under_way() && atomic_load(&nr_put_off) == mark))
		return false;
	if (!wait_for_none_of(&nr_forks)) /* one that takes long has put off what the caller wanted */
		return atomic_load(&nr_put_off) != mark;
	if (!wait_for_none_of(&nr_waiting))
		return false;
	atomic_fetch_add(&nr_waiting, 1);
	in_time = wait_for_none_of(&nr_purges);
	count_down(&nr_waiting);
	return in_time;
}

void forks_hold(void)
{
	bool in_time = true;

	atomic_fetch_add(&nr_holds, 1);
	while (unlikely(atomic_load(&nr_forks)) && in_time) {
		count_down(&nr_holds);
		in_time = wait_for_none_of(&nr_forks);
		atomic_fetch_add(&nr_holds, 1);
	}
}

void forks_let_go(void)
{
	count_down(&nr_holds);
}

void purging_fork_prepare(void)
{
	atomic_fetch_add(&nr_forks, 1);
	wait_for_none_of(&nr_purges);
	wait_for_none_of(&nr_holds);
}

void purging_fork_done(bool child)
{
	if (!child) {
		count_down(&nr_forks);
		return;
	}
	/* Those of threads that are not here. */
	atomic_store(&nr_forks, 0);
	atomic_store(&nr_waiting, 0);
	atomic_store(&nr_purges, 0);
	atomic_store(&nr_holds, 0);
}
