/* SPDX-License-Identifier: MIT */
/* The map of pageblocks, and the pages in them. */
#include "insight/html.h"

#include <inttypes.h>
#include <stdlib.h>

#include "insight/view.h"
#include "slab/sizes.h"

const char *const kind_names[NR_KINDS] = {
    "slabs, objects up to 64 B", "slabs, up to 256 B", "slabs, up to 1 KiB", "slabs, up to 4 KiB", "slabs, up to 32 KiB",
    "page runs", "large blocks", "contiguous reserve", "in motion", "free, dirty", "free, clean",
};

/* --- what pages are ----------------------------------------------------------------------------- */

static enum page_kind kind_of_size(size_t size)
{
	size_t limit = 64;
	unsigned kind;

	for (kind = KIND_SLAB_64; kind < KIND_SLAB_32K && size > limit; kind++)
		limit *= 4;
	return (enum page_kind)kind;
}

static enum page_kind kind_of_free(const struct pageblock *b, unsigned i)
{
	return b->dirty[i / 64] >> i % 64 & 1 ? KIND_DIRTY : KIND_CLEAN;
}

static enum page_kind kind_of_desc(page_desc_t d)
{
	if (desc_class(d) && desc_class(d) < NR_CLASSES)
		return kind_of_size(class_size(desc_class(d)));
	if (desc_cache(d) || desc_type(d) == PAGE_HANDLE) /* a typed cache's or a zone's, or of handles: the descriptor does not say the size */
		return KIND_SLAB_32K;
	switch (desc_type(d)) {
	case PAGE_RUN:
	case PAGE_RUN_BODY:
	case PAGE_SAMPLED:
	case PAGE_FOLIO:
	case PAGE_HEAP:
	case PAGE_MOVABLE:
		return KIND_RUN;
	default:
		return KIND_OTHER;
	}
}

/* A run that was freed and is kept whole is in use to the buddies; to everyone else it is free. */
static unsigned kept_pages(page_desc_t d)
{
	return !desc_class(d) && desc_type(d) == PAGE_RUN_HOT ? (unsigned)min_size(desc_number(d), PAGEBLOCK_PAGES) : 0;
}

static void kinds_of_listed(const struct block_copy *copy, uint8_t *kind)
{
	struct free_links links;
	unsigned i = 0, end;

	while (i < PAGEBLOCK_PAGES) {
		if (kept_pages(copy->desc[i])) {
			for (end = (unsigned)min_size(i + kept_pages(copy->desc[i]), PAGEBLOCK_PAGES); i < end; i++)
				kind[i] = KIND_DIRTY;
			continue;
		}
		if (!desc_links(copy->desc[i], &links)) {
			kind[i] = copy->b.state == PAGEBLOCK_CONTIG ? KIND_CONTIG : kind_of_desc(copy->desc[i]);
			i++;
			continue;
		}
		end = (unsigned)min_size(i + (1u << links.order), PAGEBLOCK_PAGES);
		for (; i < end; i++)
			kind[i] = kind_of_free(&copy->b, i);
	}
}

void page_kinds(const struct block_copy *copy, uint8_t kind[PAGEBLOCK_PAGES])
{
	unsigned i;

	if (has_free_lists(&copy->b)) {
		kinds_of_listed(copy, kind);
		return;
	}
	for (i = 0; i < PAGEBLOCK_PAGES; i++)
		kind[i] = copy->b.state == PAGEBLOCK_FREE    ? kind_of_free(&copy->b, i)
			  : copy->b.state == PAGEBLOCK_LARGE ? KIND_LARGE
							     : KIND_OTHER;
}

/* --- the picture --------------------------------------------------------------------------------- */

static size_t count_blocks(const struct heap *h)
{
	size_t i, n = 0;

	for (i = 0; i < h->nr_regions; i++)
		n += h->regions[i].nr_committed;
	return n;
}

/* Is the n-th of nr among `most` that are evenly spread? */
static bool is_chosen(size_t n, size_t nr, size_t most)
{
	return nr <= most || (n + 1) * most / nr != n * most / nr;
}

