/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: a program that caches what it could compute or read again gives some of it back when memory is short
 * (Linux: shrinker_register(), mm/shrinker.c).
 *
 *     static size_t drop_tiles(size_t nr_bytes, void *cache) { ... free() the oldest ... return what that was; }
 *     struct bslab_shrinker *s = bslab_shrinker_register("tiles", drop_tiles, cache);
 *
 * Memory is short when a call would otherwise return NULL, and when the process comes near a soft limit or its cgroup's
 * (docs/options.md), in each case after bslab has emptied its own caches. Each shrinker is then asked for as much as the
 * call wants (near a soft limit: as is above it), in the order of their registration, until that much was given back. NOWAIT and
 * NORETRY do not ask, nor does a heap at its own limit.
 *
 * Threads: all calls may be made from any thread.
 */
#ifndef BSLAB_SHRINKER_H
#define BSLAB_SHRINKER_H

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bslab_shrinker;

/*
 * shrink() frees what it can up to nr_bytes or some more, and returns how many bytes that was; 0: there is nothing. It is
 * called within malloc and its kin, by whatever thread called them and with whatever locks of the program that thread
 * holds: it must not wait for a lock that may be held around an allocation, but may try (pthread_mutex_trylock). No lock
 * of bslab's is held. It may be called by several threads at once. It may allocate, but such calls do not come back to
 * shrinkers. errno is kept. NULL with ENOMEM, or EINVAL: no name or function.
 */
BSLAB_API struct bslab_shrinker *bslab_shrinker_register(const char *name, size_t (*shrink)(size_t nr_bytes, void *arg), void *arg);
/* Returns when the function runs no more; from within it is reported. NULL is fine. */
BSLAB_API void bslab_shrinker_unregister(struct bslab_shrinker *shrinker);

struct bslab_shrinker_info {
	const char *name;
	size_t nr_calls, nr_bytes; /* of its function; that it gave back */
};
BSLAB_API void bslab_shrinker_info(struct bslab_shrinker *shrinker, struct bslab_shrinker_info *info);

#ifdef __cplusplus
}
#endif

#endif
