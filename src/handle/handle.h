/* SPDX-License-Identifier: MIT */
/*
 * Handles: objects without an address until they are mapped (Macintosh memory manager, 1984: handles and HLock(); Linux:
 * kmap_local_page(), zs_map_object()).
 *
 * 1. A thread keeps freed handles together with their objects, linked by their entries, for each class. So an alloc
 *    and a free are one compare-and-swap of the entry each, or a store (4), and no lock is taken. Once in some dozens of calls
 *    it puts half of what it may keep by as a chain, or takes one that was put by (Linux: sheaves and barns; Bonwick 2001:
 *    magazines and the depot). Where there is none, or no room, objects come from the slabs, or go back to them.
 * 2. What is kept hinders no compaction: it takes the object and leaves the handle, and the thread gives it another
 *    one when it hands it out.
 * 3. What rests goes home: every 40 ms or more, a slow path takes the objects of chains whose head stands where it stood at the
 *    last look, in whatever thread, and empties depots that nobody visited.
 * 4. Map and unmap are one compare-and-swap each, take no lock, wait for nothing and call nothing. While the process has one
 *    thread they are one addition each, and an alloc and a free a store (handle/entry.h).
 */
#ifndef BSLAB_HANDLE_FLOOR_H
#define BSLAB_HANDLE_FLOOR_H

#include "handle/entry.h"
#include "handle/objects.h"
#include "os/thread.h"

struct handle_kept {
	/* Index of the one kept last, linked by info; 0: none. Stored after info: a fork may come in between, and its child counts. */
	uint32_t top;
	uint16_t nr, max; /* max 0: none is kept; not yet decided, or of runs and large blocks */
};

/* What one thread keeps. By its thread only, but nr, which reports read. Never freed: another thread takes it over. */
struct handle_thread {
	struct handle_kept kept[LARGE_CLASS + 1];
	struct handle_thread *next;	 /* all of them */
	struct handle_thread *next_free; /* those without a thread; under the lock */
	bool is_used;			 /* under the lock */
	/* By whoever looks what rests: */
	uint32_t seen[NR_CLASSES]; /* top at the last look */
	bool is_stripped[NR_CLASSES]; /* since then */
};

struct handle_threads {
	struct lock lock; /* RANK_HANDLES: who is used */
	struct handle_thread *free;
	struct handle_thread *all; /* only grows: release and acquire */
	_Atomic uint64_t looked_at; /* ms: the last look at what rests */
	_Atomic bool is_looking;
};
extern struct handle_threads handle_threads reader_root(handle_threads);

/* Slow paths. 0 or false: no memory; the floors above may give some back and try again. */
uint64_t handle_alloc_slow(size_t size);
/* align: log2, up to that of a page. */
uint64_t handle_alloc_aligned(size_t size, unsigned align);
/* An entry that the caller took from its thread, whose object was taken away: another object. */
uint64_t handle_refill(uint32_t index, size_t size);
void handle_free_slow(uint64_t handle);

enum resize { RESIZE_DONE, RESIZE_NO_MEMORY, RESIZE_FAULT };
enum resize handle_resize(uint64_t handle, size_t size);

/* The misuse of a handle, which is none for this call. */
void handle_fault(uint64_t handle, const char *what) __attribute__((cold));

static force_inline struct handle_entry *handle_entry(uint64_t handle)
{
	struct handle_entry *e = entry_at((uint32_t)handle);

	return likely(e != NULL) && likely(handle_matches(handle, entry_info(e))) ? e : NULL;
}

/* LIVE or MOVING: the program's. */
static force_inline bool place_is_live(uint64_t place)
{
	return place & ENTRY_LIVE;
}

/*
 * 0 where it is not this simple; where *stripped is an index then, its entry is the caller's, but its object was taken away. size is at
 * most SMALL_MAX.
 */
