/* SPDX-License-Identifier: MIT */
/*
 * Typed caches: caches that programs make (Linux: kmem_cache_create(), mm/slab_common.c).
 *
 * 1. A typed cache is a kmem_cache like malloc's, with a number behind those
 *    that bslab has itself: the same slabs, sheaves, barns and areas serve it. The
 *    descriptors of its pages have class 0 and its number for a type, so that
 *    free() does not find a class there and comes to its slow path, which
 *    tells the caller.
 *
 * 2. Numbers are given out when a cache is made and taken back when its last slab
 *    is gone; the structs stay with the number:
 *
 *      used --(last user)--> dying --(nothing is live)--> released --(all is home)--> buried: size 0
 *
 *    Who counts a dying cache's live objects has it to himself; one that has any is used again. A
 *    released one may have objects in sheaves that cannot be reached, and slabs that wait for a grace
 *    period: slow paths look again.
 *
 * 3. Objects keep what is in them while they are free: nothing of bslab stands
 *    there. So they are constructed once, when their slab is made.
 *
 * 4. Type-stable caches (Linux: SLAB_TYPESAFE_BY_RCU). An empty slab is deferred:
 *    off the partial list, its pages still there. A batch of them goes once a
 *    grace period has passed that began after they were deferred; until then
 *    the cache may take them back.
 *
 *      deferred --(the one before is through: begin())--> waiting --(passed())--> destroyed
 *
 * 5. A cache of an explicit zone (page/zonelist.h) is malloc's: for kmalloc's objects of one size class in that zone. Its number
 *    stands in the descriptors as a class, so that free() pushes to its sheaves as to any class's.
 */
#ifndef BSLAB_TYPED_H
#define BSLAB_TYPED_H

#include "slab/slab.h"

_Static_assert((unsigned)PAGE_TYPED == FIRST_TYPED, "typed caches are numbered behind the others");

enum typed_flags {
	TYPED_NO_MERGE = 2,
	TYPED_POISON = 4,
	TYPED_RED_ZONE = 8,
	TYPED_STABLE = 16,
	/* Objects that are looked at one by one, past the sheaves. */
	TYPED_CHECKED = TYPED_POISON | TYPED_RED_ZONE,
};

/* Of the grace periods that the program knows: begin() names one that begins now. */
struct grace {
	uint64_t (*begin)(void);
	bool (*passed)(uint64_t which);
};

struct typed {
	/* Constant while it has users: */
	char name[CACHE_NAME_SIZE];
	size_t object_size; /* that the program may use; behind it the red zone */
	unsigned flags;
	unsigned pages_flags; /* enum pages_flags: its zone, if it is an explicit one; see 5 */
	void (*ctor)(void *obj);
	/* Under caches_lock: */
	unsigned nr_users;
	bool was_shared; /* by several users: whose an object is, is not known */
	bool is_dying;	 /* no users: slabs are not kept; also read without */
	/* Under caches_lock and the cache's lock: */
	bool is_released; /* also read without */
	struct cache_counts past; /* what the counters were when this one began; they stay with the number */
	/* Under the cache's lock: */
	struct list deferred, waiting;
	struct grace grace; /* of functions that are NULL: only typed_shrink() gives back */
	uint64_t which;	    /* that those waiting wait for */
	bool is_polling;
	_Atomic unsigned nr_retiring; /* slabs that are counted out and not destroyed yet */
	_Atomic uint64_t drains;      /* slab/sheaf.h; stays with the number, as the lock does */
};

/* For reports: no spaces, quotes or backslashes. */
void typed_copy_name(char to[CACHE_NAME_SIZE], const char *from);

struct typed_args {
	const char *name;
	size_t object_size, size; /* size: with red zone, a multiple of the alignment */
	unsigned flags;
	void (*ctor)(void *obj);
	unsigned pages_flags;
};

/*
 * A new cache, or one of the same size that may be shared. NULL: no memory, or (*is_full) no number. A name that another
 * cache has gets a number behind it.
 */
struct kmem_cache *typed_create(const struct typed_args *a, bool *is_full);
/*
 * One user less. The last one's cache dies unless objects are live: how many, and it has the user still. Of one that
 * was shared it is not asked: it dies when all is home, or is found by who wants the like.
 */
size_t typed_release(struct kmem_cache *c);
/* Released caches that have nothing left give their numbers back. A load where there is none. */
void typed_bury(void);
/* Gives back all that is free, also where the program has no grace periods. */
void typed_shrink(struct kmem_cache *c);
void typed_set_grace(struct kmem_cache *c, struct grace grace);
/*
 * Objects that the program holds. Exact where nobody uses the cache and the sheaves of all CPUs were drained; where
 * they cannot be, those that are left are looked at, and may be on their way from one to the other.
 */
size_t typed_nr_live(struct kmem_cache *c);
/* Up to max addresses of objects that are not free in their slabs. */
unsigned typed_list_live(struct kmem_cache *c, uintptr_t *addr, unsigned max);

/* For slab.c: the objects of a new slab; a slab that is empty, or needed again (NULL: none), under lock; the next step. */
void typed_construct(const struct kmem_cache *c, void *pages, unsigned nr_objects);
void typed_defer(struct kmem_cache *c, struct slab *s);
struct slab *typed_take_back(struct kmem_cache *c);
void typed_poll(struct kmem_cache *c);
/* A look now and then, whether the program uses the cache or not: the next step, where something waits. */
void typed_tend(struct kmem_cache *c);
/* In the child of fork, under all locks: what other threads were at is not done by anybody. */
void typed_fork_child(struct kmem_cache *c);

static inline _Atomic uint64_t *cache_drains(struct kmem_cache *c)
{
	return c->typed ? &c->typed->drains : NULL;
}

/* Of what may be freed, and its cache destroyed, meanwhile. */
static inline const char *typed_name(const struct kmem_cache *c)
{
	return c->typed ? c->typed->name : "?";
}

/* The explicit zone that its pages are of; 0: none. Constant as long as the cache has a user, or an object. */
static inline unsigned cache_pages_flags(const struct kmem_cache *c)
{
	return c->typed ? READ_ONCE(c->typed->pages_flags) : 0;
}

static inline bool typed_is_stable(const struct kmem_cache *c)
{
	return c->typed && READ_ONCE(c->typed->flags) & TYPED_STABLE;
}

static inline bool typed_is_dying(const struct kmem_cache *c)
{
	return c->typed && READ_ONCE(c->typed->is_dying);
}

#endif
