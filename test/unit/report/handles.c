/* SPDX-License-Identifier: MIT */
/* Handles in several threads and reports of them, while others compact: for ThreadSanitizer, too. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "handle/compact.h"
#include "handle/get.h"
#include "handle/handle.h"
#include "handle/move.h"
#include "os/options.h"
#include "page/compactable.h"
#include "page/purge.h"
#include "report/report.h"

static void setup(void)
{
	bslab_options = bslab_option_defaults;
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 0;
}

static uint64_t get(size_t size);
static void put(uint64_t h);

/* As a process is booted by one thread. */
static void boot(void)
{
	setup();
	put(get(16));
}

TestSuite(threads, .init = boot);

static _Atomic bool stop;

static void *compactor(void *unused)
{
	while (!atomic_load(&stop)) {
		handles_compact();
		pages_purge();
		sched_yield();
	}
	return unused;
}

enum { NR_OWN = 600 };
static unsigned nr_rounds = 60;
#define MAX_ROUNDS 6000 /* where the compactor had no time before */

static bool anything_moved(void)
{
	return READ_ONCE(compact_counts.nr_moved) > 0;
}

/* Each object has its handle in each word. */
static void write_words(uint64_t h, size_t size)
{
	uint64_t *p = handle_map(h);
	size_t i;

	for (i = 0; i < size / 8; i++)
		p[i] = h;
	handle_unmap(h);
}

static bool words_are(uint64_t h, uint64_t word, size_t size)
{
	const uint64_t *p = handle_map(h);
	bool good = true;
	size_t i;

	for (i = 0; i < size / 8; i++)
		good = good && p[i] == word;
	handle_unmap(h);
	return good;
}

static void *owner(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg, round, i;
	uint64_t h[NR_OWN] = {0};
	size_t size[NR_OWN];

	for (round = 0; round < nr_rounds || (round < MAX_ROUNDS && !anything_moved()); round++) {
		for (i = 0; i < NR_OWN; i++)
			if (!h[i]) {
				size[i] = (size_t)rand_r(&seed) % (rand_r(&seed) % 50 ? 2000 : 70000);
				h[i] = get(size[i]);
				cr_assert(h[i]);
				write_words(h[i], size[i]);
			}
		for (i = 0; i < NR_OWN; i++) {
			cr_assert(words_are(h[i], h[i], size[i]));
			if (rand_r(&seed) % 4) {
				put(h[i]);
				h[i] = 0;
			} else if (rand_r(&seed) % 4 == 0) {
				size_t n = (size_t)rand_r(&seed) % 3000;

				cr_assert_eq(handle_resize(h[i], n), RESIZE_DONE);
				cr_assert(words_are(h[i], h[i], min_size(n, size[i])));
				size[i] = n;
				write_words(h[i], n);
			}
		}
	}
	for (i = 0; i < NR_OWN; i++)
		if (h[i])
			put(h[i]);
	handles_thread_exit();
	pages_thread_exit();
	return NULL;
}

static void run(void *(*work)(void *), unsigned nr)
{
	pthread_t t[8], c;
	uintptr_t i;

	atomic_store(&stop, false);
	cr_assert_eq(pthread_create(&c, NULL, compactor, NULL), 0);
	for (i = 0; i < nr; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, work, (void *)(i + 1)), 0);
	for (i = 0; i < nr; i++)
		pthread_join(t[i], NULL);
	atomic_store(&stop, true);
	pthread_join(c, NULL);
}

Test(threads, own_objects_beside_a_compactor)
{
	run(owner, 3);
	handles_reclaim();
	handle_caches_shrink();
	cr_assert_eq(objects_bytes(), 0);
	cr_assert_eq(compactable_nr_pages(), 0);
	cr_assert_gt(compact_counts.nr_moved, 0);
}

/* All threads map the same objects, which stay while one has them mapped. */
enum { NR_SHARED = 200 };
static uint64_t shared[NR_SHARED];

