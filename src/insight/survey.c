/* SPDX-License-Identifier: MIT */
#include "insight/survey.h"

#include <stdlib.h>

/* Pageblocks that are read at once: 128 MiB of the heap. */
#define NR_AT_ONCE 64

static unsigned count_dirty(const struct pageblock *b)
{
	unsigned w, n = 0;

	for (w = 0; w < PAGEBLOCK_PAGES / 64; w++)
		n += (unsigned)__builtin_popcountll(b->dirty[w]);
	return n;
}

struct block_mark survey_mark(const struct pageblock *b, uint64_t addr)
{
	struct block_mark m = {.addr = addr, .state = b->state, .migratetype = b->migratetype,
			       .nr_resident = RESIDENCE_UNKNOWN, .nr_huge = RESIDENCE_UNKNOWN};

	if (b->state == PAGEBLOCK_BUDDY && b->migratetype >= NR_MIGRATETYPES) {
		/* Handed out by the zone, where it was isolated, and its buddy has not said for what; or damaged. */
		m.state = PAGEBLOCK_ISOLATE;
		m.migratetype = MIGRATE_ISOLATE;
	} else if (has_free_lists(b)) {
		m.is_mixed = b->state == PAGEBLOCK_BUDDY && (b->users & ~(1u << (b->migratetype & 7))) != 0;
		m.nr_free = (uint16_t)min_size(b->nr_free, PAGEBLOCK_PAGES);
		m.nr_dirty = (uint16_t)min_size(b->nr_dirty_free, m.nr_free);
	} else if (b->state == PAGEBLOCK_FREE) {
		m.nr_free = PAGEBLOCK_PAGES;
		m.nr_dirty = (uint16_t)count_dirty(b);
	}
	return m;
}

static bool make_room(struct survey *s)
{
	size_t capacity = s->capacity ? 2 * s->capacity : 512;
	struct block_mark *more;

	if (s->nr < s->capacity)
		return true;
	more = realloc(s->block, capacity * sizeof *more);
	if (!more)
		return false;
	s->block = more;
	s->capacity = capacity;
	return true;
}

static void take_block(struct survey *s, struct heap *h, const struct pageblock *b, uint64_t addr, unsigned zone,
		       struct pages_info *info)
{
	if (!report_count_block(b, zone, info)) {
		h->nr_doubts++;
		return;
	}
	if (make_room(s))
		s->block[s->nr++] = survey_mark(b, addr);
	else
		s->is_short = true;
}

static void take_region(struct survey *s, struct heap *h, const struct region *r, struct pages_info *info)
{
	static struct pageblock blocks[NR_AT_ONCE];
	unsigned at, want, nr, i;

	for (at = 0; at < r->nr_committed; at += want) {
		uint64_t addr = r->base + ((uint64_t)at << PAGEBLOCK_SHIFT);

		want = (unsigned)min_size(NR_AT_ONCE, r->nr_committed - at);
		nr = heap_pageblocks(h, addr, want, blocks);
		for (i = 0; i < nr; i++)
			take_block(s, h, &blocks[i], addr + ((uint64_t)i << PAGEBLOCK_SHIFT), r->zone, info);
		h->nr_doubts += want - nr;
	}
}

static void take_blocks(struct heap *h, struct pages_info *info, void *survey)
{
	struct survey *s = survey;
	size_t i;

	for (i = 0; i < h->nr_regions; i++)
		take_region(s, h, &h->regions[i], info);
}

void survey_take(struct survey *s, struct heap *h, struct heap_report *r)
{
	s->nr = 0;
	s->is_short = false;
	report_fill_with(h, r, take_blocks, s);
}

void survey_free(struct survey *s)
{
	free(s->block);
	*s = (struct survey){0};
}
