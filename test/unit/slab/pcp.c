/* SPDX-License-Identifier: MIT */
/* In the mode that BSLAB_CONF names. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "os/bug.h"
#include "page/limit.h"
#include "page/runs.h"
#include "slab/kept.h"
#include "slab/pcp.h"

#define PAGE BSLAB_PAGE_SIZE

static void setup(void)
{
	char fault[160];

	cr_assert(options_parse(&bslab_options, getenv("BSLAB_CONF") ? getenv("BSLAB_CONF") : "", fault, sizeof fault));
	percpu_boot();
	kept_allow(true);
}

TestSuite(pcp, .init = setup);

/* The paths of malloc/pages.c. */
static void *get_with(unsigned order, bool *zeroed)
{
	void *word = pcp_pop(order);

	if (!word)
		return pcp_alloc(order, 0, zeroed);
	*zeroed = pcp_is_zeroed(word);
	return pcp_use(word, order);
}

static void *get(unsigned order)
{
	bool zeroed;

	return get_with(order, &zeroed);
}

static bool put(void *p)
{
	int order = pcp_claim((uintptr_t)p);

	if (order >= 0 && !pcp_free_quick(p, (unsigned)order))
		pcp_free(p, (unsigned)order);
	return order >= 0;
}

static size_t nr_kept(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_kept_pages;
}

static struct pages_info pages(void)
{
	struct pages_info info;

	pages_snapshot(&info);
	return info;
}

/* All that waits is the buddies' again, and they have no block left. */
static void drain(void)
{
	percpu_drain();
	runs_drain();
	for (unsigned order = 0; order <= PCP_MAX_ORDER; order++)
		if (cache_if_used(PCP_CACHE + order))
			barn_drain(cache_of(PCP_CACHE + order));
	cr_assert_eq(nr_kept(), 0);
	cr_assert_eq(pages().nr_blocks, 0, "%zu blocks have pages in use", pages().nr_blocks);
}

static bool nothing_waits(void)
{
	return bslab_options.check || !pcp_may_wait();
}

static void stay_on_a_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	cr_assert_eq(sched_setaffinity(0, sizeof set, &set), 0);
}

static void need_sheaves(void)
{
	if (nothing_waits())
		cr_skip("nothing waits in sheaves");
}

Test(pcp, each_order_is_aligned_and_comes_back)
{
	for (unsigned order = 0; order <= PCP_MAX_ORDER; order++) {
		char *p = get(order), *q;
		size_t before = nr_kept();

		cr_assert_eq((uintptr_t)p % (PAGE << order), 0);
		cr_assert_eq(map_lookup((uintptr_t)p), folio_desc(1u << order, 1));
		memset(p, 1, PAGE << order);
		for (unsigned i = 0; i < 1u << order; i++)
			cr_assert_eq(folio_head((uintptr_t)p + i * PAGE), (uintptr_t)p);
		q = get(order);
		cr_assert(put(q) && put(p));
		if (nothing_waits()) {
			cr_assert_eq(nr_kept(), 0);
			continue;
		}
		cr_assert_geq(nr_kept(), before + (1u << order));
		cr_assert_eq(map_lookup((uintptr_t)p), desc_of_number(1u << order, PAGE_RUN_HOT));
		cr_assert_eq(get(order), p, "the one freed last comes first");
		cr_assert(put(p));
	}
	drain();
}