static void *reader(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg, i;

	for (i = 0; i < 40000; i++) {
		uint64_t h = shared[(unsigned)rand_r(&seed) % NR_SHARED];
		const uint64_t *p = handle_map(h);

		cr_assert_eq(p[0], h);
		if (i % 64 == 0)
			sched_yield();
		cr_assert_eq(p[49], h);
		cr_assert_eq(handle_map(h), p);
		handle_unmap(h);
		handle_unmap(h);
	}
	return NULL;
}

/* Makes the heap sparse again and again, so that there is something to move. */
static void *churner(void *arg)
{
	static uint64_t h[20000];
	unsigned round, i;

	if ((uintptr_t)arg != 1)
		return reader(arg);
	for (round = 0; round < 10; round++) {
		for (i = 0; i < 20000; i++)
			h[i] = get(400);
		for (i = 0; i < 20000; i++)
			put(h[i]);
	}
	handles_thread_exit();
	return NULL;
}

Test(threads, shared_objects_beside_a_compactor)
{
	uint64_t filler[5000];
	unsigned i, j;

	for (i = 0; i < NR_SHARED; i++) {
		shared[i] = get(400);
		write_words(shared[i], 400);
		for (j = 0; j < 25; j++)
			filler[i * 25 + j] = get(400);
	}
	for (i = 0; i < NR_SHARED * 25; i++)
		put(filler[i]);
	run(churner, 4);
	for (i = 0; i < NR_SHARED; i++)
		cr_assert(words_are(shared[i], shared[i], 400));
}

/* Reports look at all of it meanwhile. */
static struct heap_report report;

static void *reporter(void *arg)
{
	unsigned i;

	if ((uintptr_t)arg != 1)
		return owner(arg);
	for (i = 0; i < 100; i++)
		report_take(&report);
	return NULL;
}

Test(threads, reports_meanwhile)
{
	nr_rounds = 20;
	run(reporter, 3);
	report_take(&report);
	cr_assert_eq(report.handle_used, 0);
}

/* --- a move that comes to nothing ------------------------------------------------------------------------------------- */

/* What the other thread does to an object that is being copied: the state is set by hand. */
static uint64_t moving(size_t size)
{
	uint64_t h = get(size), place;
	struct handle_entry *e;

	write_words(h, size);
	e = entry_at((uint32_t)h);
	place = atomic_load(&e->place);
	cr_assert_eq(place_state(place), ENTRY_LIVE);
	atomic_store(&e->place, place_of(place_address(place), ENTRY_MOVING));
	return h;
}

static enum entry_state state_of(uint64_t h)
{
	return place_state(atomic_load(&entry_at((uint32_t)h)->place));
}

Test(threads, a_map_makes_a_move_void)
{
	uint64_t h = moving(100);

	cr_assert_eq(handle_size(h), 100);
	cr_assert_eq(state_of(h), ENTRY_MOVING);
	cr_assert(handle_map(h));
	cr_assert_eq(state_of(h), ENTRY_LIVE);
	handle_unmap(h);
	cr_assert_eq(state_of(h), ENTRY_LIVE);
	put(h);
}

Test(threads, a_free_makes_a_move_void)
{
	uint64_t h = moving(100), run = moving(100000);

	put(h);
	cr_assert_eq(state_of(h), ENTRY_CACHED);
	put(run);
	cr_assert_eq(state_of(run), ENTRY_FREE);
}

Test(threads, a_resize_makes_a_move_void)
{
	uint64_t h = moving(100), same = moving(100);

	cr_assert_eq(handle_resize(h, 5000), RESIZE_DONE);
	cr_assert_eq(state_of(h), ENTRY_LIVE);
	cr_assert(words_are(h, h, 100));
	cr_assert_eq(handle_resize(same, 99), RESIZE_DONE);
	cr_assert_eq(state_of(same), ENTRY_LIVE);
	put(h);
	put(same);
}
