/* SPDX-License-Identifier: MIT */
/*
 * Which allocations are sampled: a Poisson process over the bytes that are
 * allocated (tcmalloc's sampler.h; runtime/malloc.go and fastlog2.go of Go).
 *
 * 1. Think of each byte as marked with the chance 1 / interval. A block is
 *    sampled when one of its bytes is. The distance to the next mark is
 *    exponentially distributed, so it is drawn once, and each thread counts its own
 *    down. A malloc that is not sampled costs a subtraction and two comparisons:
 *    thread_state.sample_near has the epoch in its upper half and the bytes to go in
 *    its lower one. If what is left is above the present epoch's zero, the thread drew in this
 *    epoch and the next mark is beyond the block. (A thread that has drawn in a later epoch, which the
 *    zero does not know yet, counts by that; so the size has a test of its own.)
 *    Bytes beyond SAMPLE_NEAR wait in sample_far. A signal handler that allocates between the two
 *    stores of a count undoes one of them: some bytes, once.
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

#define SAMPLE_NEAR ((uint64_t)1 << 31)

struct sampler {
	/*
	 * What malloc goes by as long as nothing is sampled: sample_near with no byte to go while the profile is on and
	 * is all that keeps malloc from its fast path, else INT64_MAX. (0 until there is a first reason: no thread has drawn
	 * before that. Not INT64_MAX from the start, which would put it into .data, a page that each process touches.)
	 */
	int64_t medium_zero;
	uint32_t epoch;	 /* of the last start, up to INT32_MAX; 0: there was none */
	size_t interval; /* 0: off */
};
/* Relaxed: a thread may count a few allocations by what was. */
extern struct sampler sampler __attribute__((visibility("hidden")));

static inline size_t sampler_bytes(size_t size)
{
	return size <= SMALL_MAX ? size + 1 : align_up(size, BSLAB_PAGE_SIZE);
}

/* Counts a small block; false when it may have to be sampled, or is none of the medium path's: nothing was counted. */
static force_inline bool sampler_passes(size_t size)
{
	int64_t near;

	if (unlikely(size > SMALL_MAX))
		return false;
	near = thread_state.sample_near - (int64_t)size;
	if (unlikely(near <= __atomic_load_n(&sampler.medium_zero, __ATOMIC_RELAXED)))
		return false;
	thread_state.sample_near = near - 1;
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

/* Exponentially distributed with this mean. */
size_t sampler_draw(size_t mean);

#endif
