/* SPDX-License-Identifier: MIT */
#include "page/limit.h"

#include "base/probe.h"
#include "boot/boot.h"
#include "os/cgroup.h"
#include "page/buddy.h"
#include "page/zone.h"

/* Pageblocks in use when the cgroup is looked at first: a small program opens no files for it. */
#define FIRST_LOOK_BLOCKS 16
/* Blocks that the heap grows by until the next look: an administrator may have changed it. */
#define LOOK_BLOCKS 32

/* All atomic; what is stale by a moment shifts a limit by what other threads take in it. */
static struct {
	size_t soft, hard;	 /* pages, 0: none */
	size_t cgroup;		 /* the same, of the cgroup */
	size_t look_at;		 /* blocks in use at which limits are to be looked at, less FIRST_LOOK_BLOCKS */
	size_t nr_mapped;	 /* pages */
	size_t reclaim_at;	 /* footprint: no reclaim below it, after one */
	bool wants_reclaim;
} limits;

static size_t load(const size_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(size_t *word, size_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static size_t pages_of_size(size_t size)
{
	return (size >> PAGE_SHIFT) + (size % BSLAB_PAGE_SIZE != 0);
}

static size_t footprint(void)
{
	size_t nr_used = zone_nr_used() << PAGEBLOCK_ORDER, nr_free, nr_dirty_free;

	pages_count_free(&nr_free, &nr_dirty_free);
	return nr_used - min_size(nr_used, nr_free) + nr_dirty_free + zone_nr_dirty() + load(&limits.nr_mapped) +
	       pages_of_size(boot_used());
}

/* The lower of the two that are set. */
static size_t soft_limit(void)
{
	size_t soft = load(&limits.soft), cgroup = load(&limits.cgroup);

	return !soft ? cgroup : !cgroup ? soft : min_size(soft, cgroup);
}

/* What footprint() cannot pass, without a look at each buddy: no more free pages are dirty than there are. */
static size_t most_footprint(void)
{
	return (zone_nr_used() << PAGEBLOCK_ORDER) + zone_nr_dirty() + load(&limits.nr_mapped) + pages_of_size(boot_used());
}

static size_t nr_blocks_used(void)
{
	return zone_nr_used() + (load(&limits.nr_mapped) >> PAGEBLOCK_ORDER);
}

static void look_at_cgroup(size_t nr_used)
{
	size_t size = cgroup_limit();

	store(&limits.cgroup, size == SIZE_MAX ? 0 : max_size(size >> PAGE_SHIFT, 1));
	store(&limits.look_at, nr_used + LOOK_BLOCKS - FIRST_LOOK_BLOCKS);
}

static size_t reclaim_step(size_t soft)
{
	return max_size(soft / 32, PAGEBLOCK_PAGES);
}

/* From where on a soft limit asks for a reclaim; without one, never. */
static size_t near_line(size_t soft)
{
	return soft - soft / 16;
}

static bool is_near(size_t nr_pages, size_t soft)
{
	return soft && nr_pages >= near_line(soft);
}

/* Nothing more of it before the footprint is a step larger than now. */
static void expect_growth(void)
{
	store(&limits.reclaim_at, footprint() + reclaim_step(soft_limit()));
}

/*
 * It shrank: a step above the least since the last reclaim is enough. Not less than the line, so that the word, which all CPUs
 * read, is left alone far from it.
 */
static void forget_peak(size_t nr_pages, size_t soft)
{
	size_t next = max_size(nr_pages + reclaim_step(soft), near_line(soft));

	if (next < load(&limits.reclaim_at))
		store(&limits.reclaim_at, next);
}

static void ask_for_reclaim(size_t nr_pages, size_t soft)
{
	if (nr_pages >= load(&limits.reclaim_at)) {
		PROBE(limit_near, nr_pages, soft);
		WRITE_ONCE(limits.wants_reclaim, true);
	} else {
		forget_peak(nr_pages, soft);
	}
}

bool limit_is_far(void)
{
	size_t hard = load(&limits.hard), soft = soft_limit(), total;

	if (likely(!soft && !hard))
		return true;
	total = footprint();
	return (!hard || total <= hard) && !is_near(total, soft);
}

bool limit_is_hard(void)
{
	return load(&limits.hard) != 0;
}

bool limit_allows(size_t nr_pages)
{
	size_t nr_used = nr_blocks_used(), hard = load(&limits.hard), soft, total;

	if (unlikely(nr_used >= load(&limits.look_at) + FIRST_LOOK_BLOCKS))
		look_at_cgroup(nr_used);
	soft = soft_limit();
	if (likely(!soft && !hard))
		return true;
	if (!__builtin_add_overflow(most_footprint(), nr_pages, &total) && (!hard || total <= hard) && !is_near(total, soft)) {
		forget_peak(total, soft);
		return true;
	}
	if (__builtin_add_overflow(footprint(), nr_pages, &total) || (hard && total > hard)) {
		PROBE(limit_refuse, nr_pages, hard);
		return false;
	}
	if (is_near(total, soft))
		ask_for_reclaim(total, soft);
	else
		forget_peak(total, soft);
	return true;
}

void limit_note_mapped(size_t nr_old_pages, size_t nr_new_pages)
{
	__atomic_fetch_add(&limits.nr_mapped, nr_new_pages - nr_old_pages, __ATOMIC_RELAXED);
}

bool limit_take_reclaim(void)
{
	if (likely(!READ_ONCE(limits.wants_reclaim)))
		return false;
	expect_growth(); /* first: others who come meanwhile do not ask again */
	return __atomic_exchange_n(&limits.wants_reclaim, false, __ATOMIC_RELAXED);
}

void limit_reclaimed(void)
{
	expect_growth();
}

size_t limit_excess(void)
{
	size_t soft = soft_limit(), near = near_line(soft), total = footprint();

	return soft && total > near ? (total - near) << PAGE_SHIFT : 0;
}

void limit_set(size_t soft_size, size_t hard_size)
{
	store(&limits.soft, pages_of_size(soft_size));
	store(&limits.hard, pages_of_size(hard_size));
	store(&limits.reclaim_at, 0);
}
