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

	cr_assert(guard_install(p + 6 * BSLAB_PAGE_SIZE, 2));
	cr_assert_eq(state(p, 5), FAKE_COMMITTED);
	cr_assert_eq(state(p, 6), FAKE_GUARDED);
	cr_assert_eq(state(p, 7), FAKE_GUARDED);
	guard_free((struct guarded_pages){p, NR_PAGES, 6, 1, false});
	cr_assert_eq(state(p, 6), FAKE_COMMITTED);
	cr_assert_eq(state(p, 7), FAKE_COMMITTED);
	cr_assert_eq(nr_free(), before + NR_PAGES);
	pages_free(keep, NR_PAGES);
}

/* Refused once, as markers: then by mprotect, and the pages still read as zero afterwards. */
Test(guard, mprotect_where_there_are_no_markers)
{
	char *keep = pages(), *p = pages();

	memset(p, 'x', BSLAB_PAGE_SIZE);
	fake_fail_at(1u << FAKE_GUARD, 1, false);
	cr_assert(guard_install(p, 1));
	cr_assert_eq(state(p, 0), FAKE_GUARDED);
	guard_free((struct guarded_pages){p, NR_PAGES, 0, 1, true});
	cr_assert_eq(state(p, 0), FAKE_COMMITTED);
	cr_assert_eq(p[0], 0);
	cr_assert_eq(p[BSLAB_PAGE_SIZE - 1], 0);
	pages_free(keep, NR_PAGES);
}

Test(guard, goes_without_where_all_is_refused)
{
	char *p = pages();

	fake_fail_at(1u << FAKE_GUARD, 1, true);
	cr_assert_not(guard_install(p, 1));
	cr_assert_eq(state(p, 0), FAKE_COMMITTED);
}

Test(guard, pages_of_the_machine_may_be_larger)
{
	char *p = pages();

	fake.page_size = 16384;
	cr_assert_not(guard_install(p, 1));
}

/* What could not be opened is freed with the next that can. */
Test(guard, refused_pages_wait)
{
	char *keep = pages(), *p = pages(), *q = pages();
	size_t before = nr_free();

	cr_assert(guard_install(p + 7 * BSLAB_PAGE_SIZE, 1));
	cr_assert(guard_install(q, NR_PAGES));
	fake_fail_at(1u << FAKE_UNGUARD | 1u << FAKE_COMMIT, 1, true);
	guard_free((struct guarded_pages){p, NR_PAGES, 7, 1, false});
	guard_free((struct guarded_pages){q, NR_PAGES, 0, 1, true});
	guard_retry();
	cr_assert_eq(nr_free(), before);
	fake_fail_at(0, 0, false);
	guard_retry();
	cr_assert_eq(nr_free(), before + 2 * NR_PAGES);
	cr_assert_eq(state(p, 7), FAKE_COMMITTED);
	cr_assert_eq(state(q, 0), FAKE_COMMITTED);
	pages_free(keep, NR_PAGES);
}