Test(pcp, what_is_no_such_run_with_one_reference_is_left_alone)
{
	bool zeroed;
	char *p = get(2), *three = folio_alloc(3, 0, 0, &zeroed), *sixteen = folio_alloc(16, 4, 0, &zeroed),
	     *five = folio_alloc(5, 0, 0, &zeroed), *run = run_alloc(4, 2, 0, &zeroed);
	page_desc_t d = map_lookup((uintptr_t)p);
	int foreign;

	cr_assert_not(put(NULL));
	cr_assert_not(put((void *)UINTPTR_MAX));
	cr_assert_not(put(&foreign));
	cr_assert_not(put(p + 8));
	cr_assert_not(put(p + PAGE));
	cr_assert_not(put(three));
	cr_assert_not(put(sixteen));
	cr_assert_not(put(run));
	cr_assert_eq(folio_split((uintptr_t)five, 3), FOLIO_GOOD);
	cr_assert_eq(folio_nr_pages((uintptr_t)five + 3 * PAGE), 2);
	cr_assert_not(put(five + 3 * PAGE), "it is not aligned");
	map_set((uintptr_t)p, folio_desc(4 | FOLIO_APART, 1));
	cr_assert_not(put(p));
	map_set((uintptr_t)p, d);
	cr_assert_eq(folio_get((uintptr_t)p), FOLIO_GOOD);
	cr_assert_not(put(p));
	cr_assert_eq(folio_put((uintptr_t)p), FOLIO_GOOD);
	cr_assert(put(p));
	cr_assert_not(put(p), "a second free");
}

/* Pages of a fresh block read as zero, until they have been somebody's. */
Test(pcp, what_is_fresh_is_known)
{
	bool zeroed = false;
	char *p = get_with(0, &zeroed), *q;

	cr_assert(zeroed);
	q = get_with(0, &zeroed);
	cr_assert(zeroed);
	memset(p, 1, PAGE);
	cr_assert(put(p));
	cr_assert_eq(get_with(0, &zeroed), p);
	cr_assert_not(zeroed);
	cr_assert(put(p) && put(q));
}

/* What nobody had goes home as clean as it came. */
Test(pcp, what_nobody_had_goes_home_clean)
{
	enum { NR = 200 };
	char *p[NR], *stay = folio_alloc(1, 0, 0, &(bool){false});

	for (unsigned i = 0; i < NR; i++)
		p[i] = get(0);
	need_sheaves();
	cr_assert_gt(nr_kept(), 0);
	percpu_drain();
	cr_assert_eq(nr_kept(), 0);
	cr_assert_eq(pages().nr_dirty_free, 0);
	for (unsigned i = 0; i < NR; i++)
		cr_assert(put(p[i]));
	percpu_drain();
	barn_drain(cache_of(PCP_CACHE));
	cr_assert_eq(pages().nr_dirty_free, NR);
	cr_assert_eq(folio_put((uintptr_t)stay), FOLIO_GOOD);
}

enum { NR_MANY = 1000 };
static char *many[NR_MANY];

static void take_many(unsigned order)
{
	for (unsigned i = 0; i < NR_MANY; i++) {
		many[i] = get(order);
		cr_assert(many[i]);
		many[i][0] = many[i][(PAGE << order) - 1] = (char)i;
	}
}

static void put_many(unsigned order)
{
	for (unsigned i = 0; i < NR_MANY; i++)
		cr_assert(many[i][0] == (char)i && many[i][(PAGE << order) - 1] == (char)i);
	for (unsigned i = 0; i < NR_MANY; i++)
		cr_assert(put(many[i]));
}

static void turn_around(void)
{
	for (unsigned i = 0; i < NR_MANY / 2; i++) {
		char *p = many[i];

		many[i] = many[NR_MANY - 1 - i];
		many[NR_MANY - 1 - i] = p;
	}
	for (unsigned i = 0; i < NR_MANY; i++)
		many[i][0] = (char)i;
}

Test(pcp, a_thousand_in_order)
{
	for (unsigned order = 0; order <= PCP_MAX_ORDER; order++) {
		take_many(order);
		put_many(order);
		drain();
	}
}

Test(pcp, a_thousand_in_reverse_go_home_side_by_side)
{
	uint64_t before;

	need_sheaves();
	for (int round = 0; round < 10; round++) {
		before = pages().count.nr_frees + pages().count.nr_allocs;
		take_many(0);
		turn_around();
		for (unsigned i = 0; i < NR_MANY; i++)
			cr_assert(put(many[i]));
	}
	cr_assert_lt(pages().count.nr_frees + pages().count.nr_allocs - before, NR_MANY / 4, "calls of the buddies");
	drain();
}

