/* SPDX-License-Identifier: MIT */
/* Stands before src/profile/sampler.h in the library that costs.py compares with: nothing is ever sampled. */
#ifndef BSLAB_SAMPLER_H
#define BSLAB_SAMPLER_H

#include "os/thread.h"
#include "slab/sizes.h"

struct sampler {
	uint16_t epoch;
};

static inline size_t sampler_bytes(size_t size)
{
	return size;
}

static force_inline bool sampler_passes(size_t size)
{
	(void)size;
	return false;
}

static inline bool sampler_hits(size_t bytes)
{
	(void)bytes;
	return false;
}

static inline double sampler_weight(size_t bytes, size_t interval)
{
	return (double)bytes / (double)interval;
}

static inline bool sampler_chance(double chance)
{
	return chance > 0;
}

static inline size_t sampler_draw(size_t mean)
{
	return mean;
}

static inline void sampler_seed(void)
{
}

static inline void sampler_start(size_t interval)
{
	(void)interval;
}

static inline void sampler_stop(void)
{
}

static inline void sampler_allow_medium(bool allow)
{
	(void)allow;
}

static inline size_t sampler_interval(void)
{
	return 0;
}

static inline void sampler_fork_child(void)
{
}

#endif
