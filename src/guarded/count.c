/* SPDX-License-Identifier: MIT */
#include "guarded/count.h"

#include "os/options.h"
#include "profile/sampler.h"

#define MAX_LEFT (UINT16_MAX / GUARDED_ONE)

uint32_t guarded_interval;

static void draw(void)
{
	size_t n = sampler_draw(READ_ONCE(guarded_interval) - 1);

	thread_state.guarded_left = (uint16_t)(n < MAX_LEFT ? n * GUARDED_ONE | GUARDED_HIT : MAX_LEFT * GUARDED_ONE);
}

bool guarded_hits(void)
{
	bool hit = false;

	if (thread_state.in_profile)
		return false;
	while (!hit && !guarded_counts_down()) {
		hit = thread_state.guarded_left & GUARDED_HIT;
		draw();
	}
	return hit;
}

void guarded_count_start(uint32_t interval)
{
	sampler_seed();
	WRITE_ONCE(guarded_interval, interval);
}

void guarded_allow_medium(size_t limit)
{
	WRITE_ONCE(bslab_hot.guarded_limit, limit);
}