Test(pcp, a_thousand_in_any_order)
{
	unsigned seed = 1;

	for (int round = 0; round < 10; round++) {
		take_many(0);
		for (unsigned i = NR_MANY - 1; i > 0; i--) {
			unsigned k = (unsigned)rand_r(&seed) % (i + 1);
			char *p = many[i];

			many[i] = many[k];
			many[k] = p;
		}
		for (unsigned i = 0; i < NR_MANY; i++)
			cr_assert(put(many[i]));
	}
	drain();
}

/* A refill takes what is free between others' pages before it takes a new block. */
Test(pcp, refills_are_of_pieces)
{
	enum { NR = PAGEBLOCK_PAGES };
	static void *single[NR];
	size_t nr_blocks;

	cr_assert_eq(folio_alloc_singles(single, NR, false, 0), NR);
	nr_blocks = pages().nr_blocks;
	for (unsigned i = 0; i < NR; i += 2) {
		map_set((uintptr_t)single[i], 0);
		pages_free(single[i], 1);
	}
	for (unsigned i = 0; i < NR / 4; i++) {
		char *p = get(0);

		cr_assert((uintptr_t)p >= (uintptr_t)single[0] && (uintptr_t)p <= (uintptr_t)single[NR - 1]);
	}
	cr_assert_eq(pages().nr_blocks, nr_blocks);
}

static void said(const char *format, const void *p)
{
	char want[200];

	snprintf(want, sizeof want, format, p);
	cr_assert(strstr(fake.text, want), "'%s' is not in '%s'", want, fake.text);
}

/* Past the descriptors, which tell it first: of two that come home one is told. */
Test(pcp, what_is_in_two_sheaves_is_told)
{
	struct kmem_cache *c = cache_of(PCP_CACHE);
	char *p = get(0);
	void *twice[3] = {p, p, NULL};

	bug_set_fatal(false);
	fake.capture = true;
	cr_assert_eq(pcp_claim((uintptr_t)p), 0);
	pcp_give(c, twice, 2);
	said("bslab: double free of %p\n", p);
	fake.capture = false;
	drain();
}

Test(pcp, none_without_memory)
{
	bool zeroed;

	cr_assert(cache_of(PCP_CACHE + 1));
	fake_fail_at(1u << FAKE_COMMIT | 1u << FAKE_RESERVE, 1, true);
	cr_assert_null(pcp_alloc(1, 0, &zeroed));
	fake_fail_at(0, 0, false);
	cr_assert(pcp_alloc(1, 0, &zeroed));
}

static void exhaust_metadata(void)
{
	fake_fail_at(1u << FAKE_MAP, 1, true);
	for (size_t size = 64 * KIB; size >= 8; size /= 2)
		while (boot_alloc(size, 8))
			;
}

/* Runs that are cut, or come in bulk, may be there without. */
Test(pcp, none_wait_without_a_cache_for_them)
{
	void *p[3], *q;
	bool zeroed;

	cr_assert_eq(folio_alloc_singles(p, 3, false, 0), 3);
	exhaust_metadata();
	cr_assert_eq(pcp_alloc_singles(p + 2, 1, false), 0);
	cr_assert(q = pcp_alloc(0, 0, &zeroed));
	cr_assert_eq(pcp_push_singles(p, 3), 0);
	cr_assert(put(p[0]) && put(q));
	cr_assert_eq(nr_kept(), 0);
	cr_assert_eq(pcp_give_singles(p + 1, 2), 2);
	runs_drain();
	cr_assert_eq(pages().nr_blocks, 0);
}

