/* SPDX-License-Identifier: MIT */
#include "page/purging.h"

#include "os/os.h"

#define MAX_YIELDS 50
#define MAX_WAIT_MS 250

/* Sequentially consistent: a purge that begins sees who waits, or who waits sees the purge. */
static _Atomic uint32_t nr_purges, nr_forks, nr_waiting;

static void wait_for_none_of(const _Atomic uint32_t *nr)
{
	unsigned i;

	for (i = 0; i < MAX_YIELDS + MAX_WAIT_MS && atomic_load(nr); i++) {
		if (i < MAX_YIELDS)
			os_yield();
		else
			os_sleep_ms(1);
	}
}

bool purging_begin(void)
{
	atomic_fetch_add(&nr_purges, 1);
	if (likely(!atomic_load(&nr_forks) && !atomic_load(&nr_waiting)))
		return true;
	purging_end();
	return false;
}

/* Not below 0: in the child of a fork that a handler made within it, it is not counted any more. */
void purging_end(void)
{
	uint32_t n = atomic_load(&nr_purges);

	while (n && !atomic_compare_exchange_weak(&nr_purges, &n, n - 1))
		;
}

bool purging_wait(void)
{
	if (likely(!atomic_load(&nr_purges) && !atomic_load(&nr_forks)))
		return false;
	wait_for_none_of(&nr_forks);
	atomic_fetch_add(&nr_waiting, 1);
	wait_for_none_of(&nr_purges);
	atomic_fetch_sub(&nr_waiting, 1);
	return true;
}

void purging_fork_prepare(void)
{
	atomic_fetch_add(&nr_forks, 1);
	wait_for_none_of(&nr_purges);
}

void purging_fork_done(bool child)
{
	if (!child) {
		atomic_fetch_sub(&nr_forks, 1);
		return;
	}
	/* Those of threads that are not here. */
	atomic_store(&nr_forks, 0);
	atomic_store(&nr_waiting, 0);
	atomic_store(&nr_purges, 0);
}
