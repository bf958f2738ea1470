/* SPDX-License-Identifier: MIT */
/*
 * Compaction of objects with handles (Linux: mm/compaction.c, mm/page_isolation.c).
 *
 * 1. A survey tells of each pageblock how many bytes of objects are in it. The sparsest whose objects have room in the
 *    others are candidates (Linux: the migrate scanner, and compaction_suitable()).
 * 2. They are isolated, blocks and slabs, so that nothing new comes in. Then one by one, sparsest first, their
 *    objects move into the fullest slabs of the other blocks, or into new slabs in pages that are free there (Linux: the free
 *    scanner); never into a fresh block. A block whose last page comes free goes to the zone by itself.
 * 3. An object that is mapped stays, and so does its block: it is put back, marked with the round, and the survey leaves it out
 *    for the rest of it. A look before the first move tells most of them. A move that a map made void ends the block as well.
 * 4. Where there is no room any more, the densest of the candidates is put back, and takes in what is left.
 *
 * By whom: a call; reclaim; and a free which finds that more than a watermark is free between objects:
 *
 *     high = a pageblock + zone_dirty_floor() + 1/4 of the bytes in use
 *
 * That free takes blocks that are at most half used, one after the other, and moves STEP_BYTES at most; a block of which
 * some is left is put back, and is the sparsest for the next. A round is over when all such blocks were tried. Where nothing is got
 * any more, the next try comes when 1/8 more or less is free, or after 40 ms, with some looks at blocks that had mapped objects.
 *
 * One compaction at a time: `compactor` is its thread, which holds no lock while it copies. A fork waits for nothing of it; the child
 * puts back what it had isolated.
 */
#ifndef BSLAB_COMPACT_H
#define BSLAB_COMPACT_H

#include "base/base.h"

/* Pageblocks that were given to the zone. Compactions of others are waited for. */
size_t handles_compact(void);
/* The same, but what threads keep is taken away first. */
size_t handles_reclaim(void);
/* By the watermark. Cheap where it is not passed; call without a lock. */
void handles_balance(void);

/* Since the start; written by the compactor, read by anybody. Only 64-bit counters. */
struct compact_counts {
	uint64_t nr_runs, nr_balances; /* by a call or reclaim; by the watermark */
	uint64_t nr_successes, nr_failures; /* of both: a block at least was released; none, though there were candidates */
	uint64_t nr_migrate_scanned, nr_free_scanned; /* objects of candidates; blocks surveyed for room */
	uint64_t nr_isolated, nr_released; /* pageblocks: isolated = released + the four below */
	uint64_t nr_moved, nr_moved_bytes; /* objects */
	uint64_t nr_pinned, nr_void, nr_no_room; /* blocks put back: an object was mapped; a move was cancelled; no room */
	uint64_t nr_deferred; /* blocks put back: the free had moved its share */
};
extern struct compact_counts compact_counts reader_root(compact_counts);
void compact_snapshot(struct compact_counts *c);

/* In the child, once all locks are free. */
void compact_fork_child(void);

#endif
