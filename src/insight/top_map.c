/* SPDX-License-Identifier: MIT */
/* The map of pageblocks: a cell each, and a row's address before it. Letters say what colours say. */
#include <inttypes.h>

#include "insight/scale.h"
#include "insight/top.h"

/* Before the cells: an address of 48 bits and two blanks. */
#define ADDRESS_WIDTH 16
#define MIN_CELLS 8
/* Cells of a row come in so many, where there is room: a row is then 32 MiB or a multiple of it. */
#define CELLS_STEP 16

struct look {
	enum style style;
	char ch;
};

static struct look look_by_type(const struct block_mark *b)
{
	static const struct look types[NR_MIGRATETYPES] = {
	    {STYLE_UNMOVABLE, 'U'}, {STYLE_RECLAIMABLE, 'R'}, {STYLE_MOVABLE, 'M'}, {STYLE_HIGHATOMIC, 'A'}};
	struct look look;

	switch (b->state) {
	case PAGEBLOCK_BUDDY:
		look = types[b->migratetype];
		look.ch = (char)(look.ch + (b->is_mixed ? 'a' - 'A' : 0));
		return look;
	case PAGEBLOCK_LARGE:
		return (struct look){STYLE_LARGE, 'L'};
	case PAGEBLOCK_FREE:
		return b->nr_dirty ? (struct look){STYLE_DIRTY, 'd'} : (struct look){STYLE_CLEAN, '.'};
	case PAGEBLOCK_CONTIG:
		return (struct look){STYLE_CONTIG, 'C'};
	default:
		return (struct look){STYLE_ISOLATE, 'i'};
	}
}

/* '.', the tenths as a digit, or '#' for all pages. */
static struct look look_of_share(unsigned nr_pages)
{
	unsigned step = nr_pages * NR_SCALE_STYLES / (PAGEBLOCK_PAGES + 1);

	if (!nr_pages)
		return (struct look){STYLE_CLEAN, '.'};
	if (nr_pages >= PAGEBLOCK_PAGES)
		return (struct look){STYLE_SCALE_4, '#'};
	return (struct look){(enum style)(STYLE_SCALE_0 + step), (char)('0' + nr_pages * 10 / PAGEBLOCK_PAGES)};
}

static struct look look_by_residence(const struct block_mark *b)
{
	if (b->nr_resident == RESIDENCE_UNKNOWN)
		return (struct look){STYLE_PLAIN, '?'};
	if (b->nr_huge == PAGEBLOCK_PAGES)
		return (struct look){STYLE_LARGE, 'H'};
	return look_of_share(b->nr_resident);
}

static struct look look_of(const struct block_mark *b, enum colouring colouring)
{
	if (colouring == BY_TYPE)
		return look_by_type(b);
	if (colouring == BY_DENSITY)
		return look_of_share(PAGEBLOCK_PAGES - b->nr_free);
	return look_by_residence(b);
}

/* --- legend ------------------------------------------------------------------------------------- */

static unsigned put_sample(struct canvas *c, unsigned row, unsigned column, struct look look, const char *text)
{
	if (column + 2 + (unsigned)__builtin_strlen(text) > c->width)
		return c->width; /* no half entries */
	canvas_char(c, row, column, look.style, (unsigned char)look.ch);
	return canvas_put(c, row, column + 1, STYLE_PLAIN, " %s  ", text);
}

static void draw_legend(const struct top *t, struct canvas *c, unsigned row)
{
	static const struct {
		struct look look;
		char text[20];
	} types[] = {{{STYLE_UNMOVABLE, 'U'}, "unmovable"}, {{STYLE_RECLAIMABLE, 'R'}, "reclaimable"},
		     {{STYLE_MOVABLE, 'M'}, "movable"},	    {{STYLE_LARGE, 'L'}, "large"},
		     {{STYLE_DIRTY, 'd'}, "free, dirty"},   {{STYLE_CLEAN, '.'}, "free"},
		     {{STYLE_HIGHATOMIC, 'A'}, "reserve"},  {{STYLE_CONTIG, 'C'}, "contiguous"},
		     {{STYLE_ISOLATE, 'i'}, "isolated"}},
	  shares[] = {{{STYLE_CLEAN, '.'}, "none"},   {{STYLE_SCALE_0, '0'}, "a few"}, {{STYLE_SCALE_1, '2'}, ""},
		      {{STYLE_SCALE_2, '5'}, "half"}, {{STYLE_SCALE_3, '7'}, ""},      {{STYLE_SCALE_4, '#'}, "all"}};
	unsigned i, column = 0;

	if (t->colouring == BY_TYPE) {
		for (i = 0; i < sizeof types / sizeof *types; i++)
			column = put_sample(c, row, column, types[i].look, types[i].text);
		return;
	}
	column = canvas_put(c, row, 0, STYLE_PLAIN, "%s: ", t->colouring == BY_DENSITY ? "pages in use, in tenths" : "resident pages, in tenths");
	for (i = 0; i < sizeof shares / sizeof *shares; i++)
		column = put_sample(c, row, column, shares[i].look, shares[i].text);
	if (t->colouring == BY_RESIDENCE)
		put_sample(c, row, column, (struct look){STYLE_LARGE, 'H'}, "huge page");
}

