/* SPDX-License-Identifier: MIT */
/*
 * Caches and slabs (Bonwick 1994; Linux mm/slub.c).
 *
 * 1. A kmem_cache serves objects of one size from slabs: page runs cut into
 *    objects. A slab's metadata stands elsewhere: a header and a bitmap, one
 *    bit per object, set when the object is free in the slab. Objects that wait
 *    in a sheaf count as taken.
 *
 * 2. Bits are taken under the cache's lock, a whole word at a time with one
 *    atomic, lowest address first, and turned into pointers after the lock is
 *    dropped. Bits are given back without any lock, by atomic or: that also finds
 *    a bit that is already set, which is a double free.
 *
 *    Objects that fill whole cache lines are taken before others: two CPUs
 *    should not write to one line.
 *
 * 3. A slab's state says where it is; it changes under the cache's lock only:
 *
 *      state    on partial list  free bits              next
 *      -------  ---------------  ---------------------  --------------------------
 *      FULL     no               none, or being settled PARTIAL by slab_settle()
 *      PARTIAL  yes              some                   FULL, DEAD
 *      DEAD     no               all                    PARTIAL when new; or its pages are given back
 *
 *    A taker that finds no bits left sets FULL and then looks at the bits again;
 *    a giver sets bits and then looks at the state. Both are sequentially
 *    consistent, so one of them sees the other (Dekker), and no slab with free
 *    bits is lost.
 *
 * 4. nr_free is raised after the bits are set and lowered after they are
 *    taken, so nr_free == nr_objects under the lock means that all objects are
 *    home and nobody is in the middle of bringing one: the slab may go.
 *
 * 5. Headers are type-stable, or read as zero (boot/paged.h), which is a DEAD slab
 *    without a cache: a giver that comes late looks at a header, if not at its own
 *    slab's, and so does who asks what stands at an address (slab_cache()). The
 *    state is therefore one word with the class: a word that names a class comes
 *    and goes only under that cache's lock, so whoever holds the lock and reads it
 *    has a slab of this cache before him.
 *
 * 6. Slabs grow with their cache: a new one has no more objects than all the
 *    others together. A program uses a few objects of many classes, and a slab
 *    that is mostly free holds pages that nobody else can use. Where there is
 *    no room for one that large, it is one of the smallest.
 */
#ifndef BSLAB_SLAB_H
#define BSLAB_SLAB_H

#include "base/list.h"
#include "map/map.h"
#include "map/pageblock.h"
#include "os/lock.h"
#include "slab/sizes.h"

#define MAX_SLAB_OBJECTS 512
#define MAX_SLAB_ORDER 6
#define MAX_SLAB_WORDS (MAX_SLAB_OBJECTS / 64)
#define CACHE_NAME_SIZE 32 /* with the zero behind it */

struct sheaf;
struct typed;

/* Full and empty sheaves between the CPUs (Linux: struct node_barn). Under its lock. */
struct barn {
	struct lock lock;
	uint16_t nr_full, nr_empty;
	uint16_t capacity, max_capacity; /* of sheaves from now on, at most */
	uint16_t object_size;
	bool was_visited;   /* since the last look for barns that rest */
	uint64_t visited_at_ms; /* last look that found it visited; 0 once it was emptied */
	struct sheaf *full, *empty;
	/* Ways out of a visit, since the number's first cache. Out: of a CPU whose sheaf is empty; over: whose sheaf is full. */
	uint64_t nr_gets, nr_refills; /* out: it got a sheaf with objects; one was filled from the slabs */
	uint64_t nr_overs;	      /* over: it got an empty one */
	uint64_t nr_puts, nr_drains;  /* sheaves with objects that the barn took; that went to the slabs, for it was full */
};

/* The counters of a cache and its barn; see struct cache_info. */
struct cache_counts {
	uint64_t nr_gets, nr_refills, nr_overs, nr_puts, nr_drains;
	uint64_t nr_slab_creates, nr_slab_destroys, nr_uncached_allocs, nr_uncached_frees;
};

struct kmem_cache {
	/* Constant: */
	uint32_t size;	     /* bytes per object */
	uint64_t reciprocal; /* ceil(2^40 / size): object_index() */
	/* From NR_CLASSES on the number of a cache of page runs, of a typed one, or of one for a zone, which have no size class. */
	uint8_t class;
	uint8_t first_order, full_order; /* of the smallest and the largest slabs */
	uint8_t migratetype;
	uint8_t line_objects; /* the fewest that fill whole cache lines: a power of two */
	_Atomic size_t nr_out; /* objects taken from slabs and not yet given back, in use or in sheaves */
	_Atomic uint64_t nr_uncached_allocs, nr_uncached_frees; /* single objects that passed the sheaves by; relaxed */
	struct typed *typed; /* NULL in malloc's: slab/typed.h */
	/* Under lock: */
	struct lock lock;
	uint32_t nr_slabs, nr_partial; /* nr_partial: on the list */
	size_t nr_objects, nr_pages; /* of all slabs */
	size_t nr_peak_pages; /* the most of late: cache_forget_peak(); a hint, read and lowered without the lock */
	struct list partial;
	uint64_t nr_slab_creates, nr_slab_destroys; /* since the number's first cache */
	struct barn barn;
} __cacheline_aligned;

