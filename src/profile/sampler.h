/* SPDX-License-Identifier: MIT */
/*
 * Which allocations are sampled: a Poisson process over the bytes that are
 * allocated (tcmalloc's sampler.h; runtime/malloc.go and fastlog2.go of Go).
 *
 * 1. Think of each byte as marked with the chance 1 / interval. A block is
 *    sampled when one of its bytes is. The distance to the next mark is
 *    exponentially distributed, so it is drawn once, and each thread counts its own
 *    down: thread_state.sample_left. A malloc that is not sampled costs a
 *    subtraction.
 *
 * 2. So a block for which n bytes are counted is sampled with the chance
 *    1 - exp(-n / interval), and a sample of it stands for 1 over that of such
 *    blocks: sampler_weight(). Sums of weights, and of weights times sizes, are
 *    without bias, whatever the sizes.
 *
 * 3. The distribution has no memory: what is left may be drawn again at any time that does
 *    not depend on what comes. So a thread draws anew when it finds that the
 *    epoch is not the one that it drew in: it is new, or the profile was started
 *    again with another interval.
 *
 * 4. Counted are size + 1 bytes of a small block, so that malloc(0) is seen, and
 *    whole pages of a larger one, which grows by pages.
 */
#ifndef BSLAB_SAMPLER_H
#define BSLAB_SAMPLER_H

#include "os/thread.h"
#include "slab/sizes.h"

struct sampler {
	/*
	 * What malloc goes by as long as nothing is sampled: equal to a thread's own only while the profile is on and
	 * is all that keeps malloc from its fast path.
	 */
	uint16_t medium_epoch;
	uint16_t epoch;	 /* of the last start; never 0, nor NO_EPOCH */
	size_t interval; /* 0: off */
};
/* Relaxed: a thread may count a few allocations by what was. */
extern struct sampler sampler __attribute__((visibility("hidden")));

#define NO_EPOCH UINT16_MAX /* no thread draws in it */

static inline size_t sampler_bytes(size_t size)
{
	return size <= SMALL_MAX ? size + 1 : align_up(size, BSLAB_PAGE_SIZE);
}

/* Counts a small block; false when it may have to be sampled, or is none of the medium path's: nothing was counted. */
static force_inline bool sampler_passes(size_t size)
{
	intptr_t left;

	if (thread_state.sample_epoch != __atomic_load_n(&sampler.medium_epoch, __ATOMIC_RELAXED))
		return false;
	left = thread_state.sample_left - (intptr_t)size - 1;
	if (unlikely(left < 0))
		return false;
	thread_state.sample_left = left;
	return true;
}

/* Counts bytes; true when one of them is marked. */
bool sampler_hits(size_t bytes);
/* How many blocks a sampled one stands for. */
double sampler_weight(size_t bytes, size_t interval);
/* True with this chance. */
bool sampler_chance(double chance);

/* Numbers differ from process to process from now on. */
void sampler_seed(void);
/* interval: 1 to MAX_PROFILE_INTERVAL. */
void sampler_start(size_t interval);
void sampler_stop(void);
/* Whether malloc may go by the countdown alone. */
void sampler_allow_medium(bool allow);

static inline size_t sampler_interval(void)
{
	return __atomic_load_n(&sampler.interval, __ATOMIC_RELAXED);
}

/* The child draws other numbers than its parent. */
void sampler_fork_child(void);

/* Exponentially distributed with this mean; for tests. */
size_t sampler_draw(size_t mean);

#endif
