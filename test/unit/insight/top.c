/* SPDX-License-Identifier: MIT */
/* What bslab-top draws, of heaps that were never there. */
#include "insight/top.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(top);

/* --- rows and their order ------------------------------------------------------------------------- */

static void set_cache(struct heap_report *r, size_t size, size_t nr_objects, size_t nr_used, size_t nr_slabs, uint64_t nr_refills)
{
	struct class_report *c = &r->class[size_class(size)];

	c->cache.size = size;
	c->cache.nr_objects = nr_objects;
	c->cache.nr_slabs = nr_slabs;
	c->cache.nr_pages = nr_slabs * 4;
	c->cache.nr_refills = nr_refills;
	c->nr_used = nr_used;
}

static struct top *new_top(void)
{
	struct top *t = calloc(1, sizeof *t);

	t->now = calloc(1, sizeof *t->now);
	t->before = calloc(1, sizeof *t->before);
	t->process.dir = t->process.pagemap = -1;
	t->process.pid = 42;
	strcpy(t->process.name, "invented");
	set_cache(t->now, 64, 1000, 10, 5, 0);
	set_cache(t->now, 208, 300, 300, 50, 500);
	set_cache(t->now, 4096, 20, 15, 20, 100);
	t->nr_samples = 2;
	t->seconds = 2;
	return t;
}

static void free_top(struct top *t)
{
	survey_free(&t->survey);
	free(t->now);
	free(t->before);
	free(t);
}

Test(top, rows_have_what_the_report_has)
{
	struct cache_row row[NR_LISTED];
	struct top *t = new_top();

	cr_assert_eq(cache_rows(t->now, t->before, 2, row), 3);
	cr_assert_eq(row[0].object_size, 64);
	cr_assert_eq(row[0].use, 1);
	cr_assert_eq(row[1].bytes, 50 * 4 * BSLAB_PAGE_SIZE);
	cr_assert_eq(row[1].waste, 50 * 4 * BSLAB_PAGE_SIZE - 300 * 208);
	cr_assert_eq(row[1].rate, 250);
	cr_assert_eq(row[0].rate, 0);
	cr_assert_eq(cache_rows(t->now, NULL, 2, row), 3);
	cr_assert_eq(row[1].rate, 0, "nothing before, no rate");
	cr_assert_str_eq(row[1].name, "bslab-208");
	strcpy(t->now->class[size_class(200)].cache.name, "parts");
	cr_assert_eq(cache_rows(t->now, NULL, 2, row), 3);
	cr_assert_str_eq(row[1].name, "parts");
	t->now->handle[size_class(1000)] = t->now->class[size_class(64)];
	t->now->handle[size_class(1000)].cache.size = 1024;
	cr_assert_eq(cache_rows(t->now, t->before, 2, row), 4);
	cr_assert(!strcmp(row[3].name, "handle-1024") && row[3].object_size == 1024 && row[3].nr_active == 10);
	free_top(t);
}

static void check_order(enum sort_key key, bool reverse, size_t a, size_t b, size_t c)
{
	struct cache_row row[NR_LISTED];
	struct top *t = new_top();

	cache_rows(t->now, t->before, 2, row);
	cache_rows_sort(row, 3, key, reverse);
	cr_assert(row[0].object_size == a && row[1].object_size == b && row[2].object_size == c, "%s: %zu %zu %zu", sort_key_name(key),
		  row[0].object_size, row[1].object_size, row[2].object_size);
	free_top(t);
}

Test(top, rows_are_sorted)
{
	check_order(SORT_BYTES, false, 208, 4096, 64);
	check_order(SORT_BYTES, true, 64, 4096, 208);
	check_order(SORT_OBJECTS, false, 64, 208, 4096);
	check_order(SORT_ACTIVE, false, 208, 4096, 64);
	check_order(SORT_USE, false, 208, 4096, 64);
	check_order(SORT_WASTE, false, 208, 4096, 64);
	check_order(SORT_RATE, false, 208, 4096, 64);
	check_order(SORT_NAME, false, 64, 208, 4096);
	check_order(SORT_NAME, true, 4096, 208, 64);
	check_order(SORT_OBJECT_SIZE, false, 4096, 208, 64);
	check_order(SORT_SLABS, false, 208, 4096, 64);
	check_order(SORT_CACHED, false, 64, 208, 4096); /* all the same: by object size */
}

