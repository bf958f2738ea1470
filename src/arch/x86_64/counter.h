/* SPDX-License-Identifier: MIT */
#ifndef BSLAB_ARCH_X86_64_COUNTER_H
#define BSLAB_ARCH_X86_64_COUNTER_H

#include "base/base.h"

/* The time-stamp counter; none runs below 1 GHz. It traps where prctl(PR_SET_TSC) says so. */
static inline uint64_t arch_counter(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline uint64_t arch_counter_span(uint64_t since, uint64_t now)
{
	return now - since;
}

#endif