/* However often it is used: 6 in slab/sheaf.h. */
Test(pcp, little_waits)
{
	static const size_t most[] = {32 + 2 * 32, 32 + 32, 32, 32}; /* pages */

	need_sheaves();
	stay_on_a_cpu();
	for (unsigned order = 0; order <= PCP_MAX_ORDER; order++) {
		for (int round = 0; round < 20; round++) {
			take_many(order);
			put_many(order);
			cr_assert_leq(nr_kept(), most[order], "%zu pages of order %u", nr_kept(), order);
		}
		cr_assert_gt(nr_kept(), 0);
		drain();
	}
}

/* Nobody could have what a CPU keeps: 5 in pcp.h. */
Test(pcp, none_wait_from_when_membarrier_is_refused)
{
	void *p[2];

	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	percpu_find_reach();
	for (unsigned order = 0; order <= PCP_MAX_ORDER; order++) {
		take_many(order);
		put_many(order);
		cr_assert_eq(nr_kept(), 0);
	}
	cr_assert_eq(pcp_alloc_singles(p, 2, false), 0);
	p[0] = get(0);
	p[1] = get(0);
	cr_assert_eq(pcp_push_singles(p, 2), 0);
	cr_assert_eq(pcp_give_singles(p, 2), 2);
	drain();
}

/* Nothing comes to what waits there then, and its CPU's looks find it. */
Test(pcp, what_waited_when_membarrier_was_refused_goes_home)
{
	char *p, *q;
	size_t before;

	need_sheaves();
	stay_on_a_cpu();
	fake.clock_ms = 1000;
	p = get(0);
	q = get(0);
	cr_assert(put(p));
	before = nr_kept();
	cr_assert_gt(before, 0);
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	percpu_find_reach();
	cr_assert(put(q));
	cr_assert_leq(nr_kept(), before);
	for (int i = 0; i < 4; i++) {
		fake.clock_ms += 500;
		percpu_look();
	}
	cr_assert_eq(nr_kept(), 0);
}

/* Where a whole refill would pass the limit, one may not. */
Test(pcp, up_to_the_limit)
{
	enum { MOST = 2000 };
	static char *p[MOST];
	unsigned n = 0;

	p[n++] = get(0);
	limit_set(0, 4 * MIB);
	while (n < MOST && (p[n] = get(0)))
		n++;
	cr_assert_gt(n, 300);
	cr_assert_lt(n, 1024);
	cr_assert_eq(nr_kept(), 0, "all that the limit allows is used");
	limit_set(0, 0);
	while (n)
		cr_assert(put(p[--n]));
	drain();
}

/* The last resort is not taken for those to come. */
Test(pcp, one_of_the_reserve)
{
	bool zeroed;
	char *p;
	size_t before;

	cr_assert(cache_of(PCP_CACHE));
	cr_assert_eq(pages_reserve_highatomic(1), 1);
	before = pages().nr_reserve_free;
	fake_fail_at(1u << FAKE_COMMIT | 1u << FAKE_RESERVE, 1, true);
	while (pcp_alloc(0, 0, &zeroed))
		;
	p = pcp_alloc(0, PAGES_HIGHATOMIC, &zeroed);
	cr_assert(p);
	cr_assert_eq(pages().nr_reserve_free, before - 1);
}

Test(pcp, bulk_through_the_sheaves)
{
	void *p[PCP_MAX_BULK];
	bool zeroed;

	if (!pcp_may_wait())
		cr_skip("nothing waits in sheaves");
	for (int round = 0; round < 20; round++) {
		unsigned n = pcp_alloc_singles(p, PCP_MAX_BULK, round % 2), done = 0;

		cr_assert_eq(n, PCP_MAX_BULK);
		for (unsigned i = 0; i < n; i++) {
			cr_assert_eq(map_lookup((uintptr_t)p[i]), folio_desc(1, 1));
			cr_assert(!(round % 2) || ((char *)p[i])[0] + ((char *)p[i])[PAGE - 1] == 0);
			memset(p[i], 1, PAGE);
		}
		while (done < n) {
			unsigned nr = pcp_push_singles(p + done, n - done);

			done += nr;
			if (!nr)
				cr_assert(put(p[done++]));
		}
		for (unsigned i = 0; i < n; i++)
			cr_assert_eq(folio_head((uintptr_t)p[i]), 0);
	}
	if (!bslab_options.check) { /* of more, what is at hand */
		static void *more[PCP_MAX_BULK + 1];

		cr_assert_lt(pcp_alloc_singles(more, PCP_MAX_BULK + 1, false), PCP_MAX_BULK + 1);
		cr_assert_eq(pcp_alloc_singles(more, PCP_MAX_BULK + 1, false), 0);
		cr_assert(pcp_alloc(0, 0, &zeroed));
	}
}

