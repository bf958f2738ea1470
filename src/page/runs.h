/* SPDX-License-Identifier: MIT */
/*
 * Page runs: blocks of whole pages with descriptors (Linux: alloc_pages_exact()),
 * and the few that were freed last (Linux: struct per_cpu_pages, mm/page_alloc.c).
 *
 * 1. Splitting and merging a run costs some 150 ns; programs take buffers of one
 *    size again and again. So each buddy keeps up to NR_HOT_RUNS of the runs
 *    that its threads freed last, whole, MAX_HOT_PAGES together, for requests of
 *    exactly their size.
 * 2. To the buddies a kept run is in use; its head's descriptor says that it is
 *    not, so that a second free is told.
 * 3. It is not kept from anyone: a request that finds none of its size, where the
 *    kept ones together have enough pages, first sends them home. What the CPU keeps
 *    (slab/kept.h) joins them before, where it has enough alone. Reclaim sends all
 *    home, and the next look what was not taken for a while.
 */
#ifndef BSLAB_RUNS_H
#define BSLAB_RUNS_H

#include "page/buddy.h"

/* Like pages_alloc() and pages_free(), with the descriptors. */
void *run_alloc(unsigned nr_pages, unsigned align_order, unsigned flags, bool *zeroed);
void run_free(void *addr, unsigned nr_pages);
/* Writes the descriptors of pages [from, nr_pages) of a run, and its head's. */
void run_describe(void *addr, unsigned from, unsigned nr_pages);

/* Sends home the kept runs that were there at the last look already; looks once in 40 ms, whoever asks. */
void runs_reap(uint64_t now_ms);
/* All of them. */
void runs_drain(void);

#endif