Test(top, keys_of_the_order)
{
	char letter[2] = "";
	int i;

	for (i = 0; i < NR_SORT_KEYS; i++) {
		letter[0] = sort_key_letter((enum sort_key)i);
		cr_assert_eq(sort_key_of(letter), i);
		cr_assert_eq(sort_key_of(sort_key_name((enum sort_key)i)), i);
		cr_assert_null(strchr("qhmdR?", letter[0]), "%c has another meaning", letter[0]);
	}
	cr_assert_eq(sort_key_of("nonsense"), -1);
	cr_assert_eq(sort_key_of(""), -1);
}

/* --- canvas --------------------------------------------------------------------------------------- */

static char *text_of(const struct canvas *c)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	canvas_write(c, out);
	fclose(out);
	return text;
}

Test(top, canvas_cuts_off)
{
	struct canvas c = {0};
	char *text;

	cr_assert(canvas_resize(&c, 5, 2));
	cr_assert_eq(canvas_put(&c, 0, 3, STYLE_PLAIN, "abc"), 6);
	canvas_put(&c, 1, 0, STYLE_PLAIN, "x   ");
	canvas_put(&c, 2, 0, STYLE_PLAIN, "beyond");
	canvas_char(&c, 1, 1, STYLE_PLAIN, 0x2588);
	text = text_of(&c);
	cr_assert_str_eq(text, "   ab\nx\xe2\x96\x88\n");
	free(text);
	canvas_clear(&c);
	cr_assert_eq(canvas_used_rows(&c), 0);
	cr_assert(canvas_resize(&c, 0, 0));
	canvas_put(&c, 0, 0, STYLE_PLAIN, "nowhere");
	canvas_fill(&c, 0, STYLE_HEAD);
	canvas_free(&c);
}

/* --- views ---------------------------------------------------------------------------------------- */

static void add_block(struct top *t, struct block_mark m)
{
	struct survey *s = &t->survey;

	s->block = realloc(s->block, (s->nr + 1) * sizeof *s->block);
	m.nr_resident = m.nr_huge = RESIDENCE_UNKNOWN;
	s->block[s->nr++] = m;
	s->capacity = s->nr;
}

static char *drawn(struct top *t, unsigned width, unsigned height)
{
	struct canvas c = {0};
	char *text;

	canvas_resize(&c, width, height);
	top_draw(t, &c);
	text = text_of(&c);
	canvas_free(&c);
	return text;
}

static void check_drawn(struct top *t, const char *part)
{
	char *text = drawn(t, 80, 24);

	cr_assert(strstr(text, part), "no \"%s\" in\n%s", part, text);
	free(text);
}

Test(top, draws_caches)
{
	struct top *t = new_top();

	check_drawn(t, "invented (42)");
	check_drawn(t, "by size: 3 caches, active 325 of 1320 objects (25 %), 122K of 1.2M (10 %)");
	check_drawn(t, "    300     300 100%    208     50       0    739K     250    800K bslab-208\n");
	t->now->percpu.nr_areas = t->process.nr_threads = 1;
	check_drawn(t, "1 thread, 1 cache by");
	free_top(t);
}

