/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_os.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/guard.h"

#define NR_PAGES 33 /* none of which are kept */

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = 8 * MIB;
	fake.nr_cpus = 2;
}

TestSuite(guard, .init = setup);

static char *pages(void)
{
	bool zeroed;
	char *p = guard_alloc_pages(NR_PAGES, 0, MIGRATE_MOVABLE, 0, &zeroed);

	cr_assert_not_null(p);
	return p;
}

static size_t nr_free(void)
{
	size_t n, nr_dirty;

	pages_count_free(&n, &nr_dirty);
	return n;
}

static enum fake_state state(const char *p, int page)
{
	return fake_page(p + page * (int)BSLAB_PAGE_SIZE);
}

static void expect(const char *p, enum fake_state before, enum fake_state body, enum fake_state behind)
{
	cr_assert_eq(state(p, -1), before);
	for (int i = 0; i < NR_PAGES; i++)
		cr_assert_eq(state(p, i), body);
	cr_assert_eq(state(p, NR_PAGES), behind);
}

#define OPEN FAKE_COMMITTED

Test(guard, a_page_on_either_side_traps)
{
	char *keep = pages(), *p = pages();
	size_t before = nr_free();

	expect(p, FAKE_GUARDED, OPEN, FAKE_GUARDED);
	memset(p, 'x', NR_PAGES * BSLAB_PAGE_SIZE);
	guard_free_pages(p, NR_PAGES);
	expect(p, OPEN, OPEN, OPEN);
	cr_assert_eq(nr_free(), before + NR_PAGES + 2);
	guard_free_pages(keep, NR_PAGES);
}

Test(guard, all_of_them_may_trap)
{
	char *keep = pages(), *p = pages();
	size_t before = nr_free();

	cr_assert(guard_close(p, NR_PAGES));
	expect(p, FAKE_GUARDED, FAKE_GUARDED, FAKE_GUARDED);
	guard_free_pages(p, NR_PAGES);
	expect(p, OPEN, OPEN, OPEN);
	cr_assert_eq(nr_free(), before + NR_PAGES + 2);
	guard_free_pages(keep, NR_PAGES);
}

Test(guard, aligned_pages_have_none_before_them)
{
	bool zeroed;
	char *keep = pages(), *p = guard_alloc_pages(NR_PAGES, 4, MIGRATE_MOVABLE, 0, &zeroed);
	size_t before = nr_free();

	cr_assert_eq((uintptr_t)p % (16 * BSLAB_PAGE_SIZE), 0);
	cr_assert_eq(state(p, NR_PAGES), FAKE_GUARDED);
	guard_free_pages(p, NR_PAGES);
	cr_assert_eq(nr_free(), before + NR_PAGES + 1);
	guard_free_pages(keep, NR_PAGES);
}

/* Refused as markers, one after the other: then by mprotect. Each is undone as it was done. */
Test(guard, mprotect_where_markers_are_refused)
{
	static const enum fake_state kinds[] = {FAKE_GUARDED, FAKE_CLOSED};
	char *keep = pages(), *p;
	size_t before = nr_free();

	for (unsigned i = 0; i < 8; i++) {
		fake_fail_at(1u << FAKE_GUARD, i & 1 ? 1 : i & 2 ? 2 : 0, false);
		p = pages();
		memset(p, 'x', NR_PAGES * BSLAB_PAGE_SIZE);
		expect(p, kinds[i & 1], OPEN, kinds[(i & 3) == 2]);
		fake_fail_at(1u << FAKE_GUARD, i & 4 ? 1 : 0, false);
		cr_assert(guard_close(p, NR_PAGES));
		expect(p, kinds[i & 1], kinds[i >> 2], kinds[(i & 3) == 2]);
		guard_free_pages(p, NR_PAGES);
		expect(p, OPEN, OPEN, OPEN);
		cr_assert_eq(p[0], 0);
		cr_assert_eq(p[NR_PAGES * BSLAB_PAGE_SIZE - 1], 0);
		cr_assert_eq(nr_free(), before);
	}
	guard_free_pages(keep, NR_PAGES);
}

