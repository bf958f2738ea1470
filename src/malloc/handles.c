/* SPDX-License-Identifier: MIT */
/* Handles under their public names; bslab/handle.h documents each call. */
#include "bslab/handle.h"

#include <errno.h>

#include "base/probe.h"
#include "handle/compact.h"
#include "handle/handle.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "page/zone.h"

static void count_failure(size_t size)
{
	PROBE(alloc_fail, size, HANDLE_MIN_SIZE);
	atomic_fetch_add_explicit(&counts.nr_failures, 1, memory_order_relaxed);
	errno = ENOMEM;
}

/* align: log2, 0 for that of malloc. */
static out_of_line uint64_t alloc_rest(size_t size, unsigned align)
{
	uint64_t h = 0;
	unsigned round;

	process_boot();
	reclaim_if_due();
	handles_reap();
	if (likely(size <= MAX_HANDLE_SIZE && !is_too_much(size))) {
		h = handle_alloc_aligned(size, align);
		for (round = 0; unlikely(!h) && reclaim_more(round, size); round++)
			h = handle_alloc_aligned(size, align);
	}
	process_hook_thread();
	reports_poll();
	if (unlikely(!h))
		count_failure(size);
	return h;
}

static out_of_line uint64_t alloc_stripped(uint32_t index, size_t size)
{
	uint64_t h = handle_refill(index, size);

	return h ? h : alloc_rest(size, 0);
}

/* All but what is at hand leaves by a jump: it needs no frame. */
bslab_handle_t bslab_handle_alloc(size_t size)
{
	uint32_t stripped = 0;
	uint64_t h = likely(size <= SMALL_MAX) ? handle_alloc_kept(size, &stripped) : 0;

	if (likely(h))
		return h;
	return unlikely(stripped) ? alloc_stripped(stripped, size) : alloc_rest(size, 0);
}

bslab_handle_t bslab_handle_aligned_alloc(size_t align, size_t size)
{
	if (unlikely(!is_power_of_2(align) || align > MAX_HANDLE_ALIGN)) {
		errno = EINVAL;
		return 0;
	}
	return alloc_rest(size, align > HANDLE_MIN_SIZE ? ilog2(align) : 0);
}

static out_of_line void free_rest(uint64_t handle)
{
	if (!handle)
		return;
	process_boot();
	handle_free_slow(handle);
	handles_reap();
	handles_balance();
	process_hook_thread();
	reports_poll();
}

void bslab_handle_free(bslab_handle_t handle)
{
	if (likely(handle_free(handle)))
		return;
	free_rest(handle);
}

void *bslab_handle_map(bslab_handle_t handle)
{
	return handle_map(handle);
}

void bslab_handle_unmap(bslab_handle_t handle)
{
	handle_unmap(handle);
}

size_t bslab_handle_size(bslab_handle_t handle)
{
	return handle_size(handle);
}

int bslab_handle_resize(bslab_handle_t handle, size_t size)
{
	enum resize r;
	unsigned round;

	process_boot();
	reclaim_if_due();
	r = size <= MAX_HANDLE_SIZE ? handle_resize(handle, size) : RESIZE_NO_MEMORY;
	for (round = 0; unlikely(r == RESIZE_NO_MEMORY) && size <= MAX_HANDLE_SIZE && reclaim_more(round, size); round++)
		r = handle_resize(handle, size);
	handles_balance();
	process_hook_thread();
	reports_poll();
	if (r == RESIZE_DONE)
		return 0;
	if (r == RESIZE_NO_MEMORY)
		count_failure(size);
	else
		errno = EINVAL;
	return -1;
}

size_t bslab_compact(void)
{
	size_t n;

	process_boot();
	handles_drain();
	n = handles_compact();
	zone_balance();
	reports_poll();
	return n;
}