static void take_block(struct picture *p, struct heap *h, uint64_t addr, size_t nr, const struct kept_large *kept)
{
	uint8_t kind[PAGEBLOCK_PAGES];
	struct block_picture *block;
	struct block_copy copy;
	unsigned i;

	if (p->nr_blocks == nr || !heap_block(h, addr, &copy)) {
		h->nr_doubts++;
		return;
	}
	page_kinds(&copy, kind);
	if (copy.b.state == PAGEBLOCK_LARGE && kept_large_at(kept, addr))
		__builtin_memset(kind, KIND_DIRTY, sizeof kind);
	block = &p->block[p->nr_blocks];
	*block = (struct block_picture){.mark = survey_mark(&copy.b, addr)};
	for (i = 0; i < PAGEBLOCK_PAGES; i++)
		block->nr[kind[i]]++;
	for (i = 0; i < NR_KINDS; i++)
		p->nr_pages[i] += block->nr[i];
	if (is_chosen(p->nr_blocks, nr, MAX_DETAILED)) {
		struct block_detail *detail = &p->detail[p->nr_details++];

		detail->block = p->nr_blocks;
		__builtin_memcpy(detail->kind, kind, sizeof kind);
	}
	p->nr_blocks++;
}

bool picture_take(struct picture *p, struct heap *h)
{
	size_t nr = count_blocks(h), i;
	struct kept_large kept;
	unsigned n;

	p->block = calloc(nr + 1, sizeof *p->block);
	p->detail = calloc(MAX_DETAILED + 1, sizeof *p->detail);
	if (!p->block || !p->detail)
		return false;
	heap_kept_large(h, &kept);
	for (i = 0; i < h->nr_regions; i++)
		for (n = 0; n < h->regions[i].nr_committed; n++)
			take_block(p, h, h->regions[i].base + ((uint64_t)n << PAGEBLOCK_SHIFT), nr, &kept);
	p->has_map = true;
	return true;
}

void picture_free(struct picture *p)
{
	free(p->block);
	free(p->detail);
}

/* --- cells: a pageblock, or several -------------------------------------------------------------- */

#define CELLS_PER_ROW 64
/* Units of the drawing, of which the last is a gap. */
#define CELL 12
#define CELL_HEIGHT 19
#define ADDRESS_UNITS 118

/* Used pages of each kind, in groups: what colour the used part has. */
static enum page_kind most_of(const size_t *nr)
{
	unsigned kind, best = 0;

	for (kind = 1; kind < KIND_DIRTY; kind++)
		if (nr[kind] > nr[best])
			best = kind;
	return (enum page_kind)best;
}

static const char *state_name(const struct block_mark *m)
{
	switch (m->state) {
	case PAGEBLOCK_FREE:
		return "free";
	case PAGEBLOCK_BUDDY:
		return view_migratetype(m->migratetype);
	case PAGEBLOCK_LARGE:
		return "large block";
	case PAGEBLOCK_CONTIG:
		return "contiguous reserve";
	default:
		return "in motion";
	}
}

static void put_counts(const size_t *nr, FILE *out)
{
	unsigned kind;

	for (kind = 0; kind < NR_KINDS; kind++)
		if (nr[kind])
			fprintf(out, "&#10;%zu pages: %s", nr[kind], kind_names[kind]);
}

static void put_part(enum page_kind kind, unsigned x, double y, double height, FILE *out)
{
	if (height > 0)
		fprintf(out, "<path class=\"k%d\" d=\"M%u %.4gh%dv%.4gh-%dz\"/>", kind, x, y, CELL - 1, height, CELL - 1);
}