/* Each splits a mapping, so there is a number of them; those that are gone do not count. */
Test(guard, mprotect_a_number_of_times)
{
	unsigned n = 0;
	char *p;

	for (int i = 0; i < 20000; i++) {
		fake_fail_at(1u << FAKE_GUARD, 1, false);
		p = pages();
		cr_assert_eq(state(p, -1), FAKE_CLOSED, "the %d-th", i);
		guard_free_pages(p, NR_PAGES);
	}
	do {
		fake_fail_at(1u << FAKE_GUARD, 1, false);
		p = pages();
	} while (state(p, -1) == FAKE_CLOSED && ++n < 20000);
	cr_assert(n > 1000 && n < 20000, "%u", n);
}

Test(guard, goes_without_where_all_is_refused)
{
	char *p;

	fake_fail_at(1u << FAKE_GUARD, 1, true);
	p = pages();
	expect(p, OPEN, OPEN, OPEN);
	cr_assert_not(guard_close(p, NR_PAGES));
	guard_free_pages(p, NR_PAGES);
}

Test(guard, pages_of_the_machine_may_be_larger)
{
	char *p;

	fake.page_size = 16384;
	p = pages();
	expect(p, OPEN, OPEN, OPEN);
}

/* What could not be opened is freed with the next that can; what was opened of it is not opened again. */
Test(guard, refused_pages_wait)
{
	char *keep = pages(), *p = pages(), *q;
	size_t before;

	fake_fail_at(1u << FAKE_GUARD, 1, false);
	q = pages();
	before = nr_free();
	cr_assert(guard_close(q, NR_PAGES));
	fake_fail_at(1u << FAKE_UNGUARD, 1, true);
	guard_free_pages(p, NR_PAGES);
	fake_fail_at(1u << FAKE_UNGUARD, 2, true); /* the page before it opens, the others do not */
	guard_free_pages(q, NR_PAGES);
	expect(q, OPEN, FAKE_GUARDED, FAKE_GUARDED);
	guard_drain();
	cr_assert_eq(nr_free(), before);
	fake_fail_at(0, 0, false);
	guard_drain();
	cr_assert_eq(nr_free(), before + 2 * (NR_PAGES + 2));
	expect(p, OPEN, OPEN, OPEN);
	expect(q, OPEN, OPEN, OPEN);
	guard_free_pages(keep, NR_PAGES);
}

/* Kept between their guards, for pages of the same number and type: no system call, and counted as what they are. */
Test(guard, small_ones_are_kept)
{
	struct guard_info info;
	bool zeroed;
	char *keep = pages(), *p = guard_alloc_pages(3, 0, MIGRATE_UNMOVABLE, 0, &zeroed), *other;
	size_t before = nr_free(), nr_guards, nr_calls;

	guard_snapshot(&info);
	nr_guards = info.nr_guards;
	cr_assert_eq(info.nr_waiting, 0);
	memset(p, 'x', 3 * BSLAB_PAGE_SIZE);
	nr_calls = fake.nr_calls[FAKE_GUARD] + fake.nr_calls[FAKE_UNGUARD];
	guard_free_pages(p, 3);
	guard_snapshot(&info);
	cr_assert(info.nr_waiting == 3 && info.nr_waiting_dirty == 3 && info.nr_guards == nr_guards);
	cr_assert_eq(guard_alloc_pages(3, 0, MIGRATE_UNMOVABLE, 0, &zeroed), p);
	cr_assert_not(zeroed);
	cr_assert_eq(state(p, -1), FAKE_GUARDED);
	guard_snapshot(&info);
	cr_assert_eq(info.nr_waiting, 0);
	guard_free_pages(p, 3);
	cr_assert_eq(fake.nr_calls[FAKE_GUARD] + fake.nr_calls[FAKE_UNGUARD], nr_calls);
	other = guard_alloc_pages(3, 0, MIGRATE_MOVABLE, 0, &zeroed);
	cr_assert_neq(other, p);
	guard_free_pages(other, 3);
	other = guard_alloc_pages(2, 0, MIGRATE_UNMOVABLE, 0, &zeroed);
	cr_assert_neq(other, p);
	guard_free_pages(other, 2);
	guard_drain();
	guard_snapshot(&info);
	cr_assert(info.nr_waiting == 0 && info.nr_guards == nr_guards - 2);
	cr_assert_eq(nr_free(), before + 5);
	cr_assert_eq(state(p, -1), OPEN);
	guard_free_pages(keep, NR_PAGES);
}

