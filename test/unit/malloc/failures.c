/* SPDX-License-Identifier: MIT */
/* One workload, run once for each system call in it, which is then refused: SQLite's test_malloc.c does the same. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bslab/bslab.h"
#include "bslab/insight.h"
#include "bslab/page.h"
#include "boot/boot.h"
#include "fake_os.h"
#include "malloc/guarded.h"
#include "os/options.h"
#include "stay.h"

#define NR_BLOCKS 30
#define STRIDE (64 * KIB) /* where a block is looked at: few pages, since there are many rounds */

static struct {
	unsigned char *p;
	size_t size;
} held[NR_BLOCKS];

static size_t nr_refused;

static void note(const void *p)
{
	if (p)
		return;
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	nr_refused++;
}

static void expect_pattern(int i)
{
	for (size_t at = 0; at < held[i].size; at += STRIDE)
		cr_assert_eq(held[i].p[at], (unsigned char)i);
}

static void set_pattern(int i, size_t from)
{
	for (size_t at = align_up(from, STRIDE); at < held[i].size; at += STRIDE)
		held[i].p[at] = (unsigned char)i;
}

static void take(int i, size_t size)
{
	void *p;

	switch (i % 3) {
	case 0:
		p = bslab_malloc(size);
		break;
	case 1:
		p = bslab_calloc(1, size);
		break;
	default:
		p = bslab_aligned_alloc(8192, size);
	}
	note(p);
	if (p && i % 3 == 1)
		for (size_t at = 0; at < size; at += STRIDE)
			cr_assert_eq(((unsigned char *)p)[at], 0);
	held[i].p = p;
	held[i].size = p ? size : 0;
	set_pattern(i, 0);
}

static void change(int i, size_t size)
{
	unsigned char *p;

	if (!held[i].p)
		return;
	p = bslab_realloc(held[i].p, size);
	note(p);
	if (p) {
		size_t old_size = held[i].size;

		held[i].p = p;
		held[i].size = size < old_size ? size : old_size;
		expect_pattern(i);
		held[i].size = size;
		set_pattern(i, old_size);
	}
	expect_pattern(i);
}

static void release(int i)
{
	expect_pattern(i);
	bslab_free(held[i].p);
	held[i].p = NULL;
	held[i].size = 0;
}

static void workload(void)
{
	static const size_t sizes[] = {24, 700, 9000, 33000, 300000, 1500000, 3 << 20, 5 << 20, 33 << 20, 100};

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < NR_BLOCKS; i++)
			take(i, sizes[i % 10]);
		for (int i = 0; i < NR_BLOCKS; i += 2)
			change(i, sizes[(i + round + 3) % 10] + 5000);
		bslab_malloc_trim(0);
		for (int i = 0; i < NR_BLOCKS; i += 3)
			change(i, sizes[(i + 7) % 10]);
		for (int i = 0; i < NR_BLOCKS; i++)
			release(i);
	}
	bslab_malloc_trim(0);
}

static void expect_empty(void)
{
	struct bslab_mallinfo m;

	if (bslab_options.hardened) /* what the kernel refused to open while the workload ended */
		bslab_malloc_trim(0);
	m = bslab_mallinfo2();

	cr_assert_eq(m.uordblks, 0, "%zu bytes still in use", m.uordblks);
	cr_assert_eq(m.hblkhd, 0, "%zu bytes still mapped", m.hblkhd);
	cr_assert_eq(m.hblks, 0);
}

static size_t nr_calls(void)
{
	size_t n = 0;

	for (int i = 0; i < NR_FAKE_CALLS; i++)
		n += fake.nr_calls[i];
	return n;
}

static void setup(void)
{
	stay();
	fake.nr_cpus = 4;
	bslab_mallopt(-3 /* M_MMAP_THRESHOLD */, 32 << 20);
}

TestSuite(failures, .init = setup);

Test(failures, none)
{
	workload();
	cr_assert_eq(nr_refused, 0);
	expect_empty();
}

/* Unmapping and guarding are not refused here: a leak or a guard less is what they may cost. */
#define KINDS (FAKE_ALL & ~(1u << FAKE_UNMAP | 1u << FAKE_GUARD))

Test(failures, each_call_once)
{
	size_t before = nr_calls(), total;

	workload();
	total = nr_calls() - before;
	for (size_t n = 1; n <= total; n += bslab_options.hardened ? 29 : 1) { /* where there are ten times as many */
		fake_fail_at(KINDS, n, false);
		workload();
		fake_fail_at(0, 0, false);
		expect_empty();
	}
	nr_refused = 0;
	workload();
	cr_assert_eq(nr_refused, 0, "memory is there again, and malloc says no");
}

Test(failures, each_call_and_all_after_it)
{
	for (size_t n = 1; n <= 60; n++) {
		fake_fail_at(KINDS, n, true);
		workload();
		fake_fail_at(0, 0, false);
		expect_empty();
	}
	nr_refused = 0;
	workload();
	cr_assert_eq(nr_refused, 0, "memory is there again, and malloc says no");
}

