/* SPDX-License-Identifier: MIT */
/*
 * Pages: a ring buffer with two holders, of whom the last one frees it; a page pool filled by one call; a file's buffer cut
 * into pages that are freed one by one; what a page is, by its address.
 *
 *     cc pages.c $(pkg-config --cflags --libs bslab) && ./a.out
 */
#include <bslab/page.h>
#include <stdio.h>
#include <string.h>

static int use_references(void)
{
	char *ring = bslab_pages_alloc(2, BSLAB_PAGES_ZERO);
	struct bslab_page_info info;

	if (!ring)
		return 1;
	bslab_folio_get(ring); /* for a second holder */
	bslab_page_info(bslab_virt_to_page(ring + 10000), &info);
	printf("a page of a run of %zu pages, %u references, %s\n", info.nr_pages, info.ref_count,
	       info.head == ring ? "ours" : "not ours");
	bslab_folio_put(ring);
	bslab_folio_put(ring);
	return bslab_folio_head(ring) != NULL;
}

enum { POOL = 64 };

static int use_bulk(void)
{
	void *pages[POOL];
	int i, side_by_side = 0;

	if (bslab_pages_alloc_bulk(POOL, pages, 0) != POOL)
		return 1;
	for (i = 1; i < POOL; i++)
		side_by_side += (char *)pages[i] == (char *)pages[i - 1] + BSLAB_PAGE_BYTES;
	printf("%d pages by one call, %d of them behind the one before\n", POOL, side_by_side);
	bslab_pages_free_bulk(POOL, pages);
	return 0;
}

/* 11 pages, not 16; those that were worked on go back before the rest. */
static int use_split(void)
{
	size_t size = 11 * BSLAB_PAGE_BYTES - 100, left, i;
	char *buffer = bslab_pages_alloc_exact(size, 0);

	if (!buffer)
		return 1;
	memset(buffer, 1, size);
	left = bslab_pages_split(buffer, 1);
	printf("%zu bytes in %zu pages\n", size, left);
	for (i = 0; i < left; i++)
		bslab_pages_free(buffer + i * BSLAB_PAGE_BYTES);
	return left != 11;
}

int main(void)
{
	return use_references() || use_bulk() || use_split();
}
