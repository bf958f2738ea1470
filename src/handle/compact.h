/* SPDX-License-Identifier: MIT */
/*
 * Compaction of objects with handles (Linux: mm/compaction.c, mm/page_isolation.c).
 *
 * 1. A survey tells of each pageblock how many bytes of objects are in it. The sparsest whose objects have room in the
 *    others are candidates (Linux: the migrate scanner, and compaction_suitable()).
 * 2. They are isolated, blocks and slabs, so that nothing new comes in. Then one by one, sparsest first, their
 *    objects move into the fullest slabs of the other blocks, or into new slabs in pages that are free there (Linux: the free
 *    scanner); never into a fresh block. A block whose last page comes free goes to the zone by itself.
 * 3. An object that is mapped stays, and so does its block: it is put back, and the next is tried. A look before the first
 *    move tells most of them. A move that a map made void is counted, and ends the block as well.
 * 4. Where there is no room any more, the densest of the candidates is put back, and takes in what is left.
 *
 * By whom: a call; reclaim; and a free which finds that more than a watermark is free between objects:
 *
 *     high = a pageblock + bslab_options.dirty_size + 1/4 of the bytes in use
 *
 * That free empties COMPACT_STEP blocks at most, and after one that got nothing the next has to find 1/8 more.
 *
 * One compaction at a time. No lock of other ranks is held across a copy; RANK_COMPACT is, so that a fork waits for the end.
 */
#ifndef BSLAB_COMPACT_H
#define BSLAB_COMPACT_H

#include "base/base.h"

/* Pageblocks that were given to the zone. Compactions of others are waited for. */
size_t handles_compact(void);
/* What threads keep is taken away first. Nothing, where another compaction is under way. */
size_t handles_reclaim(void);
/* By the watermark. Cheap where it is not passed; call without a lock. */
void handles_balance(void);

/* Since the start; written under the lock, read without. Only 64-bit counters. */
struct compact_counts {
	uint64_t nr_runs, nr_balances; /* by a call or reclaim; by the watermark */
	uint64_t nr_successes, nr_failures; /* of both: a block at least was released; none, though there were candidates */
	uint64_t nr_migrate_scanned, nr_free_scanned; /* objects of candidates; blocks surveyed for room */
	uint64_t nr_isolated, nr_released; /* pageblocks */
	uint64_t nr_moved, nr_moved_bytes; /* objects */
	uint64_t nr_pinned, nr_void, nr_no_room; /* blocks put back: an object was mapped; a move was cancelled; no room */
};
extern struct compact_counts compact_counts reader_root(compact_counts);
void compact_snapshot(struct compact_counts *c);

void compact_fork_prepare(void);
void compact_fork_done(bool child);

#endif
