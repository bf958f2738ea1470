/* SPDX-License-Identifier: MIT */
/*
 * Where freed runs and freed mappings wait, in the hardened mode. First in, first
 * out, bounded by their number and by their bytes.
 */
#ifndef BSLAB_MALLOC_YARD_H
#define BSLAB_MALLOC_YARD_H

#include "os/lock.h"

struct grave {
	uintptr_t addr;
	size_t size;
	uintptr_t block;    /* of a mapping: it has a descriptor, for a second free */
	bool is_bare;	    /* a run that no page that traps stands before: for those who want it aligned */
};

struct yard {
	struct lock lock; /* RANK_RUNS, nothing is taken inside: first, n, bytes and the graves */
	unsigned max_graves, first, n;
	size_t max_bytes, bytes;
	void (*release)(const struct grave *); /* what is to be done with the oldest; called without the lock */
	struct grave *grave; /* [max_graves] */
};

void yard_setup(struct yard *y, struct grave *graves, unsigned max_graves, size_t max_bytes, void (*release)(const struct grave *));
void yard_put(struct yard *y, struct grave g);
/* Of its places or its bytes. */
bool yard_is_half_full(struct yard *y);
/* One of this size and alignment out of the older half; a bare one for an alignment of more than a page only. */
bool yard_take(struct yard *y, size_t size, size_t align, struct grave *out);
/* Shows all that wait to look(). For one who is alone: without the lock. */
void yard_look(struct yard *y, void (*look)(const struct grave *));
/* Releases all. */
void yard_drain(struct yard *y);

void yard_fork_prepare(struct yard *y);
void yard_fork_done(struct yard *y, bool child);

#endif
