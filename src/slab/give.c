/* SPDX-License-Identifier: MIT */
/* Objects given back to their slabs, grouped by slab and word. */
#include "slab/slab.h"

#include "os/bug.h"
#include "os/shared.h"
#include "slab/geometry.h"
#include "slab/pcp.h"

static void report_double_free(struct slab *s, unsigned word, uint64_t bits)
{
	for (; bits; bits &= bits - 1) {
		uintptr_t index = word * 64u + (unsigned)__builtin_ctzll(bits);

		bug_caller("double free of %p", (void *)(s->base + index * s->cache->size));
	}
}

static void count_out(struct kmem_cache *c, unsigned *nr_given)
{
	shared_add(&c->nr_out, -(size_t)*nr_given);
	*nr_given = 0;
}

/*
 * *nr_given rises by those that were given: all but those that were free already. They are counted out before this waits for a
 * lock, which a fork may have: nobody would do it in the child.
 */
static void give_bits(struct kmem_cache *c, struct slab *s, unsigned word, uint64_t mask, unsigned *nr_given)
{
	uint64_t old = shared_or(&s->free[word], mask);
	int n = __builtin_popcountll(mask & ~old), nr_free;

	if (unlikely(old & mask))
		report_double_free(s, word, old & mask);
	nr_free = shared_add16(&s->nr_free, n);
	*nr_given += (unsigned)n;
	if (atomic_load(&s->state) == slab_state(c, SLAB_FULL) || nr_free == (int)slab_nr_objects(s)) {
		count_out(c, nr_given);
		slab_settle(c, s);
	}
}

/* Groups being collected, found by a hash of slab and word; a clash flushes the older one. Those of one slab do not clash. */
#define NR_GROUPS 32
_Static_assert(MAX_SLAB_WORDS <= NR_GROUPS, "the groups of a slab");

struct groups {
	uint32_t used; /* a bit each; the others are not initialized */
	struct group {
		struct slab *slab;
		unsigned word;
		uint64_t mask;
	} group[NR_GROUPS];
};
_Static_assert(NR_GROUPS == 8 * sizeof(uint32_t), "a bit each");

static bool is_hardened_object(page_desc_t d, const struct kmem_cache *c)
{
	return desc_is_hardened(d) && slab_of(d)->cache == c;
}

/* The group of a slab's word; *nr_given rises by what had to make room for it. */
static struct group *group_get(struct kmem_cache *c, struct groups *groups, struct slab *s, unsigned word, unsigned *nr_given)
{
	unsigned i = (unsigned)((uintptr_t)s / 16 + (uintptr_t)s / 64 + word) % NR_GROUPS;
	struct group *g = &groups->group[i];

	if (groups->used >> i & 1) {
		if (g->slab == s && g->word == word)
			return g;
		give_bits(c, g->slab, g->word, g->mask, nr_given);
	}
	groups->used |= 1u << i;
	*g = (struct group){s, word, 0};
	return g;
}

/*
 * Objects that were freed in random order are of as many slabs, and each is found behind two loads that miss the cache:
 * its descriptor's, then its header's. They are asked for some objects ahead; behind a long row nothing was.
 */
#define HEADER_AHEAD 4
#define DESC_AHEAD (2 * HEADER_AHEAD)

static void prefetch_ahead(void *const *objects, unsigned n)
{
	if (DESC_AHEAD < n)
		__builtin_prefetch(map_slot((uintptr_t)objects[DESC_AHEAD]));
	if (HEADER_AHEAD < n)
		__builtin_prefetch(slab_of(map_lookup((uintptr_t)objects[HEADER_AHEAD])), 1);
}

/*
 * Collects objects as long as they are of this slab, which needs a look at the first alone: as long as that waits in a
 * group, the slab stays. How many they are.
 */
static unsigned collect(struct kmem_cache *c, struct groups *groups, struct slab *s, void *const *objects, unsigned n, unsigned *nr_given)
{
	uintptr_t base = s->base, size = (uintptr_t)slab_nr_objects(s) * c->size, offset;
	struct group *g = NULL;
	unsigned i;

	for (i = 0; i < n && (offset = (uintptr_t)objects[i] - base) < size; i++) {
		unsigned index = object_index(c, offset);
		uint64_t bit = 1ull << (index % 64);

		if (unlikely((uintptr_t)index * c->size != offset))
			break;
		if (!g || g->word != index / 64)
			g = group_get(c, groups, s, index / 64, nr_given);
		if (unlikely(g->mask & bit))
			bug_caller("double free of %p", objects[i]);
		g->mask |= bit;
	}
	return i;
}

void slab_give(struct kmem_cache *c, void *const *objects, unsigned n)
{
	unsigned i, nr_collected, nr_given = 0;
	struct groups groups;

	if (unlikely(is_pcp_cache(c->class))) {
		pcp_give(c, objects, n);
		return;
	}
	groups.used = 0;
	for (i = 0; i < n; i += nr_collected) {
		page_desc_t d = map_lookup((uintptr_t)objects[i]);

		prefetch_ahead(objects + i, n - i);
		if (unlikely(desc_cache(d) != c->class) && !is_hardened_object(d, c)) {
			/* Its slab was given back with it: it was free before. */
			bug_caller("double free of %p", objects[i]);
			nr_collected = 1;
			continue;
		}
		nr_collected = collect(c, &groups, slab_of(d), objects + i, n - i, &nr_given);
		if (unlikely(!nr_collected)) {
			bug_caller("invalid free of %p: not the start of an object", objects[i]);
			nr_collected = 1;
		}
	}
	for (; groups.used; groups.used &= groups.used - 1) {
		const struct group *g = &groups.group[__builtin_ctz(groups.used)];

		give_bits(c, g->slab, g->word, g->mask, &nr_given);
	}
	if (nr_given)
		count_out(c, &nr_given);
}
