/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: a program's caches give memory back when it is short (Linux: include/linux/shrinker.h, mm/shrinker.c).
 *
 *     static size_t count(struct bslab_shrinker *s, const struct bslab_shrink_control *sc) { return nr_cached; }
 *     static size_t scan(struct bslab_shrinker *s, struct bslab_shrink_control *sc)
 *     {
 *         return pthread_mutex_trylock(&lock) ? BSLAB_SHRINK_STOP : drop(sc->nr_to_scan);
 *     }
 *     static struct bslab_shrinker shrinker = {.count = count, .scan = scan};
 *
 *     bslab_shrinker_register(&shrinker);
 *
 * When: near a soft limit (of bslab_set_limits(), the options, or the cgroup), by which a quarter of what count() says is asked
 * for; when a call finds no memory or a hard limit refuses it, and by malloc_trim(), all of it. So within malloc and its
 * kin, on the thread that called it, with whatever locks the program holds there: a callback must not wait for
 * such a lock, but try it, and say BSLAB_SHRINK_STOP. It holds no lock of bslab's.
 *
 * A callback may free, and allocate, by any call: no shrinker is called from within one. One thread at a time calls
 * shrinkers; another that is short of memory meanwhile does without them. errno is kept.
 *
 * Threads: register and unregister from any, also from a callback. Signals: not from handlers. fork: the child has the
 * shrinkers of its parent; a callback that ran in another thread is over there.
 *
 * Cost: a load at each reclaim where there is none.
 */
#ifndef BSLAB_SHRINKER_H
#define BSLAB_SHRINKER_H

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BSLAB_SHRINK_STOP (~(size_t)0) /* from scan: it cannot go on now */

struct bslab_shrink_control {
	size_t nr_to_scan; /* how many objects to free, or to look at whether they can be */
	size_t nr_scanned; /* scan may lower it to as many as it looked at; 0 ends it */
	int is_urgent;	   /* no memory, or malloc_trim(): all of it is asked for */
};

struct bslab_shrinker {
	/* How many objects could be freed, about; 0: none. Cheap: it is called often. */
	size_t (*count)(struct bslab_shrinker *s, const struct bslab_shrink_control *sc);
	/* Frees up to nr_to_scan objects: how many, or BSLAB_SHRINK_STOP. Called until as many as count() led to are scanned. */
	size_t (*scan)(struct bslab_shrinker *s, struct bslab_shrink_control *sc);
	size_t batch; /* nr_to_scan at most; 0: 128 */
	void *data;   /* the program's */
	/* bslab's: */
	struct bslab_shrinker *next;
};

/* From now on it is called; the struct is bslab's until it is unregistered. 0, or -1 with EINVAL: no count or no scan. */
BSLAB_API int bslab_shrinker_register(struct bslab_shrinker *s);
/* Returns when it is called no more: waits for a callback that runs in another thread, so hold no lock that it waits for. */
BSLAB_API void bslab_shrinker_unregister(struct bslab_shrinker *s);

#ifdef __cplusplus
}
#endif

#endif
