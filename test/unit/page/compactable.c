/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "fake_os.h"
#include "map/map.h"
#include "os/options.h"
#include "os/thread.h"
#include "page/every_block.h"
#include "page/compactable.h"
#include "page/purge_lists.h"
#include "page/zone.h"

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(compactable, .init = setup);

static struct pages_info snapshot(void)
{
	struct pages_info info;

	pages_snapshot(&info);
	return info;
}

static void *get(unsigned nr_pages)
{
	return pages_alloc_compactable(nr_pages, true);
}

static struct pageblock *block_of(const void *p)
{
	return map_pageblock((uintptr_t)p);
}

static void check_block(struct pageblock *b, void *unused)
{
	(void)unused;
	if (b->state == PAGEBLOCK_BUDDY)
		cr_assert(pageblock_is_valid(b));
}

static void check(void)
{
	for_each_block(check_block, NULL);
	check_purge_lists();
}

Test(compactable, nothing_else_stands_in_its_blocks)
{
	bool zeroed;
	void *p = get(3), *q = pages_alloc(3, 0, MIGRATE_MOVABLE, 0, &zeroed), *r = get(5);

	cr_assert(p && q && r);
	cr_assert(compactable_owns(block_of(p)));
	cr_assert_not(compactable_owns(block_of(q)));
	cr_assert_eq(block_of(p), block_of(r));
	cr_assert_neq(block_of(p), block_of(q));
	cr_assert_eq(compactable_nr_pages(), PAGEBLOCK_PAGES);
	cr_assert_eq(snapshot().nr_buddies, 2);
	pages_free(p, 3);
	pages_free(r, 5);
	cr_assert_eq(compactable_nr_pages(), 0, "an empty block goes to the zone");
	cr_assert_eq(snapshot().count.nr_remote_frees, 0);
	pages_free(q, 3);
}

/* The last page of all is handed out, and none of them is of a compactable block. */
Test(compactable, is_not_stolen_from)
{
	void *p = get(1);
	bool zeroed;

	fake_fail_at(1u << FAKE_RESERVE | 1u << FAKE_COMMIT | 1u << FAKE_MAP, 1, true);
	for (;;) {
		void *q = pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed);

		if (!q)
			break;
		cr_assert_neq(block_of(p), block_of(q));
	}
	cr_assert(get(256), "they are still there for what may be moved");
	cr_assert_null(get(256));
}

Test(compactable, packs_into_the_fullest)
{
	void *p[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		p[i] = get(384);
	pages_free(p[1], 384); /* that block goes; the others have 128 pages each */
	p[1] = get(100);
	cr_assert(block_of(p[1]) != NULL && compactable_nr_pages() == 3 * PAGEBLOCK_PAGES);
	cr_assert_null(pages_alloc_compactable(200, false), "no block has so many");
	cr_assert_eq(compactable_nr_pages(), 3 * PAGEBLOCK_PAGES);
	p[2] = pages_alloc_compactable(10, false);
	cr_assert_eq(block_of(p[2]), block_of(p[1]), "the one with 28 pages left is the fullest");
	check();
}

Test(compactable, isolated_serves_nobody_and_takes_frees)
{
	void *p = get(200), *q = get(100), *one = get(1), *r;

	cr_assert(compactable_isolate(block_of(p)));
	pages_free(one, 1); /* as full as before, and its first dirty page */
	check();
	r = get(50);
	cr_assert_neq(block_of(r), block_of(p));
	pages_free(q, 100);
	check();
	pages_purge();
	check();
	cr_assert_null(pages_alloc_compactable(500, false));
	cr_assert(compactable_putback(block_of(p)));
	cr_assert_not(compactable_putback(block_of(p)), "it is not isolated any more");
	cr_assert_eq(block_of(pages_alloc_compactable(256, false)), block_of(p));
	check();
}

Test(compactable, isolated_without_free_pages)
{
	void *p = get(PAGEBLOCK_PAGES), *q;

	cr_assert(compactable_isolate(block_of(p)));
	pages_free(p, 100);
	check();
	q = get(50);
	cr_assert_neq(block_of(q), block_of(p));
	cr_assert(compactable_putback(block_of(p)));
	check();
	pages_free(q, 50);
	cr_assert_eq(block_of(pages_alloc_compactable(64, false)), block_of(p));
}

Test(compactable, isolated_is_released_with_its_last_page)
{
	void *p = get(200), *q = get(100);
	struct pageblock *b = block_of(p);

	cr_assert(compactable_isolate(b));
	pages_free(p, 200);
	cr_assert(compactable_owns(b));
	pages_free(q, 100);
	cr_assert_not(compactable_owns(b));
	cr_assert_eq(b->state, PAGEBLOCK_FREE);
	cr_assert_not(compactable_putback(b));
	/* Whoever gets the block next finds it in order. */
	p = get(1);
	cr_assert_eq(block_of(p), b);
	cr_assert_not(compactable_putback(b));
	cr_assert_eq(block_of(pages_alloc_compactable(1, false)), b);
}

Test(compactable, isolates_only_its_own)
{
	bool zeroed;
	void *p = pages_alloc(3, 0, MIGRATE_MOVABLE, 0, &zeroed);

	cr_assert_not(compactable_isolate(block_of(p)));
	cr_assert_not(compactable_putback(block_of(p)));
	pages_free(p, 3);
	cr_assert_not(compactable_isolate(block_of(p)), "the zone's");
}

/* Purged, and counted, as any other. */
Test(compactable, dirty_pages_are_given_back)
{
	void *p = get(100), *q = get(100);

	pages_free(p, 100);
	cr_assert_eq(snapshot().nr_dirty_free, 100);
	cr_assert_geq(pages_purge(), 100, "clean neighbours go with them");
	cr_assert_eq(snapshot().nr_dirty_free, 0);
	cr_assert_eq(snapshot().types.blocks[MIGRATE_MOVABLE], 1);
	pages_free(q, 100);
}

static void *thread(void *unused)
{
	bool zeroed;

	(void)unused;
	thread_state.exit_hooked = THREAD_ENDED; /* a guest of any buddy, but not of this one */
	return pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed);
}

Test(compactable, no_thread_uses_it)
{
	void *p = get(1), *q[20];
	pthread_t t;
	unsigned i;

	for (i = 0; i < 20; i++) {
		cr_assert_eq(pthread_create(&t, NULL, thread, NULL), 0);
		pthread_join(t, &q[i]);
		cr_assert_neq(block_of(q[i]), block_of(p));
	}
}

/* More threads than there are buddies share them. */
static pthread_barrier_t barrier;

static void *sharer(void *unused)
{
	bool zeroed;
	void *p = pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed);

	(void)unused;
	pthread_barrier_wait(&barrier);
	cr_assert_not(compactable_owns(block_of(p)));
	pages_thread_exit();
	return p;
}

Test(compactable, threads_that_share_do_not_get_it)
{
	pthread_t t[40];
	unsigned i;

	cr_assert(get(1));
	pthread_barrier_init(&barrier, NULL, 40);
	for (i = 0; i < 40; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, sharer, NULL), 0);
	for (i = 0; i < 40; i++)
		pthread_join(t[i], NULL);
	cr_assert_eq(compactable_nr_pages(), PAGEBLOCK_PAGES);
}

/* In the child no thread of it is missing. */
Test(compactable, is_no_orphan_after_fork)
{
	void *p = get(1), *q;
	bool zeroed;

	pages_fork_prepare();
	pages_fork_done(true);
	q = pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed);
	cr_assert_neq(block_of(p), block_of(q));
	cr_assert_eq(block_of(get(1)), block_of(p));
}
