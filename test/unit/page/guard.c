/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_os.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/guard.h"

#define NR_PAGES 8

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
	char *p = pages_alloc(NR_PAGES, 0, MIGRATE_MOVABLE, 0, &zeroed);

	cr_assert_not_null(p);
	return p;
}

static size_t nr_free(void)
{
	size_t n, nr_dirty;

	pages_count_free(&n, &nr_dirty);
	return n;
}

static enum fake_state state(const char *p, unsigned page)
{
	return fake_page(p + page * BSLAB_PAGE_SIZE);
}

Test(guard, pages_trap_and_come_back)
{
	char *keep = pages(), *p = pages();
	size_t before = nr_free();

	cr_assert_eq(guard_install(p + 7 * BSLAB_PAGE_SIZE, 1), GUARD_LIGHT);
	cr_assert_eq(guard_install(p, 7), GUARD_LIGHT);
	cr_assert_eq(state(p, 0), FAKE_GUARDED);
	cr_assert_eq(state(p, 7), FAKE_GUARDED);
	guard_free((struct guarded_pages){p, NR_PAGES, GUARD_LIGHT, GUARD_LIGHT});
	cr_assert_eq(state(p, 0), FAKE_COMMITTED);
	cr_assert_eq(state(p, 7), FAKE_COMMITTED);
	cr_assert_eq(nr_free(), before + NR_PAGES);
	pages_free(keep, NR_PAGES);
}

Test(guard, the_last_page_alone)
{
	char *keep = pages(), *p = pages();

	cr_assert_eq(guard_install(p + 7 * BSLAB_PAGE_SIZE, 1), GUARD_LIGHT);
	cr_assert_eq(state(p, 6), FAKE_COMMITTED);
	guard_free((struct guarded_pages){p, NR_PAGES, GUARD_NONE, GUARD_LIGHT});
	cr_assert_eq(state(p, 7), FAKE_COMMITTED);
	pages_free(keep, NR_PAGES);
}

/* Refused as markers: then by mprotect, and the pages still read as zero afterwards. Each is undone as it was done. */
Test(guard, mprotect_where_markers_are_refused)
{
	char *keep = pages(), *p = pages();

	memset(p, 'x', BSLAB_PAGE_SIZE);
	fake_fail_at(1u << FAKE_GUARD, 1, false);
	cr_assert_eq(guard_install(p, 7), GUARD_HARD);
	cr_assert_eq(guard_install(p + 7 * BSLAB_PAGE_SIZE, 1), GUARD_LIGHT);
	cr_assert_eq(state(p, 0), FAKE_CLOSED);
	guard_free((struct guarded_pages){p, NR_PAGES, GUARD_HARD, GUARD_LIGHT});
	cr_assert_eq(state(p, 0), FAKE_COMMITTED);
	cr_assert_eq(state(p, 7), FAKE_COMMITTED);
	cr_assert_eq(p[0], 0);
	cr_assert_eq(p[BSLAB_PAGE_SIZE - 1], 0);
	pages_free(keep, NR_PAGES);
}

/* Each splits a mapping, so there is a number of them; those that are gone do not count. */
Test(guard, mprotect_a_number_of_times)
{
	unsigned n = 0;

	for (int i = 0; i < 20000; i++) {
		char *p = pages();

		fake_fail_at(1u << FAKE_GUARD, 1, false);
		cr_assert_eq(guard_install(p + 7 * BSLAB_PAGE_SIZE, 1), GUARD_HARD, "the %d-th", i);
		guard_free((struct guarded_pages){p, NR_PAGES, GUARD_NONE, GUARD_HARD});
	}
	for (;; n++) {
		fake_fail_at(1u << FAKE_GUARD, 1, false);
		if (guard_install(pages(), 1) == GUARD_NONE)
			break;
	}
	cr_assert(n > 1000 && n < 20000, "%u", n);
}

Test(guard, goes_without_where_all_is_refused)
{
	char *p = pages();

	fake_fail_at(1u << FAKE_GUARD, 1, true);
	cr_assert_eq(guard_install(p, 1), GUARD_NONE);
	cr_assert_eq(state(p, 0), FAKE_COMMITTED);
}

Test(guard, pages_of_the_machine_may_be_larger)
{
	char *p = pages();

	fake.page_size = 16384;
	cr_assert_eq(guard_install(p, 1), GUARD_NONE);
}

/* What could not be opened is freed with the next that can. */
Test(guard, refused_pages_wait)
{
	char *keep = pages(), *p = pages(), *q = pages();
	size_t before = nr_free();

	cr_assert_eq(guard_install(p + 7 * BSLAB_PAGE_SIZE, 1), GUARD_LIGHT);
	fake_fail_at(1u << FAKE_GUARD, 1, false);
	cr_assert_eq(guard_install(q, 7), GUARD_HARD);
	cr_assert_eq(guard_install(q + 7 * BSLAB_PAGE_SIZE, 1), GUARD_LIGHT);
	fake_fail_at(1u << FAKE_UNGUARD, 1, true);
	guard_free((struct guarded_pages){p, NR_PAGES, GUARD_NONE, GUARD_LIGHT});
	fake_fail_at(1u << FAKE_UNGUARD, 2, true); /* its last page opens, the others do not */
	guard_free((struct guarded_pages){q, NR_PAGES, GUARD_HARD, GUARD_LIGHT});
	cr_assert_eq(state(q, 7), FAKE_COMMITTED);
	guard_retry();
	cr_assert_eq(nr_free(), before);
	fake_fail_at(0, 0, false);
	guard_retry();
	cr_assert_eq(nr_free(), before + 2 * NR_PAGES);
	cr_assert_eq(state(p, 7), FAKE_COMMITTED);
	cr_assert_eq(state(q, 0), FAKE_COMMITTED);
	pages_free(keep, NR_PAGES);
}