enum slab_state {
	SLAB_DEAD,
	SLAB_FULL,
	SLAB_PARTIAL,
};

struct slab {
	struct list_node node; /* in cache->partial; first, so that a pooled header keeps the rest */
	_Atomic(struct kmem_cache *) cache;
	uintptr_t base;
	_Atomic int16_t nr_free; /* may lag behind the bits; see 4 above */
	_Atomic uint16_t nr_objects;
	_Atomic uint32_t state; /* class << 2 | enum slab_state; 0 when DEAD */
	_Atomic uint64_t free[];
};

static inline unsigned slab_nr_objects(const struct slab *s)
{
	return atomic_load_explicit(&s->nr_objects, memory_order_relaxed);
}

/* The word names the class too: see 5 above. */
static inline uint32_t slab_state(const struct kmem_cache *c, enum slab_state state)
{
	return state == SLAB_DEAD ? SLAB_DEAD : (uint32_t)c->class << 2 | state;
}

/*
 * The cache of a class, or of page runs, made at its first use; NULL when there is no memory. A process uses few of them, and so
 * touches fewer pages than a table of them has.
 */
struct kmem_cache *cache_of(unsigned class);
/* NULL for a class never used, and for a number that no typed cache has. */
struct kmem_cache *cache_if_used(unsigned class);
/* Bytes of an object; 0 for a class never used. */
size_t cache_size(unsigned class);
/* From here on no number was ever used. */
unsigned caches_end(void);

/* For slab/typed.c: the making of caches, and of their geometry. */
extern struct kmem_cache *caches[NR_CACHES] reader_root(caches);
extern struct lock caches_lock __attribute__((visibility("hidden"))); /* RANK_CACHES: making one, and its end */
void caches_raise_end(unsigned end);
void cache_setup(struct kmem_cache *c, unsigned class, size_t size);
/* Slabs that are unlinked and DEAD: counted out under lock, and destroyed when it was dropped. */
void slab_retire(struct kmem_cache *c, struct slab *s, struct list *dead);
void slabs_destroy(struct kmem_cache *c, struct list *dead);
/* For slab/give.c: puts the slab where it belongs after bits were set in it. Takes the cache's lock. */
void slab_settle(struct kmem_cache *c, struct slab *s);

/*
 * Takes up to n objects; out[0] has the highest address of those taken from one slab, so that a stack filled in
 * this order pops the lowest first. 0 when there is no memory.
 */
unsigned slab_take(struct kmem_cache *c, void **out, unsigned n, unsigned pages_flags);
/*
 * Gives n objects back, grouped by slab. What is not an object of the cache, or is free already, is reported with
 * the pointer and left out.
 */
void slab_give(struct kmem_cache *c, void *const *objects, unsigned n);

/*
 * One object of a slab that is fuller, by its share of free objects, than another one; NULL when there is none among
 * those looked at.
 */
void *slab_take_fuller(struct kmem_cache *c, const struct slab *than);
/* Objects of the slab that are in use or in sheaves; a hint. */
unsigned slab_nr_taken(const struct slab *s);
/* Whether the share of them is below that of all the cache's slabs together; a hint. */
bool slab_is_sparse(const struct slab *s);

enum object_fault {
	OBJECT_GOOD,	 /* start of an object that is not free in its slab */
	OBJECT_INTERIOR, /* inside an object, or behind the last */
	OBJECT_FREE,
};
enum object_fault slab_check_object(struct slab *s, uintptr_t addr);
/* Bytes of objects free in slabs; a hint. */
size_t cache_free_bytes(struct kmem_cache *c);
/* Now and then: the peak comes down to what there is. */
static inline void cache_forget_peak(struct kmem_cache *c)
{
	size_t peak = READ_ONCE(c->nr_peak_pages);

	if (peak)
		WRITE_ONCE(c->nr_peak_pages, max_size(READ_ONCE(c->nr_pages), peak - (peak + 15) / 16));
}
/* The start of the object that an address is in. */
uintptr_t slab_object_base(struct slab *s, uintptr_t addr);

static force_inline struct slab *slab_of(page_desc_t d)
{
	return desc_pointer(d);
}

/* Whether the page is a slab's in the hardened mode; its objects are blocks as slab/hardened.h has them. */
static force_inline bool desc_is_hardened(page_desc_t d)
{
	return (uint16_t)d == PAGE_OBJECTS << 8;
}

/* The class of zero-size blocks in the hardened mode: its slabs trap. No sheaf has it. */
#define ZERO_CLASS 0
#define ZERO_SIZE 16 /* apart from each other, so that no two have one address */

