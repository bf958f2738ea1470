/* SPDX-License-Identifier: MIT */
/*
 * The table of handles: an entry of two words for each, which never moves (Linux: a zsmalloc handle is the address of a word;
 * the two-level table is that of an xarray without its search).
 *
 * 1. place: where the object is, how often it is mapped, and the entry's state, in one word, so that each step of the
 *    protocol is one compare-and-swap of it (with one thread, less: below):
 *
 *        | address / 16 (44) | maps (16) | state (4) |
 *
 *      state    object            from               to
 *      -------  ----------------  -----------------  -----------------------------------------------------------
 *      FREE     none              CACHED             CACHED or LIVE by whoever owns the entry, with an object
 *      CACHED   free, put by      FREE, LIVE         LIVE by its thread; FREE by its thread, or by a compaction
 *      LIVE     the program's     CACHED, MOVING     maps up and down; CACHED by free; MOVING, where maps is 0
 *      MOVING   being copied      LIVE               LIVE at the new place by the compaction; LIVE with a map, or
 *                                                    CACHED, at the old one by whoever comes first: the move is void
 *
 *    So nobody ever waits for a move: a map, or a free, cancels it, and the compaction finds that its last step fails. It
 *    copies what may be written meanwhile, but then it throws the copy away.
 *
 * 2. info: | generation (24) | class (8) | alignment (4) | size (28) |, or, of one that is put by, instead of the last two the next
 *    one (32). The alignment is log2, 0 where none was asked for; of blocks of the large floor the size is in pages. It is written
 *    by whoever owns the entry. The generation is in the handle, too, and goes on at each free, so that a handle which was freed is known:
 *
 *        | HANDLE_TAG (8) | generation (24) | index (32) |
 *
 * 3. Chunks of entries double: 256 in the first. They are never given back. A chunk is address space; limits are asked for, and
 *    charged, a page of entries when the first of it is to be used.
 */
#ifndef BSLAB_ENTRY_H
#define BSLAB_ENTRY_H

#include "arch/arch.h"
#include "os/lock.h"

enum entry_state { ENTRY_FREE, ENTRY_CACHED, ENTRY_LIVE, ENTRY_MOVING };

struct handle_entry {
	_Atomic uint64_t place, info;
};

#define PLACE_STATE 15u
#define PLACE_MAP 16u /* one map */
#define PLACE_MAPS 0xffff0u
#define PLACE_SHIFT 16 /* of an address, whose low four bits are 0 */

#define GENERATION_SHIFT 40
#define MAX_GENERATION ((1u << (64 - GENERATION_SHIFT)) - 1)
#define INFO_CLASS_SHIFT 32

#define SIZE_BITS 28
#define MAX_HANDLE_SIZE ((((size_t)1 << SIZE_BITS) - 1) << PAGE_SHIFT)
#define MAX_HANDLE_ALIGN BSLAB_PAGE_SIZE

#define HANDLE_TAG 0xb5u

#define FIRST_ENTRIES 256u
#define ENTRIES_PER_PAGE (BSLAB_PAGE_SIZE / sizeof(struct handle_entry))
#define NR_ENTRY_CHUNKS 25 /* 2^32 entries */

/* chunk: biased, the address that the entry of index -FIRST_ENTRIES would have; 0: not there. Release and acquire. */
struct handle_table {
	_Atomic uintptr_t chunk[NR_ENTRY_CHUNKS] __cacheline_aligned; /* stored under lock */
	struct lock lock __cacheline_aligned; /* RANK_HANDLES: the rest, which is also read without it as a hint */
	uint32_t free;	     /* linked by info; 0: none */
	uint32_t nr_free;
	uint32_t nr_entries; /* ever handed out, and entry 0, which is none's */
	uint32_t nr_backed;  /* that there is room for: whole pages */
};
extern struct handle_table handle_table reader_root(handle_table);

static force_inline struct handle_entry *entry_at(uint32_t index)
{
	size_t i = (size_t)index + FIRST_ENTRIES;
	size_t chunk = (size_t)ilog2(i) - ilog2(FIRST_ENTRIES);
	uintptr_t base = atomic_load_explicit(&handle_table.chunk[chunk], memory_order_acquire);
	struct handle_entry *e = (struct handle_entry *)base + i;

	if (!e)
		__builtin_unreachable(); /* so that callers test once */
	return likely(base) ? e : NULL;
}

/* The same for one that is known to be there. */
static force_inline struct handle_entry *entry_known(uint32_t index)
{
	struct handle_entry *e = entry_at(index);

	if (!e)
		__builtin_unreachable();
	return e;
}

