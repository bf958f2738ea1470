/* SPDX-License-Identifier: MIT */
/*
 * Where freed objects wait in the hardened mode before they serve again.
 *
 * 1. A CPU pops objects from one sheaf of a class and pushes those that are
 *    freed on another (percpu.h). When that is full it goes to the end of one
 *    queue of all classes, and what is at its head beyond
 *    bslab_options.quarantine_size bytes goes, in random order, to the barn of
 *    its class. So a freed object waits for the quarantine's bytes of others, and
 *    longer while its sheaf is not full.
 * 2. Bound: the option's bytes, and one sheaf for each class and CPU. All of it
 *    goes home in reclaim, when memory runs out, and in malloc_trim().
 */
#ifndef BSLAB_QUARANTINE_H
#define BSLAB_QUARANTINE_H

#include "slab/sheaf.h"

/* Takes a sheaf of freed objects that nobody works on. */
void quarantine_put(struct kmem_cache *c, struct sheaf *s);
/* All objects go home. */
void quarantine_drain(void);
/* Adds what waits, by class. */
void quarantine_count(size_t nr[NR_CLASSES]);

void quarantine_fork_prepare(void);
void quarantine_fork_done(bool child);

#endif
