/* SPDX-License-Identifier: MIT */
/* Pages of the contiguous reserve, and how a request takes a range of them: 3 in contig.h. */
#include "os/bug.h"
#include "page/contig_area.h"
#include "page/runs.h"

/* --- pages of the reserve, under the lock ------------------------------------------------------- */

static unsigned index_of(uintptr_t addr)
{
	return (unsigned)(addr >> PAGE_SHIFT) % PAGEBLOCK_PAGES;
}

/* Calls for each pageblock's part of a range. */
static void each_block(uintptr_t from, uintptr_t to, void (*call)(struct pageblock *b, unsigned index, unsigned nr_pages))
{
	while (from < to) {
		uintptr_t end = min_size(align_down(from, PAGEBLOCK_SIZE) + PAGEBLOCK_SIZE, to);

		call(map_pageblock(from), index_of(from), (unsigned)((end - from) >> PAGE_SHIFT));
		from = end;
	}
}

static void set_taken(uintptr_t from, uintptr_t to)
{
	map_set_range(from, (to - from) >> PAGE_SHIFT, desc_of_number(0, PAGE_CONTIG));
}

void contig_release(uintptr_t from, uintptr_t to)
{
	uintptr_t low = max_size(from, contig.taking_from), high = min_size(to, contig.taking_to);

	if (low >= high) {
		each_block(from, to, pageblock_free);
		return;
	}
	set_taken(low, high);
	each_block(from, low, pageblock_free);
	each_block(high, to, pageblock_free);
}

/* The head of the free page block that a page is in. */
static uintptr_t free_head(uintptr_t page, unsigned *order)
{
	struct free_links l;
	uintptr_t head;
	unsigned o;

	for (o = 0; o < NR_ORDERS; o++) {
		head = align_down(page, BSLAB_PAGE_SIZE << o);
		if (desc_links(map_lookup(head), &l) && l.order >= o) {
			*order = l.order;
			return head;
		}
	}
	return 0;
}

/* What stands at a page: the end of it; *m: it is a movable run; *taken: it is a range that was taken. */
static uintptr_t look(uintptr_t page, struct movable **m, bool *taken)
{
	page_desc_t d = map_lookup(page);
	unsigned order = 0;

	contig.info.nr_looks++;
	if (desc_type(d) == PAGE_RUN_BODY && !desc_class(d)) {
		page -= (uintptr_t)desc_number(d) << PAGE_SHIFT;
		d = map_lookup(page);
	}
	*m = movable_of(d);
	*taken = desc_type(d) == PAGE_CONTIG;
	if (*m)
		return page_at(page, (*m)->nr_pages);
	if (*taken)
		return page_at(page, max_size(desc_number(d), 1));
	page = free_head(page, &order);
	bslab_assert(page);
	return page_at(page, (size_t)1 << order);
}

static bool is_obstacle(const struct movable *m, bool taken, bool may_move)
{
	return taken || (m && (!may_move || m->refused >= contig.number));
}

/* The end of the first thing in a range that a request cannot have without a move; 0: all is free. */
static uintptr_t find_obstacle(uintptr_t from, uintptr_t to)
{
	struct movable *m;
	uintptr_t end;
	bool taken;

	for (; from < to; from = end) {
		end = look(from, &m, &taken);
		if (is_obstacle(m, taken, false))
			return end;
	}
	return 0;
}

/* --- taking a range: under the lock, which is dropped while the program moves a run ----------------- */

static void take_free(uintptr_t page)
{
	unsigned order = 0;
	uintptr_t head = free_head(page, &order), end = page_at(head, (size_t)1 << order);

	pageblock_isolate(map_pageblock(head), index_of(head), order);
	contig_release(head, end);
}

static bool take_movable(struct movable *m)
{
	uintptr_t from = m->addr, to;
	bool is_short;

	m->is_moving = true;
	contig_unlock();
	to = movable_move_out(m, from, &is_short);
	contig_lock();
	contig.is_short |= is_short;
	m->is_moving = false;
	if (!to && !is_short) {
		m->refused = contig.number > m->refused ? contig.number : m->refused;
		contig.info.nr_refused++;
	}
	if (!to)
		return false;
	m->addr = to;
	m->is_lent = false;
	contig.info.nr_lent -= m->nr_pages;
	contig.info.nr_moved++;
	contig_release(from, page_at(from, m->nr_pages));
	return true;
}

