/* SPDX-License-Identifier: MIT */
/*
 * Stacks, each kept once (Linux: lib/stackdepot.c).
 *
 * A hash table of those that live samples have. One that no sample has any more
 * goes to a free list of its size, unless a dump is reading. So memory is bounded, MAX_STACK_BYTES
 * altogether, and a process that runs for long makes room by itself. Everything
 * is under the lock of profile/samples.c, which the callers hold.
 *
 * Invariant: a stack is in the table exactly while it has references or waits on the list of the dead.
 */
#ifndef BSLAB_STACKS_H
#define BSLAB_STACKS_H

#include "profile/unwind.h"

#define MAX_STACK_BYTES (16 * MIB)

struct stack {
	struct stack *next; /* of the same bucket, or free */
	struct stack *next_dead;
	uint64_t hash;
	uint32_t nr_refs;
	bool is_dead; /* on the list; it may have come to life again since */
	uint8_t nr_frames;
	uintptr_t pc[]; /* innermost first */
};

/* Makes the table; false where there is no memory. */
bool stacks_init(void);
/* The stack with these frames, with one more reference. NULL when there is no room. */
struct stack *stack_get(const uintptr_t *pc, unsigned nr_frames);
void stack_put(struct stack *s);
/* Between the two no stack goes away. Pairs nest. */
void stacks_hold(void);
void stacks_release(void);
/* In the child of fork: threads that held them are gone. */
void stacks_fork_child(void);
/* Stacks in the table; bytes taken for stacks ever. */
void stacks_count(size_t *nr_stacks, size_t *nr_bytes);

#endif
