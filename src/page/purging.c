/* SPDX-License-Identifier: MIT */
#include "page/purging.h"

#include "os/os.h"

#define MAX_YIELDS 50
#define MAX_WAIT_MS 250

/* Sequentially consistent: a purge that begins sees the fork, or the fork sees the purge. The first two modulo 2^32. */
static _Atomic uint32_t nr_begun, nr_ended, nr_forks;

static bool has_ended(uint32_t nr)
{
	return (int32_t)(atomic_load(&nr_ended) - nr) >= 0;
}

static bool forks_are(uint32_t nr)
{
	return atomic_load(&nr_forks) == nr;
}

static void wait_until(bool (*is_so)(uint32_t), uint32_t nr)
{
	unsigned i;

	for (i = 0; i < MAX_YIELDS + MAX_WAIT_MS && !is_so(nr); i++) {
		if (i < MAX_YIELDS)
			os_yield();
		else
			os_sleep_ms(1);
	}
}

void purging_begin(void)
{
	atomic_fetch_add(&nr_begun, 1);
	if (likely(!atomic_load(&nr_forks)))
		return;
	atomic_fetch_add(&nr_ended, 1);
	wait_until(forks_are, 0);
	atomic_fetch_add(&nr_begun, 1);
}

void purging_end(void)
{
	atomic_fetch_add(&nr_ended, 1);
}

void purging_wait(void)
{
	wait_until(has_ended, atomic_load(&nr_begun));
}

void purging_fork_prepare(void)
{
	atomic_fetch_add(&nr_forks, 1);
	purging_wait();
}

void purging_fork_done(bool child)
{
	if (!child) {
		atomic_fetch_sub(&nr_forks, 1);
		return;
	}
	atomic_store(&nr_forks, 0);
	atomic_store(&nr_ended, atomic_load(&nr_begun)); /* those of threads that are not here never do */
}
