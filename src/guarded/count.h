/* SPDX-License-Identifier: MIT */
/*
 * Which allocations are guarded: one in `interval` on average.
 *
 * 1. How many pass before the next one is drawn (sampler_draw()), and each
 *    thread counts its own down. The number has fifteen bits: a larger one is
 *    counted in parts, at whose ends another is drawn, which changes nothing,
 *    since the distribution has no memory.
 *
 * 2. thread_state.guarded_left is twice what is left to pass, and GUARDED_HIT
 *    where a guarded one comes then and not the end of a part. So it is counted
 *    down by one subtraction, whose borrow tells the end, and a thread that has
 *    not drawn yet, at 0, finds itself at the end of a part.
 *
 * 3. malloc takes its medium path for sizes below bslab_hot.guarded_limit: its
 *    fast path, and this subtraction. Everything else counts by guarded_hits(). A
 *    signal handler that allocates at the thread's end of a part finds a great number
 *    left, which the thread then puts right.
 */
#ifndef BSLAB_GUARDED_COUNT_H
#define BSLAB_GUARDED_COUNT_H

#include "base/hot.h"
#include "os/thread.h"

#define GUARDED_ONE 2
#define GUARDED_HIT 1

/* 0: off. Relaxed: a thread may count a few allocations by what was. */
extern uint32_t guarded_interval __attribute__((visibility("hidden")));

static inline bool guarded_is_on(void)
{
	return READ_ONCE(guarded_interval);
}

/* Counts an allocation; false when it may have to be guarded: it was not counted then. */
static force_inline bool guarded_counts_down(void)
{
	if (likely(!__builtin_sub_overflow(thread_state.guarded_left, GUARDED_ONE, &thread_state.guarded_left)))
		return true;
	thread_state.guarded_left &= GUARDED_HIT;
	return false;
}

/* The same for malloc, which may go by it alone. */
static force_inline bool guarded_passes(size_t size)
{
	return likely(size < bslab_hot.guarded_limit) && guarded_counts_down();
}

/* Counts an allocation; true when it is to be guarded. */
bool guarded_hits(void);

/* What is left is drawn anew, or all children would guard the same allocation of theirs. */
static inline void guarded_fork_child(void)
{
	thread_state.guarded_left = 0;
}

/* interval: 1 to MAX_GUARDED_INTERVAL. */
void guarded_count_start(uint32_t interval);
/* malloc may go by the countdown for sizes below: nothing else keeps it from its fast path. */
void guarded_allow_medium(size_t limit);

#endif
