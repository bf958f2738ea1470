/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "os/os.h"
#include "map/map.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/contig.h"
#include "page/limit.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
}

TestSuite(contig, .init = setup);

static bool is_short;

static void *take(size_t nr_pages, size_t align)
{
	struct contig_request r = {.nr_pages = nr_pages, .align = align};
	void *p = contig_alloc(&r);

	is_short = r.is_short;
	return p;
}

static struct contig_info snapshot(void)
{
	struct contig_info info;

	contig_snapshot(&info);
	return info;
}

struct thing {
	char *p;
	unsigned nr_pages;
	bool refuses;
	unsigned nr_moves;
};

static int move_thing(void *to, void *from, size_t size, void *arg)
{
	struct thing *t = arg;

	cr_assert_eq(t->p, from);
	cr_assert_eq(size, t->nr_pages * BSLAB_PAGE_SIZE);
	if (t->refuses)
		return 1;
	memcpy(to, from, size);
	t->p = to;
	t->nr_moves++;
	return 0;
}

static void make(struct thing *t, unsigned nr_pages, char byte)
{
	*t = (struct thing){.nr_pages = nr_pages};
	t->p = movable_alloc(nr_pages, move_thing, t);
	cr_assert_not_null(t->p);
	memset(t->p, byte, nr_pages * BSLAB_PAGE_SIZE);
}

static void expect_byte(const struct thing *t, char byte)
{
	for (size_t i = 0; i < t->nr_pages * BSLAB_PAGE_SIZE; i += 512)
		cr_assert_eq(t->p[i], byte);
}

static bool is_reserve(const void *p)
{
	return map_pageblock((uintptr_t)p)->state == PAGEBLOCK_CONTIG;
}

/* The free pages of all blocks of the reserve, against the counts. */
static size_t nr_free(uintptr_t base, unsigned nr_blocks)
{
	size_t n = 0;

	for (unsigned i = 0; i < nr_blocks; i++) {
		struct pageblock *b = map_pageblock(base + i * PAGEBLOCK_SIZE);

		cr_assert(pageblock_is_valid(b));
		n += b->nr_free;
	}
	cr_assert_eq(snapshot().nr_pages, snapshot().nr_taken + snapshot().nr_lent + n);
	return n;
}

static uintptr_t reserve(unsigned nr_blocks)
{
	char *p;

	cr_assert(contig_add(nr_blocks, 0));
	p = take((size_t)nr_blocks * 512, BSLAB_PAGE_SIZE);
	cr_assert_not_null(p);
	cr_assert(contig_free((uintptr_t)p));
	return (uintptr_t)p;
}

Test(contig, nothing_without_a_reserve)
{
	struct thing t;

	cr_assert_null(take(1, BSLAB_PAGE_SIZE));
	cr_assert_not(contig_free(4096));
	contig_purge();
	make(&t, 3, 1);
	cr_assert_not(is_reserve(t.p));
	cr_assert_eq(movable_free((uintptr_t)t.p), MOVABLE_GOOD);
	cr_assert_eq(snapshot().nr_pages, 0);
}

Test(contig, ranges_of_any_size)
{
	uintptr_t base = reserve(4);
	char *a = take(700, BSLAB_PAGE_SIZE), *b, *c;

	cr_assert_eq((uintptr_t)a, base);
	memset(a, 1, 700 * BSLAB_PAGE_SIZE);
	b = take(1, BSLAB_PAGE_SIZE);
	cr_assert_eq(b, a + 700 * BSLAB_PAGE_SIZE);
	c = take(512, PAGEBLOCK_SIZE);
	cr_assert_eq((uintptr_t)c, base + 2 * PAGEBLOCK_SIZE);
	cr_assert_null(take(513, BSLAB_PAGE_SIZE));
	cr_assert_eq(nr_free(base, 4), 2048 - 700 - 1 - 512);
	cr_assert_not(contig_free((uintptr_t)a + 4096), "inside");
	cr_assert_not(contig_free((uintptr_t)a + 8));
	cr_assert(contig_free((uintptr_t)a));
	cr_assert_not(contig_free((uintptr_t)a));
	cr_assert_eq(take(600, BSLAB_PAGE_SIZE), a);
	cr_assert(contig_free((uintptr_t)b) && contig_free((uintptr_t)c) && contig_free((uintptr_t)a));
	cr_assert_eq(nr_free(base, 4), 2048);
	cr_assert_null(take(2049, BSLAB_PAGE_SIZE));
	cr_assert_null(take((GIB >> PAGE_SHIFT) + 1, BSLAB_PAGE_SIZE));
	cr_assert_eq(take(2048, BSLAB_PAGE_SIZE), a);
}

