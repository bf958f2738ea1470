/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_os.h"
#include "os/options.h"
#include "report/report.h"
#include "slab/sheaf.h"

static struct heap_report report;
static char text[64 * 1024];
static size_t nr_lines, longest;

static void setup(void)
{
	char fault[160];

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

		snprintf(start, sizeof start, "\n%zu 1 ", class_size(class));
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
