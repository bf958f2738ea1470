/* SPDX-License-Identifier: MIT */
#include "page/folio.h"

#include <string.h>

#include "map/pageblock.h"
#include "os/options.h"
#include "page/limit.h"
#include "page/runs.h"

static bool is_folio(page_desc_t d)
{
	return desc_type(d) == PAGE_FOLIO && !desc_class(d);
}

static unsigned count_of(page_desc_t d)
{
	return (unsigned)(desc_number(d) >> FOLIO_COUNT_SHIFT);
}

static unsigned apart_of(page_desc_t d)
{
	return (unsigned)desc_number(d) & FOLIO_APART;
}

static unsigned apart_by(unsigned pages_flags)
{
	return pages_flags & PAGES_EXPLICIT || bslab_options.hardened ? FOLIO_APART : 0;
}

static uintptr_t page_at(uintptr_t addr, unsigned index)
{
	return addr + ((uintptr_t)index << PAGE_SHIFT);
}

void *folio_alloc(unsigned nr_pages, unsigned align_order, unsigned pages_flags, bool *zeroed)
{
	void *p = run_alloc(nr_pages, align_order, pages_flags, zeroed);

	if (p)
		map_set((uintptr_t)p, folio_desc(nr_pages | apart_by(pages_flags), 1));
	return p;
}

/* Each piece's head, and the distances to it. */
static void describe(uintptr_t addr, unsigned nr_pages, unsigned each, unsigned apart)
{
	unsigned i;

	for (i = 0; i < nr_pages; i++) {
		unsigned rest = nr_pages - i / each * each;

		map_set(page_at(addr, i), i % each ? desc_of_number(i % each, PAGE_RUN_BODY)
						   : folio_desc((rest < each ? rest : each) | apart, 1));
	}
}

unsigned folio_alloc_singles(void **out, unsigned nr, bool zero, unsigned pages_flags)
{
	unsigned done = 0, run = PAGEBLOCK_PAGES, i;
	bool zeroed;
	char *p;

	while (done < nr && run) {
		if (run > nr - done)
			run = nr - done;
		p = limit_allows(run) ? pages_alloc(run, 0, MIGRATE_MOVABLE, pages_flags, &zeroed) : NULL;
		if (!p) {
			run /= 2; /* smaller ones may be left */
			continue;
		}
		if (zero && !zeroed)
			memset(p, 0, (size_t)run << PAGE_SHIFT);
		for (i = 0; i < run; i++, p += BSLAB_PAGE_SIZE) {
			map_set((uintptr_t)p, folio_desc(1 | apart_by(pages_flags), 1));
			out[done++] = p;
		}
	}
	return done;
}

uintptr_t folio_head(uintptr_t addr)
{
	uintptr_t page = align_down(addr, BSLAB_PAGE_SIZE);
	page_desc_t d = map_lookup(page);

	if (desc_type(d) == PAGE_RUN_BODY && !desc_class(d))
		page -= (uintptr_t)desc_number(d) << PAGE_SHIFT;
	return is_folio(map_lookup(page)) ? page : 0;
}

unsigned folio_nr_pages(uintptr_t head)
{
	return folio_pages_of(map_lookup(head));
}

unsigned folio_count(uintptr_t head)
{
	return count_of(map_lookup(head));
}

/* The descriptor before; *fault where there was no change. */
static page_desc_t add_count(uintptr_t head, int by, enum folio_fault *fault)
{
	_Atomic page_desc_t *slot = head % BSLAB_PAGE_SIZE ? NULL : map_slot(head);
	page_desc_t d = slot ? atomic_load(slot) : 0;

	*fault = FOLIO_GOOD;
	do {
		if (!is_folio(d) || !count_of(d)) {
			*fault = FOLIO_FOREIGN;
			return 0;
		}
		if (count_of(d) >= FOLIO_MAX_COUNT && by > 0) {
			*fault = FOLIO_BAD;
			return 0;
		}
	} while (!atomic_compare_exchange_weak(slot, &d, folio_desc(folio_pages_of(d) | apart_of(d), count_of(d) + (unsigned)by)));
	return d;
}

enum folio_fault folio_get(uintptr_t head)
{
	enum folio_fault fault;

	add_count(head, 1, &fault);
	return fault;
}

enum folio_fault folio_put(uintptr_t head)
{
	enum folio_fault fault;
	page_desc_t d = add_count(head, -1, &fault);

	if (fault == FOLIO_GOOD && count_of(d) == 1)
		run_free((void *)head, folio_pages_of(d));
	return fault;
}

enum folio_fault folio_split(uintptr_t head, unsigned nr_pages)
{
	page_desc_t d = head % BSLAB_PAGE_SIZE ? 0 : map_lookup(head);

	if (!is_folio(d))
		return FOLIO_FOREIGN;
	if (count_of(d) != 1)
		return FOLIO_SHARED;
	if (!nr_pages)
		return FOLIO_BAD;
	describe(head, folio_pages_of(d), nr_pages, apart_of(d));
	return FOLIO_GOOD;
}
