/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "alone.h"
#include "fake_os.h"
#include "handle/compact.h"
#include "handle/get.h"
#include "handle/handle.h"
#include "handle/move.h"
#include "os/bug.h"
#include "os/options.h"
#include "page/limit.h"
#include "page/compactable.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = MIB;
	bslab_options.large_size = 4 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(handle, .init = setup);

static const size_t sizes[] = {0, 1, 8, 15, 16, 17, 100, 1000, 1024, 4096, 5000, 32767, 32768, 32769,
			       100000, MIB, 2 * MIB, 2 * MIB + 1, 3 * MIB, 5 * MIB};
#define NR_SIZES (sizeof sizes / sizeof *sizes)

static void fill(uint64_t h, unsigned seed)
{
	unsigned char *p = handle_map(h);
	size_t i, n = handle_size(h);

	for (i = 0; i < n; i += i < 64 || i + 100 > n ? 1 : 997)
		p[i] = (unsigned char)(seed + i);
	handle_unmap(h);
}

static bool is_filled(uint64_t h, size_t n, unsigned seed)
{
	const unsigned char *p = handle_map(h);
	bool good = true;
	size_t i;

	for (i = 0; i < n && i < 64; i++)
		good = good && p[i] == (unsigned char)(seed + i);
	handle_unmap(h);
	return good;
}

Test(handle, every_size)
{
	uint64_t h[NR_SIZES];
	unsigned i;

	for (i = 0; i < NR_SIZES; i++) {
		void *p;

		h[i] = get(sizes[i]);
		cr_assert(h[i], "%zu", sizes[i]);
		cr_assert_geq(handle_size(h[i]), sizes[i]);
		if (sizes[i] <= PAGEBLOCK_SIZE)
			cr_assert_eq(handle_size(h[i]), sizes[i]);
		p = handle_map(h[i]);
		cr_assert_eq((uintptr_t)p % 16, 0);
		if (sizes[i] && sizes[i] % 4096 == 0)
			cr_assert_eq((uintptr_t)p % 4096, 0);
		handle_unmap(h[i]);
		fill(h[i], i);
	}
	for (i = 0; i < NR_SIZES; i++)
		cr_assert(is_filled(h[i], sizes[i], i), "%zu", sizes[i]);
	for (i = 0; i < NR_SIZES; i++)
		put(h[i]);
	handles_drain();
	handle_caches_shrink();
	cr_assert_eq(objects_bytes(), 0);
	cr_assert_eq(compactable_nr_pages(), 0);
}

static void nest_maps(void)
{
	uint64_t h = get(100);
	void *p = handle_map(h);

	cr_assert_eq(handle_map(h), p);
	handle_unmap(h);
	cr_assert_eq(handle_map(h), p);
	handle_unmap(h);
	handle_unmap(h);
	put(h);
}

Test(handle, maps_nest)
{
	nest_maps();
	run_alone(nest_maps);
}

/* A map, by a signal handler when there is one thread, makes a move void. */
static void map_moving(void)
{
	uint64_t h = get(100), live;
	struct handle_entry *e = entry_at((uint32_t)h);

	live = atomic_load(&e->place);
	atomic_store(&e->place, live ^ (ENTRY_LIVE ^ ENTRY_MOVING));
	cr_assert_eq((uintptr_t)handle_map(h), place_address(live));
	cr_assert_eq(atomic_load(&e->place), live + PLACE_MAP);
	handle_unmap(h);
	cr_assert_eq(atomic_load(&e->place), live);
	atomic_store(&e->place, live ^ (ENTRY_LIVE ^ ENTRY_MOVING));
	put(h);
	cr_assert_eq(place_state(atomic_load(&e->place)), ENTRY_CACHED);
}

Test(handle, a_map_of_what_moves)
{
	map_moving();
	run_alone(map_moving);
}

