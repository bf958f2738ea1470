/* SPDX-License-Identifier: MIT */
/* Movable runs, which the contiguous reserve is lent to: 2 and 5 in contig.h. */
#include <errno.h>

#include "os/os.h"
#include "page/buddy.h"
#include "page/contig_area.h"
#include "page/limit.h"
#include "page/runs.h"

static struct boot_pool movables;

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
uintptr_t movable_move_out(struct movable *m, uintptr_t from, bool *is_short)
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

/* From the top. */
static uintptr_t borrow(unsigned nr_pages)
{
	const struct contig_area *a;
	unsigned nr_dirty;
	uintptr_t addr;

	for (a = contig_first_area(); a; a = a->next)
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
	struct movable *m = boot_pool_get(&movables, sizeof *m, _Alignof(struct movable));
	bool zeroed;

	if (!m)
		return NULL;
	*m = (struct movable){.nr_pages = nr_pages, .migrate = migrate, .arg = arg};
	if (!borrow_for(m)) {
		m->addr = limit_allows(nr_pages) ? (uintptr_t)pages_alloc(nr_pages, 0, MIGRATE_MOVABLE, 0, &zeroed) : 0;
		if (!m->addr) {
			boot_pool_put(&movables, m);
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
		contig_release(m->addr, page_at(m->addr, m->nr_pages));
	}
	return was_lent;
}

enum movable_fault movable_free(uintptr_t addr)
{
	struct movable *m;
	bool was_lent;

	contig_lock();
	m = addr % BSLAB_PAGE_SIZE ? NULL : movable_of(map_lookup(addr));
	if (!m || (m->is_moving && contig_owner_is_self())) {
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
	boot_pool_put(&movables, m);
	return MOVABLE_GOOD;
}