Test(failures, from_the_first_call_of_the_process)
{
	fake_fail_at(FAKE_ALL, 1, true);
	workload();
	cr_assert_gt(nr_refused, 0);
	fake_fail_at(0, 0, false);
	nr_refused = 0;
	workload();
	cr_assert_eq(nr_refused, 0);
}

Test(failures, unmap_and_guard)
{
	for (size_t n = 1; n <= 10; n++) {
		fake_fail_at(1u << FAKE_UNMAP | 1u << FAKE_GUARD, n, false);
		workload();
		fake_fail_at(0, 0, false);
		expect_empty();
	}
}

/* Runs that cannot be made to trap when they are freed go back at once. */
Test(failures, no_guard_at_all)
{
	fake_fail_at(1u << FAKE_GUARD, 1, true);
	workload();
	fake_fail_at(0, 0, false);
	expect_empty();
}

/* Freed runs that trap serve again, opened; one that the kernel does not open waits, and another serves. */
Test(failures, no_guard_is_opened)
{
	enum { NR = 300 };
	static char *p[NR];

	for (int i = 0; i < NR; i++)
		p[i] = bslab_malloc(300000);
	for (int i = 0; i < NR; i++)
		bslab_free(p[i]);
	fake_fail_at(1u << FAKE_UNGUARD, 1, true);
	for (int i = 0; i < 10; i++) {
		p[i] = bslab_malloc(300000);
		cr_assert_not_null(p[i]);
		memset(p[i], i, 300000);
	}
	fake_fail_at(0, 0, false);
	for (int i = 0; i < 10; i++)
		bslab_free(p[i]);
	bslab_malloc_trim(0);
	expect_empty();
}

static int put_nothing(const char *text, size_t len, void *arg)
{
	(void)text;
	(void)arg;
	return len == 0;
}

/* A report wants pages of its own. */
Test(failures, no_memory_for_a_report)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	bslab_free(bslab_malloc(100));
	fake_fail_at(KINDS, 1, true);
	fake.capture = true;
	cr_assert_eq(bslab_malloc_info(0, stream), -1);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(bslab_report_to("meminfo", "text", put_nothing, NULL), -1);
	cr_assert_eq(errno, ENOMEM);
	cr_assert_eq(bslab_mallinfo2().arena, 0);
	bslab_malloc_stats();
	cr_assert_str_eq(fake.text, "bslab: malloc_stats: no memory for a snapshot\n");
	fake_fail_at(0, 0, false);
	cr_assert_eq(bslab_malloc_info(0, stream), 0);
	cr_assert_neq(bslab_mallinfo2().arena, 0);
	fclose(stream);
	free(text);
}

/* Said once, and nothing is guarded. */
Test(failures, no_memory_to_guard)
{
	bslab_free(bslab_malloc(100));
	fake.capture = true;
	fake_fail_at(1u << FAKE_GUARD, 1, true);
	guarded_start(1);
	cr_assert_str_eq(fake.text, "bslab: guarded: no memory, or no pages that can be made to trap\n");
	fake_fail_at(0, 0, false);
	workload();
	cr_assert_eq(nr_refused, 0);
	expect_empty();
}

/* Pages want no metadata of their own: there may be none left for their caches, nor for a sheaf. */
Test(failures, pages_without_metadata)
{
	enum { NR = 500 };
	static void *page[NR];
	void *run[5], *three, *first;

	first = bslab_pages_alloc(0, 0); /* order 0 has its cache, the others have none */
	run[4] = bslab_pages_alloc(8, 0);
	cr_assert(first && run[4]);
	bslab_pages_free(run[4]); /* so there are pages */
	fake_fail_at(1u << FAKE_MAP, 1, true);
	for (size_t size = 64 * KIB; size >= 8; size /= 2)
		while (boot_alloc(size, 8))
			;
	for (unsigned order = 0; order < 5; order++) {
		run[order] = bslab_pages_alloc(order, 0);
		cr_assert(run[order], "order %u", order);
		cr_assert_eq(bslab_folio_size(run[order]), BSLAB_PAGE_SIZE << order);
		memset(run[order], 1, BSLAB_PAGE_SIZE << order);
	}
	three = bslab_pages_alloc_exact(3 * BSLAB_PAGE_SIZE, 0);
	cr_assert(three);
	for (int i = 0; i < NR; i++)
		cr_assert(page[i] = bslab_pages_alloc(0, 0), "page %d", i);
	for (int i = 0; i < NR; i++)
		bslab_pages_free(page[i]);
	for (unsigned order = 0; order < 5; order++) {
		bslab_pages_free(run[order]);
		cr_assert_null(bslab_folio_head(run[order]));
	}
	bslab_pages_free(three);
	bslab_pages_free(first);
}