static void use_old_handles(void)
{
	uint64_t h = get(100), g;

	put(h);
	g = get(100);
	cr_assert_eq((uint32_t)g, (uint32_t)h, "the entry freed last is used first");
	cr_assert_neq(g, h);
	put(g);
	/* Generation 0 is nobody's: an entry whose generations are through goes home with the first one. */
	atomic_store(&entry_at((uint32_t)h)->info,
		     (uint64_t)MAX_GENERATION << GENERATION_SHIFT | (entry_info(entry_at((uint32_t)h)) & 0xffffffffffull));
	h = get(100);
	put(h);
	cr_assert_eq(entry_info(entry_at((uint32_t)h)) >> GENERATION_SHIFT, 1);
	cr_assert_eq(place_state(atomic_load(&entry_at((uint32_t)h)->place)), ENTRY_FREE);
	cr_assert_eq(handle_table.free, (uint32_t)h);
}

Test(handle, generations_tell_old_handles)
{
	use_old_handles();
	run_alone(use_old_handles);
}

Test(handle, the_table_grows)
{
	enum { N = 5000 };
	static uint64_t h[N];
	unsigned i;

	for (i = 0; i < N; i++) {
		h[i] = get(16);
		cr_assert(h[i]);
		memcpy(handle_map(h[i]), &h[i], 8);
		handle_unmap(h[i]);
	}
	for (i = 0; i < N; i++) {
		cr_assert_eq(*(uint64_t *)handle_map(h[i]), h[i]);
		handle_unmap(h[i]);
		put(h[i]);
	}
}

/* Its memory is asked for, and counted, a page at a time, not a chunk, which is as large as all before. */
Test(handle, the_table_is_charged_as_it_grows)
{
	struct handle_info info;
	uint32_t index;
	unsigned n;

	for (n = 0; n < 100000; n++) {
		cr_assert_eq(entries_take(&index, 1), 1);
		handles_snapshot(&info);
		cr_assert_leq(info.mapped, (info.nr_entries + 1) * sizeof(struct handle_entry) + BSLAB_PAGE_SIZE);
	}
	cr_assert_eq(info.nr_entries, 100000);
	limit_set(0, 1);
	while (entries_take(&index, 1))
		n++;
	cr_assert_lt(n, 100000 + ENTRIES_PER_PAGE);
	limit_set(0, 0);
	cr_assert_eq(entries_take(&index, 1), 1);
	/* No more than indices have bits. */
	handle_table.nr_entries = handle_table.nr_backed = -(uint32_t)ENTRIES_PER_PAGE;
	cr_assert_eq(entries_take(&index, 1), 0);
}

static bool is_aligned(uint64_t h, size_t align)
{
	uintptr_t p = (uintptr_t)handle_map(h);

	handle_unmap(h);
	return p % align == 0;
}

/* What is charged is a page, so no huge one is to come with it. */
Test(handle, the_table_has_no_huge_pages)
{
	static uint32_t index[300000]; /* up to a chunk of 4 MiB */

	cr_assert_eq(entries_take(index, 300000), 300000);
	cr_assert(fake_is_small(entry_at(index[299999])));
	cr_assert(fake_is_small(entry_at(index[0])));
}

/* An aligned object has the room that its alignment asks for: it stays in it. */
Test(handle, an_aligned_object_stays_in_place)
{
	uint64_t h = handle_alloc_aligned(100, 12);
	void *p = handle_map(h);

	handle_unmap(h);
	cr_assert_eq(handle_resize(h, 200), RESIZE_DONE);
	cr_assert_eq(handle_map(h), p);
	handle_unmap(h);
	cr_assert_eq(handle_size(h), 200);
	cr_assert_eq(handle_resize(h, 9000), RESIZE_DONE);
	cr_assert_eq(handle_resize(h, 200), RESIZE_DONE);
	cr_assert_lt(objects_bytes_of(map_pageblock((uintptr_t)p)), 2 * 9000, "it does not keep three times of what it needs");
	put(h);
}

