/* SPDX-License-Identifier: MIT */
/*
 * A heap's blocks of one size class: its slabs, and the stack in front of them (Linux: a sheaf; Bonwick 2001: a magazine).
 *
 * 1. An alloc pops a block and marks it LIVE, a free finds that it is LIVE, marks it WAITING and pushes it. Each entry has the
 *    address of the block's state beside that of the block, so an alloc looks for nothing.
 *
 * 2. The entries stand between two odd words, as those of a sheaf do (arch/percpu.h): what lies below the top is odd where the
 *    stack is empty, and what lies at the top where it is full. A class that has no record yet has the stack of no entries,
 *    which all share, and which is never written.
 *
 * 3. An empty stack is refilled from the class's first slab, in the order of addresses: the first times wholly, then by half of
 *    its room. Of a full one the older half goes back. Where more of the class is free in slabs than out, all of it does, and the
 *    room is small until the next refill: what a heap keeps of a class that it frees for good is a few blocks.
 *
 * 4. Room: 14 entries, 64 for a class that came here some times; at most KEPT_BYTES of blocks, but two. A turn is a refill behind a
 *    spill, or a spill behind a refill: what was given back was wanted again, and the other way round. After some turns the
 *    room is four times as large, up to MOST_ROOM entries and MOST_KEPT_BYTES. What only grows, or is freed for good, makes no turns.
 *
 * 5. A block that waits is neither the program's nor in its slab: it keeps the slab, and it does not count as live. At its limit,
 *    or where memory is short, a heap empties its stacks, so none keeps it from serving another class.
 *
 * Invariants: the states of what is in the stack are WAITING, and of nothing else; a slab is on the partial list exactly when
 * nr_free > 0; nr_free of the class = sum over its slabs of nr_free, and nr_objects likewise.
 */
#ifndef BSLAB_HEAP_CLASS_H
#define BSLAB_HEAP_CLASS_H

#include "heap/chunk.h"
#include "slab/sizes.h"

struct stack_entry {
	void *block; /* odd: the end */
	uint8_t *state;
};

#define FIRST_ROOM 14
#define SECOND_ROOM 64
#define MOST_ROOM 1024
#define KEPT_BYTES (16 * KIB)
#define MOST_KEPT_BYTES (64 * KIB)

/* Made at the first use of the class, from the heap's metadata, and gone with the heap. All under the heap's lock. */
struct heap_class {
	struct heap_class *next; /* of those that the heap uses */
	struct list partial;
	struct stack_entry *stack; /* [0] is the lower end; [1 + limit] the upper one */
	uint32_t nr_objects, nr_free; /* in its slabs */
	uint32_t size;		   /* of a block */
	uint16_t room, limit;	   /* entries: that there is space for; as of now */
	uint8_t class;
	uint8_t step;		   /* how often the stack has grown, or would have */
	uint8_t nr_visits;	   /* refills and spills, then turns, since that */
	bool was_spill;		   /* the last one */
	uint8_t next_order;	   /* of the next slab's pages */
	struct stack_entry first[FIRST_ROOM + 2];
};

extern const struct stack_entry no_stack[2] __attribute__((visibility("hidden")));
#define NO_TOP ((struct stack_entry *)&no_stack[1])

/* These expect the heap's lock. */

/* Brings blocks into the stack, which is empty. False where there is no memory, or the heap's limit is reached. */
bool class_refill(struct bslab_heap *h, unsigned class) __attribute__((visibility("hidden")));
/* Makes room in the stack, which is full. */
void class_spill(struct bslab_heap *h, unsigned class) __attribute__((visibility("hidden")));
/* Empties the stacks and frees the slabs that are wholly free. */
void classes_shrink(struct bslab_heap *h);
/* The heap has none from now on. */
void classes_forget(struct bslab_heap *h);
/* Blocks that wait. */
size_t class_nr_waiting(const struct bslab_heap *h, const struct heap_class *k);

#endif