/* Filled from below: what is used, then what is free and dirty; the rest is clean. */
static void put_cell(const struct picture *p, size_t first, size_t nr, unsigned x, unsigned y, FILE *out)
{
	double all = (double)nr * PAGEBLOCK_PAGES, used, dirty, units = CELL_HEIGHT - 1;
	size_t pages[NR_KINDS] = {0}, i;
	unsigned kind;

	for (i = 0; i < nr; i++)
		for (kind = 0; kind < NR_KINDS; kind++)
			pages[kind] += p->block[first + i].nr[kind];
	dirty = (double)pages[KIND_DIRTY] / all * units;
	used = units - (double)(pages[KIND_DIRTY] + pages[KIND_CLEAN]) / all * units;
	fprintf(out, "<g><title>0x%" PRIx64 "%s%s%s", p->block[first].mark.addr, nr == 1 ? " " : "", nr == 1 ? state_name(&p->block[first].mark) : "",
		nr == 1 && p->block[first].mark.is_mixed ? ", mixed" : "");
	if (nr > 1)
		fprintf(out, ", %zu pageblocks", nr);
	put_counts(pages, out);
	fputs("</title>", out);
	put_part(KIND_CLEAN, x, y, units, out);
	put_part(KIND_DIRTY, x, y + units - used - dirty, dirty, out);
	put_part(most_of(pages), x, y + units - used, used, out);
	fputs("</g>", out);
}

/* Is there a gap in the addresses from one block to another? */
static bool has_gap(const struct picture *p, size_t first, size_t next)
{
	return p->block[next].mark.addr != p->block[first].mark.addr + (next - first) * PAGEBLOCK_SIZE;
}

/*
 * Draws the cells, or only counts their rows where out is NULL. A gap in the addresses ends a row, but not a cell of
 * several blocks: there may be as many gaps as blocks.
 */
static unsigned put_cells(const struct picture *p, size_t per_cell, FILE *out)
{
	unsigned row = 0, column = 0;
	size_t i, n;

	for (i = 0; i < p->nr_blocks; i += n, column++) {
		if (column == CELLS_PER_ROW || (i && has_gap(p, i - per_cell, i))) {
			row++;
			column = 0;
		}
		n = min_size(per_cell, p->nr_blocks - i);
		if (!out)
			continue;
		if (!column)
			fprintf(out, "\n<text x=\"0\" y=\"%u\">0x%" PRIx64 "</text>", row * CELL_HEIGHT + CELL_HEIGHT - 6, p->block[i].mark.addr);
		put_cell(p, i, n, ADDRESS_UNITS + column * CELL, row * CELL_HEIGHT, out);
	}
	return p->nr_blocks ? row + 1 : 0;
}

static void put_overview(const struct picture *p, FILE *out)
{
	size_t per_cell = (p->nr_blocks + MAX_CELLS - 1) / MAX_CELLS;
	unsigned nr_rows = put_cells(p, per_cell, NULL);

	fprintf(out, "<p>%zu pageblocks of 2 MiB, by address; ", p->nr_blocks);
	if (per_cell > 1)
		fprintf(out, "there are so many that a cell is up to <b>%zu pageblocks</b>. ", per_cell);
	else
		fputs("a cell each. ", out);
	fputs("A cell is filled from below: as far as its pages are used, in the colour of what most of those are; then what is free "
	      "and dirty.</p>\n",
	      out);
	fprintf(out, "<div class=\"scroll\"><svg class=\"map\" viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"map of pageblocks\">",
		ADDRESS_UNITS + CELLS_PER_ROW * CELL, nr_rows * CELL_HEIGHT);
	put_cells(p, per_cell, out);
	fputs("\n</svg></div>\n", out);
}

/* --- pages ---------------------------------------------------------------------------------------- */

#define PAGES_PER_ROW 32

/* One path for each kind; in it a piece for each run of such pages in a row. */
static void put_pages(const uint8_t *kind, FILE *out)
{
	unsigned k, i, end;
	bool any;

	for (k = 0; k < NR_KINDS; k++) {
		for (i = 0, any = false; i < PAGEBLOCK_PAGES; i = end) {
			for (end = i + 1; end % PAGES_PER_ROW && kind[end] == kind[i]; end++)
				;
			if (kind[i] != k)
				continue;
			if (!any)
				fprintf(out, "<path class=\"k%u\" d=\"", k);
			any = true;
			fprintf(out, "M%u %uh%uv1h-%uz", i % PAGES_PER_ROW, i / PAGES_PER_ROW, end - i, end - i);
		}
		if (any)
			fputs("\"/>", out);
	}
}

