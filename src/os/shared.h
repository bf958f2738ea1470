/* SPDX-License-Identifier: MIT */
/*
 * Words that threads change without a lock: by a locked instruction, or by one that only a signal handler cannot come into, where
 * the process has one thread (lock_is_alone(), decision 0044). All are sequentially consistent among threads.
 */
#ifndef BSLAB_SHARED_H
#define BSLAB_SHARED_H

#include "arch/arch.h"
#include "os/lock.h"

/* What the word was. A handler that changes the same bits in between is not seen. */
static inline uint64_t shared_or(_Atomic uint64_t *word, uint64_t mask)
{
	uint64_t old;

	if (!lock_is_alone())
		return atomic_fetch_or(word, mask);
	old = atomic_load_explicit(word, memory_order_relaxed);
	or_local(word, mask);
	return old;
}

static inline void shared_and(_Atomic uint64_t *word, uint64_t mask)
{
	if (lock_is_alone())
		and_local(word, mask);
	else
		atomic_fetch_and(word, mask);
}

/* What the word is then, or later. */
static inline int shared_add16(_Atomic int16_t *word, int n)
{
	if (!lock_is_alone())
		return atomic_fetch_add(word, (int16_t)n) + n;
	add_local16(word, (int16_t)n);
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void shared_add(_Atomic size_t *word, size_t n)
{
	if (lock_is_alone())
		add_local(word, (int64_t)n);
	else
		atomic_fetch_add(word, n);
}

_Static_assert(__builtin_types_compatible_p(size_t, uint64_t), "add_local()");

#endif
