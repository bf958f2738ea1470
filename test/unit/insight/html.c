/* SPDX-License-Identifier: MIT */
#include "insight/html.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "report/line.h"

TestSuite(html);

static char *escaped(const char *text)
{
	char *buf;
	size_t size;
	FILE *out = open_memstream(&buf, &size);

	html_escape(text, out);
	fclose(out);
	return buf;
}

static void check_escape(const char *text, const char *good)
{
	char *buf = escaped(text);

	cr_assert_str_eq(buf, good);
	free(buf);
}

Test(html, escapes)
{
	check_escape("plain", "plain");
	check_escape("<b a=\"1\" c='2'>&", "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
	check_escape("a\n\033\177b", "a???b");
	check_escape("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	check_escape("\xc3", "?");
	check_escape("\xff\xe2\x82<", "???&lt;");
}

Test(html, series_stay_bounded)
{
	struct series *s = calloc(1, sizeof *s);
	struct point p = {0};
	size_t i;

	for (i = 0; i < 10 * MAX_POINTS; i++) {
		p.at = (double)i;
		series_add(s, &p);
	}
	cr_assert_leq(s->nr, MAX_POINTS);
	cr_assert_gt(s->nr, MAX_POINTS / 2);
	cr_assert_eq(s->nr_seen, 10 * MAX_POINTS);
	for (i = 0; i < s->nr; i++)
		cr_assert_eq(s->point[i].at, (double)(i * s->stride));
	free(s);
}

/* A slab of 4 pages, a run of 2, a page that nobody has, and free page blocks, some of their pages dirty. */
Test(html, kinds_of_pages)
{
	struct block_copy *copy = calloc(1, sizeof *copy);
	uint8_t kind[PAGEBLOCK_PAGES];
	unsigned i, nr[NR_KINDS] = {0};

	copy->b.state = PAGEBLOCK_BUDDY;
	for (i = 0; i < 4; i++)
		copy->desc[i] = desc_of_pointer(copy, PAGE_NONE, size_class(208));
	copy->desc[4] = desc_of_number(2, PAGE_RUN);
	copy->desc[5] = desc_of_number(1, PAGE_RUN_BODY);
	copy->desc[6] = desc_of_number(1, PAGE_RUN_HOT); /* free, and kept whole */
	copy->desc[8] = desc_of_number(3, PAGE_FREE);
	copy->b.dirty[0] = 1ull << 9 | 1;
	for (i = 4; i < 9; i++)
		copy->desc[1u << i] = desc_of_number(i, PAGE_FREE);
	copy->desc[256] = desc_of_number(15, PAGE_FREE); /* never so: it is cut off at the end */
	page_kinds(copy, kind);
	for (i = 0; i < PAGEBLOCK_PAGES; i++)
		nr[kind[i]]++;
	cr_assert_eq(nr[KIND_SLAB_256], 4);
	cr_assert_eq(nr[KIND_RUN], 2);
	cr_assert_eq(nr[KIND_OTHER], 1);
	cr_assert_eq(nr[KIND_DIRTY], 2);
	cr_assert_eq(nr[KIND_CLEAN], PAGEBLOCK_PAGES - 9);
	copy->b.state = PAGEBLOCK_CONTIG;
	page_kinds(copy, kind);
	cr_assert(kind[0] == KIND_CONTIG && kind[4] == KIND_CONTIG && kind[9] == KIND_DIRTY && kind[511] == KIND_CLEAN);
	copy->b.state = PAGEBLOCK_FREE;
	page_kinds(copy, kind);
	cr_assert(kind[0] == KIND_DIRTY && kind[1] == KIND_CLEAN && kind[9] == KIND_DIRTY);
	copy->b.state = PAGEBLOCK_LARGE;
	page_kinds(copy, kind);
	cr_assert(kind[0] == KIND_LARGE && kind[511] == KIND_LARGE);
	free(copy);
}

/* The largest page: each pageblock's pages alternate, and there are as many pageblocks as a TiB has. */
Test(html, the_page_is_bounded)
{
	struct picture *p = calloc(1, sizeof *p);
	struct series *s = calloc(1, sizeof *s);
	size_t i, size;
	char *text, *cell;
	FILE *out;

	p->has_map = true;
	p->nr_blocks = 512 * 1024;
	p->block = calloc(p->nr_blocks, sizeof *p->block);
	for (i = 0; i < p->nr_blocks; i++) {
		p->block[i].mark = (struct block_mark){.addr = 0x7f0000000000 + i * PAGEBLOCK_SIZE, .state = PAGEBLOCK_BUDDY};
		p->block[i].nr[KIND_SLAB_64] = p->block[i].nr[KIND_CLEAN] = 256;
	}
	p->nr_details = MAX_DETAILED;
	p->detail = calloc(MAX_DETAILED, sizeof *p->detail);
	for (i = 0; i < MAX_DETAILED * PAGEBLOCK_PAGES; i++)
		p->detail[i / PAGEBLOCK_PAGES].kind[i % PAGEBLOCK_PAGES] = i % 2 ? KIND_CLEAN : KIND_SLAB_64;
	for (i = 1; i < NR_LISTED; i++) {
		struct cache_info *c = &(i < NR_CACHES ? &p->report.class[i] : &p->report.handle[i - NR_CACHES])->cache;

		c->size = SMALL_MAX;
		c->nr_slabs = c->nr_pages = 1;
		memset(c->name, '"', i == 300 ? CACHE_NAME_SIZE - 1 : 0);
	}
	for (i = 0; i < 5000; i++)
		series_add(s, &(struct point){(double)i, {1e9, 2e9, 3e9, 4e9}});
	out = open_memstream(&text, &size);
	html_page(p, s, "<invented>", out);
	fclose(out);
	cr_assert_lt(size, 4 * MIB);
	cr_assert(strstr(text, "up to <b>128 pageblocks</b>"));
	cr_assert(strstr(text, "<b>sample: 256 of 524288 pageblocks</b>"));
	cr_assert(strstr(text, "<title>&lt;invented&gt; - bslab</title>"));
	cr_assert(strstr(text, "data-name=\"bslab-32768\"") && strstr(text, "data-name=\"handle-32768\"") && strstr(text, "data-name=\"handle-run\""));
	cr_assert(strstr(text, "data-name=\"&quot;"));
	cr_assert_null(strstr(text, "<script"));
	free(text);
	for (i = 0; i < p->nr_blocks; i++)
		p->block[i].mark.addr += i * PAGEBLOCK_SIZE;
	out = open_memstream(&text, &size);
	html_map(p, out);
	fclose(out);
	for (cell = text, i = 0; (cell = strstr(cell, "<g>")); cell++)
		i++;
	cr_assert_eq(i, MAX_CELLS, "%zu cells where each block is a region", i);
	free(text);
	picture_free(p);
	free(p);
	free(s);
}

Test(html, a_pageblock_says_what_it_is)
{
	static const struct {
		uint8_t state;
		const char *name;
	} kind[] = {{PAGEBLOCK_FREE, " free"}, {PAGEBLOCK_LARGE, " large block"}, {PAGEBLOCK_CONTIG, " contiguous reserve"}, {PAGEBLOCK_ISOLATE, " in motion"}};
	struct picture *p = calloc(1, sizeof *p);
	char *text, title[64];
	size_t i, size;
	FILE *out;

	p->has_map = true;
	p->nr_blocks = 1;
	p->block = calloc(1, sizeof *p->block);
	for (i = 0; i < sizeof kind / sizeof *kind; i++) {
		p->block[0].mark = (struct block_mark){.addr = 0x7f0000000000, .state = kind[i].state};
		p->block[0].nr[KIND_CLEAN] = PAGEBLOCK_PAGES;
		out = open_memstream(&text, &size);
		html_map(p, out);
		fclose(out);
		snprintf(title, sizeof title, "<title>0x7f0000000000%s", kind[i].name);
		cr_assert(strstr(text, title), "no %s in %s", title, text);
		free(text);
	}
	picture_free(p);
	free(p);
}
