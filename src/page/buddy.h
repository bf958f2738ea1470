/* SPDX-License-Identifier: MIT */
/*
 * Buddies: each thread's page source (Linux: struct zone's free_area[] and
 * per-CPU pagesets, mm/page_alloc.c).
 *
 * 1. A buddy owns pageblocks. Those with free pages stand in lists by
 *    migratetype, fullness (eighths) and largest free order, so that "the
 *    fullest block in which 2^k pages still fit" is a scan of nine words. Full
 *    ones first means that the others come empty, and a whole empty pageblock
 *    goes back to the zone.
 *
 * 2. A thread gets a buddy when it first needs pages: that of a thread that has
 *    ended (adoption, with all its blocks) before a new one. There are at most
 *    four per CPU, beyond that threads share; a thousand idle threads would
 *    otherwise hold a thousand half-used pageblocks.
 *
 * 3. Any thread frees to the block's owner, under the owner's lock: pages merge
 *    at once, and nothing waits for a thread that sleeps. The lock is held for
 *    some dozen stores, or two searches of bounded length (MAX_WARM_SEARCH; three
 *    where addresses are tight; before memory is refused one of MAX_STEAL_SEARCH),
 *    or an adoption, never across a system call.
 *
 * 4. Warm pages come before fresh ones: of the first blocks that fit, one with
 *    a row of dirty pages, for runs of 17 pages on, wherever it begins, or
 *    with a piece as large that may be dirty; then warm pages of another thread's buddy
 *    that has some to spare and is of the same node, so that a thread that grows
 *    does not fault beside one that has shrunk; then a dirty block of the zone;
 *    then the fullest.
 *
 * 5. When no block of the type fits (Linux: fallbacks[][], try_to_claim_block()):
 *      a. a buddy of few blocks takes from another type's block: grouping pays
 *         only where there are blocks to keep apart;
 *      b. else a block of another type of which most is free is claimed, that is
 *         changes its type;
 *      c. else the blocks of an orphaned buddy are adopted, or a block of the zone;
 *      d. when the zone has none, pages are stolen from any type, then from other
 *         buddies, then from the HIGHATOMIC reserve.
 *
 * 6. A zone that requests name has a buddy of its own, made at the first of them, whose blocks are all of this zone. It
 *    is no thread's: nobody shares it, adopts from it or steals from it.
 *
 * 7. What may be given back is found without a search of all blocks: those with dirty free pages also stand in lists by
 *    the largest piece that may have some, and by fullness (docs/decisions/0049-blocks-with-something-to-give-back.md).
 *
 * Lock order: a buddy's lock is inside the thread lock and outside the zone's.
 * Two buddies are locked together only by adoption, under the thread lock.
 */
#ifndef BSLAB_BUDDY_H
#define BSLAB_BUDDY_H

#include "map/pageblock.h"
#include "os/lock.h"
#include "page/zone.h"

/* Below this many blocks, 64 MiB, a buddy does not keep migratetypes apart: 5 above. */
#define MIN_GROUPED_BLOCKS 32
#define NR_FULLNESS 9 /* nr_free * 8 / 512: 0 has fewer than 64 free pages, 8 is wholly free */

/* By the largest free page block that may be dirty: of 16 pages at least, of 4, of one. */
#define NR_PURGE_LISTS 3

/* Since the start. Only 64-bit counters: they are added up as an array. */
struct buddy_counters {
	uint64_t nr_allocs, nr_frees, nr_remote_frees; /* calls; remote: into a block of another thread's buddy */
	uint64_t nr_alloc_pages, nr_free_pages;
	uint64_t nr_fresh_pages; /* of those handed out: not resident, so each will fault */
	uint64_t nr_extends;	 /* runs grown in place */
	uint64_t nr_splits, nr_merges; /* pieces cut off larger free page blocks; pieces joined with their buddy */
	uint64_t nr_claims, nr_steals, nr_adoptions, nr_blocks_in, nr_blocks_out;
	uint64_t nr_purged_pages, nr_purge_calls, nr_purge_failures;
};

/* Runs freed last: page/runs.h. */
#define NR_HOT_RUNS 3
#define MAX_HOT_PAGES ((unsigned)(MIB >> PAGE_SHIFT))

struct hot_run {
	uintptr_t addr;
	uint32_t freed_at; /* nr_freed then */
	uint16_t nr_pages;
	bool was_seen; /* by runs_reap() */
};

