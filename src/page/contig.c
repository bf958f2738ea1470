/* SPDX-License-Identifier: MIT */
/* Requests for a range of the contiguous reserve. */
#include "os/os.h"
#include "page/contig_area.h"
#include "page/limit.h"
#include "page/zonelist.h"

struct contig contig;

/* --- one request at a time -------------------------------------------------------------------- */

static bool owner_try(void)
{
	uintptr_t none = 0;

	return atomic_compare_exchange_strong(&contig.owner, &none, (uintptr_t)&thread_state);
}

/* False within the program's function. */
static bool owner_wait(void)
{
	if (contig_owner_is_self())
		return false;
	while (!owner_try())
		os_sleep_ms(1);
	return true;
}

static void owner_end(void)
{
	atomic_store(&contig.owner, 0);
}

/* --- requests -------------------------------------------------------------------------------------- */

void *contig_alloc(struct contig_request *r)
{
	const struct contig_area *a;
	uintptr_t addr = 0;
	int pass;

	r->is_short = false;
	if (!contig_first_area() || r->nr_pages > GIB >> PAGE_SHIFT || !owner_wait())
		return NULL;
	contig_lock();
	r->number = r->number ? r->number : ++contig.nr_requests;
	contig.number = r->number;
	contig.is_short = false;
	for (pass = 0; pass < 2 && !addr; pass++)
		for (a = contig_first_area(); a && !addr; a = a->next)
			addr = contig_take(a, r->nr_pages << PAGE_SHIFT, r->align, pass);
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
		contig_release(addr, page_at(addr, n));
	contig.info.nr_taken -= n;
	contig_unlock();
	return n != 0;
}

bool contig_add(unsigned nr_blocks, unsigned pages_flags)
{
	size_t nr_pages = (size_t)nr_blocks << PAGEBLOCK_ORDER, nr_dirty;
	struct pageblock *first = limit_allows(nr_pages) ? zonelist_alloc(pages_flags, nr_blocks, PAGEBLOCK_CONTIG, &nr_dirty) : NULL;
	struct contig_area *a = first ? boot_alloc(sizeof *a, _Alignof(struct contig_area)) : NULL;
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
	a->next = contig_first_area();
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
	const struct contig_area *a = contig_first_area();
	uintptr_t addr;

	if (likely(!a) || !owner_try())
		return;
	for (; a; a = a->next)
		for (addr = a->base; !a->is_lazy && addr < a->end; addr += PAGEBLOCK_SIZE)
			purge_block(map_pageblock(addr));
	owner_end();
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