Test(contig, in_reports)
{
	struct pages_info info;
	char *p;

	reserve(3);
	p = take(100, BSLAB_PAGE_SIZE);
	contig_free((uintptr_t)p);
	cr_assert_not_null(take(10, BSLAB_PAGE_SIZE));
	pages_snapshot(&info);
	cr_assert_eq(info.nr_cma_blocks, 3);
	cr_assert_eq(info.nr_cma_free, 3 * 512 - 10);
	cr_assert_eq(info.nr_cma_dirty, 3 * 512 - 10, "the reserve was used as a whole before");
	cr_assert_eq(info.zones.nr, 1);
	cr_assert(contig_add(1, PAGES_DMA32));
	pages_snapshot(&info);
	cr_assert_eq(info.zones.nr, 2);
	cr_assert_eq(info.zones.row[1].zone, ZONE_DMA32);
	cr_assert_eq(info.zones.row[1].nr_committed, 2);
	cr_assert_eq(info.zones.row[1].nr_free_blocks, 1);
}

Test(contig, gives_back_to_the_system)
{
	uint64_t before;
	char *p;

	cr_assert(contig_add(1, 0));
	p = take(3, BSLAB_PAGE_SIZE);
	cr_assert(p && p[0] == 0);
	memset(p, 1, 3 * BSLAB_PAGE_SIZE);
	contig_free((uintptr_t)p);
	contig_purge();
	cr_assert_geq(contig_nr_given_back(), 3);
	cr_assert_eq(take(3, BSLAB_PAGE_SIZE), p);
	cr_assert(p[0] == 0 && p[12287] == 0);
	memset(p, 1, 3 * BSLAB_PAGE_SIZE);
	contig_free((uintptr_t)p);
	fake_fail_at(1u << FAKE_PURGE, 1, true);
	before = contig_nr_given_back();
	contig_purge();
	cr_assert_eq(contig_nr_given_back(), before);
	cr_assert_eq(take(3, BSLAB_PAGE_SIZE), p);
	cr_assert_eq(p[0], 1);
}

/* What the program locked is refused; the purge ends, and what stands beside it and in other blocks is given back. */
Test(contig, a_locked_page_keeps_no_other)
{
	enum { NR = 64 };
	char *p[NR], *keep[NR], *last;

	cr_assert(contig_add(2, 0));
	for (int i = 0; i < NR; i++) {
		p[i] = take(4, BSLAB_PAGE_SIZE);
		keep[i] = take(4, BSLAB_PAGE_SIZE); /* so that those freed are pieces of their own */
		cr_assert(p[i] && keep[i]);
		memset(p[i], 1, 4 * BSLAB_PAGE_SIZE);
	}
	last = take(512, BSLAB_PAGE_SIZE);
	cr_assert_not_null(last);
	memset(last, 1, 512 * BSLAB_PAGE_SIZE);
	for (int i = 0; i < NR; i++)
		contig_free((uintptr_t)p[i]);
	contig_free((uintptr_t)last);
	for (int i = 0; i < NR; i++)
		os_lock(p[i], BSLAB_PAGE_SIZE);
	contig_purge();
	cr_assert_eq(contig_nr_given_back(), 512);
	for (int i = 1; i < NR; i++)
		os_unlock(p[i], BSLAB_PAGE_SIZE);
	contig_purge();
	cr_assert_eq(contig_nr_given_back(), 512 + (NR - 1) * 4);
	os_unlock(p[0], BSLAB_PAGE_SIZE);
	contig_purge();
	cr_assert_eq(contig_nr_given_back(), 512 + NR * 4);
}

Test(contig, lends_and_gets_back)
{
	uintptr_t base = reserve(4);
	struct thing t[40];
	char *p;

	for (int i = 0; i < 40; i++) {
		make(&t[i], (unsigned)i + 1, (char)i);
		cr_assert(is_reserve(t[i].p));
	}
	nr_free(base, 4);
	for (int i = 0; i < 40; i += 3) {
		cr_assert_eq(movable_free((uintptr_t)t[i].p), MOVABLE_GOOD);
		t[i].p = NULL;
	}
	cr_assert_gt(snapshot().nr_lent, 0);
	p = take(2048, BSLAB_PAGE_SIZE);
	cr_assert_eq((uintptr_t)p, base);
	cr_assert_eq(snapshot().nr_lent, 0);
	memset(p, 0x77, 2048 * BSLAB_PAGE_SIZE);
	for (int i = 0; i < 40; i++)
		if (t[i].p) {
			cr_assert_not(is_reserve(t[i].p));
			cr_assert_eq(t[i].nr_moves, 1);
			expect_byte(&t[i], (char)i);
			cr_assert_eq(movable_free((uintptr_t)t[i].p), MOVABLE_GOOD);
		}
	cr_assert(contig_free((uintptr_t)p));
	cr_assert_eq(nr_free(base, 4), 2048);
}