struct hot_runs {
	struct lock lock; /* RANK_RUNS, nothing is taken inside; the counts are hints without it */
	uint32_t nr_freed;
	uint32_t nr_runs, nr_pages; /* now */
	struct hot_run run[NR_HOT_RUNS];
};

struct buddy {
	struct lock lock;
	bool is_zones; /* of explicit requests of one zone, and of no thread: constant, as is */
	uint8_t zone;  /* its number; of a thread's: where it last got a block, which is a hint; under the lock */
	/* Under the thread lock: */
	uint32_t nr_users;
	struct buddy *next;	   /* all buddies; never removed */
	struct buddy *next_orphan; /* without user, with blocks */
	struct buddy *next_other;  /* where its users look for warm pages next: a hint */
	/* Under lock: */
	uint32_t nr_blocks;
	size_t nr_free, nr_dirty_free; /* pages */
	size_t nr_recycled; /* warm pages handed out in this window; see 3 in zone.h */
	size_t nr_peak, nr_peak_before; /* the most pages in use in it, and in the one before */
	uint64_t seen_calls, seen_at_ms; /* allocations and frees at a look, and when they were another number */
	bool is_purging;      /* a thread gives dirty pages back by watermark */
	uint8_t purge_order;  /* of the smallest pieces of a purge that has not come to its end */
	uint8_t retry_order;  /* of the smallest pieces of the last purge that fell short */
	size_t retry_at; /* dirty free pages from which another purge is worth trying, after one that fell short */
	struct buddy_counters count;
	uint16_t orders[NR_MIGRATETYPES][NR_FULLNESS]; /* bit o: area[t][f][o] is not empty */
	struct hlist area[NR_MIGRATETYPES][NR_FULLNESS][NR_ORDERS];
	struct hlist purgeable[NR_PURGE_LISTS][NR_FULLNESS]; /* the same blocks, those with dirty free pages: 7 above */
	/* Under its own: */
	struct hot_runs hot;
};

/* All buddies, linked by next, which are never removed: no lock. */
struct buddy *buddy_first(void);
#define for_each_buddy(b) for ((b) = buddy_first(); (b); (b) = (b)->next)
/* Round and round. */
static inline struct buddy *buddy_behind(const struct buddy *b)
{
	return b->next ? b->next : buddy_first();
}

struct buddies {
	struct lock lock; /* RANK_THREAD: the lists and nr_users of all buddies */
	struct buddy *all, *orphans, *next_shared;
	unsigned nr_buddies;
	unsigned nr_users, nr_peak_users; /* threads with a buddy; the most since they fell to a quarter */
};

enum pages_flags {
	PAGES_HIGHATOMIC = 2, /* may use the reserve as a last resort */
	PAGES_RECLAIMABLE = 4, /* of a run: it comes back soon, and stands among slabs of few objects */
	PAGES_DMA32 = 8,       /* below 4 GiB */
	PAGES_HUGE = 16,       /* of explicit huge pages */
	PAGES_OWN = 32, /* only what this thread's buddy has */
	PAGES_NODE_SHIFT = 8, /* in the bits from here on: of one node only, by its number + 1; all: of one without memory */
	PAGES_NODE_MASK = 0xff << PAGES_NODE_SHIFT,
	PAGES_EXPLICIT = PAGES_DMA32 | PAGES_HUGE | PAGES_NODE_MASK, /* any of these: page/zonelist.h */
};

static inline enum zone_type pages_zone_type(unsigned flags)
{
	return flags & PAGES_DMA32 ? ZONE_DMA32 : flags & PAGES_HUGE ? ZONE_HUGE : ZONE_NORMAL;
}

static inline unsigned pages_node(unsigned node)
{
	return (node + 1) << PAGES_NODE_SHIFT;
}

static inline unsigned pages_node_of(unsigned flags)
{
	return ((flags & PAGES_NODE_MASK) >> PAGES_NODE_SHIFT) - 1;
}

/*
 * nr_pages (at most a pageblock's) of the type, aligned to 2^align_order pages; NULL when there are none.
 * *zeroed tells that all of them read as zero. The caller writes their descriptors.
 */
void *pages_alloc(unsigned nr_pages, unsigned align_order, enum migratetype type, unsigned flags, bool *zeroed);
/*
 * The same of up to *nr_pages, a multiple of 2^order: what one piece of free pages has of them. How many there are is in
 * *nr_pages then.
 */