/* Whatever its size, and after it was given another one. */
Test(handle, alignment)
{
	static const size_t resized[] = {0, 33, 1000, 9000, 40000, 3 * MIB, 4 * MIB, 70000, 1500, 17};
	unsigned align, i, k;

	for (align = 5; align <= 12; align++)
		for (i = 0; i < NR_SIZES; i++) {
			uint64_t h[3];

			for (k = 0; k < 3; k++) {
				h[k] = handle_alloc_aligned(sizes[i], align);
				cr_assert(h[k]);
				cr_assert(is_aligned(h[k], (size_t)1 << align), "%zu %u", sizes[i], align);
				cr_assert_eq(handle_size(h[k]), sizes[i] > PAGEBLOCK_SIZE ? align_up(sizes[i], 4096) : sizes[i]);
				fill(h[k], k);
			}
			for (k = 0; k < sizeof resized / sizeof *resized; k++) {
				cr_assert_eq(handle_resize(h[0], resized[k]), RESIZE_DONE);
				cr_assert(is_aligned(h[0], (size_t)1 << align), "%zu %u", resized[k], align);
			}
			cr_assert_eq(handle_size(h[0]), 17);
			for (k = 0; k < 3; k++)
				put(h[k]);
		}
	cr_assert_eq(handle_alloc_aligned(MAX_HANDLE_SIZE + 1, 12), 0);
}

/* A fork takes no lock of handles where there are none. */
Test(handle, fork_where_there_is_none)
{
	slab_fork_prepare();
	handles_fork_prepare();
	cr_assert_not(lock_is_held(&handle_table.lock));
	handles_fork_done(false);
	slab_fork_done(false);
	put(get(100));
	slab_fork_prepare();
	handles_fork_prepare();
	cr_assert(lock_is_held(&handle_table.lock));
	handles_fork_done(false);
	cr_assert_not(lock_is_held(&handle_table.lock));
	slab_fork_done(false);
}

/* A thread that looks where there are no handles yet, while another forks: the child has no such thread. */
Test(handle, a_child_looks_again)
{
	fake.clock_ms = 1000;
	handle_threads.is_looking = true;
	slab_fork_prepare();
	handles_fork_prepare();
	handles_fork_done(false);
	slab_fork_done(false);
	cr_assert(handle_threads.is_looking, "the parent's thread is at it");
	slab_fork_prepare();
	handles_fork_prepare();
	handles_fork_done(true);
	slab_fork_done(true);
	handles_reap();
	cr_assert_eq(handle_threads.looked_at, 1000);
}

/* --- misuse: said, and nothing done ----------------------------------------------------------------------------------- */

static void expect_line(const char *part)
{
	cr_assert(strstr(fake.text, part), "'%s' says '%s'", fake.text, part);
	memset(fake.text, 0, sizeof fake.text);
}

static void warn(void)
{
	bug_set_fatal(false);
	fake.capture = true;
}

static void misuse(void)
{
	uint64_t h = get(100), g = get(100);

	put(h);
	put(h);
	expect_line("invalid free of handle");
	cr_assert_null(handle_map(h));
	expect_line("freed before");
	handle_unmap(h);
	expect_line("invalid unmap");
	cr_assert_eq(handle_size(h), 0);
	expect_line("invalid size");
	cr_assert_eq(handle_resize(h, 10), RESIZE_FAULT);
	expect_line("invalid resize");
	handle_unmap(g);
	expect_line("it is not mapped");
	cr_assert(handle_map(g));
	put(g);
	expect_line("it is mapped 1 times");
	cr_assert_eq(handle_resize(g, 10), RESIZE_FAULT);
	expect_line("it is mapped 1 times");
	handle_unmap(g);
	cr_assert_null(handle_map(12345));
	expect_line("not a handle from bslab");
	cr_assert_null(handle_map(g | 1ull << 63 >> 8));
	expect_line("freed before"); /* another generation */
	cr_assert_null(handle_map(g ^ 1ull << 60));
	expect_line("not a handle from bslab");
	cr_assert_null(handle_map(g | 0xffffffff));
	expect_line("not a handle from bslab");
	cr_assert_null(handle_map(g + 1000000));
	expect_line("not a handle from bslab");
	cr_assert_eq(handle_size(g), 100, "after all that it is as it was");
	put(g);
}