/* What is free is preferred; of what is not, no more is moved than must be. */
Test(contig, moves_what_is_in_the_way_only)
{
	uintptr_t base = reserve(4);
	struct thing high, low;
	char *p, *q;

	make(&high, 10, 1); /* in the last block */
	q = take(3 * 512, PAGEBLOCK_SIZE);
	cr_assert_eq((uintptr_t)q, base);
	cr_assert_eq(high.nr_moves, 0);
	cr_assert(contig_free((uintptr_t)q));
	p = take(3 * 512 + 5, BSLAB_PAGE_SIZE);
	cr_assert_not_null(p);
	cr_assert_eq(snapshot().nr_moved, high.nr_moves);
	contig_free((uintptr_t)p);
	make(&low, 500, 2);
	p = take(4 * 512, BSLAB_PAGE_SIZE);
	cr_assert_not_null(p);
	cr_assert_eq(low.nr_moves, 1);
	expect_byte(&low, 2);
	expect_byte(&high, 1);
}

Test(contig, a_run_that_refuses)
{
	uintptr_t base = reserve(4);
	struct thing t[4];
	size_t before;
	char *p;

	for (int i = 0; i < 4; i++)
		make(&t[i], 400, (char)i); /* one in each block */
	before = nr_free(base, 4);
	t[1].refuses = true;
	cr_assert_null(take(4 * 512, BSLAB_PAGE_SIZE));
	cr_assert_eq(snapshot().nr_refused, 1);
	expect_byte(&t[1], 1);
	cr_assert(is_reserve(t[1].p));
	nr_free(base, 4);
	p = take(512, PAGEBLOCK_SIZE);
	cr_assert_not_null(p);
	cr_assert_geq(nr_free(base, 4) + 512, before);
	t[1].refuses = false;
	contig_free((uintptr_t)p);
	cr_assert_not_null(take(4 * 512, BSLAB_PAGE_SIZE));
	for (int i = 0; i < 4; i++)
		expect_byte(&t[i], (char)i);
}

/* What a request has looked at it does not look at again, for each run that refuses. */
Test(contig, many_that_refuse)
{
	enum { NR = 900 };
	static struct thing t[2 * NR];
	uintptr_t base = reserve(4);
	uint64_t before;

	for (int i = 0; i < 2 * NR; i++)
		make(&t[i], 1, (char)i);
	for (int i = 0; i < NR; i++) {
		cr_assert_eq(movable_free((uintptr_t)t[2 * i].p), MOVABLE_GOOD);
		t[2 * i + 1].refuses = true;
	}
	before = snapshot().nr_looks;
	cr_assert_null(take(1024, BSLAB_PAGE_SIZE));
	cr_assert_geq(snapshot().nr_refused, 300);
	cr_assert_leq(snapshot().nr_looks - before, 3 * 4 * 512, "each page by each of three passes");
	cr_assert_eq(nr_free(base, 4), 4 * 512 - NR);
	for (int i = 0; i < NR; i++) {
		expect_byte(&t[2 * i + 1], (char)(2 * i + 1));
		t[2 * i + 1].refuses = i < NR / 2; /* of those at the top */
	}
	cr_assert_not_null(take(1000, BSLAB_PAGE_SIZE));
	nr_free(base, 4);
	for (int i = 0; i < NR; i++)
		expect_byte(&t[2 * i + 1], (char)(2 * i + 1));
}

Test(contig, nowhere_to_move_to)
{
	uintptr_t base = reserve(2);
	struct thing t;

	make(&t, 300, 5);
	limit_set(0, 1);
	cr_assert_null(take(1024, BSLAB_PAGE_SIZE));
	cr_assert(is_short);
	limit_set(0, 0);
	t.refuses = true;
	cr_assert_null(take(1024, BSLAB_PAGE_SIZE));
	cr_assert_not(is_short, "more memory is of no use");
	cr_assert(is_reserve(t.p));
	expect_byte(&t, 5);
	cr_assert_eq(nr_free(base, 2), 1024 - 300);
}

