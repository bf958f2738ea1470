/* SPDX-License-Identifier: MIT */
/*
 * The zone: all pageblocks that nobody uses (Linux: struct zone and its
 * watermarks, mm/page_alloc.c, mm/vmscan.c). Which of them a request may have
 * goes by the number of their region's zone; page/zonelist.h says how.
 *
 * 1. A free block is a bit in its region; a second bit says that it may hold
 *    pages which are resident and not zero ("dirty"). Dirty blocks are handed
 *    out first: they are warm, and a fresh page costs as much as 400 mallocs.
 * 2. Contiguous blocks for large objects come from the same bits, first fit at
 *    the lowest address, so that a loop over large blocks meets its own pages.
 * 3. Watermarks, in pages: when the dirty free pages pass the high one, blocks
 *    are purged (MADV_DONTNEED) until they are below the low one:
 *
 *        high = bslab_options.dirty_size + 1/16 of the pages in use + learned
 *        low  = 3/4 of high
 *
 *    `learned` follows from how fast pages go round: clean pages handed out while
 *    as many were purged not long before, which would not have faulted had they
 *    been kept (Linux: refaults, mm/workingset.c), and warm pages, which would have
 *    faulted had they not. Did all of them fault,
 *    that would take a share of the time; the same share of the pages in use may
 *    be kept. So a loop over large buffers soon keeps them all, a program that
 *    frees a large buffer for good gives it back at once, and one that takes it
 *    now and then pays the lesser of the two costs. Measured over WINDOW_MS. In use
 *    are pages, without those of partly used blocks that were free all the while:
 *    else what is kept there would be a reason to keep more.
 *
 *    A purge isolates the blocks, drops the lock for the system call, and puts
 *    them back. The upper floors start it with zone_balance(), holding nothing.
 */
#ifndef BSLAB_ZONE_H
#define BSLAB_ZONE_H

#include "os/lock.h"
#include "region/region.h"

/*
 * A walk over all committed blocks, from {0}; NULL at the end. The zone's lock is held for a moment per region, so
 * what a block is may have changed when it comes.
 */
struct zone_walk {
	struct region *region;
	unsigned next, end;
};
struct pageblock *zone_walk_next(struct zone_walk *walk);

/* Contiguous blocks in the given state, of a zone by its number, or NULL. *nr_dirty: how many of their pages may be non-zero. */
struct pageblock *zone_alloc_in(unsigned zone, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty);
/* The same for malloc: page/zonelist.c. */
struct pageblock *zone_alloc(unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty);
/* The blocks right behind a range, of the same region, if they are free. */
bool zone_extend(struct pageblock *last, unsigned nr_blocks, enum pageblock_state state, size_t *nr_dirty);
/* Is there a free block with warm pages, of the zone? A hint, without the lock. */
bool zone_has_dirty_in(unsigned zone);
/* Their pages' dirty bits say what has to be given back. */
void zone_free(struct pageblock *first, unsigned nr_blocks);

/* Purges down to the low watermark if the high one is passed. Call with no lock held. */
void zone_balance(void);
/*
 * Windows of the measurement. The caller asks now and then whether one is over, adds up the warm pages that partly
 * used blocks handed out in it, and those that stayed free throughout, and begins the next with their numbers, holding no lock.
 */
bool zone_window_is_over(void);
void zone_next_window(size_t nr_recycled, size_t nr_spare);
/* A pageblock was made resident as a huge page, or there was none to be had. */
void zone_note_huge(bool got);
/* Pages of blocks that are handed out and free: their users keep them. The watermark counts them as dirty. */
void zone_note_kept(size_t nr_pages);
/* Pages of blocks that were handed out all the while but used anew. */
void zone_note_recycled(size_t nr_pages);
/* Purges until at most nr_keep pages are dirty; how many were given back. */
size_t zone_purge(size_t nr_keep);
/* All free blocks of the zones of one type: of huge pages for the pool. */
void zone_purge_type(enum zone_type type);
void zone_set_dirty_floor(size_t size_bytes);
/* Bytes: as was set last, or as the options say. */
size_t zone_dirty_floor(void);

