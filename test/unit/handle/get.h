/* SPDX-License-Identifier: MIT */
/* An alloc and a free of a handle, by the fast path where it serves, as src/malloc/handles.c does; without reclaim. */
#ifndef BSLAB_TEST_HANDLE_GET_H
#define BSLAB_TEST_HANDLE_GET_H

#include "handle/handle.h"

static inline uint64_t get(size_t size)
{
	uint64_t h = size <= SMALL_MAX ? handle_alloc_fast(size) : 0;

	return h ? h : handle_alloc_slow(size);
}

static inline void put(uint64_t h)
{
	if (!handle_free(h))
		handle_free_slow(h);
}

#endif