/* What was taken of the range so far goes back to the lists. */
static void put_back(uintptr_t from, uintptr_t to)
{
	for (; from < to; from += BSLAB_PAGE_SIZE)
		if (map_lookup(from) == desc_of_number(0, PAGE_CONTIG))
			pageblock_free(map_pageblock(from), index_of(from), 1);
}

/*
 * A range that a request is trying: [from, seen) has no obstacle, and what was free in it is taken; in [from, moved) nothing
 * is left to be moved. Where the range goes on behind an obstacle, what both have in common is not looked at again.
 */
struct attempt {
	uintptr_t from, seen, moved;
};

/* The free pages up to `to`. The end of an obstacle; 0: there is none. */
static uintptr_t attempt_claim(struct attempt *t, uintptr_t to)
{
	struct movable *m;
	uintptr_t end;
	bool taken;

	for (; t->seen < to; t->seen = min_size(end, to)) {
		end = look(t->seen, &m, &taken);
		if (is_obstacle(m, taken, true))
			return end;
		if (!m)
			take_free(t->seen);
	}
	return 0;
}

/* The runs in it go elsewhere. The end of one that does not; 0: it is empty. */
static uintptr_t attempt_move(struct attempt *t)
{
	struct movable *m;
	uintptr_t end;
	bool taken;

	for (; t->moved < t->seen; t->moved = end) {
		end = look(t->moved, &m, &taken);
		if (m && !take_movable(m))
			return end;
	}
	return 0;
}

static void attempt_go_on(struct attempt *t, uintptr_t from)
{
	put_back(t->from, min_size(from, t->seen));
	t->from = from;
	t->seen = max_size(t->seen, from);
	t->moved = max_size(t->moved, from);
}

/* Whatever of the range comes free while the lock is dropped is taken, too. */
static uintptr_t alloc_moving(const struct contig_area *a, size_t size, size_t align)
{
	struct attempt t = {.from = align_up(a->base, align)};
	uintptr_t obstacle = 1;

	t.seen = t.moved = t.from;
	while (t.from >= a->base && t.from <= a->end - size) {
		contig.taking_from = t.from;
		contig.taking_to = t.from + size;
		obstacle = attempt_claim(&t, t.from + size);
		obstacle = obstacle ? obstacle : attempt_move(&t);
		if (!obstacle)
			break;
		attempt_go_on(&t, align_up(obstacle, align));
	}
	contig.taking_from = contig.taking_to = 0;
	if (obstacle)
		put_back(t.from, t.seen);
	return obstacle ? 0 : t.from;
}

static void take_all(uintptr_t from, uintptr_t to)
{
	struct attempt t = {from, from, from};

	contig.taking_from = from;
	contig.taking_to = to;
	attempt_claim(&t, to);
	contig.taking_from = contig.taking_to = 0;
}

static uintptr_t alloc_free(const struct contig_area *a, size_t size, size_t align)
{
	uintptr_t at = align_up(a->base, align), next;

	while (at >= a->base && at <= a->end - size) {
		next = find_obstacle(at, at + size);
		if (!next) {
			take_all(at, at + size);
			return at;
		}
		at = align_up(next, align);
	}
	return 0;
}

static void set_dirty(struct pageblock *b, unsigned index, unsigned nr_pages)
{
	pageblock_set_dirty(b, index, nr_pages, true);
}

/* From now on it need not read as zero. */
static void use_range(uintptr_t from, uintptr_t to)
{
	size_t nr_pages = (to - from) >> PAGE_SHIFT;

	each_block(from, to, set_dirty);
	run_describe((void *)from, 1, (unsigned)nr_pages);
	map_set(from, desc_of_number(nr_pages, PAGE_CONTIG));
	contig.info.nr_taken += nr_pages;
}

uintptr_t contig_take(const struct contig_area *a, size_t size, size_t align, bool may_move)
{
	uintptr_t at;

	if (size > a->end - a->base)
		return 0;
	at = may_move ? alloc_moving(a, size, align) : alloc_free(a, size, align);
	if (at)
		use_range(at, at + size);
	return at;
}
