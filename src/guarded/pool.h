/* SPDX-License-Identifier: MIT */
/*
 * Blocks with a page of their own between pages that trap (Linux: mm/kfence;
 * GWP-ASan).
 *
 * 1. The pool is one mapping of NR_SLOTS slots, made when guarding starts:
 *
 *        | guard | slot 0 | guard | slot 1 | guard | ... | guard |
 *
 *    A block of at most a page stands at the start or at the end of its slot's
 *    page, chosen by chance, so that what is read or written before it, or
 *    behind it, traps. The rest of the page is filled with a pattern and
 *    looked at when the block is freed.
 * 2. A slot's states:
 *
 *      state   page      desc of its page leads to it; next
 *      ------  --------  ------------------------------------------------
 *      UNUSED  traps     LIVE when a block is placed in it
 *      LIVE    is open   FREED by a free; atomic, so that one of two wins
 *      FREED   traps     LIVE again, after all slots that were freed before
 *
 *    The slot freed longest ago serves next. When all are live nothing is guarded.
 * 3. A slot keeps who allocated its block, and who freed it, until it serves again.
 * 4. Bounds: NR_SLOTS pages of memory and as many slots; fixed.
 */
#ifndef BSLAB_GUARDED_POOL_H
#define BSLAB_GUARDED_POOL_H

#include "map/map.h"
#include "profile/unwind.h"

#define NR_SLOTS 256
#define MAX_GUARDED_FRAMES 32

enum slot_state { SLOT_UNUSED, SLOT_LIVE, SLOT_FREED };

struct trace_back {
	unsigned nr_frames; /* 0: none */
	unsigned thread;    /* as gettid() has it */
	uintptr_t pc[MAX_GUARDED_FRAMES];
};

struct guarded_slot {
	_Atomic int state; /* enum slot_state */
	uint8_t guard;	   /* enum guard_kind: how its page traps; of who takes, or frees, the block */
	size_t size;	   /* as asked for */
	uintptr_t addr;
	struct trace_back alloc, free;
	struct guarded_slot *next; /* waiting; under the pool's lock */
};

/* False where there is no memory, or pages cannot be made to trap one by one. Once. */
bool guarded_pool_start(void);

/* NULL when the block cannot be guarded. The block reads as zero. align is a power of two. */
void *guarded_pool_alloc(size_t size, size_t align, const struct caller *by);
/* True, for one caller, when the block at ptr was live and now traps. *damage: the byte beside it that was written, or 0. */
bool guarded_pool_free(struct guarded_slot *s, uintptr_t ptr, const struct caller *by, uintptr_t *damage);

/* The slot of a page; NULL for any other page. */
static inline struct guarded_slot *guarded_of(page_desc_t d)
{
	return (uint16_t)d == PAGE_GUARDED << 8 ? desc_pointer(d) : NULL;
}

static inline bool slot_is_live(struct guarded_slot *s, uintptr_t addr)
{
	return atomic_load_explicit(&s->state, memory_order_acquire) == SLOT_LIVE && s->addr == addr;
}

/* The slot whose block an address in the pool is in, or nearest to; NULL for any other address, or when none was used. */
struct guarded_slot *guarded_pool_find(uintptr_t addr);

/* The stack from the caller on; sp as for unwind(). */
void trace_back_take(struct trace_back *t, const struct caller *by, uintptr_t sp);

void guarded_pool_fork_prepare(void);
void guarded_pool_fork_done(bool child);

#endif