/* No more than 64 of them, or 2 MiB, nor any that lacks a guard. */
Test(guard, few_are_kept)
{
	struct guard_info info;
	bool zeroed;
	char *p[70];

	for (unsigned nr_pages = 1; nr_pages <= 32; nr_pages += 31) {
		for (int i = 0; i < 70; i++)
			p[i] = guard_alloc_pages(nr_pages, 0, MIGRATE_UNMOVABLE, 0, &zeroed);
		for (int i = 0; i < 70; i++)
			guard_free_pages(p[i], nr_pages);
		guard_snapshot(&info);
		cr_assert_eq(info.nr_waiting, nr_pages == 1 ? 64 : 512);
		guard_drain();
	}
	fake.page_size = 16384;
	guard_free_pages(guard_alloc_pages(1, 0, MIGRATE_UNMOVABLE, 0, &zeroed), 1);
	guard_snapshot(&info);
	cr_assert_eq(info.nr_waiting, 0);
}

/* Opened between their guards; refused, they stay closed. */
Test(guard, closed_pages_serve_again)
{
	char *p = pages();

	memset(p, 'x', NR_PAGES * BSLAB_PAGE_SIZE);
	cr_assert(guard_close(p, NR_PAGES));
	fake_fail_at(1u << FAKE_UNGUARD, 1, false);
	cr_assert_not(guard_reopen(p, NR_PAGES));
	expect(p, FAKE_GUARDED, FAKE_GUARDED, FAKE_GUARDED);
	cr_assert(guard_reopen(p, NR_PAGES));
	expect(p, FAKE_GUARDED, OPEN, FAKE_GUARDED);
	cr_assert(p[0] == 0 && p[NR_PAGES * BSLAB_PAGE_SIZE - 1] == 0);
	guard_free_pages(p, NR_PAGES);
	expect(p, OPEN, OPEN, OPEN);
}

/* What they were taken for, written down behind them, is not taken for a page before the next: that is another's. */
Test(guard, a_page_behind_is_not_one_before)
{
	bool zeroed;
	char *keep = pages(), *next = NULL;
	size_t before;
	unsigned type;

	for (type = MIGRATE_UNMOVABLE; type <= MIGRATE_MOVABLE; type++) {
		char *p = NULL;

		/* Until one ends where an aligned one begins. */
		for (int i = 0; i < 64 && (!p || p + 15 * BSLAB_PAGE_SIZE != next); i++) {
			p = guard_alloc_pages(14, 0, (enum migratetype)type, 0, &zeroed);
			next = guard_alloc_pages(15, 4, (enum migratetype)type, 0, &zeroed);
		}
		cr_assert_eq(p + 15 * BSLAB_PAGE_SIZE, next);
		before = nr_free();
		memset(next, 'x', 15 * BSLAB_PAGE_SIZE);
		cr_assert(guard_close(next, 15)); /* so that it is not kept */
		guard_free_pages(next, 15);
		cr_assert_eq(nr_free(), before + 16);
		cr_assert_eq(state(p, 14), FAKE_GUARDED);
	}
	guard_free_pages(keep, NR_PAGES);
}

/* A guard that was refused is not cleared; those of a run that traps later are as they were found. */
Test(guard, what_never_trapped_is_not_clean)
{
	static char *split[20000];
	unsigned n = 0, i;
	char *used, *p, *q;
	bool zeroed;

	do { /* until no more mappings may be split */
		fake_fail_at(1u << FAKE_GUARD, 1, false);
		split[n++] = pages();
	} while (state(split[n - 1], -1) == FAKE_CLOSED);
	guard_free_pages(split[--n], NR_PAGES);
	used = pages_alloc(400, 0, MIGRATE_MOVABLE, 0, &zeroed);
	memset(used, 'x', 400 * BSLAB_PAGE_SIZE);
	pages_free(used, 400);
	fake_fail_at(1u << FAKE_GUARD, 1, true);
	p = pages();
	expect(p, OPEN, OPEN, OPEN);
	fake_fail_at(0, 0, false);
	guard_free_pages(split[--n], NR_PAGES);
	fake_fail_at(1u << FAKE_GUARD, 1, false);
	cr_assert(guard_close(p, NR_PAGES));
	fake_fail_at(0, 0, false);
	guard_free_pages(p, NR_PAGES);
	for (i = 0; i < 400; i++) {
		q = pages_alloc(1, 0, MIGRATE_MOVABLE, 0, &zeroed);
		cr_assert(!zeroed || !q[7], "%p", (void *)q);
	}
}
