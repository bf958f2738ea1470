/* SPDX-License-Identifier: MIT */
#include "guarded/count.h"

#include "os/options.h"
#include "profile/sampler.h"

struct guarded_count guarded_count;

static void draw(void)
{
	size_t n = sampler_draw(READ_ONCE(guarded_count.interval) - 1) + 1;

	thread_state.guarded_left = (uint16_t)(n > GUARDED_LEFT ? GUARDED_LEFT | GUARDED_PART : n);
}

bool guarded_hits(void)
{
	uint16_t left = thread_state.guarded_left;

	if (thread_state.in_profile)
		return false;
	if (!left) { /* the thread's first */
		draw();
		left = thread_state.guarded_left;
	}
	if ((left & GUARDED_LEFT) > 1) {
		thread_state.guarded_left--;
		return false;
	}
	draw();
	return !(left & GUARDED_PART);
}

void guarded_count_start(uint32_t interval)
{
	sampler_seed();
	WRITE_ONCE(guarded_count.interval, interval);
}

void guarded_allow_medium(bool allow)
{
	WRITE_ONCE(guarded_count.is_medium, allow);
}
