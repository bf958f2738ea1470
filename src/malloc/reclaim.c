/* SPDX-License-Identifier: MIT */
#include "base/probe.h"
#include "handle/compact.h"
#include "handle/handle.h"
#include "heap/heap.h"
#include "large/large.h"
#include "malloc/hardened.h"
#include "malloc/internal.h"
#include "malloc/shrinkers.h"
#include "os/options.h"
#include "os/overcommit.h"
#include "page/contig.h"
#include "page/guard.h"
#include "page/limit.h"
#include "page/purging.h"
#include "page/runs.h"
#include "page/zone.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

static uint64_t nr_given_back(void)
{
	return zone_nr_given_back() + pages_nr_given_back() + contig_nr_given_back();
}

size_t reclaim(size_t nr_keep)
{
	uint64_t before = nr_given_back();
	unsigned class, i = 0;
	size_t nr_given;
	uint32_t mark;

	PROBE(reclaim_begin, nr_keep);
	atomic_fetch_add_explicit(&counts.nr_reclaims, 1, memory_order_relaxed);
	heaps_shrink();
	percpu_drain();
	handles_drain();
	handles_reclaim();
	if (unlikely(bslab_options.hardened))
		hardened_drain();
	runs_drain();
	large_drain();
	for (class = 1; class < caches_end(); class++) {
		struct kmem_cache *c = cache_if_used(class);

		if (!c)
			continue;
		barn_drain(c);
		cache_shrink(c);
	}
	guard_drain();
	do {
		mark = purging_mark();
		pages_purge();
		contig_purge();
		zone_purge(nr_keep);
	} while (purging_wait(mark) && ++i < MAX_PURGING_TRIES);
	nr_given = (size_t)(nr_given_back() - before);
	PROBE(reclaim_end, nr_given);
	return nr_given;
}

void reclaim_if_due(void)
{
	size_t excess;

	if (likely(!limit_take_reclaim()))
		return;
	reclaim(0);
	excess = limit_excess();
	if (excess && shrinkers_run(excess))
		reclaim(0);
	limit_reclaimed();
}

/* Less than this frees objects, but hardly a page. */
#define MIN_SHRINK (256 * KIB)
/* As often as they give something: objects take more than their size, and what is given may stand among what is not. */
#define MAX_SHRINK_ROUNDS 16

bool size_is_too_much(size_t size)
{
	return size > MAX_REQUEST || overcommit_refuses(size);
}

bool reclaim_more(unsigned round, size_t size)
{
	if (round > MAX_SHRINK_ROUNDS || (round && !shrinkers_run(max_size(size, MIN_SHRINK))))
		return false;
	reclaim(0);
	return true;
}
