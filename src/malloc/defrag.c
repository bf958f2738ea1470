/* SPDX-License-Identifier: MIT */
/* Hints for programs that can move their objects; insight.h documents the calls. */
#include <string.h>

#include "bslab/insight.h"
#include "malloc/profile.h"
#include "malloc/reports.h"
#include "map/map.h"
#include "map/pageblock.h"
#include "slab/slab.h"

/* A run in a pageblock of which three quarters are free. */
static int run_hint(uintptr_t addr, unsigned nr_pages)
{
	const struct pageblock *b = map_pageblock(addr);
	unsigned nr_free = READ_ONCE(b->nr_free);

	if (nr_free + nr_pages >= PAGEBLOCK_PAGES)
		return BSLAB_DEFRAG_LAST;
	return nr_free >= PAGEBLOCK_PAGES / 4 * 3 ? BSLAB_DEFRAG_SPARSE : BSLAB_DEFRAG_NO;
}

static int object_hint(struct slab *s, uintptr_t addr)
{
	if (slab_check_object(s, addr) != OBJECT_GOOD)
		return BSLAB_DEFRAG_NO;
	if (slab_nr_taken(s) == 1)
		return BSLAB_DEFRAG_LAST;
	return slab_is_sparse(s) ? BSLAB_DEFRAG_SPARSE : BSLAB_DEFRAG_NO;
}

int bslab_defrag_hint(const void *ptr)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);

	if (desc_class(d))
		return object_hint(slab_of(d), (uintptr_t)ptr);
	if (desc_type(d) == PAGE_RUN && (uintptr_t)ptr % BSLAB_PAGE_SIZE == 0)
		return run_hint((uintptr_t)ptr, (unsigned)desc_number(d));
	if (sampled_of(d) && (uintptr_t)ptr % BSLAB_PAGE_SIZE == 0)
		return run_hint((uintptr_t)ptr, sampled_of(d)->nr_pages);
	return BSLAB_DEFRAG_NO;
}

void *bslab_defrag_move(void *ptr)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct slab *s = slab_of(d);
	struct kmem_cache *c;
	void *new;

	if (!desc_class(d) || object_hint(s, (uintptr_t)ptr) == BSLAB_DEFRAG_NO)
		return NULL;
	c = slab_cache(s);
	/* Past the sheaves: the objects that they hold are of slabs as sparse as this one. */
	new = slab_take_fuller(c, s);
	if (!new)
		return NULL;
	memcpy(new, ptr, c->size);
	slab_give(c, &ptr, 1);
	reports_poll();
	return new;
}
