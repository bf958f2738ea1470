/* SPDX-License-Identifier: MIT */
/* What the page map takes of memory: 0.2 % of the heap, and what is constant. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "map/pageblock.h"
#include "os/os.h"

#define HEAP ((size_t)256 << 20)

static size_t resident(const void *start, size_t size)
{
	size_t page = os_page_size(), n = 0, nr_pages = size / page;
	unsigned char *vec = mmap(NULL, nr_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)vec, MAP_FAILED);
	cr_assert_eq(mincore((void *)start, size, vec), 0);
	for (size_t i = 0; i < nr_pages; i++)
		n += vec[i] & 1;
	munmap(vec, nr_pages);
	return n * page;
}

/* Of all sections, and how many there are. */
static size_t map_resident(size_t *nr_sections)
{
	/* First, for to read an entry makes its page resident. */
	size_t n = resident((void *)((uintptr_t)bslab_hot.root & ~(os_page_size() - 1)), sizeof bslab_hot.root);

	*nr_sections = 0;
	for (size_t i = 0; i < NR_SECTIONS; i++)
		if (bslab_hot.root[i]) {
			uintptr_t section = bslab_hot.root[i] + i * SECTION_PAGES * sizeof(page_desc_t);

			n += resident((void *)section, align_up(sizeof(struct section), os_page_size()));
			++*nr_sections;
		}
	return n;
}

static void fill(size_t size)
{
	for (size_t n = 0; n < HEAP; n += size) {
		char *p = bslab_malloc(size);

		cr_assert_not_null(p);
		memset(p, 1, size);
	}
}

/*
 * A descriptor of 8 bytes for each page of 4 KiB and a struct pageblock of 240 for each 2 MiB are 0.207 %. Constant are, of each
 * section, the pages that the two arrays share with what is beside the heap's part of them, and two of the root.
 */
static void takes_little(size_t object_size)
{
	size_t nr_sections, taken, page = os_page_size();

	fill(object_size);
	taken = map_resident(&nr_sections);
	cr_assert_leq(taken, HEAP / 1000 * 21 / 10 + (4 * nr_sections + 2) * page, "%zu bytes for %zu MiB in blocks of %zu, %zu sections", taken,
		      HEAP >> 20, object_size, nr_sections);
	if (object_size < PAGEBLOCK_SIZE) /* of larger ones only the first page has a descriptor */
		cr_assert_geq(taken, HEAP / 4096 * sizeof(page_desc_t), "%zu bytes: where are the descriptors?", taken);
}

Test(page_map, takes_little_for_small_objects)
{
	takes_little(64);
}

Test(page_map, takes_little_for_objects_of_some_pages)
{
	takes_little(16384);
}

Test(page_map, takes_little_for_runs)
{
	takes_little(128 << 10); /* without gaps between them, which would count */
}

Test(page_map, takes_little_for_large_blocks)
{
	takes_little(16 << 20);
}
