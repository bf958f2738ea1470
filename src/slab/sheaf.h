/* SPDX-License-Identifier: MIT */
/*
 * Sheaves and barns (Linux 6.18 mm/slub.c: struct slab_sheaf, struct node_barn).
 *
 * 1. A sheaf is a stack of object pointers between two sentinels, which are odd
 *    and lead back to the sheaf (arch/percpu.h shows why). A CPU works on one
 *    sheaf per class; the barn of the class holds others, full or empty, and
 *    a CPU that runs out or over swaps its own for one of those: one lock, a
 *    few stores, no object touched.
 *
 * 2. Capacity. All classes begin with small sheaves. Each GROW_VISITS visits to
 *    the barn double the capacity of the class's next sheaves, up to what
 *    MAX_SHEAF_BYTES of objects fill: a hot class ends with few visits, a cold
 *    one keeps a few objects. Above CHEAP_SHEAF_BYTES of objects they grow only
 *    while these visits of one CPU come within GROW_US, so that they take more than a
 *    thousandth of its time: a class that is visited less often costs memory on
 *    each CPU and saves nothing. A sheaf of an old capacity is retired when it
 *    comes by empty.
 *
 * 3. Hysteresis. A CPU that runs over keeps the objects that it freed last, up
 *    to HYSTERESIS or half its sheaf, and the barn gets the rest; one that runs
 *    out takes such a sheaf, or fills half of one from the slabs. So after each
 *    visit some dozens of allocations or of frees are ahead before the next,
 *    in whatever order they come. ("Full" sheaves in a barn are these.)
 *
 * 4. One way. A CPU that runs over more than ONE_WAY times in a row frees what others
 *    allocate and has no use for it: it gets small sheaves and keeps little. One that
 *    runs out so gets at most an eighth of the class's objects that are out of their
 *    slabs at a time; within that a whole sheaf up to a page of objects, or half of
 *    one, for it brings none back. Nor do visits of such a row, in either
 *    direction, make sheaves grow.
 *
 * 5. Decline. Once more of a class is free in its slabs than is out, objects in
 *    sheaves are what keeps slabs from coming free, one object a whole slab. So
 *    its barn holds little, and who runs over on one way keeps few, fewer as less is out. Barns that hold more
 *    than they may, for the heap has shrunk, are drained by who runs over.
 *
 * 6. Page runs (slab/pcp.h) are caches without slabs: nothing of them declines, and how many are out is not
 *    known. So they hold little from the start: sheaves MAX_SHEAF_BYTES, which is four of the largest runs;
 *    barns two sheaves of single pages, one of two, none of larger ones. Who goes one way may have a
 *    whole sheaf, too: what costs is the visit to the buddies.
 *
 * 7. Bounds. A class holds at most MAX_SHEAF_BYTES of objects per CPU that runs
 *    (or MIN_CAPACITY objects), and MAX_BARN_BYTES (or MIN_FULL_SHEAVES
 *    sheaves) in its barn; all barns together MAX_BARNS_BYTES and a 16th of the
 *    pages in use.
 *
 * Invariant of a sheaf that no CPU works on: slot[0 .. nr) are objects.
 */
#ifndef BSLAB_SHEAF_H
#define BSLAB_SHEAF_H

#include "slab/slab.h"

struct sheaf {
	struct sheaf *next; /* in a barn */
	uint16_t capacity, nr;
	uint8_t class; /* in a quarantine */
	int8_t run; /* visits to the barn in a row that its CPU has made: above 0 run over, below 0 run out */
	uintptr_t low_sentinel;
	void *slot[]; /* and the high sentinel behind the last */
};

/* Where the top stands for this many objects. */
static inline void **sheaf_top(struct sheaf *s, unsigned nr)
{
	return &s->slot[nr];
}

static inline bool word_is_sentinel(const void *word)
{
	return (uintptr_t)word & 1;
}

/* NULL for a word that is no sentinel, and for the sentinels that all CPUs share. */
static inline struct sheaf *sheaf_of_sentinel(void *word)
{
	return (uintptr_t)word & 1 ? (struct sheaf *)((uintptr_t)word & ~(uintptr_t)1) : NULL;
}

/* The sheaf of a top, with nr set; NULL for the sentinels that all CPUs share. The caller owns it. */
struct sheaf *sheaf_of_top(void **top);

/*
 * Around what takes objects out of sheaves to bring them home: meanwhile they are in nobody's sheaf, and free. Who counts
 * live objects looks at the word before and after: it counted right where none ran and none has begun. One word
 * for drains of whole areas, one in each typed cache for its own; nobody counts malloc's.
 *
 *     word = begun << 32 | running
 */
#define DRAIN_BEGUN (1ull << 32)
extern _Atomic uint64_t area_drains __attribute__((visibility("hidden")));

static inline void drain_begin(_Atomic uint64_t *drains)
{
	if (drains)
		atomic_fetch_add(drains, DRAIN_BEGUN + 1);
}

/* Not below 0: in the child of a fork within the drain, by a grace period's function, it is not counted any more. */
static inline void drain_end(_Atomic uint64_t *drains)
{
	uint64_t word = drains ? atomic_load(drains) : 0;

	while ((uint32_t)word && !atomic_compare_exchange_weak(drains, &word, word - 1))
		;
}

/* Of one CPU to one barn, in both directions. Hints: threads of the CPU may miss each other's. */
struct barn_visits {
	uint32_t counted_at_us; /* when nr was last full; wraps, in an hour */
	uint8_t nr;		/* since then */
};

void barn_setup(struct barn *b, size_t object_size, bool is_pcp);
/*
 * A sheaf with at least one object, in exchange for an empty one (or NULL). NULL when there is no memory: the empty
 * one is then in the barn. `v` is the CPU's, or NULL: the visit does not count.
 */
struct sheaf *barn_exchange_empty(struct kmem_cache *c, struct sheaf *empty, struct barn_visits *v, unsigned pages_flags);
/* An empty sheaf in exchange for a full one (or NULL). NULL when there is no memory for one: the objects are home. */
struct sheaf *barn_exchange_full(struct kmem_cache *c, struct sheaf *full, struct barn_visits *v);
/* An empty sheaf, or NULL. */
struct sheaf *barn_get_empty(struct kmem_cache *c, struct barn_visits *v);
/* Takes a sheaf that nobody works on, in whatever state. */
void barn_put(struct kmem_cache *c, struct sheaf *s);
/* The same, once its objects are home. */
void sheaf_empty(struct kmem_cache *c, struct sheaf *s);
/*
 * True once when nobody came to the barn for `rest_ms`. To be asked now and then, by whatever CPU; `now_ms` is not 0.
 */
bool barn_has_rested(struct kmem_cache *c, uint64_t now_ms, uint64_t rest_ms);
/* Everything in the barn goes back to the slabs; sheaves start small again. */
void barn_drain(struct kmem_cache *c);
void barn_snapshot(struct barn *b, struct cache_info *info);

#endif