Test(top, draws_the_map)
{
	struct top *t = new_top();
	uint64_t base = 0x7f0000000000;

	t->view = VIEW_MAP;
	add_block(t, (struct block_mark){.addr = base, .state = PAGEBLOCK_BUDDY, .migratetype = MIGRATE_UNMOVABLE});
	add_block(t, (struct block_mark){.addr = base + PAGEBLOCK_SIZE, .state = PAGEBLOCK_BUDDY, .migratetype = MIGRATE_MOVABLE, .is_mixed = true, .nr_free = 256});
	add_block(t, (struct block_mark){.addr = base + 2 * PAGEBLOCK_SIZE, .state = PAGEBLOCK_FREE, .nr_free = 512, .nr_dirty = 1});
	add_block(t, (struct block_mark){.addr = base + 3 * PAGEBLOCK_SIZE, .state = PAGEBLOCK_FREE, .nr_free = 512});
	add_block(t, (struct block_mark){.addr = base + GIB, .state = PAGEBLOCK_LARGE});
	add_block(t, (struct block_mark){.addr = base + GIB + PAGEBLOCK_SIZE, .state = PAGEBLOCK_CONTIG, .nr_free = 500});
	check_drawn(t, "0x7f0000000000  Umd.\n0x7f0040000000  LC\n");
	t->colouring = BY_DENSITY;
	check_drawn(t, "0x7f0000000000  #5..\n0x7f0040000000  #0\n");
	t->colouring = BY_RESIDENCE;
	check_drawn(t, "0x7f0000000000  ????\n");
	t->survey.block[0].nr_resident = t->survey.block[0].nr_huge = 512;
	t->survey.block[1].nr_resident = 52;
	check_drawn(t, "0x7f0000000000  H1??\n");
	free_top(t);
}

Test(top, marks_say_what_is_free)
{
	struct pageblock b = {.state = PAGEBLOCK_CONTIG, .users = 0xff, .nr_free = 300, .nr_dirty_free = 20};
	struct block_mark m = survey_mark(&b, PAGEBLOCK_SIZE);

	cr_assert(m.state == PAGEBLOCK_CONTIG && m.nr_free == 300 && m.nr_dirty == 20 && !m.is_mixed);
	b.state = PAGEBLOCK_BUDDY;
	m = survey_mark(&b, PAGEBLOCK_SIZE);
	cr_assert(m.nr_free == 300 && m.nr_dirty == 20 && m.is_mixed);
	b.state = PAGEBLOCK_ISOLATE;
	m = survey_mark(&b, PAGEBLOCK_SIZE);
	cr_assert(m.nr_free == 0 && m.nr_dirty == 0);
}

Test(top, a_gap_or_a_full_row_ends_it)
{
	struct top *t = new_top();
	uint64_t addr = 0x7f0000000000;
	char *text;

	t->view = VIEW_MAP;
	for (; t->survey.nr < 65; addr += PAGEBLOCK_SIZE)
		add_block(t, (struct block_mark){.addr = addr, .state = PAGEBLOCK_LARGE});
	text = drawn(t, 80, 24);
	cr_assert(strstr(text, "0x7f0008000000  L\n"), "%s", text);
	cr_assert_eq(t->nr_rows, 2);
	free(text);
	free_top(t);
}

Test(top, draws_the_graph)
{
	struct top *t = new_top();
	struct moment m = {0, 100 * MIB, 50 * MIB, 0, 0};
	char *text;

	t->view = VIEW_GRAPH;
	history_add(&t->history, &m);
	m = (struct moment){20, 50 * MIB, 100 * MIB, 0, 0};
	history_add(&t->history, &m);
	text = drawn(t, 40, 20); /* 12 rows for 100 MiB */
	cr_assert(strstr(text, "  100M |                              +:\n"), "%s", text);
	cr_assert(strstr(text, "       |                              ##\n     0 +-----"), "%s", text);
	cr_assert_null(strstr(text, "\xe2"), "plain terminals have no blocks: %s", text);
	free(text);
	free_top(t);
}

Test(top, draws_counters_and_scrolls)
{
	struct top *t = new_top();

	t->view = VIEW_COUNTERS;
	t->now->vm_event[SHEAF_REFILL] = 700;
	t->before->vm_event[SHEAF_REFILL] = 100;
	check_drawn(t, "sheaf_refill                  700       300  Sheaves filled");
	t->scroll = 1000;
	check_drawn(t, "alloc_fail ");
	cr_assert_eq(t->scroll + t->nr_visible, NR_VM_EVENTS);
	free_top(t);
}

