/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "boot/paged.h"
#include "fake_os.h"

enum { SIZE = 56, MANY = 20000, PAGES = MANY / 60 };

static struct paged_pool pool;
static char *object[MANY];

/* What is not mapped is no page's to give back: the fake OS knows the chunks that it made. */
static void use_up_the_first_chunk(void)
{
	while (!fake.nr_calls[FAKE_MAP])
		boot_alloc(4000, 8);
}

static void get_all(void)
{
	for (int i = 0; i < MANY; i++) {
		object[i] = paged_get(&pool, SIZE);
		cr_assert_not_null(object[i]);
		cr_assert_eq((uintptr_t)object[i] % 8, 0);
		memset(object[i], i, SIZE);
	}
	for (int i = 0; i < MANY; i++) /* an overlap would show */
		for (int k = 0; k < SIZE; k++)
			cr_assert_eq(object[i][k], (char)i);
}

static void put_all(void)
{
	for (int i = 0; i < MANY; i++)
		paged_put(&pool, object[(i * 7919ull) % MANY]);
}

Test(paged, the_first_are_packed)
{
	char *first = paged_get(&pool, SIZE), *second = paged_get(&pool, SIZE);

	cr_assert_eq(second - first, 64, "%td bytes from one to the next", second - first);
	cr_assert_eq(fake.nr_calls[FAKE_MAP], 0);
}

Test(paged, empty_pages_go_back)
{
	size_t used;

	use_up_the_first_chunk();
	get_all();
	used = boot_used();
	put_all();
	cr_assert_eq(boot_used(), used, "before they are asked for");
	paged_trim(&pool, 0);
	cr_assert_gt(fake.nr_calls[FAKE_PURGE], 0);
	cr_assert_leq(boot_used(), used - (PAGES - PAGED_BATCH) * BSLAB_PAGE_SIZE, "%zu used of %zu", boot_used(), used);
}

Test(paged, pages_that_went_back_are_handed_out_again)
{
	size_t mapped;

	use_up_the_first_chunk();
	get_all();
	mapped = boot_mapped();
	for (int round = 0; round < 5; round++) {
		put_all();
		paged_trim(&pool, 0);
		get_all();
	}
	cr_assert_leq(boot_mapped(), mapped + 256 * KIB, "ledgers may take some: %zu, then %zu", mapped, boot_mapped());
}

Test(paged, what_is_to_be_kept_is_kept)
{
	use_up_the_first_chunk();
	get_all();
	put_all();
	paged_trim(&pool, PAGES);
	cr_assert_eq(fake.nr_calls[FAKE_PURGE], 0);
	paged_trim(&pool, PAGES / 2);
	cr_assert_gt(fake.nr_calls[FAKE_PURGE], 0);
	cr_assert_geq(pool.nr_empty, PAGES / 2);
}

Test(paged, a_page_with_one_object_in_use_stays)
{
	use_up_the_first_chunk();
	get_all();
	for (int i = 0; i < MANY; i++)
		if (i % 62) /* one of each page or more */
			paged_put(&pool, object[i]);
	paged_trim(&pool, 0);
	for (int i = 0; i < MANY; i += 62)
		for (int k = 16; k < SIZE; k++)
			cr_assert_eq(object[i][k], (char)i);
}

Test(paged, nothing_goes_back_where_pages_are_larger)
{
	fake.page_size = 64 * KIB;
	use_up_the_first_chunk();
	get_all();
	put_all();
	paged_trim(&pool, 0);
	cr_assert_eq(fake.nr_calls[FAKE_PURGE], 0);
}

Test(paged, refused_purges_lose_nothing)
{
	use_up_the_first_chunk();
	get_all();
	put_all();
	fake_fail_at(1u << FAKE_PURGE, 1, true);
	paged_trim(&pool, 0);
	fake_fail_at(0, 0, false);
	get_all();
}

Test(paged, without_memory_there_is_none_and_then_again)
{
	unsigned n = 0;

	fake_fail_at(1u << FAKE_MAP, 1, true);
	while (n < MANY && (object[n] = paged_get(&pool, SIZE)))
		n++;
	cr_assert_lt(n, MANY);
	fake_fail_at(0, 0, false);
	cr_assert_not_null(paged_get(&pool, SIZE));
}
