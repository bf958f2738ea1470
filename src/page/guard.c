/* SPDX-License-Identifier: MIT */
#include "page/guard.h"

#include <errno.h>
#include <string.h>

#include "os/bug.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/limit.h"

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

static enum guard_kind install(uintptr_t addr, unsigned nr_pages)
{
	size_t size = (size_t)nr_pages << PAGE_SHIFT;
	int ret;

	if (os_page_size() != BSLAB_PAGE_SIZE)
		return GUARD_NONE;
	ret = os_guard_light((void *)addr, size);
	if (ret == 0)
		return GUARD_LIGHT;
	if (nr_pages > 1 && ret != -ENOSYS) /* those before one that the program locked trap already */
		os_open_guard((void *)addr, size, GUARD_LIGHT);
	if (!split_take())
		return GUARD_NONE;
	if (os_purge((void *)addr, size) != 0) /* refused, or the memory is locked */
		memset((void *)addr, 0, size);
	if (os_guard_hard((void *)addr, size) == 0)
		return GUARD_HARD;
	split_drop();
	return GUARD_NONE;
}

static bool open_pages(uintptr_t addr, size_t nr_pages, enum guard_kind kind)
{
	if (os_open_guard((void *)addr, nr_pages << PAGE_SHIFT, kind) != 0)
		return false;
	if (kind == GUARD_HARD)
		split_drop();
	return true;
}

/* --- counts: relaxed ---------------------------------------------------------------------------- */

static _Atomic size_t nr_guards, nr_waiting, nr_waiting_dirty;

static void count(_Atomic size_t *of, ptrdiff_t by)
{
	atomic_fetch_add_explicit(of, (size_t)by, memory_order_relaxed);
}

void guard_count_waiting(ptrdiff_t nr_pages, bool are_dirty)
{
	count(&nr_waiting, nr_pages);
	count(&nr_waiting_dirty, are_dirty ? nr_pages : 0);
}

void guard_snapshot(struct guard_info *info)
{
	*info = (struct guard_info){
	    .nr_guards = atomic_load_explicit(&nr_guards, memory_order_relaxed),
	    .nr_waiting = atomic_load_explicit(&nr_waiting, memory_order_relaxed),
	    .nr_waiting_dirty = atomic_load_explicit(&nr_waiting_dirty, memory_order_relaxed),
	};
}

/* --- descriptors of guard pages ------------------------------------------------------------------ */

/* Of the page before: how it traps, and IS_BEFORE. Of the page behind: how it does, how those between do, and their type. */
#define IS_BEFORE ((uint64_t)1 << 16)
#define BODY_SHIFT 8
#define TYPE_SHIFT 24 /* not IS_BEFORE */

struct guards {
	uintptr_t addr, end; /* of the pages between */
	bool has_before;
	enum guard_kind before, body, behind;
	enum migratetype type; /* that they were taken for */
};

static struct guards guards_get(uintptr_t addr, unsigned nr_pages)
{
	struct guards g = {.addr = addr, .end = addr + ((uintptr_t)nr_pages << PAGE_SHIFT)};
	page_desc_t before = map_lookup(addr - BSLAB_PAGE_SIZE);
	uint64_t behind = desc_number(map_lookup(g.end));

	g.has_before = desc_type(before) == PAGE_GUARD && !desc_class(before) && desc_number(before) & IS_BEFORE;
	if (g.has_before)
		g.before = (enum guard_kind)(desc_number(before) & 0xff);
	g.type = (enum migratetype)(behind >> TYPE_SHIFT);
	g.body = (enum guard_kind)(behind >> BODY_SHIFT & 0xff);
	g.behind = (enum guard_kind)(behind & 0xff);
	return g;
}

static void guards_put(const struct guards *g)
{
	if (g->has_before)
		map_set(g->addr - BSLAB_PAGE_SIZE, desc_of_number(IS_BEFORE | g->before, PAGE_GUARD));
	map_set(g->end, desc_of_number((uint64_t)g->type << TYPE_SHIFT | (uint64_t)g->body << BODY_SHIFT | g->behind, PAGE_GUARD));
}

/* --- those kept whole --------------------------------------------------------------------------------- */

#define MAX_KEPT 64
#define MAX_KEPT_PAGES ((unsigned)(128 * KIB >> PAGE_SHIFT)) /* of one */
#define MAX_ALL_KEPT_PAGES (2 * MIB >> PAGE_SHIFT)

