/* SPDX-License-Identifier: MIT */
/* Small blocks of explicit zones where there is little: near a limit, in a zone that is full or in pieces, without a pool. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "bslab/kmalloc.h"
#include "fake_os.h"
#include "malloc/explicit.h"
#include "malloc/internal.h"
#include "os/options.h"
#include "page/limit.h"
#include "slab/percpu.h"
#include "stay.h"

#define MAX_BLOCKS 40000
static void *low[MAX_BLOCKS], *block[MAX_BLOCKS];

TestSuite(explicit, .init = stay);

/* So many that the next slab of the size is one of the largest. */
static size_t grow(size_t size)
{
	size_t n = 0;

	while (n < 8 * MIB / size && (low[n] = bslab_kmalloc(size, BSLAB_GFP_DMA32)))
		n++;
	return n;
}

/* --- a hard limit ---------------------------------------------------------------------------------- */

/* Malloc's take what is left of it; then half of them are free, but in caches and slabs. */
static size_t fill_and_free_half(void)
{
	size_t n = 0, i;

	while (n < MAX_BLOCKS && (block[n] = bslab_malloc(6000)))
		n++;
	cr_assert_lt(n, MAX_BLOCKS);
	for (i = n / 2; i < n; i++)
		bslab_free(block[i]);
	return (n - n / 2) * 6000;
}

static void at_a_limit(size_t size, unsigned gfp, unsigned share)
{
	size_t nr_bytes = 0, room, most;

	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 32 * MIB);
	grow(size);
	room = fill_and_free_half();
	most = room / 100 * share;
	while (nr_bytes < most && bslab_kmalloc(size, BSLAB_GFP_DMA32 | gfp))
		nr_bytes += size;
	cr_assert_geq(nr_bytes, most, "%zu bytes of %zu: %zu", size, room, nr_bytes);
}

/* Whatever malloc has free is given back for them. */
Test(explicit, what_malloc_has_free_makes_room)
{
	at_a_limit(1024, 0, 90);
}

Test(explicit, what_malloc_has_free_makes_room_for_larger_ones)
{
	at_a_limit(20480, 0, 90);
}

/* These come back, and with a block. */
Test(explicit, those_that_must_not_fail_return, .timeout = 60)
{
	at_a_limit(1024, BSLAB_GFP_NOFAIL, 80);
}

/* malloc's own slabs become small ones, too. */
Test(explicit, the_last_pages_below_a_limit)
{
	size_t n = 0;

	bslab_free(bslab_malloc(1));
	bslab_set_limits(0, 16 * MIB);
	while (bslab_malloc(1000))
		n++;
	cr_assert_gt(n, 10000);
	if (!bslab_options.hardened)
		cr_assert_not(limit_allows(2));
}

/* --- a zone in pieces ----------------------------------------------------------------------------------- */

/* All of it is in use but every fourth of runs of ten pages. How many of them are free. */
static size_t free_in_pieces(void)
{
	size_t n = 0, nr_free = 0, i;

	while ((block[n] = bslab_kmalloc(2 * MIB, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY)))
		n++;
	for (i = 0; i < 8; i++)
		bslab_free(block[--n]);
	n = 0;
	while ((block[n] = bslab_kmalloc(40960, BSLAB_GFP_DMA32)))
		n++;
	for (i = 0; i < n; i += 4, nr_free++)
		bslab_free(block[i]);
	return nr_free;
}

Test(explicit, free_pages_of_a_zone_in_pieces)
{
	size_t nr_grown, nr_free, n = 0;

	fake.low_size = 256 * MIB; /* more is not there for addresses to be set aside */
	nr_grown = grow(1024);
	nr_free = free_in_pieces();
	cr_assert(nr_grown && nr_free > 10, "%zu", nr_free);
	while (bslab_kmalloc(1024, BSLAB_GFP_DMA32))
		n++;
	cr_assert_geq(n, 9 * nr_free * 10 * 4 / 10, "%zu of %zu", n, nr_free * 40);
	cr_assert_null(bslab_kmalloc(4096, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY), "there are no more pages");
}

/* --- caches --------------------------------------------------------------------------------------------- */

static unsigned nr_typed(void)
{
	struct cache_info info;
	unsigned class, n = 0;

	for (class = FIRST_TYPED; class < NR_CACHES; class++)
		n += cache_snapshot(class, &info);
	return n;
}

static void ask_for_all_sizes(unsigned gfp, bool there_are)
{
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		void *p = bslab_kmalloc(class_size(class), gfp);

		cr_assert(there_are ? p != NULL : !p && errno == ENOMEM);
		bslab_free(p);
	}
}

/* Numbers are few, and caches stay. */
Test(explicit, no_cache_for_what_fails)
{
	unsigned before;

	bslab_free(bslab_malloc(1));
	before = nr_typed();
	fake_fail_at(1u << FAKE_BACK_HUGE, 1, true);
	ask_for_all_sizes(BSLAB_GFP_HUGETLB, false);
	ask_for_all_sizes(BSLAB_GFP_HUGETLB | BSLAB_GFP_NORETRY, false);
	ask_for_all_sizes(BSLAB_GFP_HUGE, true);
	cr_assert_eq(nr_typed(), before);
	fake_fail_at(0, 0, false);
	ask_for_all_sizes(BSLAB_GFP_HUGETLB, true);
	cr_assert_eq(nr_typed(), before + (bslab_options.hardened ? 0 : MAX_EXPLICIT_CACHES));
}

Test(explicit, no_cache_beyond_a_limit)
{
	unsigned before;

	while (bslab_set_limits(0, 8 * MIB), bslab_malloc(4096))
		;
	before = nr_typed();
	ask_for_all_sizes(BSLAB_GFP_DMA32, false);
	cr_assert_eq(nr_typed(), before);
}

/* --- sheaves ----------------------------------------------------------------------------------------------- */

static uint64_t nr_drains(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_drains;
}

/* malloc's sheaves with them, so not for nothing. */
Test(explicit, sheaves_are_emptied_for_what_is_in_them)
{
	uint64_t before;

	fake.low_size = 256 * MIB;
	cr_assert(bslab_kmalloc(64, BSLAB_GFP_DMA32)); /* its slab stays */
	while (bslab_kmalloc(2 * MIB, BSLAB_GFP_DMA32 | BSLAB_GFP_NORETRY))
		;
	if (bslab_options.check || bslab_options.hardened)
		cr_skip("there are no sheaves");
	explicit_make_room(PAGES_DMA32, 0, 2 * MIB); /* of what came with the first */
	before = nr_drains();
	for (int i = 0; i < 3; i++)
		cr_assert_null(bslab_kmalloc(2 * MIB, BSLAB_GFP_DMA32));
	cr_assert_eq(nr_drains(), before);
	for (int i = 0; i < 100; i++)
		cr_assert(block[i] = bslab_kmalloc(64, BSLAB_GFP_DMA32));
	for (int i = 0; i < 100; i++)
		bslab_free(block[i]);
	cr_assert_null(bslab_kmalloc(3 * MIB, BSLAB_GFP_DMA32));
	cr_assert_eq(nr_drains(), before + 1);
}