Test(pcp, bulk_ends_before_what_is_no_single)
{
	bool zeroed;
	void *p[4] = {get(0), get(0), folio_alloc(2, 1, 0, &zeroed), get(0)}, *q[2] = {get(0), NULL};

	put(get(0));
	cr_assert_eq(pcp_push_singles(p + 2, 2), 0);
	cr_assert_leq(pcp_push_singles(p, 4), 2);
	p[0] = q[0];
	p[1] = NULL;
	cr_assert_eq(pcp_give_singles(p, 2), 1);
	cr_assert_eq(pcp_give_singles(p, 1), 0, "a second free");
	cr_assert_eq(pcp_give_singles(p + 2, 2), 0);
	cr_assert_eq(folio_put((uintptr_t)p[2]), FOLIO_GOOD);
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { NR_THREADS = 4, NR_STEPS = 50000, NR_HELD = 100 };

static void *get_and_put(void *arg)
{
	uintptr_t *held[NR_HELD] = {NULL};
	unsigned seed = (unsigned)(uintptr_t)held, order[NR_HELD], i, k;

	for (i = 0; i < NR_STEPS; i++) {
		k = (unsigned)rand_r(&seed) % NR_HELD;
		if (held[k]) {
			cr_assert_eq(held[k][0], (uintptr_t)&held[k], "another thread has this run too");
			cr_assert_eq(held[k][(PAGE << order[k]) / 8 - 1], (uintptr_t)&held[k], "another thread has this run too");
			cr_assert(put(held[k]));
			held[k] = NULL;
		} else {
			order[k] = (unsigned)rand_r(&seed) % (PCP_MAX_ORDER + 1);
			held[k] = get(order[k]);
			cr_assert_not_null(held[k]);
			held[k][0] = held[k][(PAGE << order[k]) / 8 - 1] = (uintptr_t)&held[k];
		}
		if (arg && i % 500 == 0)
			percpu_drain();
	}
	for (k = 0; k < NR_HELD; k++)
		if (held[k])
			put(held[k]);
	percpu_thread_exit();
	pages_thread_exit();
	return NULL;
}

static void hammer(void *drains)
{
	pthread_t threads[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, get_and_put, drains), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	drain();
}

Test(pcp, threads)
{
	hammer(NULL);
}

Test(pcp, threads_that_drain_each_other)
{
	hammer(&fake);
}

/* --- rest, and fork ----------------------------------------------------------------------------- */

Test(pcp, what_rests_goes_home)
{
	need_sheaves();
	stay_on_a_cpu();
	fake.clock_ms = 1000;
	take_many(0);
	put_many(0);
	cr_assert_gt(nr_kept(), 0);
	for (int i = 0; i < 4; i++) {
		fake.clock_ms += 500;
		percpu_look();
	}
	cr_assert_eq(nr_kept(), 0);
	drain();
}

Test(pcp, the_child_of_fork_has_them_too)
{
	int status;
	pid_t pid;
	char *p;

	need_sheaves();
	take_many(0);
	put_many(0);
	percpu_fork_prepare();
	slab_fork_prepare();
	pid = fork();
	slab_fork_done(pid == 0);
	percpu_fork_done(pid == 0);
	if (pid == 0) {
		p = get(0);
		put(p);
		percpu_drain();
		barn_drain(cache_of(PCP_CACHE));
		_exit(p && nr_kept() == 0 ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "status %#x", (unsigned)status);
}
