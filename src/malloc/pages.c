/* SPDX-License-Identifier: MIT */
/* Pages for programs; bslab/page.h documents each call, page/folio.h how runs are counted. */
#include "bslab/page.h"

#include <errno.h>
#include <string.h>

#include "handle/objects.h"
#include "heap/heap.h"
#include "heap/pool.h"
#include "large/large.h"
#include "malloc/explicit.h"
#include "malloc/internal.h"
#include "malloc/profile.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/contig.h"
#include "page/folio.h"
#include "slab/kept.h"
#include "slab/pcp.h"
#include "slab/slab.h"

_Static_assert(BSLAB_PAGE_BYTES == BSLAB_PAGE_SIZE && BSLAB_MAX_PAGE_ORDER == PAGEBLOCK_ORDER, "the page floor's");

static size_t nr_pages_of(size_t size)
{
	return (size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT;
}

#define ALL_FLAGS (BSLAB_PAGES_ZERO | BSLAB_PAGES_DMA32 | BSLAB_PAGES_THISNODE | BSLAB_PAGES_HUGETLB)
/* No memory is both. */
#define STRICT_FLAGS (BSLAB_PAGES_DMA32 | BSLAB_PAGES_HUGETLB)

static bool flags_are_good(unsigned flags)
{
	return !(flags & ~(unsigned)ALL_FLAGS) && (flags & STRICT_FLAGS) != STRICT_FLAGS;
}

static unsigned pages_flags_of(unsigned flags)
{
	return (flags & BSLAB_PAGES_DMA32 ? PAGES_DMA32 : 0) | (flags & BSLAB_PAGES_HUGETLB ? PAGES_HUGE : 0) |
	       (flags & BSLAB_PAGES_THISNODE ? explicit_this_node() : 0);
}

/* Whether what CPUs keep may serve. Else folios are FOLIO_APART. */
static bool may_keep(unsigned pages_flags)
{
	return !(pages_flags & PAGES_EXPLICIT) && !bslab_options.hardened;
}

static force_inline void *alloc_once(unsigned nr_pages, unsigned align_order, unsigned pages_flags, bool *zeroed)
{
	if (likely(may_keep(pages_flags))) {
		if (nr_pages <= 1u << PCP_MAX_ORDER && is_power_of_2(nr_pages))
			return pcp_alloc((unsigned)__builtin_ctz(nr_pages), pages_flags, zeroed);
		kept_yield(nr_pages);
	}
	return folio_alloc(nr_pages, align_order, pages_flags, zeroed);
}

static void *alloc(size_t nr_pages, unsigned align_order, unsigned flags)
{
	unsigned pages_flags, round;
	bool zeroed = false;
	void *p;

	if (!nr_pages || nr_pages > PAGEBLOCK_PAGES || !flags_are_good(flags)) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	pages_flags = pages_flags_of(flags);
	reclaim_if_due();
	p = alloc_once((unsigned)nr_pages, align_order, pages_flags, &zeroed);
	for (round = 0; unlikely(!p) && explicit_make_room(pages_flags, round, nr_pages << PAGE_SHIFT); round++)
		p = alloc_once((unsigned)nr_pages, align_order, PAGES_HIGHATOMIC | pages_flags, &zeroed);
	process_hook_thread();
	reports_poll();
	if (unlikely(!p))
		errno = ENOMEM;
	else if (flags & BSLAB_PAGES_ZERO && !zeroed)
		memset(p, 0, nr_pages << PAGE_SHIFT);
	return p;
}

static void *zero_if_asked(void *p, bool zeroed, size_t nr_pages, unsigned flags)
{
	return flags & BSLAB_PAGES_ZERO && !zeroed ? memset(p, 0, nr_pages << PAGE_SHIFT) : p;
}

static void *alloc_kept(size_t nr_pages, unsigned align_order, unsigned flags)
{
	void *p = NULL;

	if (nr_pages && !(flags & ~(unsigned)BSLAB_PAGES_ZERO))
		p = kept_take(nr_pages, BSLAB_PAGE_SIZE << align_order);
	if (!p)
		return alloc(nr_pages, align_order, flags);
	map_set((uintptr_t)p, folio_desc((unsigned)nr_pages, 1));
	return zero_if_asked(p, false, nr_pages, flags);
}

static out_of_line void *alloc_rest(unsigned order, unsigned flags)
{
	if (order <= PCP_MAX_ORDER || order > PAGEBLOCK_ORDER)
		return alloc(order <= PAGEBLOCK_ORDER ? (size_t)1 << order : 0, order, flags);
	return alloc_kept((size_t)1 << order, order, flags);
}

void *bslab_pages_alloc(unsigned order, unsigned flags)
{
	void *word, *p;

	/* Not before boot, when the limit is 0. */
	if (unlikely(order > PCP_MAX_ORDER || flags > BSLAB_PAGES_ZERO || !READ_ONCE(bslab_hot.kept_limit)))
		return alloc_rest(order, flags);
	word = pcp_pop(order);
	if (unlikely(!word))
		return alloc_rest(order, flags);
	p = pcp_use(word, order);
	return likely(!flags) ? p : zero_if_asked(p, pcp_is_zeroed(word), (size_t)1 << order, flags);
}

void *bslab_pages_alloc_exact(size_t size, unsigned flags)
{
	size_t nr_pages = size <= PAGEBLOCK_SIZE ? nr_pages_of(size) : 0;

	if (nr_pages <= 1u << PCP_MAX_ORDER && is_power_of_2(nr_pages))
		return bslab_pages_alloc((unsigned)__builtin_ctz((unsigned)nr_pages), flags);
	return alloc_kept(nr_pages, 0, flags);
}

/* Pieces of a bulk, so that the page floor counts in 32 bits. */
#define MAX_BULK (1u << 20)

static size_t alloc_singles(size_t nr, void **pages, bool zero, unsigned pages_flags)
{
	size_t done = 0;
	unsigned n, got;

	do {
		n = (unsigned)min_size(nr - done, MAX_BULK);
		got = folio_alloc_singles(pages + done, n, zero, pages_flags);
		done += got;
	} while (done < nr && got == n);
	return done;
}

size_t bslab_pages_alloc_bulk(size_t nr, void **pages, unsigned flags)
{
	unsigned pages_flags, round;
	bool zero = flags & BSLAB_PAGES_ZERO;
	size_t done;

	if (!flags_are_good(flags)) {
		errno = EINVAL;
		return 0;
	}
	process_boot();
	pages_flags = pages_flags_of(flags);
	reclaim_if_due();
	done = may_keep(pages_flags) ? pcp_alloc_singles(pages, (unsigned)min_size(nr, MAX_BULK), zero) : 0;
	if (done < nr)
		done += alloc_singles(nr - done, pages + done, zero, pages_flags);
	for (round = 0; unlikely(done < nr) && explicit_make_room(pages_flags, round, (nr - done) << PAGE_SHIFT); round++)
		done += alloc_singles(nr - done, pages + done, zero, PAGES_HIGHATOMIC | pages_flags);
	process_hook_thread();
	reports_poll();
	if (unlikely(done < nr)) {
		bslab_pages_free_bulk(done, pages);
		errno = ENOMEM;
		return 0;
	}
	return nr;
}

/* --- what is not a run -------------------------------------------------------------------------- */

static bool check(const void *addr, const char *what, enum folio_fault fault)
{
	uintptr_t head;

	if (likely(fault == FOLIO_GOOD))
		return true;
	head = folio_head((uintptr_t)addr);
	if (fault == FOLIO_BAD)
		bug_caller("invalid %s of %p: the run has as many references as can be", what, addr);
	else if (head)
		bug_caller("invalid %s of %p: inside a run of %z pages at %p", what, addr, (size_t)folio_nr_pages(head),
			   (void *)head);
	else
		bug_caller("invalid %s of %p: not a run of pages", what, addr);
	return false;
}

static bool is_head(const void *addr, const char *what)
{
	uintptr_t head = folio_head((uintptr_t)addr);

	return check(addr, what, head && head == (uintptr_t)addr ? FOLIO_GOOD : FOLIO_FOREIGN);
}

/* --- calls on runs -------------------------------------------------------------------------------- */

static void put(void *head, const char *what)
{
	check(head, what, folio_put((uintptr_t)head));
	reports_poll();
}

static out_of_line void free_past_sheaf(void *addr, unsigned order)
{
	pcp_free(addr, order);
	process_hook_thread();
	reports_poll();
}

static out_of_line void free_rest(void *addr, const char *what)
{
	enum kept_free how = kept_free_folio(addr);

	if (how == KEPT_NOT)
		put(addr, what);
	else if (how == KEPT_BY_A_LOCK)
		reports_poll();
}

/* In one place: each copy of a sequence is relocated at start. */
static out_of_line void free_run(void *addr, const char *what)
{
	int order = pcp_claim((uintptr_t)addr);

	if (unlikely(order < 0))
		free_rest(addr, what);
	else if (unlikely(!pcp_free_quick(addr, (unsigned)order)))
		free_past_sheaf(addr, (unsigned)order);
}

void bslab_pages_free(void *addr)
{
	if (likely(addr != NULL))
		free_run(addr, "bslab_pages_free");
}

/* Many are mostly side by side, and go to the buddies as they are. */
static unsigned free_some(void *const *pages, size_t nr, bool go_home)
{
	unsigned max = (unsigned)min_size(nr, MAX_BULK), done = pcp_push_singles(pages, max);

	return done || !go_home ? done : pcp_give_singles(pages, max);
}

void bslab_pages_free_bulk(size_t nr, void *const *pages)
{
	size_t done = 0;

	while (done < nr) {
		unsigned n = free_some(pages + done, nr - done, nr > PCP_MAX_BULK || !pcp_may_wait());

		done += n;
		if (!n)
			bslab_pages_free(pages[done++]);
	}
	process_hook_thread();
	reports_poll();
}

size_t bslab_pages_split(void *addr, size_t nr_pages)
{
	size_t before, each;

	if (!is_head(addr, "bslab_pages_split"))
		return 0;
	before = folio_nr_pages((uintptr_t)addr);
	each = min_size(nr_pages, before);
	return folio_split((uintptr_t)addr, (unsigned)each) == FOLIO_GOOD ? (before + each - 1) / each : 0;
}

void *bslab_folio_head(const void *addr)
{
	return (void *)folio_head((uintptr_t)addr);
}

size_t bslab_folio_size(const void *head)
{
	return is_head(head, "bslab_folio_size") ? (size_t)folio_nr_pages((uintptr_t)head) << PAGE_SHIFT : 0;
}

unsigned bslab_folio_ref_count(const void *head)
{
	return is_head(head, "bslab_folio_ref_count") ? folio_count((uintptr_t)head) : 0;
}

void bslab_folio_get(void *head)
{
	check(head, "bslab_folio_get", folio_get((uintptr_t)head));
}

void bslab_folio_put(void *head)
{
	free_run(head, "bslab_folio_put");
}

/* --- descriptors ------------------------------------------------------------------------------------ */

static void slab_info(struct slab *s, struct bslab_page_info *info)
{
	unsigned nr_objects = slab_nr_objects(s);

	if (!nr_objects) { /* gone meanwhile */
		info->type = BSLAB_PAGE_FREE;
		return;
	}
	info->type = BSLAB_PAGE_SLAB;
	info->head = (void *)s->base;
	info->object_size = slab_cache(s)->size;
	info->nr_pages = nr_pages_of(nr_objects * info->object_size);
}

static void run_info(uintptr_t head, struct bslab_page_info *info)
{
	page_desc_t d = map_lookup(head);

	info->head = (void *)head;
	if (folio_head(head) == head) {
		info->type = BSLAB_PAGE_FOLIO;
		info->nr_pages = folio_nr_pages(head);
		info->ref_count = folio_count(head);
	} else if (desc_type(d) == PAGE_RUN || desc_type(d) == PAGE_RUN_HOT) {
		info->type = desc_type(d) == PAGE_RUN ? BSLAB_PAGE_RUN : BSLAB_PAGE_FREE;
		info->nr_pages = (size_t)desc_number(d);
	} else if (movable_of(d)) {
		info->type = BSLAB_PAGE_MOVABLE;
		info->nr_pages = movable_of(d)->nr_pages;
	} else if (desc_type(d) == PAGE_CONTIG) {
		info->type = BSLAB_PAGE_CONTIG;
		info->nr_pages = (size_t)desc_number(d);
	} else {
		info->type = BSLAB_PAGE_RUN;
	}
}

/* A page without a descriptor: of a block of free pages, or of a large block, which have one for their first. */
static enum bslab_page_type type_of_block(const struct pageblock *b)
{
	switch (b ? READ_ONCE(b->state) : PAGEBLOCK_ABSENT) {
	case PAGEBLOCK_FREE:
	case PAGEBLOCK_BUDDY:
	case PAGEBLOCK_ISOLATE:
	case PAGEBLOCK_DEVICE:
	case PAGEBLOCK_CONTIG:
		return BSLAB_PAGE_FREE;
	case PAGEBLOCK_LARGE:
		return BSLAB_PAGE_LARGE;
	default:
		return BSLAB_PAGE_OTHER;
	}
}

void bslab_page_info(struct bslab_page page, struct bslab_page_info *info)
{
	uintptr_t addr = (uintptr_t)bslab_page_address(page);
	page_desc_t d = map_lookup(addr);
	struct vm_area *a = large_of(d);

	*info = (struct bslab_page_info){0};
	if (desc_cache(d) || desc_is_hardened(d)) {
		slab_info(slab_of(d), info);
	} else if (handle_slab_of(d)) {
		info->type = BSLAB_PAGE_HANDLE;
	} else if (a) {
		info->type = a->has_handle ? BSLAB_PAGE_HANDLE : BSLAB_PAGE_LARGE;
		info->head = (void *)a->addr;
		info->nr_pages = a->size >> PAGE_SHIFT;
	} else if (desc_type(d) == PAGE_RUN_BODY) {
		run_info(addr - ((uintptr_t)desc_number(d) << PAGE_SHIFT), info);
	} else if (desc_type(d) == PAGE_FREE) {
		info->type = BSLAB_PAGE_FREE;
	} else if (heap_of(d)) {
		info->type = BSLAB_PAGE_HEAP;
	} else if (pool_of(d)) {
		info->type = BSLAB_PAGE_POOL;
	} else if (d) {
		run_info(addr, info);
	} else {
		info->type = type_of_block(map_pageblock(addr));
	}
}
