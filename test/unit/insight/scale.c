/* SPDX-License-Identifier: MIT */
#include "insight/scale.h"

#include <criterion/criterion.h>

TestSuite(scale);

static char text[SCALE_TEXT];

Test(scale, bytes)
{
	cr_assert_str_eq(scale_bytes(text, 0), "0");
	cr_assert_str_eq(scale_bytes(text, 999), "999");
	cr_assert_str_eq(scale_bytes(text, 1000), "1.0K");
	cr_assert_str_eq(scale_bytes(text, 1536), "1.5K");
	cr_assert_str_eq(scale_bytes(text, 99.94 * KIB), "99.9K");
	cr_assert_str_eq(scale_bytes(text, 99.96 * KIB), "100K");
	cr_assert_str_eq(scale_bytes(text, 999.4 * KIB), "999K");
	cr_assert_str_eq(scale_bytes(text, 999.6 * KIB), "1.0M");
	cr_assert_str_eq(scale_bytes(text, (double)(3 * GIB)), "3.0G");
	for (double n = 1; n < 1e18; n *= 1.7)
		cr_assert_leq(strlen(scale_bytes(text, n)), 6, "%s", text);
}

Test(scale, counts)
{
	cr_assert_str_eq(scale_count(text, 123456, 6), "123456");
	cr_assert_str_eq(scale_count(text, 123456, 5), "123k");
	cr_assert_str_eq(scale_count(text, 12345678, 7), "12.3M");
	cr_assert_str_eq(scale_count(text, UINT64_MAX, 20), "18446744073709551615");
	for (uint64_t n = 1; n < (uint64_t)1 << 60; n *= 3)
		cr_assert_leq(strlen(scale_count(text, n, 6)), 6, "%s", text);
}

Test(scale, rates)
{
	cr_assert_str_eq(scale_rate(text, 0), "0");
	cr_assert_str_eq(scale_rate(text, 0.01), "0");
	cr_assert_str_eq(scale_rate(text, 0.4), "0.4");
	cr_assert_str_eq(scale_rate(text, 12.3), "12");
	cr_assert_str_eq(scale_rate(text, 3400), "3.4k");
	cr_assert_str_eq(scale_rate(text, 123456789), "123M");
}

Test(scale, durations)
{
	cr_assert_str_eq(scale_duration(text, -1), "0:00");
	cr_assert_str_eq(scale_duration(text, 7.9), "0:07");
	cr_assert_str_eq(scale_duration(text, 754), "12:34");
	cr_assert_str_eq(scale_duration(text, 3 * 3600 + 25 * 60 + 45), "3:25:45");
	cr_assert_str_eq(scale_duration(text, 86400 + 60), "1 day 0:01");
	cr_assert_str_eq(scale_duration(text, 3 * 86400), "3 days 0:00");
	cr_assert_lt(strlen(scale_duration(text, 1e18)), SCALE_TEXT);
}

Test(scale, percents)
{
	cr_assert_eq(scale_percent(0, 0), 0);
	cr_assert_eq(scale_percent(1, 3), 33);
	cr_assert_eq(scale_percent(2, 3), 67);
	cr_assert_eq(scale_percent(UINT64_MAX, UINT64_MAX), 100);
}

Test(scale, ends_of_axes)
{
	cr_assert_eq(scale_ceiling_bytes(0), 4 * KIB);
	cr_assert_eq(scale_ceiling_bytes(5 * KIB), 5 * KIB);
	cr_assert_eq(scale_ceiling_bytes(5 * KIB + 1), 10 * KIB);
	cr_assert_eq(scale_ceiling_bytes(999 * KIB), 1000 * KIB);
	cr_assert_eq(scale_ceiling_bytes(1001 * KIB), MIB);
	cr_assert_eq(scale_ceiling_bytes((double)(3 * GIB)), (double)(5 * GIB));
	for (double n = 1; n < 1e17; n *= 1.3) {
		double c = scale_ceiling_bytes(n);

		cr_assert(c >= n && (c <= 2.6 * n || c == 4 * KIB), "%g %g", n, c);
	}
}