static struct {
	struct lock lock; /* RANK_RUNS, nothing is taken inside: all of this */
	unsigned n;	  /* read without the lock as a hint */
	size_t nr_all_pages;
	struct kept {
		uintptr_t addr;
		unsigned nr_pages;
		enum migratetype type;
	} pages[MAX_KEPT];
} kept;

/* The i-th, whose place the last one takes. */
static uintptr_t kept_remove(unsigned i)
{
	uintptr_t addr = kept.pages[i].addr;

	bslab_assert(lock_is_held(&kept.lock));
	guard_count_waiting(-(ptrdiff_t)kept.pages[i].nr_pages, true);
	kept.nr_all_pages -= kept.pages[i].nr_pages;
	WRITE_ONCE(kept.n, kept.n - 1);
	kept.pages[i] = kept.pages[kept.n];
	return addr;
}

/* Of the type that they were taken for. */
static uintptr_t kept_take(unsigned nr_pages, enum migratetype type)
{
	uintptr_t addr = 0;
	unsigned i;

	if (nr_pages > MAX_KEPT_PAGES || !READ_ONCE(kept.n))
		return 0;
	lock_take(&kept.lock, RANK_RUNS);
	for (i = 0; i < kept.n && !addr; i++)
		if (kept.pages[i].nr_pages == nr_pages && kept.pages[i].type == type)
			addr = kept_remove(i);
	lock_drop(&kept.lock, RANK_RUNS);
	return addr;
}

/* Only what has both its guards, and is open between them. */
static bool kept_put(uintptr_t addr, unsigned nr_pages)
{
	bool is_kept = false;
	struct guards g;

	if (nr_pages > MAX_KEPT_PAGES)
		return false;
	g = guards_get(addr, nr_pages);
	if (g.before == GUARD_NONE || g.behind == GUARD_NONE || g.body != GUARD_NONE)
		return false;
	lock_take(&kept.lock, RANK_RUNS);
	if (kept.n < MAX_KEPT && kept.nr_all_pages + nr_pages <= MAX_ALL_KEPT_PAGES) {
		kept.pages[kept.n] = (struct kept){addr, nr_pages, g.type};
		WRITE_ONCE(kept.n, kept.n + 1);
		kept.nr_all_pages += nr_pages;
		guard_count_waiting(nr_pages, true);
		is_kept = true;
	}
	lock_drop(&kept.lock, RANK_RUNS);
	return is_kept;
}

/* --- pages between them ---------------------------------------------------------------------------- */

void *guard_alloc_pages(unsigned nr_pages, unsigned align_order, enum migratetype type, unsigned flags, bool *zeroed)
{
	unsigned nr_before = align_order ? 0 : 1, n = nr_pages + nr_before + 1;
	uintptr_t addr = align_order ? 0 : kept_take(nr_pages, type);
	struct guards g = {.has_before = nr_before, .type = type};
	char *p;

	if (addr) {
		*zeroed = false;
		return (void *)addr;
	}
	p = limit_allows(n) ? pages_alloc(n, align_order, type, flags, zeroed) : NULL;
	if (!p)
		return NULL;
	count(&nr_guards, nr_before + 1);
	g.addr = (uintptr_t)p + nr_before * BSLAB_PAGE_SIZE;
	g.end = g.addr + ((uintptr_t)nr_pages << PAGE_SHIFT);
	if (g.has_before)
		g.before = install(g.addr - BSLAB_PAGE_SIZE, 1);
	g.behind = install(g.end, 1);
	guards_put(&g);
	return (void *)g.addr;
}

bool guard_close(void *addr, unsigned nr_pages)
{
	struct guards g = guards_get((uintptr_t)addr, nr_pages);

	g.body = install(g.addr, nr_pages);
	guards_put(&g);
	return g.body != GUARD_NONE;
}

bool guard_reopen(void *addr, unsigned nr_pages)
{
	struct guards g = guards_get((uintptr_t)addr, nr_pages);

	if (!open_pages(g.addr, nr_pages, g.body))
		return false;
	g.body = GUARD_NONE;
	guards_put(&g);
	return true;
}

bool guard_has_before(void *addr, unsigned nr_pages)
{
	return guards_get((uintptr_t)addr, nr_pages).has_before;
}