static void put_detail(const struct picture *p, const struct block_detail *d, FILE *out)
{
	const struct block_picture *block = &p->block[d->block];
	size_t pages[NR_KINDS];
	unsigned kind;

	for (kind = 0; kind < NR_KINDS; kind++)
		pages[kind] = block->nr[kind];
	fprintf(out, "<figure><svg viewBox=\"0 0 %d %d\"><title>0x%" PRIx64 " %s%s", PAGES_PER_ROW, PAGEBLOCK_PAGES / PAGES_PER_ROW,
		block->mark.addr, state_name(&block->mark), block->mark.is_mixed ? ", mixed" : "");
	put_counts(pages, out);
	fputs("</title>", out);
	put_pages(d->kind, out);
	fprintf(out, "</svg><figcaption>0x%" PRIx64 "<br>%s%s<br>%u %% used</figcaption></figure>\n", block->mark.addr, state_name(&block->mark),
		block->mark.is_mixed ? ", mixed" : "",
		(unsigned)((PAGEBLOCK_PAGES - pages[KIND_DIRTY] - pages[KIND_CLEAN]) * 100 / PAGEBLOCK_PAGES));
}

/* A pageblock of one kind alone has nothing to show. */
static bool is_plain(const struct picture *p, const struct block_detail *d)
{
	unsigned kind;

	for (kind = 0; kind < NR_KINDS; kind++)
		if (p->block[d->block].nr[kind] == PAGEBLOCK_PAGES)
			return true;
	return false;
}

static void put_details(const struct picture *p, FILE *out)
{
	size_t i, nr_plain = 0;

	fputs("<h3>Pages</h3>\n<p>A pageblock each, 512 pages of 4 KiB, row by row of 32. ", out);
	if (p->nr_details < p->nr_blocks)
		fprintf(out, "These are a <b>sample: %zu of %zu pageblocks</b>, evenly spread. ", p->nr_details, p->nr_blocks);
	for (i = 0; i < p->nr_details; i++)
		nr_plain += is_plain(p, &p->detail[i]);
	if (nr_plain)
		fprintf(out, "%zu more have pages of one kind only and are left out.", nr_plain);
	fputs("</p>\n<div class=\"blocks\">\n", out);
	for (i = 0; i < p->nr_details; i++)
		if (!is_plain(p, &p->detail[i]))
			put_detail(p, &p->detail[i], out);
	fputs("</div>\n", out);
}

static void put_legend(const struct picture *p, FILE *out)
{
	unsigned kind;

	fputs("<ul class=\"legend\">\n", out);
	for (kind = 0; kind < NR_KINDS; kind++) {
		if ((kind == KIND_OTHER || kind == KIND_CONTIG) && !p->nr_pages[kind])
			continue;
		fprintf(out, "<li data-kind=\"%u\" data-pages=\"%zu\"><svg viewBox=\"0 0 1 1\"><path class=\"k%u\" d=\"M0 0h1v1h-1z\"/></svg>%s <small>", kind,
			p->nr_pages[kind], kind, kind_names[kind]);
		html_bytes((double)(p->nr_pages[kind] << PAGE_SHIFT), out);
		fputs("</small></li>\n", out);
	}
	fputs("</ul>\n", out);
}

void html_map(const struct picture *p, FILE *out)
{
	fputs("<section id=\"map\"><h2>The heap's pages</h2>\n", out);
	if (!p->has_map) {
		fputs("<p>The process ended before the map was taken.</p></section>\n", out);
		return;
	}
	put_legend(p, out);
	put_overview(p, out);
	put_details(p, out);
	fputs("</section>\n", out);
}