size_t zone_high_pages(void);
/* Bytes of the blocks handed out, less their free pages as last told; a hint, read without the lock. */
size_t zone_in_use(void);
/* How many pages of the blocks handed out are free, which nobody but their owners knows. Now and then is enough. */
void zone_note_partial_free(size_t nr_pages);
/* Blocks handed out, and pages of free ones that may be resident; hints. */
size_t zone_nr_used(void);
size_t zone_nr_dirty(void);
/* Pages given back so far. */
uint64_t zone_nr_given_back(void);
/* Pages given back otherwise, and fresh pages handed out by the buddies: the zone learns from both. */
void zone_note_unmapped(size_t nr_pages);
/* The same of a run that had moved into a mapping: had it stayed, its block would have been in use. */
void zone_note_unmapped_run(size_t nr_pages);
void zone_note_fresh(size_t nr_pages);
/* Pages that the process has shown to take back soon. */
size_t zone_learned_pages(void);
/*
 * The same for the dirty free pages of a user's partly used blocks, which small objects need back soon. Of what was learned it may
 * keep no more than it has had in use at once of late, nr_peak: it cannot need them all.
 */
size_t zone_high_partial_pages(size_t nr_in_use, size_t nr_peak);
/* Without a floor, and whatever was learned. */
static inline size_t zone_share_of_partial(size_t nr_in_use)
{
	return nr_in_use / 8;
}

/*
 * Invariants: nr_committed = nr_used + nr_free, without what was lost; nr_dirty_blocks <= nr_free. Blocks in the midst of a
 * purge count as used.
 */
struct zone_info {
	size_t nr_regions, nr_reserved, nr_committed, nr_used, nr_free, nr_dirty_blocks; /* pageblocks but the first */
	size_t nr_dirty_pages, high_pages, low_pages, learned_pages;
	/* Since the start: */
	uint64_t nr_purged_pages, nr_purge_calls, nr_purge_failures;
	uint64_t nr_allocs, nr_frees; /* calls, of one block or more */
	uint64_t nr_commits, nr_commit_blocks, nr_commit_failures;
	uint64_t nr_huge_allocs, nr_huge_fallbacks; /* fresh blocks made resident whole; the kernel had no huge page */
};
void zone_snapshot(struct zone_info *info);

/* Of partly used pageblocks, for reports: by migratetype. */
struct type_counts {
	size_t free_area[NR_MIGRATETYPES][NR_ORDERS]; /* free page blocks */
	size_t resident_area[NR_MIGRATETYPES][NR_ORDERS]; /* those of them of which some page may be resident */
	size_t free_pages[NR_MIGRATETYPES], dirty_pages[NR_MIGRATETYPES];
	size_t blocks[NR_MIGRATETYPES];
	size_t mixed[NR_MIGRATETYPES]; /* blocks that another type got pages of since they were last wholly free */
	size_t nr_large_blocks, nr_isolated_blocks; /* with no buddy: large, and being given back */
};

static inline void type_counts_add(struct type_counts *c, unsigned type, bool is_mixed, size_t nr_free, size_t nr_dirty)
{
	c->blocks[type]++;
	c->mixed[type] += is_mixed;
	c->free_pages[type] += nr_free;
	c->dirty_pages[type] += nr_dirty;
}

/*
 * One zone, for reports: spanned and committed pageblocks; the free ones; and of partly used ones the free pages, which the
 * buddies count.
 */
struct zone_row {
	uint32_t zone; /* its number */
	size_t nr_reserved, nr_committed, nr_free_blocks, nr_dirty_blocks; /* pageblocks; the last are free, too */
	size_t nr_dirty_pages; /* of the free ones */
	size_t nr_free;	       /* pages of the others, in */
	struct type_counts types;
};
#define MAX_ZONE_ROWS 16 /* beyond that the last one has what is left */
struct zone_rows {
	unsigned nr;
	struct zone_row row[MAX_ZONE_ROWS]; /* by number, but for what the last has too much */
};

