/* SPDX-License-Identifier: MIT */
#include "page/guard.h"

#include <string.h>

#include "os/lock.h"
#include "page/buddy.h"

/* A quarter of the mappings that a process has by default, at two each. */
#define MAX_SPLITS 8192

static _Atomic unsigned nr_splits; /* guards made by mprotect; relaxed */

static void split_drop(void)
{
	atomic_fetch_sub_explicit(&nr_splits, 1, memory_order_relaxed);
}

static bool split_take(void)
{
	if (atomic_fetch_add_explicit(&nr_splits, 1, memory_order_relaxed) < MAX_SPLITS)
		return true;
	split_drop();
	return false;
}

enum guard_kind guard_install(void *addr, unsigned nr_pages)
{
	size_t size = (size_t)nr_pages << PAGE_SHIFT;

	if (os_page_size() != BSLAB_PAGE_SIZE)
		return GUARD_NONE;
	if (os_guard_light(addr, size) == 0)
		return GUARD_LIGHT;
	if (!split_take())
		return GUARD_NONE;
	if (os_purge(addr, size) != 0) /* refused, or the memory is locked */
		memset(addr, 0, size);
	if (os_guard_hard(addr, size) == 0)
		return GUARD_HARD;
	split_drop();
	return GUARD_NONE;
}

static bool guard_remove(char *addr, size_t nr_pages, enum guard_kind kind)
{
	if (nr_pages && os_open_guard(addr, nr_pages << PAGE_SHIFT, kind) != 0)
		return false;
	if (kind == GUARD_HARD)
		split_drop();
	return true;
}

static bool open_guards(struct guarded_pages *g)
{
	size_t n = g->nr_pages - 1;

	if (g->body == GUARD_LIGHT && g->last == GUARD_LIGHT)
		return guard_remove(g->addr, n + 1, GUARD_LIGHT);
	if (!guard_remove(g->addr + (n << PAGE_SHIFT), 1, g->last))
		return false;
	g->last = GUARD_NONE; /* there may be a second try */
	return guard_remove(g->addr, n, g->body);
}

static bool try_free(struct guarded_pages *g)
{
	if (!open_guards(g))
		return false;
	if (g->body != GUARD_NONE)
		pages_free_clean(g->addr, g->nr_pages);
	else
		pages_free(g->addr, g->nr_pages);
	return true;
}

/* --- those that the kernel refused to open --------------------------------------------------------- */

/* More than that are lost. */
#define MAX_CLOSED 1024

static struct {
	struct lock lock; /* RANK_RUNS, nothing is taken inside: all of this */
	unsigned n;	  /* read without the lock as a hint */
	struct guarded_pages pages[MAX_CLOSED];
} closed;

static void closed_put(const struct guarded_pages *g)
{
	lock_take(&closed.lock, RANK_RUNS);
	if (closed.n < MAX_CLOSED) {
		closed.pages[closed.n] = *g;
		WRITE_ONCE(closed.n, closed.n + 1);
	}
	lock_drop(&closed.lock, RANK_RUNS);
}

static bool closed_take(struct guarded_pages *g)
{
	bool found;

	lock_take(&closed.lock, RANK_RUNS);
	found = closed.n;
	if (found) {
		WRITE_ONCE(closed.n, closed.n - 1);
		*g = closed.pages[closed.n];
	}
	lock_drop(&closed.lock, RANK_RUNS);
	return found;
}

void guard_free(struct guarded_pages g)
{
	while (likely(try_free(&g)))
		if (likely(!READ_ONCE(closed.n)) || !closed_take(&g))
			return;
	closed_put(&g);
}

void guard_retry(void)
{
	struct guarded_pages g;

	if (closed_take(&g))
		guard_free(g);
}

void guard_fork_prepare(void)
{
	lock_take_nested(&closed.lock);
}

void guard_fork_done(bool child)
{
	if (child)
		lock_reset(&closed.lock);
	else
		lock_drop_nested(&closed.lock);
}