static force_inline uint64_t place_of(uintptr_t addr, enum entry_state state)
{
	return (uint64_t)addr << PLACE_SHIFT | state;
}

static force_inline uintptr_t place_address(uint64_t place)
{
	return (place >> PLACE_SHIFT) & ~(uintptr_t)15;
}

static force_inline enum entry_state place_state(uint64_t place)
{
	return (enum entry_state)(place & PLACE_STATE);
}

static force_inline unsigned place_maps(uint64_t place)
{
	return (unsigned)(place & PLACE_MAPS) / PLACE_MAP;
}

static force_inline uint64_t entry_info(const struct handle_entry *e)
{
	return atomic_load_explicit(&e->info, memory_order_relaxed);
}

static force_inline unsigned info_class(uint64_t info)
{
	return (uint8_t)(info >> INFO_CLASS_SHIFT);
}

static force_inline uint32_t info_number(uint64_t info)
{
	return (uint32_t)info & ((1u << SIZE_BITS) - 1);
}

static force_inline unsigned info_align(uint64_t info)
{
	return (uint32_t)info >> SIZE_BITS;
}

/* The same generation, with another class and size or next entry. */
static force_inline uint64_t info_with(uint64_t info, unsigned class, uint32_t number)
{
	return info >> GENERATION_SHIFT << GENERATION_SHIFT | (uint64_t)class << INFO_CLASS_SHIFT | number;
}

/* The same generation and class. */
static force_inline uint64_t info_renumbered(uint64_t info, uint32_t number)
{
	return info >> INFO_CLASS_SHIFT << INFO_CLASS_SHIFT | number;
}

/* Generation 0 is that of entries which nobody ever had. */
static force_inline uint64_t info_next_generation(uint64_t info)
{
	uint64_t g = info >> GENERATION_SHIFT;

	return (g == MAX_GENERATION ? 1 : g + 1) << GENERATION_SHIFT;
}

static force_inline uint64_t handle_of(uint32_t index, uint64_t info)
{
	return (uint64_t)(HANDLE_TAG << 24 | (uint32_t)(info >> GENERATION_SHIFT)) << 32 | index;
}

/*
 * Where the process has one thread nobody but a signal handler comes between a look and a change, and all that a handler may do is
 * to map and to unmap. So there a map, or its end, is one instruction that adds, and needs no atomic operation; an alloc and a free
 * are stores, for nobody maps what is not yet, or no more, the program's. But a MOVING entry
 * is then met by a handler that interrupts a compaction: it takes the way of many threads.
 */

/* From CACHED to LIVE and back, as one step: false where another thread came in between. A handler may do neither. */
static force_inline bool place_change(struct handle_entry *e, uint64_t place, uint64_t to, const int order)
{
	if (!lock_is_alone())
		return likely(atomic_compare_exchange_strong_explicit(&e->place, &place, to, order, memory_order_relaxed));
	atomic_store_explicit(&e->place, to, memory_order_relaxed);
	return true;
}

/* A map more. */
static force_inline bool place_map(struct handle_entry *e, uint64_t *place)
{
	uint64_t to = ((*place & ~(uint64_t)PLACE_STATE) | ENTRY_LIVE) + PLACE_MAP;

	if (!lock_is_alone() || unlikely(place_state(*place) != ENTRY_LIVE))
		return likely(atomic_compare_exchange_weak_explicit(&e->place, place, to, memory_order_acquire, memory_order_relaxed));
	add_local(&e->place, PLACE_MAP);
	return true;
}

/* A map less. */
static force_inline bool place_unmap(struct handle_entry *e, uint64_t *place)
{
	if (!lock_is_alone())
		return likely(atomic_compare_exchange_weak_explicit(&e->place, place, *place - PLACE_MAP, memory_order_release,
								    memory_order_relaxed));
	add_local(&e->place, -(int64_t)PLACE_MAP);
	return true;
}

/* Is it the entry's present handle? */
static force_inline bool handle_matches(uint64_t handle, uint64_t info)
{
	return (uint32_t)((handle ^ info >> (GENERATION_SHIFT - 32)) >> 32) == HANDLE_TAG << 24;
}

/* Up to n entries, FREE, with their generations; how many there were. */
unsigned entries_take(uint32_t *index, unsigned n);
void entries_give(const uint32_t *index, unsigned n);

void entries_fork_prepare(void);
void entries_fork_done(bool child);

#endif