/* Whatever its size, nothing is drawn outside (the sanitizers would see it), and the process has its place. */
Test(top, terminals_of_any_size)
{
	struct top *t = new_top();
	unsigned width, height;

	add_block(t, (struct block_mark){.addr = 0x7f0000000000, .state = PAGEBLOCK_LARGE});
	t->now->percpu.nr_listed = t->now->percpu.nr_areas = 3;
	history_add(&t->history, &(struct moment){0, 1, 2, 3, 4});
	for (width = 1; width < 130; width += 3)
		for (height = 1; height < 30; height++)
			for (int view = 0; view < 2 * NR_VIEWS; view++) {
				t->view = (enum view)(view % NR_VIEWS);
				t->is_help = view >= NR_VIEWS;
				t->scroll = 5;
				free(drawn(t, width, height));
			}
	free_top(t);
}

Test(top, history_forgets_the_oldest)
{
	static struct history h;
	struct moment m = {0};
	int i;

	for (i = 0; i < MAX_HISTORY + 10; i++) {
		m.rss = (size_t)i;
		history_add(&h, &m);
	}
	cr_assert_eq(history_nr(&h), MAX_HISTORY);
	cr_assert_eq(history_at(&h, MAX_HISTORY, 0)->rss, 10);
	cr_assert_eq(history_at(&h, 3, 2)->rss, MAX_HISTORY + 9);
}

/* --- /proc ----------------------------------------------------------------------------------------- */

Test(top, stat_of_a_process)
{
	struct procinfo p = {0};
	uint64_t start = 0;

	cr_assert(proc_stat_parse("42 (a) (b c)) S 1 42 42 0 -1 4194560 100 200 7 300 1 2 3 4 20 0 5 0 1234 99 98 18446744073709551615 1\n", &p, &start));
	cr_assert_str_eq(p.name, "a) (b c)");
	cr_assert_eq(p.state, 'S');
	cr_assert_eq(p.nr_faults, 107);
	cr_assert_eq(p.nr_threads, 5);
	cr_assert_eq(start, 1234);
	cr_assert(proc_stat_parse("1 (\033[1m\xff) R 1 42 42 0 -1 4194560 100 200 7 300 1 2 3 4 20 0 5 0 1234", &p, &start));
	cr_assert_str_eq(p.name, "?[1m?");
	cr_assert_not(proc_stat_parse("", &p, &start));
	cr_assert_not(proc_stat_parse("42 (a", &p, &start));
	cr_assert_not(proc_stat_parse("42 (a)", &p, &start));
	cr_assert_not(proc_stat_parse("42 (a) S 1 2 3", &p, &start));
}

Test(top, this_process)
{
	struct residence r;
	struct procinfo p;
	char *pages;

	cr_assert(procinfo_open(&p, (int)getpid()));
	cr_assert(procinfo_take(&p));
	cr_assert_gt(p.rss, 0);
	cr_assert_eq(p.state, 'R');
	pages = aligned_alloc(PAGEBLOCK_SIZE, PAGEBLOCK_SIZE);
	memset(pages, 1, 10 * BSLAB_PAGE_SIZE);
	if (procinfo_residence(&p, (uintptr_t)pages, PAGEBLOCK_SIZE, &r))
		cr_assert(r.nr_resident >= 10 && r.nr_resident <= 512 && r.nr_huge <= r.nr_resident, "%zu %zu", r.nr_resident, r.nr_huge);
	p.has_scan = false;
	if (procinfo_residence(&p, (uintptr_t)pages, PAGEBLOCK_SIZE, &r))
		cr_assert(r.nr_resident >= 10 && r.nr_resident <= 512, "%zu", r.nr_resident);
	free(pages);
	procinfo_close(&p);
	cr_assert_not(procinfo_open(&p, 0x7fffffff));
}
