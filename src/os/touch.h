/* SPDX-License-Identifier: MIT */
/*
 * What can have become resident in a span of time. A page costs its first
 * user a fault, so time bounds how many there are, where nothing else is known
 * and to ask the kernel costs more than what is at stake. A bound for memory and
 * time only: no one's contents hang on it.
 */
#ifndef BSLAB_TOUCH_H
#define BSLAB_TOUCH_H

#include "base/base.h"

/* Bytes a nanosecond that a CPU can make resident; seen: 2 to 8 by pages of 4 KiB, up to 16 by huge ones. Several are not reckoned with. */
#define TOUCH_RATE 32

/* By os_clock_ns(). Where the clock does not tell, all there is. */
static inline size_t touched_at_most(uint64_t since_ns, uint64_t now_ns)
{
	size_t bytes;

	if (!now_ns || now_ns < since_ns || __builtin_mul_overflow(now_ns - since_ns, TOUCH_RATE, &bytes))
		return SIZE_MAX;
	return bytes;
}

#endif