Test(handle, misuse)
{
	warn();
	misuse();
	run_alone(misuse);
}

static void map_too_often(void)
{
	uint64_t h = get(100);
	unsigned i;

	for (i = 0; i < 65535; i++)
		cr_assert(handle_map(h));
	cr_assert_null(handle_map(h));
	expect_line("it is mapped 65535 times");
	for (i = 0; i < 65535; i++)
		handle_unmap(h);
	put(h);
	cr_assert_str_eq(fake.text, "");
}

Test(handle, too_many_maps)
{
	warn();
	map_too_often();
	run_alone(map_too_often);
}

/* --- resize ------------------------------------------------------------------------------------------------------------ */

Test(handle, resize_keeps_contents_and_handle)
{
	unsigned i, j;

	for (i = 0; i < NR_SIZES; i++)
		for (j = 0; j < NR_SIZES; j++) {
			uint64_t h = get(sizes[i]);

			fill(h, i);
			cr_assert_eq(handle_resize(h, sizes[j]), RESIZE_DONE, "%zu to %zu", sizes[i], sizes[j]);
			cr_assert_geq(handle_size(h), sizes[j]);
			cr_assert(is_filled(h, min_size(sizes[i], sizes[j]), i), "%zu to %zu", sizes[i], sizes[j]);
			fill(h, j);
			put(h);
		}
	handles_drain();
	handle_caches_shrink();
	cr_assert_eq(objects_bytes(), 0);
}

Test(handle, resize_in_place)
{
	uint64_t h = get(1000);
	void *p = handle_map(h);

	handle_unmap(h);
	cr_assert_eq(handle_resize(h, 900), RESIZE_DONE);
	cr_assert_eq(handle_map(h), p);
	handle_unmap(h);
	cr_assert_eq(handle_size(h), 900);
	cr_assert_eq(handle_resize(h, 100), RESIZE_DONE);
	cr_assert_neq(handle_map(h), p, "it does not keep ten times of what it needs");
	handle_unmap(h);
	put(h);
}

/* --- no memory ---------------------------------------------------------------------------------------------------------- */

Test(handle, each_system_call_fails)
{
	size_t n, i;

	for (n = 1; n < 30; n++) {
		uint64_t h[NR_SIZES];

		fake_fail_at(FAKE_ALL & ~(1u << FAKE_UNMAP), n, true);
		for (i = 0; i < NR_SIZES; i++) {
			h[i] = get(sizes[i]);
			if (!h[i])
				continue;
			fill(h[i], (unsigned)i);
			if (handle_resize(h[i], sizes[i] * 2) == RESIZE_NO_MEMORY)
				cr_assert_geq(handle_size(h[i]), sizes[i]);
			cr_assert(is_filled(h[i], sizes[i], (unsigned)i));
		}
		for (i = 0; i < NR_SIZES; i++)
			if (h[i])
				put(h[i]);
		fake_fail_at(FAKE_ALL, 0, false);
		handles_drain();
		handle_caches_shrink();
		cr_assert_eq(objects_bytes(), 0);
	}
}

Test(handle, a_hard_limit_refuses)
{
	unsigned n;

	limit_set(0, 8 * MIB);
	for (n = 0; get(30000); n++)
		;
	cr_assert_gt(n, 150);
	cr_assert_lt(n, 280);
	cr_assert_eq(get(100000), 0);
	cr_assert_eq(get(3 * MIB), 0);
	limit_set(0, 0);
	cr_assert(get(30000));
}

/* --- threads --------------------------------------------------------------------------------------------------------------- */