/* A second try does not ask again who has refused; one that was short of memory has asked nobody. */
Test(contig, tries_of_a_request)
{
	struct contig_request r = {.nr_pages = 1024, .align = BSLAB_PAGE_SIZE}, later = r;
	struct thing good, bad;

	reserve(2);
	make(&good, 400, 1);
	make(&bad, 400, 2);
	bad.refuses = true;
	limit_set(0, 1);
	cr_assert_null(contig_alloc(&r));
	cr_assert(r.is_short);
	cr_assert_eq(snapshot().nr_refused, 0, "want of memory is no refusal");
	limit_set(0, 0);
	cr_assert_null(contig_alloc(&r));
	cr_assert_not(r.is_short);
	cr_assert_eq(snapshot().nr_refused, 1);
	cr_assert_null(contig_alloc(&r));
	cr_assert_eq(snapshot().nr_refused, 1);
	cr_assert_null(contig_alloc(&later));
	cr_assert_eq(snapshot().nr_refused, 2);
	bad.refuses = false;
	cr_assert_null(contig_alloc(&r), "it refused another that came later");
	cr_assert_not_null(take(1024, BSLAB_PAGE_SIZE));
	contig_give_up();
	cr_assert_eq(snapshot().nr_failures, 1);
	cr_assert_eq(snapshot().nr_allocs, 2);
}

Test(contig, full_of_what_was_lent)
{
	struct thing t[3];

	reserve(1);
	make(&t[0], 512, 1);
	make(&t[1], 1, 2);
	cr_assert(is_reserve(t[0].p) && !is_reserve(t[1].p));
	limit_set(0, 1);
	cr_assert_null(movable_alloc(1, move_thing, &t[2]));
	cr_assert_not(contig_add(1, 0));
	limit_set(0, 0);
	cr_assert_eq(movable_free((uintptr_t)t[0].p + 4096), MOVABLE_FOREIGN);
	cr_assert_eq(movable_free((uintptr_t)t[0].p + 1), MOVABLE_FOREIGN);
	cr_assert_eq(movable_free((uintptr_t)t[0].p), MOVABLE_GOOD);
	cr_assert_eq(movable_free((uintptr_t)t[0].p), MOVABLE_FOREIGN);
	cr_assert_eq(movable_free((uintptr_t)t[1].p), MOVABLE_GOOD);
}

Test(contig, no_memory_for_its_own)
{
	struct zone_info before, after;
	struct thing t;

	make(&t, 1, 1);
	zone_snapshot(&before);
	fake_fail_at(1u << FAKE_MAP, 1, true);
	while (boot_alloc(16, 16))
		;
	cr_assert_not(contig_add(1, 0));
	while (movable_alloc(1, move_thing, &t))
		;
	zone_snapshot(&after);
	cr_assert_eq(after.nr_used, before.nr_used);
	fake_fail_at(1u << FAKE_RESERVE | 1u << FAKE_COMMIT, 1, true);
	cr_assert_not(contig_add(512, 0));
}

/* Its parts of a huge page are not given back. */
Test(contig, of_huge_pages)
{
	char *p;

	cr_assert(contig_add(2, PAGES_HUGE));
	p = take(20, BSLAB_PAGE_SIZE);
	memset(p, 1, 20 * BSLAB_PAGE_SIZE);
	contig_free((uintptr_t)p);
	contig_purge();
	cr_assert_eq(p[0], 1);
	cr_assert(contig_add(2, PAGES_DMA32));
	cr_assert_null(take(1500, BSLAB_PAGE_SIZE), "areas are not side by side");
}

/* --- while a run is being moved ------------------------------------------------------------------ */

static struct thing slow;
static _Atomic int stage;
static bool slow_refuses;

static int move_slowly(void *to, void *from, size_t size, void *arg)
{
	(void)arg;
	cr_assert_null(take(1, BSLAB_PAGE_SIZE), "one request at a time");
	cr_assert_eq(movable_free((uintptr_t)from), MOVABLE_BUSY);
	contig_purge();
	stage = 1;
	while (stage != 2)
		usleep(100);
	usleep(20000); /* the other thread waits by now */
	if (slow_refuses)
		return 1;
	memcpy(to, from, size);
	return 0;
}

static void *freer(void *arg)
{
	struct thing other;

	(void)arg;
	while (stage != 1)
		usleep(100);
	make(&other, 1, 3); /* nothing of the range that is being taken */
	stage = 2;
	cr_assert_eq(movable_free((uintptr_t)slow.p), MOVABLE_GOOD);
	cr_assert_eq(movable_free((uintptr_t)other.p), MOVABLE_GOOD);
	return NULL;
}

