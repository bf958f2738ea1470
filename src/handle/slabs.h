/* SPDX-License-Identifier: MIT */
/* Slabs of objects that have handles, and their lists: what objects.c and move.c stand on. objects.h has the invariants. */
#ifndef BSLAB_HANDLE_SLABS_H
#define BSLAB_HANDLE_SLABS_H

#include "handle/objects.h"

/* --- geometry ------------------------------------------------------------------------------------------------------- */

unsigned handle_object_number(const struct handle_slab *s, uintptr_t addr);
uintptr_t handle_object_address(const struct handle_slab *s, unsigned i);

/* --- slabs come and go; the cache's lock is not held ------------------------------------------------------------------ */

/*
 * NULL where there is no memory. The slab is none to anybody, a compaction least of all, before handle_slab_add(): so its
 * address is not in it yet.
 */
struct handle_slab *handle_slab_create(struct handle_cache *c, unsigned nr_pages, bool may_grow, uintptr_t *base);
/* It was removed. */
void handle_slab_destroy(struct handle_slab *s, uintptr_t base, unsigned nr_pages);

/* --- lists, and objects of a slab; the lock is held ------------------------------------------------------------------ */

void handle_slab_add(struct handle_slab *s, uintptr_t base);
/* A slab without objects: its address and pages are the caller's to free. */
void handle_slab_remove(struct handle_slab *s);
/* Call after objects were taken or given, or the slab's being isolated changed. */
void handle_slab_relist(struct handle_slab *s);
/* Of those with free objects; NULL: there is none. */
struct handle_slab *handle_slab_fullest(struct handle_cache *c);
/* Takes up to n objects for the entries of these indices; the slab has free ones. How many. */
unsigned handle_slab_take(struct handle_slab *s, const uint32_t *index, uintptr_t *addr, unsigned n);
/* Object i comes back; the lock is dropped meanwhile where the slab goes. */
void handle_slab_give(struct handle_slab *s, unsigned i);

#endif
