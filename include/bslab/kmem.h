/* SPDX-License-Identifier: MIT */
/*
 * Typed caches: objects of one kind, as Linux's kmem_cache_create() gives them.
 *
 * A cache hands out objects of one size and alignment from slabs of its own or,
 * where nothing tells its objects from malloc's, from those of malloc's own
 * size class ("merged", as in Linux). What it saves: rounding up to a size class,
 * work that a constructor does once for an object of many lives, and time, where
 * objects come and go in bulk. docs/kmem.md explains each of it with an example.
 *
 *     struct bslab_cache *points = BSLAB_CACHE(struct point, 0);
 *     struct point *p = bslab_cache_alloc(points);
 *     bslab_cache_free(points, p);
 *     bslab_cache_destroy(points);
 *
 * Objects belong to their cache: bslab_free(), realloc() and the like of an
 * object, and bslab_cache_free() of anything else, are reported by one line on
 * stderr, and the process aborts (bslab.h says how to survive that). Objects of
 * merged caches are malloc's, and cannot be told from them.
 *
 * Threads: all calls may be made from any thread, but for destroy, after which
 * nobody may use the cache. Signals, fork: as for malloc. Errors: NULL and errno where a call says so.
 * Cost: "fast" is as in bslab.h: a malloc and a free.
 */
#ifndef BSLAB_KMEM_H
#define BSLAB_KMEM_H

#include <bslab/bslab.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bslab_cache;

enum bslab_cache_flags {
	/* Objects begin at cache lines, small ones at a half, a quarter ... of one (SLAB_HWCACHE_ALIGN). */
	BSLAB_CACHE_HWALIGN = 1,
	/* Slabs of its own: it has its line in slabinfo, and destroy tells what is live (SLAB_NO_MERGE). */
	BSLAB_CACHE_NO_MERGE = 2,
	/* Free objects are filled with 6b ... a5; one that was written to is reported when it is handed out. Slow. */
	BSLAB_CACHE_POISON = 4,
	/* Eight bytes or more behind each object must stay as they are; looked at when it is freed. Slow. */
	BSLAB_CACHE_RED_ZONE = 8,
	/*
	 * What was an object of this cache stays one, free or not, until a grace period has passed after its last use:
	 * a reader without a lock may look at an object that is being freed, if it then checks that it is still the one
	 * it wanted (SLAB_TYPESAFE_BY_RCU). See bslab_cache_set_grace().
	 */
	BSLAB_CACHE_TYPE_STABLE = 16,
};

/*
 * A cache of objects of size bytes (1 to 32768), aligned to align (a power of two up to 4096; 0: 16 where size is a
 * multiple of 16, else 8). The name is for reports; of more than 31 bytes the first ones; what is no printable
 * character, a quote or a space becomes '_', and in slabinfo and in reports of wrong frees the second cache of a name has "-2"
 * behind it. ctor, if not NULL, is called for each object once, when its memory joins
 * the cache: the object has to be freed as it was constructed, and is handed out so again. It may allocate, but not
 * from this cache. Caches without constructor and flags (HWALIGN aside) are merged with each other and with malloc's
 * classes where size and alignment agree. NULL with errno:
 *   EINVAL   no name; a size, an alignment or flags that cannot be; POISON with a constructor or TYPE_STABLE
 *   ENOMEM   no memory
 *   ENOSPC   there are as many caches of their own as can be: 171, with up to 80 that zones have; without constructor and
 *            flags it is merged with a larger class of malloc's instead, but not in the hardened mode
 */
BSLAB_API struct bslab_cache *bslab_cache_create(const char *name, size_t size, size_t align, unsigned flags,
						 void (*ctor)(void *obj));
/* The cache of a type, by its name (KMEM_CACHE). */
#define BSLAB_CACHE(type, flags) bslab_cache_create(#type, sizeof(type), __alignof__(type), (flags), 0)

/* An object; NULL with ENOMEM. Fast. */
BSLAB_API void *bslab_cache_alloc(struct bslab_cache *cache) __attribute__((warn_unused_result));
/* The same, all zero; not of a cache with a constructor. */
BSLAB_API void *bslab_cache_zalloc(struct bslab_cache *cache) BSLAB_MALLOC;
/* NULL is fine. Keeps errno. Fast. */
BSLAB_API void bslab_cache_free(struct bslab_cache *cache, void *obj);

/*
 * nr objects at once: nr, or 0 with ENOMEM and none. Some ns for all of them and a fraction of one for each, where the
 * CPU's cache has as many.
 */
BSLAB_API size_t bslab_cache_alloc_bulk(struct bslab_cache *cache, size_t nr, void **objs);
/* Each has to be an object of the cache; NULLs are left out. Keeps errno. The array is as it was. */
BSLAB_API void bslab_cache_free_bulk(struct bslab_cache *cache, size_t nr, void *const *objs);

/*
 * Gives back the memory of free objects. Of a TYPE_STABLE cache without grace periods this is the program's
 * word that one has passed since the last free.
 */
BSLAB_API void bslab_cache_shrink(struct bslab_cache *cache);

/*
 * The end of a cache: 0. Where objects are live, it is how many; a line on stderr names the cache and the first of
 * them, and the cache is as before. NULL is fine. Of a cache that is or was merged with another nobody knows: 0.
 * Not in a reader's section: it does not wait, but
 * memory of a TYPE_STABLE cache without grace periods is given back at once.
 */
BSLAB_API size_t bslab_cache_destroy(struct bslab_cache *cache);

/*
 * How a TYPE_STABLE cache learns that readers are through, as the kernel's get_state_synchronize_rcu() and
 * poll_state_synchronize_rcu(), and liburcu's start_poll_synchronize_rcu() and poll_state_synchronize_rcu(): begin()
 * returns a number for a grace period that begins now, passed() says whether it is over. They are called by slow paths
 * of any thread, of malloc too, and at the end of a thread, without a lock of bslab's; they must neither wait nor allocate.
 * Memory of a destroyed cache waits for its grace period, too: the functions have to stay. Without them memory goes
 * back by bslab_cache_shrink() only.
 * Other functions may be set at any time, or none (NULL, NULL): they get none of the numbers of those before, whose calls may
 * still run in other threads.
 */
BSLAB_API void bslab_cache_set_grace(struct bslab_cache *cache, uint64_t (*begin)(void), bool (*passed)(uint64_t which));

struct bslab_cache_info {
	const char *name;   /* stays until the cache is destroyed */
	size_t object_size; /* as it was asked for */
	size_t size;	    /* from one object to the next */
	bool merged;	    /* what follows is of all caches merged with this one, now or before, or of malloc's class */
	size_t nr_live;	    /* objects that programs hold; nearly, while others allocate and free */
	size_t nr_objects;  /* and free ones */
	size_t nr_pages;    /* of 4 KiB */
};
BSLAB_API void bslab_cache_info(struct bslab_cache *cache, struct bslab_cache_info *info);

#ifdef __cplusplus
}
#endif

#endif
