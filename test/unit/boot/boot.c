/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "boot/boot.h"
#include "fake_os.h"

static bool reads_as_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

Test(boot, a_small_process_makes_no_system_call)
{
	for (int i = 0; i < 100; i++)
		cr_assert_not_null(boot_alloc(300, 8));
	cr_assert_eq(fake.nr_calls[FAKE_MAP], 0);
}

Test(boot, zeroed_aligned_and_disjoint)
{
	size_t size = 1;

	for (int i = 0; i < 4000; i++) {
		size_t align = (size_t)1 << (i % 13);
		char *p = boot_alloc(size, align);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % align, 0, "%p is not aligned to %zu", (void *)p, align);
		cr_assert(reads_as_zero(p, size));
		memset(p, 0xff, size); /* an overlap would show in a later one */
		size = size * 7 % 5003 + 1;
	}
	cr_assert_gt(fake.nr_calls[FAKE_MAP], 0);
	cr_assert_leq(boot_used(), boot_mapped());
}

Test(boot, larger_than_any_chunk)
{
	char *p = boot_alloc(5 * MIB, 64);

	cr_assert_not_null(p);
	memset(p, 1, 5 * MIB);
	cr_assert_not_null(boot_alloc(10, 8));
}

Test(boot, refusal_is_null_and_not_for_ever)
{
	fake_fail_at(1u << FAKE_MAP, 1, true);
	while (boot_alloc(4000, 8))
		;
	cr_assert_null(boot_alloc(4000, 8));
	fake_fail_at(0, 0, false);
	cr_assert_not_null(boot_alloc(4000, 8));
}

Test(boot, asks_for_less_when_refused_once)
{
	while (!fake.nr_calls[FAKE_MAP])
		boot_alloc(4000, 8);
	fake_fail_at(1u << FAKE_MAP, 1, false);
	cr_assert_not_null(boot_alloc(2 * MIB, 8));
	cr_assert_eq(fake.nr_failed, 1);
}

Test(boot_pool, gives_the_last_one_put_first)
{
	static struct boot_pool pool;
	void *a = boot_pool_get(&pool, 64, 64), *b = boot_pool_get(&pool, 64, 64);

	cr_assert(a && b && a != b);
	cr_assert_eq((uintptr_t)a % 64, 0);
	boot_pool_put(&pool, a);
	boot_pool_put(&pool, b);
	cr_assert_eq(boot_pool_get(&pool, 64, 64), b);
	cr_assert_eq(boot_pool_get(&pool, 64, 64), a);
}

Test(boot_pool, contents_survive_but_the_first_word)
{
	static struct boot_pool pool;
	char *a = boot_pool_get(&pool, 64, 8);

	memset(a, 5, 64);
	boot_pool_put(&pool, a);
	a = boot_pool_get(&pool, 64, 8);
	for (int i = sizeof(void *); i < 64; i++)
		cr_assert_eq(a[i], 5);
}

Test(boot, fork_frees_the_lock_on_both_sides)
{
	boot_fork_prepare();
	boot_fork_done(false);
	cr_assert_not_null(boot_alloc(8, 8));
	boot_fork_prepare();
	boot_fork_done(true);
	cr_assert_not_null(boot_alloc(8, 8));
}
