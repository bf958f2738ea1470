/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_os.h"
#include "os/os.h"
#include "page/guard.h"

static char *pages(void)
{
	char *p = os_map(8 * BSLAB_PAGE_SIZE);

	cr_assert_not_null(p);
	return p;
}

Test(guard, pages_trap_and_come_back)
{
	char *p = pages();

	cr_assert(guard_install(p + BSLAB_PAGE_SIZE, 2));
	cr_assert_eq(fake_page(p), FAKE_COMMITTED);
	cr_assert_eq(fake_page(p + BSLAB_PAGE_SIZE), FAKE_GUARDED);
	cr_assert_eq(fake_page(p + 2 * BSLAB_PAGE_SIZE), FAKE_GUARDED);
	cr_assert(guard_remove(p + BSLAB_PAGE_SIZE, 2, 1));
	cr_assert_eq(fake_page(p + 2 * BSLAB_PAGE_SIZE), FAKE_COMMITTED);
}

/* Refused once, as markers: then by mprotect, and the pages still read as zero afterwards. */
Test(guard, mprotect_where_there_are_no_markers)
{
	char *p = pages();

	memset(p, 'x', BSLAB_PAGE_SIZE);
	fake_fail_at(1u << FAKE_GUARD, 1, false);
	cr_assert(guard_install(p, 1));
	cr_assert_eq(fake_page(p), FAKE_GUARDED);
	cr_assert(guard_remove(p, 1, 1));
	cr_assert_eq(p[0], 0);
	cr_assert_eq(p[BSLAB_PAGE_SIZE - 1], 0);
}

Test(guard, goes_without_where_all_is_refused)
{
	char *p = pages();

	p[0] = 'x';
	fake_fail_at(1u << FAKE_GUARD, 1, true);
	cr_assert_not(guard_install(p, 1));
	cr_assert_eq(fake_page(p), FAKE_COMMITTED);
}

Test(guard, pages_of_the_machine_may_be_larger)
{
	char *p = pages();

	fake.page_size = 16384;
	cr_assert_not(guard_install(p, 1));
}
