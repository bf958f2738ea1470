/* SPDX-License-Identifier: MIT */
/*
 * Folios: page runs that programs take as such, with a reference count (Linux: struct folio, include/linux/mm.h).
 *
 * 1. A folio is a run whose head's descriptor has a type of its own, so that
 *    free() does not take it for malloc's, and a count beside the number of pages:
 *
 *        desc_number = nr_pages | apart << 15 | count << 16
 *
 *    apart: no CPU keeps it when it is free (FOLIO_APART). So is that of an explicit zone,
 *    which goes home, and any in the hardened mode, in which no quick way is gone. Bodies
 *    are those of any run: the distance to the head.
 *
 * 2. Get and put change the count by compare and exchange on the descriptor.
 *    Who puts the last one frees the run: a count of 0 is one on its way home, and nobody's.
 *    Who holds none may not look.
 *
 * 3. A run can be split in place: each piece gets a head. The buddies know pages,
 *    not runs.
 */
#ifndef BSLAB_FOLIO_H
#define BSLAB_FOLIO_H

#include "map/map.h"

#define FOLIO_APART 0x8000u
#define FOLIO_COUNT_SHIFT 16
#define FOLIO_MAX_COUNT ((1u << 31) - 1)

static force_inline unsigned folio_pages_of(page_desc_t d)
{
	return (unsigned)desc_number(d) & (FOLIO_APART - 1);
}

/* pages: their number, and FOLIO_APART or not. */
static force_inline page_desc_t folio_desc(unsigned pages, unsigned count)
{
	return desc_of_number(pages | (uint64_t)count << FOLIO_COUNT_SHIFT, PAGE_FOLIO);
}

/* A folio with a count of 1, aligned to 2^align_order pages; NULL when there are none. */
void *folio_alloc(unsigned nr_pages, unsigned align_order, unsigned pages_flags, bool *zeroed);
/* nr folios of one page, with neighbours where it can be had: how many there were. zero: they read as zero. */
unsigned folio_alloc_singles(void **out, unsigned nr, bool zero, unsigned pages_flags);

/* The address of the head of the folio that an address is in; 0: in none. */
uintptr_t folio_head(uintptr_t addr);
/* Of a head. */
unsigned folio_nr_pages(uintptr_t head);
unsigned folio_count(uintptr_t head);

enum folio_fault {
	FOLIO_GOOD,
	FOLIO_FOREIGN, /* not the head of a folio */
	FOLIO_SHARED,  /* others hold it */
	FOLIO_BAD,	/* no such pieces; or the count is at its end */
};
enum folio_fault folio_get(uintptr_t head);
/* The last one frees it. */
enum folio_fault folio_put(uintptr_t head);
/* Into pieces of nr_pages each, the last of what is left, of a count of 1. Only who has the one reference may. */
enum folio_fault folio_split(uintptr_t head, unsigned nr_pages);

#endif
