/* SPDX-License-Identifier: MIT */
/* The map of pageblocks. */
#include <inttypes.h>
#include <stdlib.h>

#include "insight/view.h"

static const char *const state_names[] = {"absent", "free", "buddy", "large", "isolate", "device", "contig"};

const char *view_migratetype(unsigned type)
{
	static const char *const names[] = {"Unmovable", "Reclaimable", "Movable", "HighAtomic", "Isolate"};

	return type < sizeof names / sizeof *names ? names[type] : "?";
}

void view_owner(const struct heap *h, const struct pageblock *b, char *name, size_t size)
{
	int number = heap_buddy_number(h, (uintptr_t)b->owner);

	if (b->state != PAGEBLOCK_BUDDY)
		snprintf(name, size, "-");
	else if (number >= 0)
		snprintf(name, size, "%d", number);
	else
		snprintf(name, size, "%s", number == BUDDY_RESERVE ? "reserve" : "?");
}

static unsigned count_bits(const uint64_t *bits)
{
	unsigned w, n = 0;

	for (w = 0; w < PAGEBLOCK_PAGES / 64; w++)
		n += (unsigned)__builtin_popcountll(bits[w]);
	return n;
}

struct pages_use view_pages(const struct block_copy *copy)
{
	struct pages_use use = {0};
	unsigned i;

	if (copy->b.state == PAGEBLOCK_FREE) {
		use.nr_free = PAGEBLOCK_PAGES;
		use.nr_dirty = count_bits(copy->b.dirty);
	}
	if (!has_free_lists(&copy->b))
		return use;
	use.nr_free = copy->b.nr_free;
	use.nr_dirty = copy->b.nr_dirty_free;
	for (i = 0; i < PAGEBLOCK_PAGES; i++) {
		enum page_type type = desc_type(copy->desc[i]);

		use.nr_slab += desc_cache(copy->desc[i]) != 0 || desc_is_hardened(copy->desc[i]) || type == PAGE_HANDLE;
		use.nr_run += !desc_cache(copy->desc[i]) &&
			      (type == PAGE_RUN || type == PAGE_RUN_BODY || type == PAGE_RUN_HOT || type == PAGE_SAMPLED ||
			       type == PAGE_FOLIO || type == PAGE_HEAP || type == PAGE_MOVABLE || type == PAGE_CONTIG);
	}
	return use;
}

static int compare_addr(const void *a, const void *b)
{
	const struct vm_area *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

/* The large block that begins at or before addr and reaches it; they are sorted. */
static const struct vm_area *find_large(const struct vm_area *large, size_t nr, uint64_t addr)
{
	size_t low = 0, high = nr, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (large[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low && addr - large[low - 1].addr < large[low - 1].size ? &large[low - 1] : NULL;
}

struct large_blocks {
	struct vm_area *area; /* by address */
	size_t nr;
	struct kept_large kept;
};

static void put_block(struct heap *h, uint64_t addr, const struct large_blocks *large, FILE *out)
{
	const struct vm_area *area;
	struct block_copy copy;
	struct pages_use use;
	char owner[32];
	unsigned state;

	if (!heap_block(h, addr, &copy)) {
		h->nr_doubts++;
		return;
	}
	use = view_pages(&copy);
	state = copy.b.state;
	view_owner(h, &copy.b, owner, sizeof owner);
	area = state == PAGEBLOCK_LARGE ? find_large(large->area, large->nr, addr) : NULL;
	if (area)
		snprintf(owner, sizeof owner, "0x%" PRIx64, (uint64_t)area->addr);
	else if (state == PAGEBLOCK_LARGE && kept_large_at(&large->kept, addr))
		snprintf(owner, sizeof owner, "kept");
	fprintf(out, "0x%-14" PRIx64 " %-8s %-16s %-12s %5u %5u %5u %5u\n", addr,
		state < sizeof state_names / sizeof *state_names ? state_names[state] : "?", owner,
		state == PAGEBLOCK_BUDDY ? view_migratetype(copy.b.migratetype) : "-", use.nr_free, use.nr_dirty,
		use.nr_slab, use.nr_run);
}

void view_blocks(struct heap *h, FILE *out)
{
	struct large_blocks large;
	struct large info;
	unsigned n;
	size_t i;

	large.area = heap_large(h, &info, &large.nr);
	heap_kept_large(h, &large.kept);
	if (large.nr)
		qsort(large.area, large.nr, sizeof *large.area, compare_addr);
	fprintf(out, "%-16s %-8s %-16s %-12s %5s %5s %5s %5s\n", "address", "state", "owner", "type", "free", "dirty",
		"slab", "run");
	for (i = 0; i < h->nr_regions; i++)
		for (n = 0; n < h->regions[i].nr_committed; n++)
			put_block(h, h->regions[i].base + ((uint64_t)n << PAGEBLOCK_SHIFT), &large, out);
	free(large.area);
}