void *pages_alloc_some(unsigned *nr_pages, unsigned order, enum migratetype type, unsigned flags, bool *zeroed);
void pages_free(void *addr, unsigned nr_pages);
/* Whether pages in use are of a zone's own buddy. */
bool pages_are_explicit(const void *addr);
/* The same for pages that read as zero: their contents were moved away. */
void pages_free_clean(void *addr, unsigned nr_pages);
/* Grows a run in place. Its new pages have no descriptors yet. */
bool pages_extend(void *addr, unsigned nr_pages, unsigned nr_more, bool *zeroed);

/* Reserves resident blocks that only the last resort may use. How many there are now. */
unsigned pages_reserve_highatomic(unsigned nr_blocks);

/* Gives the pages of partly used blocks back to the OS; how many. */
size_t pages_purge(void);
/* Free pages of partly used blocks, and those of them that may be resident; hints, read without locks. */
void pages_count_free(size_t *nr_free, size_t *nr_dirty_free);
/* Pages of all buddies that are in use, and dirty free ones. */
void pages_count_used(size_t *nr_used, size_t *nr_dirty_free);
/* Pages given back so far, by all buddies. */
uint64_t pages_nr_given_back(void);
/* Page allocations and frees of a thread between two looks at the clock. */
#define TICK_EVENTS 16
void pages_tick_slow(void);
/* Begins the zone's next window when it is time; call where pages or blocks come and go, holding no lock. */
static inline void pages_tick(void)
{
	if (unlikely(++thread_state.nr_page_events % TICK_EVENTS == 0))
		pages_tick_slow();
}
/* What is beyond the watermarks, or is held for threads that ended, goes back: as at the end of a window, for all buddies at once. */
void pages_rest(uint64_t now_ms);
/* This thread ends: its buddy is for others to adopt. True when a quarter is left of what were many, since that was so last. */
bool pages_thread_exit(void);

/*
 * Of all buddies and the reserve. One block's lock is taken after the other's, so each block is consistent, and so are
 * the sums, by construction:
 *   nr_free = sum of free_area[t][o] << o = sum of free_pages[t];  nr_dirty_free = sum of dirty_pages[t]
 *   nr_blocks = sum of blocks[t]
 */
struct pages_info {
	size_t nr_buddies, nr_blocks, nr_free, nr_dirty_free;
	size_t nr_hot; /* pages of runs that are kept whole: in use to the buddies */
	size_t nr_reserve_free; /* pages of the HIGHATOMIC reserve that are free */
	size_t nr_huge_blocks; /* of all that are committed */
	struct type_counts types; /* of all zones */
	size_t nr_cma_blocks, nr_cma_free, nr_cma_dirty; /* the contiguous reserve: pageblocks, and their free pages */
	struct zone_rows zones;
	struct buddy_counters count;
};

/* Of a block of a buddy: to the sums and to its zone's row. */
static inline void pages_info_add(struct pages_info *info, struct zone_row *row, const struct pageblock *b)
{
	unsigned t = b->migratetype;
	bool is_mixed = b->users & ~(1u << t);

	info->nr_blocks++;
	info->nr_free += b->nr_free;
	info->nr_dirty_free += b->nr_dirty_free;
	row->nr_free += b->nr_free;
	type_counts_add(&info->types, t, is_mixed, b->nr_free, b->nr_dirty_free);
	type_counts_add(&row->types, t, is_mixed, b->nr_free, b->nr_dirty_free);
}

static inline void pages_info_add_free(struct pages_info *info, struct zone_row *row, unsigned t, unsigned order, bool is_resident)
{
	info->types.free_area[t][order]++;
	row->types.free_area[t][order]++;
	info->types.resident_area[t][order] += is_resident;
	row->types.resident_area[t][order] += is_resident;
}

/* Of a block that no buddy owns. */
static inline void pages_info_add_other(struct pages_info *info, struct zone_row *row, unsigned state, size_t nr_free,
					size_t nr_dirty_free)
{
	info->types.nr_large_blocks += state == PAGEBLOCK_LARGE;
	row->types.nr_large_blocks += state == PAGEBLOCK_LARGE;
	info->types.nr_isolated_blocks += state == PAGEBLOCK_ISOLATE;
	row->types.nr_isolated_blocks += state == PAGEBLOCK_ISOLATE;
	if (state != PAGEBLOCK_CONTIG)
		return;
	info->nr_cma_blocks++;
	info->nr_cma_free += nr_free;
	info->nr_cma_dirty += nr_dirty_free;
}

void pages_snapshot(struct pages_info *info);

void pages_fork_prepare(void);
void pages_fork_done(bool child);

#endif
