/* SPDX-License-Identifier: MIT */
#include "page/contig.h"

#include <errno.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/buddy.h"
#include "page/limit.h"
#include "page/runs.h"
#include "page/zonelist.h"

struct area {
	struct area *next; /* constant, as are */
	uintptr_t base, end;
	bool is_lazy; /* of huge pages, of which no part is given back */
};

static struct {
	struct lock lock; /* RANK_BUDDY: it is one, and never taken with another */
	_Atomic uintptr_t owner; /* the thread whose request is at work, by its thread_state, as in a child of fork; 0: none */
	_Atomic(struct area *) areas; /* changed under lock */
	/* Under lock: */
	uintptr_t taking_from, taking_to; /* the range that a request is taking: what comes free in it is the request's */
	uint64_t nr_requests;		  /* so far */
	uint64_t number;		  /* of the one that is at work */
	bool is_short;			  /* there was no memory to move a run to */
	uint64_t nr_given_back; /* pages, so far; read without it */
	struct contig_info info;
	struct boot_pool movables;
} contig;

static void contig_lock(void)
{
	lock_take(&contig.lock, RANK_BUDDY);
}

static void contig_unlock(void)
{
	lock_drop(&contig.lock, RANK_BUDDY);
}

/* Without the lock, too: areas stay. */
static struct area *first_area(void)
{
	return atomic_load_explicit(&contig.areas, memory_order_acquire);
}

/* --- one request at a time -------------------------------------------------------------------- */

static bool owner_try(void)
{
	uintptr_t none = 0;

	return atomic_compare_exchange_strong(&contig.owner, &none, (uintptr_t)&thread_state);
}

static bool owner_is_self(void)
{
	return atomic_load(&contig.owner) == (uintptr_t)&thread_state;
}

/* False within the program's function. */
static bool owner_wait(void)
{
	if (owner_is_self())
		return false;
	while (!owner_try())
		os_sleep_ms(1);
	return true;
}

static void owner_end(void)
{
	atomic_store(&contig.owner, 0);
}

/* --- pages of the reserve, under the lock ------------------------------------------------------- */

static unsigned index_of(uintptr_t addr)
{
	return (unsigned)(addr >> PAGE_SHIFT) % PAGEBLOCK_PAGES;
}

static uintptr_t page_at(uintptr_t addr, size_t nr_pages)
{
	return addr + (nr_pages << PAGE_SHIFT);
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

/* Within one pageblock, or whole ones: to the lists, but for what a request is taking. */
static void release(uintptr_t from, uintptr_t to)
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
	release(head, end);
}

static void describe(struct movable *m, uintptr_t addr)
{
	run_describe((void *)addr, 0, m->nr_pages);
	map_set(addr, desc_of_pointer(m, PAGE_MOVABLE, 0));
}

static bool program_moves(const struct movable *m, void *to, void *from)
{
	int saved = errno, refused = m->migrate(to, from, (size_t)m->nr_pages << PAGE_SHIFT, m->arg);

	errno = saved; /* the call that wanted the range may yet succeed */
	return !refused;
}

/*
 * Both places are the run's while the program moves it: as soon as its function has written the new address anywhere,
 * another thread may free that, and waits until the run is there.
 */
static uintptr_t move_out(struct movable *m, uintptr_t from, bool *is_short)
{
	bool zeroed;
	void *to = limit_allows(m->nr_pages) ? pages_alloc(m->nr_pages, 0, MIGRATE_MOVABLE, 0, &zeroed) : NULL;

	*is_short = !to;
	if (!to)
		return 0;
	describe(m, (uintptr_t)to);
	if (!program_moves(m, to, (void *)from)) {
		pages_free(to, m->nr_pages);
		to = NULL;
	}
	return (uintptr_t)to;
}

