/* SPDX-License-Identifier: MIT */
#include "boot/paged.h"

#include "base/probe.h"
#include "boot/locked.h"
#include "os/os.h"

#define NR_PACKED 64

/* At the start of a page; the pages of a pool differ in nothing else. */
struct paged_page {
	struct list_node node; /* in pool->partial or empty; in neither while no object is free */
	void *free;	       /* linked through the first word */
	uint16_t nr_free, nr_objects;
};

#define FIRST_OFFSET 72 /* an odd multiple of 8, as all that follow: see 4 in paged.h */
_Static_assert(sizeof(struct paged_page) <= FIRST_OFFSET && FIRST_OFFSET % 16 == 8, "where objects begin");

/* Addresses of pages that were given back. */
struct ledger {
	struct ledger *next;
	size_t nr;
	void *page[510];
};

static struct boot_pool ledgers;

static bool is_packed(const void *obj)
{
	return (uintptr_t)obj % 16 == 0;
}

static struct paged_page *page_of(const void *obj)
{
	return (struct paged_page *)align_down((uintptr_t)obj, BSLAB_PAGE_SIZE);
}

static void *pop_clean(struct paged_pool *pool)
{
	struct ledger *l = pool->clean;
	void *page;

	if (!l)
		return NULL;
	page = l->page[--l->nr];
	if (!l->nr) {
		pool->clean = l->next;
		boot_pool_put_locked(&ledgers, l);
	}
	boot_count_used(BSLAB_PAGE_SIZE);
	return page;
}

/* Without memory for a ledger the page is lost: it holds none. */
static void push_clean(struct paged_pool *pool, void *page)
{
	struct ledger *l = pool->clean;

	if (!l || l->nr == sizeof l->page / sizeof *l->page) {
		l = boot_pool_get_locked(&ledgers, sizeof *l, 8);
		if (!l)
			return;
		l->nr = 0;
		l->next = pool->clean;
		pool->clean = l;
	}
	l->page[l->nr++] = page;
	boot_count_used(-(size_t)BSLAB_PAGE_SIZE);
}

static struct paged_page *page_begin(void *memory, size_t stride)
{
	struct paged_page *p = memory;
	char *obj = (char *)memory + FIRST_OFFSET;

	p->free = NULL;
	p->nr_free = 0;
	for (; obj + stride <= (char *)memory + BSLAB_PAGE_SIZE; obj += stride) {
		*(void **)obj = p->free;
		p->free = obj;
		p->nr_free++;
	}
	p->nr_objects = p->nr_free;
	return p;
}

/* A page with free objects, on the list of such. */
static struct paged_page *page_get(struct paged_pool *pool, size_t stride)
{
	struct paged_page *p;
	void *memory;

	if (pool->partial.first)
		return container_of(pool->partial.first, struct paged_page, node);
	if (pool->empty.first) {
		p = container_of(pool->empty.first, struct paged_page, node);
		list_del(&pool->empty, &p->node);
		WRITE_ONCE(pool->nr_empty, pool->nr_empty - 1);
	} else {
		memory = pop_clean(pool);
		if (!memory)
			memory = boot_alloc_locked(BSLAB_PAGE_SIZE, BSLAB_PAGE_SIZE);
		if (!memory)
			return NULL;
		p = page_begin(memory, stride);
	}
	list_add(&pool->partial, &p->node);
	return p;
}

/* Beyond the first few: not what every process runs. */
static out_of_line void *get_from_page(struct paged_pool *pool, size_t size)
{
	struct paged_page *p = page_get(pool, align_up(size, 16));
	void *obj;

	if (!p)
		return NULL;
	obj = p->free;
	p->free = *(void **)obj;
	if (!--p->nr_free)
		list_del(&pool->partial, &p->node);
	return obj;
}

void *paged_get(struct paged_pool *pool, size_t size)
{
	void *obj;

	lock_take(&boot.lock, RANK_META);
	if (pool->packed.free || pool->nr_packed < NR_PACKED) {
		pool->nr_packed += !pool->packed.free;
		obj = boot_pool_get_locked(&pool->packed, size, 16);
	} else {
		obj = get_from_page(pool, size);
	}
	lock_drop(&boot.lock, RANK_META);
	return obj;
}

static out_of_line void put_into_page(struct paged_pool *pool, void *obj)
{
	struct paged_page *p = page_of(obj);

	*(void **)obj = p->free;
	p->free = obj;
	if (!p->nr_free++)
		list_add(&pool->partial, &p->node);
	if (p->nr_free < p->nr_objects)
		return;
	list_del(&pool->partial, &p->node);
	list_add(&pool->empty, &p->node);
	WRITE_ONCE(pool->nr_empty, pool->nr_empty + 1);
}

void paged_put(struct paged_pool *pool, void *obj)
{
	lock_take(&boot.lock, RANK_META);
	if (is_packed(obj))
		boot_pool_put_locked(&pool->packed, obj);
	else
		put_into_page(pool, obj);
	lock_drop(&boot.lock, RANK_META);
}

/* --- giving back ----------------------------------------------------------------- */

static unsigned take_empty(struct paged_pool *pool, void **pages, size_t nr_keep)
{
	unsigned n = 0;

	lock_take(&boot.lock, RANK_META);
	while (paged_has_empty(pool, nr_keep) || (n && n < PAGED_BATCH && pool->nr_empty > nr_keep)) {
		struct paged_page *p = container_of(pool->empty.last, struct paged_page, node);

		if (n == PAGED_BATCH)
			break;
		list_del(&pool->empty, &p->node);
		WRITE_ONCE(pool->nr_empty, pool->nr_empty - 1);
		pages[n++] = p;
	}
	lock_drop(&boot.lock, RANK_META);
	return n;
}

static void sort(void **pages, unsigned n)
{
	unsigned i, k;

	for (i = 1; i < n; i++) {
		void *page = pages[i];

		for (k = i; k && pages[k - 1] > page; k--)
			pages[k] = pages[k - 1];
		pages[k] = page;
	}
}

static unsigned ranges_of(void **pages, unsigned n, struct os_range *ranges)
{
	unsigned i, nr = 0;

	sort(pages, n);
	for (i = 0; i < n; i++)
		if (nr && (char *)ranges[nr - 1].addr + ranges[nr - 1].size == (char *)pages[i])
			ranges[nr - 1].size += BSLAB_PAGE_SIZE;
		else
			ranges[nr++] = (struct os_range){pages[i], BSLAB_PAGE_SIZE};
	return nr;
}

void paged_trim(struct paged_pool *pool, size_t nr_keep)
{
	struct os_range ranges[PAGED_BATCH];
	void *pages[PAGED_BATCH];
	unsigned n, nr_ranges, i;

	if (os_page_size() != BSLAB_PAGE_SIZE) /* the kernel would take what stands beside a page, too */
		return;
	while ((n = take_empty(pool, pages, nr_keep))) {
		nr_ranges = ranges_of(pages, n, ranges);
		PROBE(metadata_purge, n, nr_ranges);
		for (i = 0; i < nr_ranges; i++) /* behind one that is refused, for it is locked */
			i += os_purge_ranges(ranges + i, nr_ranges - i);
		lock_take(&boot.lock, RANK_META);
		for (i = 0; i < n; i++)
			push_clean(pool, pages[i]);
		lock_drop(&boot.lock, RANK_META);
	}
}
