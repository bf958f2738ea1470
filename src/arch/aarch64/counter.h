/* SPDX-License-Identifier: MIT */
#ifndef BSLAB_ARCH_AARCH64_COUNTER_H
#define BSLAB_ARCH_AARCH64_COUNTER_H

#include "base/base.h"

#define ARCH_SPAN_BELOW_CALL 75

/* The virtual counter of the generic timer, of 1 MHz to 1 GHz. */
static inline uint64_t arch_counter(void)
{
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return ticks;
}

/* One more tick than was seen may have gone by. A span that is too long to calculate with is the longest. */
static inline uint64_t arch_counter_span(uint64_t since, uint64_t now)
{
	uint64_t rate, ns;

	__asm__("mrs %0, cntfrq_el0" : "=r"(rate));
	if (!rate || now < since || __builtin_mul_overflow(now - since + 1, 1000000000, &ns))
		return UINT64_MAX;
	return ns / rate + 1;
}

#endif
