/* SPDX-License-Identifier: MIT */
/*
 * Which allocations are guarded: one in `interval` on average.
 *
 * The distance to the next one is drawn (sampler_draw()) and each thread counts
 * its own down. The count has fifteen bits: a longer distance is counted in
 * parts, at whose ends another is drawn, which changes nothing, since the
 * distribution has no memory. The sixteenth bit tells such an end.
 */
#ifndef BSLAB_GUARDED_COUNT_H
#define BSLAB_GUARDED_COUNT_H

#include "os/thread.h"

struct guarded_count {
	uint32_t interval; /* 0: off */
	bool is_medium;	   /* malloc may go by the countdown: nothing else keeps it from its fast path */
};
/* Relaxed: a thread may count a few allocations by what was. */
extern struct guarded_count guarded_count __attribute__((visibility("hidden")));

#define GUARDED_LEFT 0x7fffu
#define GUARDED_PART 0x8000u

static inline bool guarded_is_on(void)
{
	return READ_ONCE(guarded_count.interval);
}

/* Counts an allocation; false when it may have to be guarded: it was not counted then. */
static force_inline bool guarded_counts_down(void)
{
	if (unlikely((thread_state.guarded_left & GUARDED_LEFT) <= 1))
		return false;
	thread_state.guarded_left--;
	return true;
}

static force_inline bool guarded_passes(void)
{
	return READ_ONCE(guarded_count.is_medium) && likely(guarded_counts_down());
}

/* Counts an allocation; true when it is to be guarded. */
bool guarded_hits(void);

/* interval: 1 to MAX_GUARDED_INTERVAL. */
void guarded_count_start(uint32_t interval);
void guarded_allow_medium(bool allow);

#endif