static void free_while_it_moves(bool refuses)
{
	uintptr_t base = reserve(1);
	pthread_t thread;
	char *p;

	slow_refuses = refuses;
	slow.nr_pages = 100;
	slow.p = movable_alloc(100, move_slowly, NULL);
	pthread_create(&thread, NULL, freer, NULL);
	p = take(512, BSLAB_PAGE_SIZE);
	pthread_join(thread, NULL);
	cr_assert_eq(p == NULL, refuses);
	cr_assert_eq(snapshot().nr_lent, 0);
	cr_assert_eq(nr_free(base, 1), refuses ? 512 : 0);
	if (p)
		cr_assert(contig_free((uintptr_t)p));
}

Test(contig, freed_while_it_moves)
{
	free_while_it_moves(false);
}

Test(contig, freed_while_it_refuses)
{
	free_while_it_moves(true);
}

/* Freed by another run's function, in the range that is being taken: the request has it. */
static struct thing victim;

static int move_and_free(void *to, void *from, size_t size, void *arg)
{
	memcpy(to, from, size);
	*(char **)arg = to;
	if (victim.p)
		cr_assert_eq(movable_free((uintptr_t)victim.p), MOVABLE_GOOD);
	victim.p = NULL;
	return 0;
}

Test(contig, others_are_freed_meanwhile)
{
	uintptr_t base = reserve(1);
	char *first, *p;

	first = movable_alloc(64, move_and_free, &first);
	make(&victim, 64, 1);
	p = take(512, BSLAB_PAGE_SIZE);
	cr_assert_eq((uintptr_t)p, base);
	cr_assert_eq(snapshot().nr_lent, 0);
	cr_assert_eq(nr_free(base, 1), 0);
	cr_assert_eq(movable_free((uintptr_t)first), MOVABLE_GOOD);
}

Test(contig, fork)
{
	for (int child = 0; child < 2; child++) {
		contig_fork_wait();
		contig_fork_prepare();
		contig_fork_done(child);
		contig_fork_end();
	}
	cr_assert_not_null((void *)reserve(1));
}

static int move_and_fork(void *to, void *from, size_t size, void *arg)
{
	contig_fork_wait();
	contig_fork_prepare();
	contig_fork_done(true);
	contig_fork_end();
	cr_assert_null(take(1, BSLAB_PAGE_SIZE), "the request goes on");
	return move_thing(to, from, size, arg);
}

Test(contig, fork_within)
{
	struct thing t = {.nr_pages = 2};

	reserve(1);
	t.p = movable_alloc(2, move_and_fork, &t);
	cr_assert_not_null(take(512, BSLAB_PAGE_SIZE));
	cr_assert_eq(t.nr_moves, 1);
}

/* At random, against what must hold. */
Test(contig, many)
{
	uintptr_t base = reserve(6);
	static struct thing t[100];
	struct {
		char *p;
		size_t n;
	} taken[10] = {0};
	unsigned seed = 1;

	for (int round = 0; round < 4000; round++) {
		int i = rand_r(&seed) % 100, k = rand_r(&seed) % 10;

		t[i].refuses = rand_r(&seed) % 8 == 0;
		if (rand_r(&seed) % 8) {
			if (t[i].p) {
				expect_byte(&t[i], (char)i);
				cr_assert_eq(movable_free((uintptr_t)t[i].p), MOVABLE_GOOD);
				t[i].p = NULL;
			} else {
				make(&t[i], (unsigned)rand_r(&seed) % 60 + 1, (char)i);
			}
		} else if (taken[k].p) {
			for (size_t at = 0; at < taken[k].n; at++)
				cr_assert_eq(taken[k].p[at * BSLAB_PAGE_SIZE], (char)~k);
			cr_assert(contig_free((uintptr_t)taken[k].p));
			taken[k].p = NULL;
		} else {
			taken[k].n = (size_t)rand_r(&seed) % 1000 + 1;
			taken[k].p = take(taken[k].n, BSLAB_PAGE_SIZE << rand_r(&seed) % 10);
			if (taken[k].p)
				memset(taken[k].p, ~k, taken[k].n * BSLAB_PAGE_SIZE);
		}
		if (round % 50 == 0) {
			nr_free(base, 6);
			contig_purge();
		}
	}
	cr_assert_gt(snapshot().nr_moved, 0);
	cr_assert_gt(snapshot().nr_refused, 0);
}
