/* SPDX-License-Identifier: MIT */
/*
 * A four-byte lock: spin while the holder is likely to be running, then sleep
 * (Drepper, "Futexes Are Tricky", mutex 2). Zero is unlocked, so locks in .bss
 * need no set-up.
 *
 * Lock order, outermost first; a thread takes locks only in rising rank.
 * Debug builds check it: a thread that takes a lock of a rank at or below one
 * that it holds dies with a line that names both.
 *
 *   1 heaps      lists of libraries' heaps, of pools, of shrinkers
 *   2 heap       one library's heap; one pool in a file
 *   3 thread     list of buddies, and of orphaned ones; table of areas and slots
 *   4 caches     making and end of kmem_caches
 *   5 cache      one kmem_cache's partial list; one handle cache's slabs
 *   6 barn       one kmem_cache's full and empty sheaves; the quarantine
 *   7 large      list of large blocks, and those kept after their free
 *   8 runs       the runs that one buddy keeps; one yard; pages kept, or not opened, between guards
 *   9 buddy      one buddy's free areas and its pageblocks; the contiguous reserve
 *  10 adopter    the buddy that adopts another's blocks (under the thread lock)
 *  11 zone       free pageblocks of all regions
 *  12 map        sections coming into being
 *  13 profile    samples and their stacks; whether the profile is on; guarded slots that wait
 *  14 handles    the table of handles; who keeps some
 *  15 meta       boot allocator and pools of metadata
 *
 * docs/locking.md names each lock, and says what may be held when it is taken.
 */
#ifndef BSLAB_LOCK_H
#define BSLAB_LOCK_H

#include "os/thread.h"

enum lock_rank {
	RANK_HEAPS = 1,
	RANK_HEAP,
	RANK_THREAD,
	RANK_CACHES,
	RANK_CACHE,
	RANK_BARN,
	RANK_LARGE,
	RANK_RUNS,
	RANK_BUDDY,
	RANK_BUDDY_ADOPTER,
	RANK_ZONE,
	RANK_MAP,
	RANK_PROFILE,
	RANK_HANDLES,
	RANK_META,
};

struct lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and waited for */
};

void lock_wait(struct lock *l) __attribute__((visibility("hidden")));
void lock_wake(struct lock *l) __attribute__((visibility("hidden")));

#ifdef BSLAB_DEBUG
void lock_rank_push(enum lock_rank rank);
void lock_rank_pop(enum lock_rank rank);
#else
static inline void lock_rank_push(enum lock_rank rank)
{
	(void)rank;
}
static inline void lock_rank_pop(enum lock_rank rank)
{
	(void)rank;
}
#endif

/* Whether the process has one thread, as far as libc knows. */
extern char __libc_single_threaded __attribute__((weak)); /* glibc 2.32 and later: <sys/single_threaded.h> */

static force_inline bool lock_is_alone(void)
{
	return &__libc_single_threaded && __libc_single_threaded;
}

/*
 * With one thread the word is only for signal handlers and for those that ask what is held: loads and stores. A handler that comes
 * in between has dropped what it took when it returns. A thread is made while this one holds no lock, so who takes one alone
 * drops it alone.
 */
static inline bool lock_try(struct lock *l)
{
	uint32_t free = 0;

	if (!lock_is_alone())
		return atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire, memory_order_relaxed);
	if (unlikely(atomic_load_explicit(&l->word, memory_order_relaxed)))
		return false;
	atomic_store_explicit(&l->word, 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	return true;
}

static inline void lock_clear(struct lock *l)
{
	if (lock_is_alone()) {
		atomic_signal_fence(memory_order_seq_cst);
		atomic_store_explicit(&l->word, 0, memory_order_relaxed);
	} else if (unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)) {
		lock_wake(l);
	}
}

/*
 * A signal handler must not wait for a lock of the thread that it interrupted. The fences keep the count at or above
 * what is held.
 */
static inline void lock_count_up(void)
{
	thread_state.nr_locks++;
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void lock_count_down(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	thread_state.nr_locks--;
}

static inline void lock_take(struct lock *l, enum lock_rank rank)
{
	lock_count_up();
	lock_rank_push(rank);
	if (unlikely(!lock_try(l)))
		lock_wait(l);
}

static inline void lock_drop(struct lock *l, enum lock_rank rank)
{
	lock_rank_pop(rank);
	lock_clear(l);
	lock_count_down();
}

static inline bool lock_is_held(struct lock *l)
{
	return atomic_load_explicit(&l->word, memory_order_relaxed) != 0;
}

/* Fork takes every lock of a kind at once, outermost kinds first: outside the ranks and the count. */
static inline void lock_take_nested(struct lock *l)
{
	if (unlikely(!lock_try(l)))
		lock_wait(l);
}

static inline void lock_drop_nested(struct lock *l)
{
	lock_clear(l);
}

/* In the child of fork: the only thread left holds the lock or nobody does. */
static inline void lock_reset(struct lock *l)
{
	atomic_store_explicit(&l->word, 0, memory_order_relaxed);
}

#endif