static inline struct zone_row *zone_row(struct zone_rows *rows, unsigned zone)
{
	unsigned i = 0, k;

	while (i < rows->nr && rows->row[i].zone < zone)
		i++;
	if (i < rows->nr && rows->row[i].zone == zone)
		return &rows->row[i];
	if (rows->nr == MAX_ZONE_ROWS)
		return &rows->row[MAX_ZONE_ROWS - 1];
	for (k = rows->nr++; k > i; k--)
		rows->row[k] = rows->row[k - 1];
	rows->row[i] = (struct zone_row){.zone = zone};
	return &rows->row[i];
}

/* The first region of a zone brings its dirty pages, too. */
static inline void zone_rows_add(struct zone_rows *rows, const struct region *r, const size_t nr_dirty_in[NR_ZONES])
{
	unsigned before = rows->nr;
	struct zone_row *row = zone_row(rows, r->zone);

	row->nr_reserved += r->nr_blocks;
	row->nr_committed += r->nr_committed - r->nr_lost;
	row->nr_free_blocks += r->nr_free;
	row->nr_dirty_blocks += r->nr_dirty;
	if (rows->nr != before)
		row->nr_dirty_pages += nr_dirty_in[r->zone];
}
/* All regions of this process. */
void zone_rows_take(struct zone_rows *rows);

struct zone {
	struct lock lock;
	/* Under lock: */
	struct region *regions;
	size_t nr_used;	       /* blocks handed out */
	size_t nr_lost;	       /* blocks whose addresses may be another's: neither used nor free */
	size_t nr_dirty_pages; /* in free blocks: of all zones, the sum of */
	size_t nr_dirty_in[NR_ZONES];
	size_t dirty_floor;    /* 0: as the options say */
	size_t refused_at[NR_ZONE_TYPES]; /* dirty pages of the type when the kernel last refused to take them */
	size_t nr_partial_free; /* free pages of blocks in use, as last told; atomic, not under the lock */
	size_t nr_kept; /* pages of free blocks that their users keep; atomic, not under the lock */
	size_t nr_learned;
	/* In this window: */
	uint64_t window_at_ms;
	size_t nr_purged;   /* pages purged and not yet asked for again, those of earlier windows fading */
	size_t nr_recycled; /* pages handed out again, warm or after they were purged */
	_Atomic size_t nr_recycled_outside; /* the same, of blocks that their users kept; not under the lock */
	size_t nr_peak;	    /* the most blocks handed out */
	size_t nr_spare;    /* their pages that stayed free throughout the window before */
	struct zone_info count; /* what in it is kept as it changes; zone_snapshot() fills in the rest */
};

/* Regions stay. */
static inline size_t zone_committed_of(const struct zone *z)
{
	return (size_t)z->count.nr_commit_blocks - z->nr_lost;
}

/* The watermarks of 3 above; dirty_size as in the options. */
static inline size_t zone_floor_pages_of(const struct zone *z, size_t dirty_size)
{
	return ((z->dirty_floor ? z->dirty_floor : dirty_size) >> PAGE_SHIFT) +
	       READ_ONCE(z->nr_learned);
}

/* A stale number of free pages only shifts a watermark. */
static inline size_t zone_pages_in_use_of(const struct zone *z)
{
	size_t nr_pages = READ_ONCE(z->nr_used) << PAGEBLOCK_ORDER;

	return nr_pages - min_size(nr_pages, READ_ONCE(z->nr_partial_free));
}

static inline size_t zone_high_pages_of(const struct zone *z, size_t dirty_size)
{
	return zone_floor_pages_of(z, dirty_size) + zone_pages_in_use_of(z) / 16;
}

static inline size_t zone_low_pages_of(size_t high_pages)
{
	return high_pages / 4 * 3;
}

void zone_fork_prepare(void);
void zone_fork_done(bool child);

#endif
