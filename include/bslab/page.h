/* SPDX-License-Identifier: MIT */
/*
 * Pages, as Linux's page allocator gives them: runs of 4 KiB pages from the buddies, with reference counts.
 *
 *     char *ring = bslab_pages_alloc(4, BSLAB_PAGES_ZERO);         16 pages, aligned to 64 KiB
 *     bslab_folio_get(ring);                                       one more who holds it
 *     bslab_folio_put(ring);
 *     bslab_pages_free(ring);                                      the last one: the pages go back
 *
 * A page is 4 KiB here whatever the machine's is. A run has at most 512 of them (2 MiB). Pages belong to whoever holds
 * a reference: bslab_free() and the like of a run, and these calls on anything else, are reported by one line on
 * stderr, and the process aborts (bslab.h says how to survive that).
 *
 * Threads: all calls may be made from any thread. Signals: none may be made from a handler but bslab_page_info(). fork: as for
 * malloc. Cost: runs of 1, 2, 4 and 8 pages are kept by their CPU when they are freed, and cost what a small block of malloc's
 * costs; of a larger one, up to 1 MiB, the one that was freed last is. Else a lock and some 150 ns. No header: pages of a run
 * are the program's from the first to the last byte.
 */
#ifndef BSLAB_PAGE_H
#define BSLAB_PAGE_H

#include <bslab/bslab.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BSLAB_PAGE_BYTES 4096
#define BSLAB_MAX_PAGE_ORDER 9

enum bslab_pages_flags {
	BSLAB_PAGES_ZERO = 1, /* read as zero; pages fresh from the kernel are not written */
	BSLAB_PAGES_DMA32 = 2, /* below 4 GiB */
	BSLAB_PAGES_THISNODE = 4, /* of the NUMA node that the thread runs on, or NULL */
	BSLAB_PAGES_HUGETLB = 8, /* of an explicit huge page, or NULL: see BSLAB_GFP_HUGETLB */
};

/* 2^order pages, aligned to their size (__get_free_pages). NULL with ENOMEM, or EINVAL: order above 9, unknown flags. */
BSLAB_API void *bslab_pages_alloc(unsigned order, unsigned flags);
/* As many pages as size bytes take, up to 2 MiB, not rounded up to a power of two (alloc_pages_exact). NULL as above. */
BSLAB_API void *bslab_pages_alloc_exact(size_t size, unsigned flags) __attribute__((alloc_size(1)));
/*
 * nr runs of one page each (alloc_pages_bulk): nr, or 0 with ENOMEM and none. First what this CPU keeps; of more than 32
 * the others are side by side where that can be had. A fraction of what single calls cost.
 */
BSLAB_API size_t bslab_pages_alloc_bulk(size_t nr, void **pages, unsigned flags);
/*
 * Drops the caller's reference. NULL is fine. Keeps errno. A second free is reported; not always one at the very same moment
 * by another thread.
 */
BSLAB_API void bslab_pages_free(void *addr);
BSLAB_API void bslab_pages_free_bulk(size_t nr, void *const *pages);

/*
 * Makes runs of nr_pages each out of one, the last of what is left; each begins a reference count of its own
 * (split_page). Only while the caller's is the only reference, and for nr_pages above 0: else 0 and nothing is done. How many there
 * are.
 */
BSLAB_API size_t bslab_pages_split(void *addr, size_t nr_pages);

/* --- folios: the run that an address is in ------------------------------------------------- */

/* The start of the run that an address, of whatever kind, is in; NULL: in none of these. */
BSLAB_API void *bslab_folio_head(const void *addr);
/* Of a run, by its start: bytes, and references. */
BSLAB_API size_t bslab_folio_size(const void *head);
BSLAB_API unsigned bslab_folio_ref_count(const void *head);
/* One reference more, up to 2^31 - 1; one less, of which the last gives the pages back. */
BSLAB_API void bslab_folio_get(void *head);
BSLAB_API void bslab_folio_put(void *head);

/* --- descriptors ------------------------------------------------------------------------------ */

/* A page by its number; in a struct, so that it is not taken for an address. */
struct bslab_page {
	uintptr_t number;
};

/* What a page is, by its descriptor in the page map. */
enum bslab_page_type {
	BSLAB_PAGE_OTHER, /* not bslab's, or of a mapping of its own behind the first page */
	BSLAB_PAGE_FREE,  /* free, or between two owners */
	BSLAB_PAGE_SLAB,  /* cut into objects: malloc's, or a typed cache's */
	BSLAB_PAGE_RUN,	  /* of malloc's, of more than 32 KiB */
	BSLAB_PAGE_LARGE, /* of malloc's, of more than 2 MiB */
	BSLAB_PAGE_FOLIO, /* of a run of these */
	BSLAB_PAGE_HEAP,  /* of a library's heap; of its blocks of more than 2 MiB the first page */
	BSLAB_PAGE_POOL,  /* of elements of a mempool or NOWAIT pool */
	BSLAB_PAGE_HANDLE, /* of objects that have handles */
	BSLAB_PAGE_MOVABLE, /* of a movable run (contig.h) */
	BSLAB_PAGE_CONTIG, /* taken from the contiguous reserve */
};

struct bslab_page_info {
	enum bslab_page_type type;
	void *head;	    /* SLAB, RUN, LARGE, FOLIO, MOVABLE, CONTIG: where it begins; NULL where the map does not say */
	size_t nr_pages;    /* the same: its pages, 0 where the map does not say */
	size_t object_size; /* SLAB */
	unsigned ref_count; /* FOLIO */
};

static inline struct bslab_page bslab_virt_to_page(const void *addr)
{
	struct bslab_page page = {(uintptr_t)addr / BSLAB_PAGE_BYTES};

	return page;
}

static inline void *bslab_page_address(struct bslab_page page)
{
	return (void *)(page.number * BSLAB_PAGE_BYTES);
}

/* Any page is a good argument. Some loads, no lock: other threads go on meanwhile. Safe in signal handlers. */
BSLAB_API void bslab_page_info(struct bslab_page page, struct bslab_page_info *info);

#ifdef __cplusplus
}
#endif

#endif