/* Markers are removed by one call, which passes over what has none. */
static bool guards_open(struct guards *g)
{
	uintptr_t start = g->addr - g->has_before * BSLAB_PAGE_SIZE;

	if (g->before == GUARD_HARD && open_pages(g->addr - BSLAB_PAGE_SIZE, 1, GUARD_HARD))
		g->before = GUARD_NONE;
	if (g->behind == GUARD_HARD && open_pages(g->end, 1, GUARD_HARD))
		g->behind = GUARD_NONE;
	if (g->body == GUARD_HARD && open_pages(g->addr, (g->end - g->addr) >> PAGE_SHIFT, GUARD_HARD))
		g->body = GUARD_NONE;
	if (g->before == GUARD_HARD || g->behind == GUARD_HARD || g->body == GUARD_HARD)
		return false;
	if (g->before == GUARD_NONE && g->behind == GUARD_NONE && g->body == GUARD_NONE)
		return true;
	return open_pages(start, ((g->end - start) >> PAGE_SHIFT) + 1, GUARD_LIGHT);
}

/* All of it was made to trap, and so was cleared: a guard that was refused is as it was found. */
static bool reads_as_zero(const struct guards *g)
{
	return g->body != GUARD_NONE && g->behind != GUARD_NONE && !(g->has_before && g->before == GUARD_NONE);
}

static bool try_free(uintptr_t addr, unsigned nr_pages)
{
	struct guards g = guards_get(addr, nr_pages);
	bool is_clean = reads_as_zero(&g);
	uintptr_t start = addr - g.has_before * BSLAB_PAGE_SIZE;

	if (!guards_open(&g)) {
		guards_put(&g);
		return false;
	}
	if (g.has_before)
		map_set(start, 0);
	map_set(g.end, 0);
	count(&nr_guards, -(ptrdiff_t)(g.has_before + 1));
	if (is_clean)
		pages_free_clean((void *)start, nr_pages + g.has_before + 1);
	else
		pages_free((void *)start, nr_pages + g.has_before + 1);
	return true;
}

/* --- those that the kernel refused to open --------------------------------------------------------- */

/* More than that are lost. */
#define MAX_CLOSED 1024

static struct {
	struct lock lock; /* RANK_RUNS, nothing is taken inside: all of this */
	unsigned n;	  /* read without the lock as a hint */
	struct waiting {
		uintptr_t addr;
		unsigned nr_pages;
	} pages[MAX_CLOSED];
} closed;

static void closed_put(const struct waiting *g)
{
	lock_take(&closed.lock, RANK_RUNS);
	if (closed.n < MAX_CLOSED) {
		closed.pages[closed.n] = *g;
		WRITE_ONCE(closed.n, closed.n + 1);
	}
	lock_drop(&closed.lock, RANK_RUNS);
}

static bool closed_take(struct waiting *g)
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

static void free_or_wait(struct waiting g)
{
	while (likely(try_free(g.addr, g.nr_pages)))
		if (likely(!READ_ONCE(closed.n)) || !closed_take(&g))
			return;
	closed_put(&g);
}

void guard_free_pages(void *addr, unsigned nr_pages)
{
	if (!kept_put((uintptr_t)addr, nr_pages))
		free_or_wait((struct waiting){(uintptr_t)addr, nr_pages});
}

static bool kept_take_last(struct waiting *g)
{
	bool found;

	lock_take(&kept.lock, RANK_RUNS);
	found = kept.n;
	if (found) {
		g->nr_pages = kept.pages[kept.n - 1].nr_pages;
		g->addr = kept_remove(kept.n - 1);
	}
	lock_drop(&kept.lock, RANK_RUNS);
	return found;
}

void guard_drain(void)
{
	struct waiting g;

	while (READ_ONCE(kept.n) && kept_take_last(&g))
		free_or_wait(g);
	if (READ_ONCE(closed.n) && closed_take(&g))
		free_or_wait(g);
}

void guard_fork_prepare(void)
{
	lock_take_nested(&kept.lock);
	lock_take_nested(&closed.lock);
}

void guard_fork_done(bool child)
{
	if (child) {
		lock_reset(&closed.lock);
		lock_reset(&kept.lock);
	} else {
		lock_drop_nested(&closed.lock);
		lock_drop_nested(&kept.lock);
	}
}
