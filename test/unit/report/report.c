/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "os/options.h"
#include "report/report.h"
#include "slab/sheaf.h"
#include "stay.h"

static struct heap_report report;
static char text[256 * 1024];
static size_t nr_lines, longest;

static void setup(void)
{
	char fault[160];

	stay();
	options_parse(&bslab_options, getenv("BSLAB_CONF") ? getenv("BSLAB_CONF") : "", fault, sizeof fault);
	percpu_boot();
}

TestSuite(report, .init = setup);

static void put_line(const char *line, void *arg)
{
	cr_assert_eq(arg, &report);
	cr_assert_null(strchr(line, '\n'));
	longest = strlen(line) > longest ? strlen(line) : longest;
	strncat(text, line, sizeof text - strlen(text) - 2);
	strcat(text, "\n");
	nr_lines++;
}

Test(report, of_an_unused_heap)
{
	report_take(&report);
	cr_assert_eq(report.used, 0);
	cr_assert_eq(report.committed, 0);
	report_text(&report, put_line, &report);
	cr_assert_gt(nr_lines, 5);
}

Test(report, adds_up)
{
	struct kmem_cache *c = cache_of(size_class(100));
	void *small[50];
	bool zeroed;

	for (int i = 0; i < 50; i++)
		small[i] = percpu_alloc_slow(c, 0);
	pages_alloc(33, 0, MIGRATE_MOVABLE, 0, &zeroed);
	large_alloc(5 * MIB, 1, &zeroed);
	large_alloc(GIB, 1, &zeroed);
	percpu_free_slow(c, small[7]);
	report_take(&report);
	cr_assert_eq(report.class[c->class].nr_used, 49);
	cr_assert_eq(report.small_used, 49 * 112);
	cr_assert_eq(report.run_used, 33 * BSLAB_PAGE_SIZE);
	cr_assert_eq(report.large.bytes, 5 * MIB + GIB);
	cr_assert_eq(report.used, report.small_used + report.run_used + report.large.bytes);
	cr_assert_eq(report.committed, report.used + report.free);
	cr_assert_eq(report.large.nr_mapped, 1);
}

Test(report, every_class_in_lines_that_fit)
{
	for (unsigned class = 1; class < NR_CLASSES; class++)
		percpu_alloc_slow(cache_of(class), 0);
	report_take(&report);
	report_text(&report, put_line, &report);
	cr_assert_leq(longest, 255);
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		char start[32];

		snprintf(start, sizeof start, "\n%6zu        1 ", class_size(class));
		cr_assert_not_null(strstr(text, start), "no line for class %u in\n%s", class, text);
	}
}

