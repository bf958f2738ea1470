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

static inline size_t touched_at_most(uint64_t span_ns)
{
	size_t bytes;

	return __builtin_mul_overflow(span_ns, TOUCH_RATE, &bytes) ? SIZE_MAX : bytes;
}

#endif