static void *keeper(void *arg)
{
	uint64_t *h = arg;
	unsigned i;

	for (i = 0; i < 100; i++)
		h[i] = get(200);
	for (i = 0; i < 50; i++)
		put(h[i]);
	handles_thread_exit();
	return NULL;
}

Test(handle, what_a_thread_keeps_goes_home_with_it)
{
	uint64_t h[100];
	pthread_t t;
	unsigned i;

	for (i = 0; i < 3; i++) {
		unsigned j;

		cr_assert_eq(pthread_create(&t, NULL, keeper, h), 0);
		pthread_join(t, NULL);
		cr_assert_eq(objects_bytes(), 50 * class_size(size_class(200)));
		for (j = 50; j < 100; j++)
			put(h[j]);
		handles_drain();
		cr_assert_eq(objects_bytes(), 0);
	}
	cr_assert_null(handle_threads.all->next->next, "the second thread took over what the first had");
}

/* The last calls of a thread that has ended leave nothing behind. */
Test(handle, after_the_end_of_a_thread)
{
	uint64_t h = get(100), g;

	handles_thread_exit();
	thread_state.exit_hooked = THREAD_ENDED;
	g = get(100);
	cr_assert(g);
	put(h);
	cr_assert_null(thread_state.handles);
	cr_assert_eq(objects_bytes(), class_size(size_class(100)));
	put(g);
	cr_assert_eq(objects_bytes(), 0);
}

static void *sleeper(void *arg)
{
	pthread_barrier_t *b = arg;
	uint64_t h[20];
	unsigned i;

	for (i = 0; i < 20; i++)
		h[i] = get(200);
	for (i = 0; i < 20; i++)
		put(h[i]);
	pthread_barrier_wait(b);
	pthread_barrier_wait(b);
	handles_thread_exit();
	return NULL;
}

Test(handle, a_child_has_what_other_threads_kept)
{
	static pthread_barrier_t b; /* the other thread may leave it last */
	struct handle_info info;
	pthread_t t;
	size_t before;

	pthread_barrier_init(&b, NULL, 2);
	cr_assert_eq(pthread_create(&t, NULL, sleeper, &b), 0);
	pthread_barrier_wait(&b);
	slab_fork_prepare();
	handles_fork_prepare();
	handles_fork_done(true); /* as if this were the child */
	slab_fork_done(true);
	compact_fork_child();
	handles_snapshot(&info);
	cr_assert_geq(info.nr_cached[size_class(200)], 20);
	before = objects_bytes();
	cr_assert(get(200));
	cr_assert_eq(objects_bytes(), before, "it was one of those");
	pthread_barrier_wait(&b);
	/* Two threads own it now, which no child has: leave it there. */
	pthread_detach(t);
}

/* What a thread keeps that does nothing goes home, whoever looks; and its depot. */
Test(handle, what_rests_goes_home)
{
	pthread_barrier_t b;
	size_t before;
	unsigned i;
	pthread_t t;

	fake.clock_ms = 1000;
	pthread_barrier_init(&b, NULL, 2);
	cr_assert_eq(pthread_create(&t, NULL, sleeper, &b), 0);
	pthread_barrier_wait(&b);
	before = objects_bytes();
	cr_assert_gt(before, 20 * 200);
	for (i = 0; i < 3; i++) {
		handles_reap();
		cr_assert_eq(objects_bytes(), before, "not yet: it may have been busy");
		fake.clock_ms += i == 2 ? 100 : 10;
	}
	handles_reap();
	fake.clock_ms += 100;
	handles_reap();
	cr_assert_eq(objects_bytes(), 0);
	pthread_barrier_wait(&b);
	pthread_join(t, NULL);
	cr_assert_eq(objects_bytes(), 0);
}