static int count(const char *what)
{
	int n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

Test(report, xml_is_balanced)
{
	percpu_alloc_slow(cache_of(3), 0);
	report_take(&report);
	report_xml(&report, put_line, &report);
	cr_assert_eq(strncmp(text, "<malloc version=", 16), 0);
	for (const char *const *tag = (const char *const[]){"malloc", "heap", "sizes", NULL}; *tag; tag++) {
		char open[16], close[16];

		snprintf(open, sizeof open, "<%s", *tag);
		snprintf(close, sizeof close, "</%s>", *tag);
		cr_assert_eq(count(close), 1);
		cr_assert_eq(count(open), 1);
	}
	cr_assert_eq(count("<size "), 1);
	cr_assert_eq(count("\"") % 2, 0);
}

Test(report, compaction_in_texts)
{
	enum { NR = 10000 };
	static uint64_t h[NR];
	char line[160];

	report_take(&report);
	report_text(&report, put_line, &report);
	report_xml(&report, put_line, &report);
	cr_assert_null(strstr(text, "compact"), "not where there are no handles");
	for (unsigned i = 0; i < NR; i++)
		h[i] = handle_alloc_slow(2000);
	for (unsigned i = 0; i < NR; i++)
		if (i % 10)
			handle_free_slow(h[i]);
	handles_drain();
	cr_assert_gt(handles_compact(), 0);
	report_take(&report);
	text[0] = '\0';
	report_text(&report, put_line, &report);
	snprintf(line, sizeof line, "handles %zu bytes; compactions moved %zu objects and released %zu pageblocks\n", report.handle_used,
		 (size_t)compact_counts.nr_moved, (size_t)compact_counts.nr_released);
	cr_assert(strstr(text, line), "%s in\n%s", line, text);
	report_xml(&report, put_line, &report);
	snprintf(line, sizeof line, "<compact moved=\"%zu\" released=\"%zu\"/>\n", (size_t)compact_counts.nr_moved,
		 (size_t)compact_counts.nr_released);
	cr_assert(strstr(text, line), "%s in\n%s", line, text);
}

/* --- the snapshot's own sums ------------------------------------------------------------------ */

#define NR_OBJECTS 3000

static void *objects[NR_OBJECTS], *runs[40], *larges[4];

/* Objects of all sizes, runs and large blocks, and every third of them freed again. */
static void make_a_heap(void)
{
	bool zeroed;

	for (int i = 0; i < NR_OBJECTS; i++)
		objects[i] = percpu_alloc_slow(cache_of(1 + (unsigned)i % (NR_CLASSES - 1)), 0);
	for (int i = 0; i < 40; i++)
		runs[i] = pages_alloc(9 + (unsigned)i * 5, 0, MIGRATE_MOVABLE, 0, &zeroed);
	for (int i = 0; i < 4; i++)
		larges[i] = large_alloc((size_t)(3 + i) * MIB, 1, &zeroed);
	large_alloc(GIB, 1, &zeroed);
	for (int i = 0; i < NR_OBJECTS; i += 3)
		percpu_free_slow(cache_of(1 + (unsigned)i % (NR_CLASSES - 1)), objects[i]);
	for (int i = 0; i < 40; i += 3)
		pages_free(runs[i], 9 + (unsigned)i * 5);
	large_free(large_of(map_lookup((uintptr_t)larges[1])));
}

Test(report, sums_of_a_real_heap)
{
	size_t nr_free = 0, nr_dirty = 0, nr_blocks = 0;

	make_a_heap();
	report_take(&report);
	for (unsigned t = 0; t < NR_MIGRATETYPES; t++) {
		size_t of_type = 0;

		for (unsigned o = 0; o < NR_ORDERS; o++) {
			cr_assert_leq(report.pages.types.resident_area[t][o], report.pages.types.free_area[t][o]);
			of_type += report.pages.types.free_area[t][o] << o;
		}
		cr_assert_eq(of_type, report.pages.types.free_pages[t]);
		cr_assert_leq(report.pages.types.mixed[t], report.pages.types.blocks[t]);
		nr_free += of_type;
		nr_dirty += report.pages.types.dirty_pages[t];
		nr_blocks += report.pages.types.blocks[t];
	}
	cr_assert_eq(nr_free, report.pages.nr_free);
	cr_assert_eq(nr_dirty, report.pages.nr_dirty_free);
	cr_assert_eq(nr_blocks, report.pages.nr_blocks);
	cr_assert_eq(report.zone.nr_used, report.pages.nr_blocks + report.pages.types.nr_large_blocks);
	cr_assert_eq(report.zone.nr_committed, report.zone.nr_used + report.zone.nr_free);
	cr_assert_eq(report.large.nr_blocks + (report.large.nr_hot_pages >> PAGEBLOCK_ORDER), report.pages.types.nr_large_blocks);
	cr_assert_eq(report.large_list.nr_listed, 4);
	cr_assert_eq(report.used, report.small_used + report.run_used + report.large.bytes);
	cr_assert_eq(report.committed, report.used + report.free);
	cr_assert_eq(report.free, report.cached + report.slab_free + report.slack + report.dirty_free + report.clean_free);
}

/* What is left over as clean is what is counted as clean. */
Test(report, clean_pages_are_not_a_rest)
{
	make_a_heap();
	report_take(&report);
	cr_assert_eq(report.clean_free >> PAGE_SHIFT,
		     report.pages.nr_free - report.pages.nr_dirty_free + (report.zone.nr_free << PAGEBLOCK_ORDER) -
			 report.zone.nr_dirty_pages);
}

Test(report, caches_add_up)
{
	size_t nr_used = 0;

	make_a_heap();
	report_take(&report);
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		const struct class_report *c = &report.class[class];

		cr_assert_eq(c->cache.nr_objects, c->nr_used + c->nr_cached + c->cache.nr_free);
		cr_assert_leq(c->cache.nr_partial, c->cache.nr_slabs);
		cr_assert_leq(c->cache.nr_objects * c->cache.size, c->cache.nr_pages << PAGE_SHIFT);
		nr_used += c->nr_used;
	}
	cr_assert_eq(nr_used, NR_OBJECTS - NR_OBJECTS / 3);
}

