/* SPDX-License-Identifier: MIT */
#ifndef BSLAB_ARCH_X86_64_COUNTER_H
#define BSLAB_ARCH_X86_64_COUNTER_H

#include "base/base.h"

/* Of 2 to 3.5 GHz, and so 85 to 150 ns; 300 at 1 GHz, where calls take longer, too. AMD's counts in steps of 10 ns. */
#define ARCH_SPAN_BELOW_CALL 300

/* The time-stamp counter, of 1 GHz at least. */
static inline uint64_t arch_counter(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* A tick for a nanosecond. */
static inline uint64_t arch_counter_span(uint64_t since, uint64_t now)
{
	return now < since ? UINT64_MAX : now - since;
}

#endif
