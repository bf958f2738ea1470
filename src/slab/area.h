/* SPDX-License-Identifier: MIT */
/*
 * The areas of CPUs and threads, to the files of slab/ that work on them: slab/percpu.h says what they are.
 */
#ifndef BSLAB_SLAB_AREA_H
#define BSLAB_SLAB_AREA_H

#include "slab/percpu.h"

static inline struct percpu_area *area_load(unsigned slot)
{
	return __atomic_load_n(&bslab_hot.area[slot], __ATOMIC_ACQUIRE);
}

static inline void area_store(unsigned slot, struct percpu_area *a)
{
	__atomic_store_n(&bslab_hot.area[slot], a, __ATOMIC_RELEASE);
}

/* Of this CPU, or thread; NULL when it has none. */
static inline struct percpu_area *own_area(void)
{
	struct percpu_area *a = area_load(percpu_slot());

	return a == &none_area ? NULL : a;
}

/* Objects of typed caches do not wait when they are freed: slab/hardened.h. */
static inline bool has_freed_tops(unsigned cache)
{
	return bslab_options.hardened && cache < NR_CLASSES;
}

/* Under percpu.lock. */
static inline void area_keep(struct percpu_area **list, struct percpu_area *a)
{
	a->drainer = NULL;
	a->next_orphan = *list;
	WRITE_ONCE(*list, a);
}

/* Gives this CPU, or thread, an area. False when it has to do without. */
bool area_create(void);
/* A sheaf of the class out of an orphaned area: what fork left behind. NULL where there is none. */
struct sheaf *orphan_sheaf(unsigned class);

/* --- slab/reap.c: 5 in slab/percpu.h ---------------------------------------------------------- */

/* Counts a visit of a slow path; at some of them a look, if it is time. */
void reap_if_due(void);

/* --- slab/drain.c: 4 in slab/percpu.h ----------------------------------------------------------- */

/* Empties the areas of CPUs that ran next to no slow path for a while before `now`. */
void drain_idle(uint64_t now);
/*
 * As percpu_drain(), but without a system call where there is no other area, or the kernel refused one before: a filter may end the
 * process for it. Then what another thread of this CPU is at meanwhile is left.
 */
void drain_fallen(void);

#endif