/* Slabs that are partly free are counted as they come and go, not by a walk. */
Test(report, partial_slabs_are_those_on_the_list)
{
	struct kmem_cache *c = cache_of(size_class(64));

	make_a_heap();
	for (int i = 0; i < NR_OBJECTS; i++)
		objects[i] = percpu_alloc_slow(c, 0);
	for (int i = 0; i < NR_OBJECTS; i += 7)
		slab_give(c, &objects[i], 1);
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		struct cache_info info;
		size_t nr_listed = 0, nr_free = 0;

		cr_assert(cache_snapshot(class, &info));
		for (struct list_node *n = cache_of(class)->partial.first; n; n = n->next) {
			nr_listed++;
			nr_free += (size_t)container_of(n, struct slab, node)->nr_free;
		}
		cr_assert_eq(info.nr_partial, nr_listed);
		cr_assert_eq(info.nr_free, nr_free);
	}
}

Test(report, counters_never_fall)
{
	static struct heap_report before;

	report_take(&before);
	for (int round = 0; round < 3; round++) {
		make_a_heap();
		percpu_drain();
		zone_purge(0);
		pages_purge();
		report_take(&report);
		for (unsigned i = 0; i < NR_VM_EVENTS; i++)
			cr_assert_geq(report.vm_event[i], before.vm_event[i], "event %u", i);
		cr_assert_gt(report.vm_event[PGALLOC], before.vm_event[PGALLOC]);
		cr_assert_gt(report.vm_event[SHEAF_REFILL], before.vm_event[SHEAF_REFILL]);
		cr_assert_gt(report.vm_event[PURGE_PAGES], before.vm_event[PURGE_PAGES]);
		before = report;
	}
	cr_assert_eq(report.vm_event[LARGE_MAP], 3);
	cr_assert_eq(report.vm_event[LARGE_BLOCK_ALLOC], 12);
	cr_assert_eq(report.vm_event[LARGE_BLOCK_FREE], 3);
	cr_assert_eq(report.vm_event[CPU_DRAIN], 3);
}

/* One piece less for each split, one more for each merge: what is cut is joined again. */
Test(report, splits_and_merges_balance)
{
	bool zeroed;
	void *p;

	pages_alloc(1, 0, MIGRATE_MOVABLE, 0, &zeroed);
	report_take(&report);
	cr_assert_eq(report.vm_event[PGSPLIT], 9, "one page out of a pageblock leaves nine pieces");
	p = pages_alloc(4, 0, MIGRATE_MOVABLE, 0, &zeroed);
	pages_free(p, 4);
	report_take(&report);
	cr_assert_eq(report.vm_event[PGSPLIT] - report.vm_event[PGMERGE], 9);
}

Test(report, a_block_is_mixed_until_it_is_free)
{
	bool zeroed;
	void *p = pages_alloc(1, 0, MIGRATE_MOVABLE, 0, &zeroed), *q = pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed);

	report_take(&report);
	cr_assert_eq(report.pages.types.mixed[MIGRATE_MOVABLE], 1, "a small buddy does not keep types apart");
	pages_free(p, 1);
	pages_free(q, 1);
	pages_alloc(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed);
	report_take(&report);
	cr_assert_eq(report.pages.types.mixed[MIGRATE_MOVABLE] + report.pages.types.mixed[MIGRATE_UNMOVABLE], 0);
}

Test(report, full_blocks_are_counted)
{
	bool zeroed;

	for (int i = 0; i < 3; i++)
		pages_alloc(PAGEBLOCK_PAGES, 0, MIGRATE_MOVABLE, 0, &zeroed);
	report_take(&report);
	cr_assert_eq(report.pages.types.blocks[MIGRATE_MOVABLE], 3);
	cr_assert_eq(report.run_used, 3 * PAGEBLOCK_SIZE);
}

Test(report, more_large_blocks_than_are_listed)
{
	bool zeroed;

	for (unsigned i = 0; i < MAX_LARGE_LISTED + 5; i++)
		cr_assert_not_null(large_alloc(PAGEBLOCK_SIZE + 1, 1, &zeroed));
	report_take(&report);
	cr_assert_eq(report.large_list.nr_listed, MAX_LARGE_LISTED);
	cr_assert_eq(report.large_list.nr_areas, MAX_LARGE_LISTED + 5);
	report_write(&report, REPORT_VMALLOCINFO, REPORT_TEXT, put_line, &report);
	cr_assert_eq(nr_lines, MAX_LARGE_LISTED + 1);
	cr_assert_str_eq(text + strlen(text) - strlen("# and 5 older ones\n"), "# and 5 older ones\n");
}