/* --- rows --------------------------------------------------------------------------------------- */

static unsigned cells_per_row(const struct canvas *c)
{
	unsigned room = c->width > ADDRESS_WIDTH + MIN_CELLS ? c->width - ADDRESS_WIDTH : MIN_CELLS;

	return room >= CELLS_STEP ? room - room % CELLS_STEP : MIN_CELLS;
}

/* The first block behind the row that begins with block i: after so many, or where addresses have a gap. */
static size_t row_end(const struct survey *s, size_t i, unsigned nr_cells)
{
	size_t n = 1;

	while (n < nr_cells && i + n < s->nr && s->block[i + n].addr == s->block[i].addr + n * PAGEBLOCK_SIZE)
		n++;
	return i + n;
}

static void draw_row(struct top *t, struct canvas *c, unsigned at, size_t first, size_t end)
{
	const struct survey *s = &t->survey;
	struct look look;
	size_t i;

	if (t->colouring == BY_RESIDENCE)
		top_ask_residence(t, first, end - first);
	canvas_put(c, at, 0, STYLE_WEAK, "0x%012" PRIx64, s->block[first].addr);
	for (i = first; i < end; i++) {
		look = look_of(&s->block[i], t->colouring);
		canvas_char(c, at, ADDRESS_WIDTH + (unsigned)(i - first), look.style, (unsigned char)look.ch);
	}
}

static void draw_mapping(const struct large_block *b, struct canvas *c, unsigned at)
{
	char size[SCALE_TEXT];

	canvas_put(c, at, 0, STYLE_WEAK, "0x%012" PRIx64, (uint64_t)b->addr);
	canvas_put(c, at, ADDRESS_WIDTH, STYLE_PLAIN, "a mapping of its own, %s", scale_bytes(size, (double)b->size));
}

/* The head says what a row is worth. */
static void draw_head(const struct top *t, struct canvas *c, unsigned at, unsigned nr_cells)
{
	static const char *const by[NR_COLOURINGS] = {"by type (small: mixed)", "by how full", "by what is resident"};
	char row[SCALE_TEXT];

	canvas_put(c, at, 0, STYLE_HEAD, "%-*s %zu pageblocks, %s a row, %s%s", ADDRESS_WIDTH - 1, "ADDRESS", t->survey.nr,
		   scale_bytes(row, (double)nr_cells * (double)PAGEBLOCK_SIZE), by[t->colouring],
		   t->is_batch ? "" : "; m changes");
	canvas_fill(c, at, STYLE_HEAD);
}

void top_draw_map(struct top *t, struct canvas *c, unsigned top)
{
	const struct large_list *large = &t->now->large_list;
	unsigned nr_cells = cells_per_row(c), room;
	size_t i, end, row = 0, nr_rows = 0;

	draw_legend(t, c, top++);
	draw_head(t, c, top++, nr_cells);
	for (i = 0; i < t->survey.nr; i = row_end(&t->survey, i, nr_cells))
		nr_rows++;
	for (i = 0; i < large->nr_listed; i++)
		nr_rows += !large->block[i].nr_blocks;
	room = c->height > top ? c->height - top : 0;
	top_clamp_scroll(t, nr_rows, room);
	for (i = 0; i < t->survey.nr && row < t->scroll + room; i = end, row++) {
		end = row_end(&t->survey, i, nr_cells);
		if (row >= t->scroll)
			draw_row(t, c, top + (unsigned)(row - t->scroll), i, end);
	}
	for (i = 0; i < large->nr_listed && row < t->scroll + room; i++) {
		if (large->block[i].nr_blocks)
			continue;
		if (row >= t->scroll)
			draw_mapping(&large->block[i], c, top + (unsigned)(row - t->scroll));
		row++;
	}
}