static bool take_movable(struct movable *m)
{
	uintptr_t from = m->addr, to;
	bool is_short;

	m->is_moving = true;
	contig_unlock();
	to = move_out(m, from, &is_short);
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
	release(from, page_at(from, m->nr_pages));
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
static uintptr_t alloc_moving(const struct area *a, size_t size, size_t align)
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

static uintptr_t alloc_free(const struct area *a, size_t size, size_t align)
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

static uintptr_t alloc_in(const struct area *a, size_t size, size_t align, bool may_move)
{
	uintptr_t at;

	if (size > a->end - a->base)
		return 0;
	at = may_move ? alloc_moving(a, size, align) : alloc_free(a, size, align);
	if (at)
		use_range(at, at + size);
	return at;
}

/* --- requests -------------------------------------------------------------------------------------- */

void *contig_alloc(struct contig_request *r)
{
	const struct area *a;
	uintptr_t addr = 0;
	int pass;

	r->is_short = false;
	if (!first_area() || r->nr_pages > GIB >> PAGE_SHIFT || !owner_wait())
		return NULL;
	contig_lock();
	r->number = r->number ? r->number : ++contig.nr_requests;
	contig.number = r->number;
	contig.is_short = false;
	for (pass = 0; pass < 2 && !addr; pass++)
		for (a = first_area(); a && !addr; a = a->next)
			addr = alloc_in(a, r->nr_pages << PAGE_SHIFT, r->align, pass);
	contig.info.nr_allocs += addr != 0;
	r->is_short = !addr && contig.is_short;
	contig_unlock();
	owner_end();
	return (void *)addr;
}

void contig_give_up(void)
{
	contig_lock();
	contig.info.nr_failures++;
	contig_unlock();
}

bool contig_free(uintptr_t addr)
{
	page_desc_t d;
	size_t n = 0;

	contig_lock();
	d = addr % BSLAB_PAGE_SIZE ? 0 : map_lookup(addr);
	if (desc_type(d) == PAGE_CONTIG && !desc_class(d))
		n = desc_number(d);
	if (n)
		release(addr, page_at(addr, n));
	contig.info.nr_taken -= n;
	contig_unlock();
	return n != 0;
}

bool contig_add(unsigned nr_blocks, unsigned pages_flags)
{
	size_t nr_pages = (size_t)nr_blocks << PAGEBLOCK_ORDER, nr_dirty;
	struct pageblock *first = limit_allows(nr_pages) ? zonelist_alloc(pages_flags, nr_blocks, PAGEBLOCK_CONTIG, &nr_dirty) : NULL;
	struct area *a = first ? boot_alloc(sizeof *a, _Alignof(struct area)) : NULL;
	uintptr_t addr;

	if (!a) {
		if (first)
			zone_free(first, nr_blocks);
		return false;
	}
	a->base = pageblock_address(first);
	a->end = page_at(a->base, nr_pages);
	a->is_lazy = zone_type_of(first->region->zone) == ZONE_HUGE;
	for (addr = a->base; addr < a->end; addr += PAGEBLOCK_SIZE)
		pageblock_init_free(map_pageblock(addr));
	contig_lock();
	a->next = first_area();
	atomic_store_explicit(&contig.areas, a, memory_order_release);
	contig.info.nr_pages += nr_pages;
	contig_unlock();
	return true;
}

/* --- giving free pages back: the owner's work, for pages that are isolated have no descriptors ----------- */

#define PURGE_BATCH 32

struct piece {
	struct pageblock *b;
	unsigned index, order;
};

/* Dirty free pieces of a block. */
static unsigned isolate(struct pageblock *b, struct piece *out, unsigned min_order)
{
	unsigned n = 0, order, link, next;

	for (order = NR_ORDERS; order-- > min_order && b->nr_dirty_free;)
		for (link = b->head[order]; link && n < PURGE_BATCH; link = next) {
			next = pageblock_next_free(b, link);
			if (!pageblock_nr_dirty(b, link - 1, 1u << order))
				continue;
			pageblock_isolate(b, link - 1, order);
			out[n++] = (struct piece){b, link - 1, order};
		}
	return n;
}

static bool purge_piece(const struct piece *p)
{
	uintptr_t start = page_at(pageblock_address(p->b), p->index);
	bool ok = os_purge((void *)start, BSLAB_PAGE_SIZE << p->order) == 0;

	contig_lock();
	if (ok) {
		pageblock_set_dirty(p->b, p->index, 1u << p->order, false);
		WRITE_ONCE(contig.nr_given_back, contig.nr_given_back + (1u << p->order));
	}
	pageblock_free(p->b, p->index, 1u << p->order);
	contig_unlock();
	return ok;
}

/*
 * A piece that is refused, for it has a page that the program locked, stays dirty; those beside it do not, unless as many of its
 * order and above are refused as one look takes.
 */
static void purge_block(struct pageblock *b)
{
	unsigned min_order = ilog2(os_page_size() >> PAGE_SHIFT), n, nr_purged, i;
	struct piece pieces[PURGE_BATCH];

	do {
		contig_lock();
		n = isolate(b, pieces, min_order);
		contig_unlock();
		for (nr_purged = 0, i = 0; i < n; i++)
			nr_purged += purge_piece(&pieces[i]);
	} while (n == PURGE_BATCH && nr_purged);
}

uint64_t contig_nr_given_back(void)
{
	return READ_ONCE(contig.nr_given_back);
}

void contig_purge(void)
{
	const struct area *a = first_area();
	uintptr_t addr;

	if (likely(!a) || !owner_try())
		return;
	for (; a; a = a->next)
		for (addr = a->base; !a->is_lazy && addr < a->end; addr += PAGEBLOCK_SIZE)
			purge_block(map_pageblock(addr));
	owner_end();
}

/* --- movable runs ------------------------------------------------------------------------------------- */

/* From the top. */
static uintptr_t borrow(unsigned nr_pages)
{
	const struct area *a;
	unsigned nr_dirty;
	uintptr_t addr;

	for (a = first_area(); a; a = a->next)
		for (addr = a->end; addr > a->base; addr -= PAGEBLOCK_SIZE) {
			struct pageblock *b = map_pageblock(addr - PAGEBLOCK_SIZE);
			int index = b->nr_free >= nr_pages ? pageblock_alloc(b, nr_pages, 0, &nr_dirty) : -1;

			if (index >= 0)
				return page_at(pageblock_address(b), (unsigned)index);
		}
	return 0;
}

/* Before the lock is dropped: who looks at the reserve must know what stands where. */
static bool borrow_for(struct movable *m)
{
	contig_lock();
	m->addr = borrow(m->nr_pages);
	if (m->addr) {
		m->is_lent = true;
		describe(m, m->addr);
		contig.info.nr_lent += m->nr_pages;
	}
	contig_unlock();
	return m->is_lent;
}

void *movable_alloc(unsigned nr_pages, movable_migrate *migrate, void *arg)
{
	struct movable *m = boot_pool_get(&contig.movables, sizeof *m, _Alignof(struct movable));
	bool zeroed;

	if (!m)
		return NULL;
	*m = (struct movable){.nr_pages = nr_pages, .migrate = migrate, .arg = arg};
	if (!borrow_for(m)) {
		m->addr = limit_allows(nr_pages) ? (uintptr_t)pages_alloc(nr_pages, 0, MIGRATE_MOVABLE, 0, &zeroed) : 0;
		if (!m->addr) {
			boot_pool_put(&contig.movables, m);
			return NULL;
		}
		describe(m, m->addr);
	}
	return (void *)m->addr;
}

/* Of one that is lent: under the lock it stays so, or not. */
static bool give_back(struct movable *m)
{
	bool was_lent = m->is_lent;

	if (was_lent) {
		contig.info.nr_lent -= m->nr_pages;
		release(m->addr, page_at(m->addr, m->nr_pages));
	}
	return was_lent;
}

enum movable_fault movable_free(uintptr_t addr)
{
	struct movable *m;
	bool was_lent;

	contig_lock();
	m = addr % BSLAB_PAGE_SIZE ? NULL : movable_of(map_lookup(addr));
	if (!m || (m->is_moving && owner_is_self())) {
		contig_unlock();
		return m ? MOVABLE_BUSY : MOVABLE_FOREIGN;
	}
	while (m->is_moving) { /* nobody else may free it meanwhile: it stays */
		contig_unlock();
		os_sleep_ms(1); /* not os_yield(): of two threads with real-time priorities on a CPU the other would not run */
		contig_lock();
	}
	was_lent = give_back(m);
	contig_unlock();
	if (!was_lent)
		pages_free((void *)m->addr, m->nr_pages);
	boot_pool_put(&contig.movables, m);
	return MOVABLE_GOOD;
}

/* --- reports and fork --------------------------------------------------------------------------------- */

void contig_snapshot(struct contig_info *info)
{
	contig_lock();
	*info = contig.info;
	contig_unlock();
}

/* Within the program's function it is that request's thread that forks: it goes on in both processes. */
static bool forked_within;

void contig_fork_wait(void)
{
	forked_within = !owner_wait();
}

void contig_fork_prepare(void)
{
	lock_take_nested(&contig.lock);
}

void contig_fork_done(bool child)
{
	if (child)
		lock_reset(&contig.lock);
	else
		lock_drop_nested(&contig.lock);
}

void contig_fork_end(void)
{
	if (!forked_within)
		owner_end();
}
