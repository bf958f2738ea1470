/* SPDX-License-Identifier: MIT */
/*
 * What the profile knows of the blocks that were sampled and are live (Linux:
 * mm/page_owner.c).
 *
 * 1. A sampled block's page descriptor, or its struct vm_area, leads to its
 *    sample, so that a free finds it without a search, and the frees of all
 *    other blocks pay nothing: a small block that is sampled is not a slab's
 *    object, but has pages of its own.
 * 2. Samples are in a table, by chunks, which only grows: type-stable, and a dump
 *    can walk it piece by piece while samples come and go.
 * 3. One lock, of rank profile, for samples and stacks: it is taken once for each
 *    sample that is made or ends, once for each 512 KiB or so. Held for a hash
 *    look-up, and by a dump for DUMP_BATCH samples at a time. Never while unwinding.
 * 4. A sample is made before its block, so that marking the block cannot fail. Until then it is pending, and no
 *    dump shows it.
 *
 * Whoever owns the block owns its sample: fields but `stack` are written by that thread, under the lock, for dumps to read.
 */
#ifndef BSLAB_SAMPLES_H
#define BSLAB_SAMPLES_H

#include "profile/stacks.h"

struct sample {
	struct stack *stack; /* NULL: free */
	union {
		uintptr_t addr;	     /* 0: pending */
		struct sample *next; /* free */
	};
	size_t size;	 /* as asked for */
	size_t counted;	 /* bytes that sampler.h counted for it */
	size_t interval; /* of the sampler then */
	uint64_t at_ms;	 /* os_coarse_clock_ms() */
	uint32_t nr_pages; /* of its own, if it is small, or a run; 0: a large block */
	uint8_t class;	   /* that it would have as a slab's object; 0: none */
};

/* Makes the tables; false where there is no memory. */
bool samples_init(void);
/* A pending sample; NULL, and counted as lost, where there is no room for it or its stack. */
struct sample *sample_create(const uintptr_t *pc, unsigned nr_frames, size_t size, size_t counted, size_t interval);
/* The block is there: its address, pages, class. */
void sample_place(struct sample *s, uintptr_t addr, unsigned nr_pages, unsigned class);
/* The block has another size, and perhaps address. */
void sample_resize(struct sample *s, uintptr_t addr, unsigned nr_pages, size_t size, size_t counted);
void sample_destroy(struct sample *s);
/* What should have been sampled has no sample. */
void sample_lost(void);

/* How many are live, and were lost since the start. */
void samples_count(size_t *nr_live, size_t *nr_lost);

/* --- for dumps --- */

#define DUMP_BATCH 1024

/* Stacks stay from here to the end; how many places the table has. */
size_t samples_begin(void);
/* Copies the live samples of the places [from, from + DUMP_BATCH); how many. They were live together. */
unsigned samples_copy(size_t from, struct sample out[DUMP_BATCH]);
void samples_end(void);

void samples_fork_prepare(void);
void samples_fork_done(bool child);

#endif