/*
 * Offsets are below 2^18 (64 pages). With r = ceil(2^40 / size) = (2^40 + e) / size,
 * e < size <= 2^15, offset * r / 2^40 exceeds offset / size by offset * e / (2^40 * size)
 * < 2^-22 < 1/size: the integer part is right.
 */
#define RECIPROCAL_SHIFT 40

static force_inline unsigned object_index(const struct kmem_cache *c, uintptr_t offset)
{
	return (unsigned)((offset * c->reciprocal) >> RECIPROCAL_SHIFT);
}

/* What a slab is said to be of whose header went back to the kernel: of no cache, and without objects. */
extern struct kmem_cache gone_cache __attribute__((visibility("hidden")));

/* For who did not keep the slab from going: never NULL. See 5 above. */
static force_inline struct kmem_cache *slab_cache(const struct slab *s)
{
	struct kmem_cache *c = atomic_load_explicit(&s->cache, memory_order_relaxed);

	return likely(c != NULL) ? c : &gone_cache;
}

static force_inline bool object_starts(struct slab *s, const struct kmem_cache *c, unsigned index, uintptr_t addr)
{
	return index < atomic_load_explicit(&s->nr_objects, memory_order_relaxed) && s->base + (uintptr_t)index * c->size == addr;
}

/* Whether an address in the slab's pages is where an object starts. */
static force_inline bool slab_starts_object(struct slab *s, uintptr_t addr)
{
	const struct kmem_cache *c = slab_cache(s);

	return object_starts(s, c, object_index(c, addr - s->base), addr);
}

/* slab_check_object(), inlined: c is the slab's. */
static force_inline enum object_fault object_find(struct slab *s, const struct kmem_cache *c, uintptr_t addr)
{
	unsigned index = object_index(c, addr - s->base);

	if (unlikely(!object_starts(s, c, index, addr)))
		return OBJECT_INTERIOR;
	return unlikely(atomic_load(&s->free[index / 64]) >> (index % 64) & 1) ? OBJECT_FREE : OBJECT_GOOD;
}

/* Frees the slabs that are wholly free; walks the partial list. */
void cache_shrink(struct kmem_cache *c);
/* Frees the one that is kept for the next refill. */
void cache_shrink_kept(struct kmem_cache *c);

/*
 * Hardened: the first objects, of those free in slabs, that were written since their free. How many. Keeps the lock all the
 * while: for exit. The caller says so without it: who is told, by a signal, may allocate.
 */
#define MAX_WRITTEN 16
unsigned cache_find_written(struct kmem_cache *c, void *out[MAX_WRITTEN]);

/* Of caches that have slabs: not those of page runs. */
struct cache_info {
	size_t size; /* 0: never used */
	char name[CACHE_NAME_SIZE];
	unsigned migratetype;
	size_t objects_per_slab, pages_per_slab; /* of the largest slabs; 6 above */
	size_t nr_slabs, nr_objects, nr_pages; /* nr_objects: free or not */
	size_t nr_partial, nr_free; /* slabs with free objects; objects free in slabs, which others give back meanwhile */
	size_t nr_full_sheaves, nr_empty_sheaves, nr_barn_objects, sheaf_capacity;
	/* As in struct barn and struct kmem_cache: */
	uint64_t nr_gets, nr_refills, nr_overs, nr_puts, nr_drains;
	uint64_t nr_slab_creates, nr_slab_destroys, nr_uncached_allocs, nr_uncached_frees;
	struct cache_counts past; /* not in these: of caches that had the number before. Also where it is not used now */
};
/* False for a class not used, and for page runs. */
bool cache_snapshot(unsigned class, struct cache_info *info);

static force_inline void split_count(uint64_t *count, uint64_t *past, uint64_t before)
{
	*past = *count < before ? *count : before;
	*count -= *past;
}

/* Counters go on from one cache of a number to the next, so that no sum of all ever falls. before: when this one began. */
static inline void cache_info_split(struct cache_info *info, const struct cache_counts *before)
{
	split_count(&info->nr_gets, &info->past.nr_gets, before->nr_gets);
	split_count(&info->nr_refills, &info->past.nr_refills, before->nr_refills);
	split_count(&info->nr_overs, &info->past.nr_overs, before->nr_overs);
	split_count(&info->nr_puts, &info->past.nr_puts, before->nr_puts);
	split_count(&info->nr_drains, &info->past.nr_drains, before->nr_drains);
	split_count(&info->nr_slab_creates, &info->past.nr_slab_creates, before->nr_slab_creates);
	split_count(&info->nr_slab_destroys, &info->past.nr_slab_destroys, before->nr_slab_destroys);
	split_count(&info->nr_uncached_allocs, &info->past.nr_uncached_allocs, before->nr_uncached_allocs);
	split_count(&info->nr_uncached_frees, &info->past.nr_uncached_frees, before->nr_uncached_frees);
}

void slab_fork_prepare(void);
void slab_fork_done(bool child);

#endif