/* What a thread keeps was taken away, and there is no other object: the handle goes home, too. */
Test(handle, no_memory_for_what_was_kept)
{
	uint64_t h = get(200);
	struct handle_info before, info;

	put(h);
	handles_strip();
	handle_caches_shrink();
	handles_snapshot(&before);
	limit_set(0, 1);
	cr_assert_eq(handle_alloc_fast(200), 0);
	handles_snapshot(&info);
	cr_assert_eq(info.nr_free, before.nr_free + 1);
	limit_set(0, 0);
	cr_assert(get(200));
}

/* --- mapped while it is resized ---------------------------------------------------------------------------------------- */

static _Atomic uint64_t resized; /* 0: that is all */
static _Atomic bool is_mapped, is_seen;

/* Maps the object when it is mapped for a resize. */
static void *intruder(void *unused)
{
	uint64_t h;

	while ((h = resized)) {
		if (!place_maps(entry_at((uint32_t)h)->place))
			continue;
		handle_map(h);
		is_mapped = true;
		while (!is_seen)
			;
		is_mapped = is_seen = false;
		handle_unmap(h);
	}
	return unused;
}

/* It is told, and the entry is right in any case; of a large one it may have the new size. */
static void resize_meanwhile(size_t from, size_t to)
{
	unsigned i, nr_told = 0;
	uint64_t h = get(from);
	pthread_t t;

	fill(h, 3);
	resized = h;
	cr_assert_eq(pthread_create(&t, NULL, intruder, NULL), 0);
	for (i = 0; i < 10000 && !nr_told; i++) {
		enum resize r = handle_resize(h, i % 2 ? from : to);

		if (r == RESIZE_FAULT || is_mapped) {
			nr_told += r == RESIZE_FAULT;
			while (!is_mapped)
				;
			cr_assert(place_maps(entry_at((uint32_t)h)->place));
			cr_assert(is_filled(h, 64, 3));
			is_seen = true;
			while (is_seen)
				;
			while (place_maps(entry_at((uint32_t)h)->place))
				;
		}
		cr_assert(handle_size(h) == from || handle_size(h) == to);
	}
	cr_assert_gt(nr_told, 0);
	resized = 0;
	pthread_join(t, NULL);
	cr_assert(is_filled(h, 64, 3));
	put(h);
	handles_drain();
	handle_caches_shrink();
	cr_assert_eq(objects_bytes(), 0);
}

Test(handle, mapped_while_it_is_copied)
{
	warn();
	resize_meanwhile(PAGEBLOCK_SIZE, PAGEBLOCK_SIZE - 100000);
	expect_line("it was mapped meanwhile");
}

Test(handle, mapped_while_a_large_one_is_resized)
{
	warn();
	resize_meanwhile(8 * MIB, 5 * MIB);
	cr_assert(strstr(fake.text, "invalid resize of handle"));
	expect_line("it was mapped meanwhile");
}

/* The zone has nothing, but malloc's pageblocks have free pages. */
Test(handle, pages_of_any_block_at_the_last)
{
	bool zeroed;
	void *p = pages_alloc(4, 0, MIGRATE_MOVABLE, 0, &zeroed);
	uint64_t h;

	cr_assert(p);
	put(get(16)); /* metadata */
	handles_drain();
	handle_caches_shrink();
	while (zone_alloc(1, PAGEBLOCK_LARGE, &(size_t){0}))
		;
	h = get(3000);
	cr_assert(h);
	cr_assert_eq(map_pageblock((uintptr_t)handle_map(h)), map_pageblock((uintptr_t)p));
	handle_unmap(h);
	put(h);
}

Test(handle, resize_stays_where_there_is_no_memory)
{
	uint64_t h = get(2000);

	limit_set(0, 1);
	cr_assert_eq(handle_resize(h, 100), RESIZE_DONE);
	cr_assert_eq(handle_size(h), 100);
	cr_assert_eq(handle_resize(h, 3000), RESIZE_NO_MEMORY);
	cr_assert_eq(handle_size(h), 100);
	limit_set(0, 0);
	put(h);
}