static force_inline uint64_t handle_alloc_kept(size_t size, uint32_t *stripped)
{
	struct handle_thread *t = thread_state.handles;
	struct handle_entry *e;
	struct handle_kept *k;
	uint64_t place, info;
	uint32_t index;

	*stripped = 0;
	if (unlikely(!t))
		return 0;
	k = &t->kept[size_class(size < HANDLE_MIN_SIZE ? HANDLE_MIN_SIZE : size)];
	index = k->top;
	if (unlikely(!index))
		return 0;
	e = entry_known(index);
	info = entry_info(e);
	WRITE_ONCE(k->top, (uint32_t)info);
	WRITE_ONCE(k->nr, (uint16_t)(k->nr - 1));
	place = atomic_load_explicit(&e->place, memory_order_relaxed);
	if (unlikely(place_state(place) != ENTRY_CACHED) ||
	    unlikely(!place_change(e, place, place ^ (ENTRY_CACHED ^ ENTRY_LIVE), memory_order_acquire))) {
		*stripped = index;
		return 0;
	}
	atomic_store_explicit(&e->info, info_renumbered(info, (uint32_t)size), memory_order_relaxed);
	return handle_of(index, info);
}

static force_inline uint64_t handle_alloc_fast(size_t size)
{
	uint32_t stripped;
	uint64_t h = handle_alloc_kept(size, &stripped);

	return likely(!stripped) ? h : handle_refill(stripped, size);
}

/* False, and nothing is done, where it is not this simple; so too where another thread comes in between, or generations are through. */
static force_inline bool handle_free(uint64_t handle)
{
	struct handle_thread *t = thread_state.handles;
	struct handle_entry *e = entry_at((uint32_t)handle);
	struct handle_kept *k;
	uint64_t info, next, place;

	if (unlikely(!e) || unlikely(!t))
		return false;
	info = entry_info(e);
	k = &t->kept[info_class(info)];
	if (unlikely(!handle_matches(handle, info)) || unlikely(k->nr >= k->max) ||
	    unlikely(__builtin_add_overflow(info, (uint64_t)1 << GENERATION_SHIFT, &next)))
		return false;
	place = atomic_load_explicit(&e->place, memory_order_relaxed);
	if (unlikely(!place_is_live(place) || place & PLACE_MAPS) ||
	    unlikely(!place_change(e, place, (place & ~(uint64_t)PLACE_STATE) | ENTRY_CACHED, memory_order_release)))
		return false;
	atomic_store_explicit(&e->info, info_renumbered(next, k->top), memory_order_relaxed);
	atomic_signal_fence(memory_order_release);
	WRITE_ONCE(k->top, (uint32_t)handle);
	WRITE_ONCE(k->nr, (uint16_t)(k->nr + 1));
	return true;
}

static force_inline void *handle_map(uint64_t handle)
{
	struct handle_entry *e = handle_entry(handle);
	uint64_t place = likely(e != NULL) ? atomic_load_explicit(&e->place, memory_order_relaxed) : 0;

	do {
		if (unlikely(!place_is_live(place) || (place & PLACE_MAPS) == PLACE_MAPS)) {
			handle_fault(handle, "map");
			return NULL;
		}
	} while (!place_map(e, &place));
	return (void *)place_address(place);
}

static force_inline void handle_unmap(uint64_t handle)
{
	struct handle_entry *e = handle_entry(handle);
	uint64_t place = likely(e != NULL) ? atomic_load_explicit(&e->place, memory_order_relaxed) : 0;

	do {
		if (unlikely(!(place & PLACE_MAPS))) {
			handle_fault(handle, "unmap");
			return;
		}
	} while (!place_unmap(e, &place));
}

/* As asked for; of blocks of more than a pageblock rounded up to pages. 0 after a report. */
size_t handle_size(uint64_t handle);

/* What this thread keeps goes back to the slabs; and what it keeps is another's. */
void handles_drain(void);
/* The objects that any thread keeps, and depots; in reclaim. */
void handles_strip(void);
/* Those that rest. Call on slow paths, without a lock. */
void handles_reap(void);
void handles_thread_exit(void);

/* Objects of a class that threads keep; a hint. */
size_t handles_nr_cached(unsigned class);

struct handle_info {
	size_t nr_entries, nr_free, mapped; /* of the table: ever used, free; bytes */
	size_t nr_cached[NR_CLASSES];
};
/* What the table, or a copy of it, has to say. */
static inline void handle_table_info(const struct handle_table *t, struct handle_info *info)
{
	info->nr_entries = READ_ONCE(t->nr_entries);
	info->nr_entries -= info->nr_entries != 0;
	info->nr_free = READ_ONCE(t->nr_free);
	info->mapped = READ_ONCE(t->nr_backed) * sizeof(struct handle_entry);
}

void handles_snapshot(struct handle_info *info);

/* Inside slab_fork_prepare() and slab_fork_done(). */
void handles_fork_prepare(void);
void handles_fork_done(bool child);

#endif
