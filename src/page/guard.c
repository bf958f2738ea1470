/* SPDX-License-Identifier: MIT */
#include "page/guard.h"

#include <string.h>

#include "os/os.h"

/* A quarter of the mappings that a process has by default, at two each. */
#define MAX_SPLITS 8192

static _Atomic unsigned nr_splits; /* guards made by mprotect; relaxed */

static bool split_take(void)
{
	if (atomic_fetch_add_explicit(&nr_splits, 1, memory_order_relaxed) < MAX_SPLITS)
		return true;
	atomic_fetch_sub_explicit(&nr_splits, 1, memory_order_relaxed);
	return false;
}

bool guard_install(void *addr, unsigned nr_pages)
{
	size_t size = (size_t)nr_pages << PAGE_SHIFT;

	if (os_page_size() != BSLAB_PAGE_SIZE)
		return false;
	if (os_guard_light(addr, size) == 0)
		return true;
	if (!split_take())
		return false;
	if (os_purge(addr, size) != 0) /* refused, or the memory is locked */
		memset(addr, 0, size);
	if (os_guard(addr, size) == 0)
		return true;
	atomic_fetch_sub_explicit(&nr_splits, 1, memory_order_relaxed);
	return false;
}

/* Which way a guard was made is not kept: once any was made by mprotect, that is undone too. */
bool guard_remove(void *addr, unsigned nr_pages, unsigned nr_installs)
{
	size_t size = (size_t)nr_pages << PAGE_SHIFT;
	int ret = os_unguard_light(addr, size);

	if (!atomic_load_explicit(&nr_splits, memory_order_relaxed))
		return ret == 0;
	if (os_commit(addr, size) != 0)
		return false;
	if (ret != 0)
		atomic_fetch_sub_explicit(&nr_splits, nr_installs, memory_order_relaxed);
	return true;
}
