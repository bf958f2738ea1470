/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "fake_os.h"
#include "os/cgroup.h"

static size_t limit_with(const struct fake_file *files)
{
	fake.files = files;
	return cgroup_limit();
}

#define LIMIT_WITH(...) limit_with((const struct fake_file[]){__VA_ARGS__, {NULL, NULL}})

Test(cgroup, none)
{
	fake.files = NULL;
	cr_assert_eq(cgroup_limit(), SIZE_MAX);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", ""}), SIZE_MAX);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/a\n"}), SIZE_MAX);
}

Test(cgroup, no_memory_to_look)
{
	const struct fake_file files[] = {{"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "1048576\n"}, {NULL, NULL}};

	fake_fail_at(1u << FAKE_MAP, 1, false);
	cr_assert_eq(limit_with(files), SIZE_MAX);
	cr_assert_eq(cgroup_limit(), 1048576);
	cr_assert_eq(fake_count(FAKE_COMMITTED), 0);
}

Test(cgroup, version_2)
{
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "1048576\n"}),
		     1048576);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "max\n"},
				{"/sys/fs/cgroup/a/b/memory.high", "5000\n"}),
		     5000);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/memory.max", "77\n"}), 77);
}

Test(cgroup, the_lowest_of_all_above_counts)
{
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "900\n"},
				{"/sys/fs/cgroup/a/memory.high", "800\n"}, {"/sys/fs/cgroup/memory.max", "850\n"}),
		     800);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/a/b\n"}, {"/sys/fs/cgroup/memory.max", "850\n"}), 850);
	/* Not above where the hierarchy is mounted. */
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/a\n"}, {"/sys/fs/memory.max", "1\n"}), SIZE_MAX);
}

Test(cgroup, version_1)
{
	static const char text[] = "9:name=systemd:/\n8:pids:/x\n4:memory:/box/1\n1:cpu:/memory:\n0::/\n";

	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", text},
				{"/sys/fs/cgroup/memory/box/1/memory.limit_in_bytes", "123456\n"}),
		     123456);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", text},
				{"/sys/fs/cgroup/memory/box/1/memory.limit_in_bytes", "9223372036854771712\n"}),
		     SIZE_MAX);
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", text},
				{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096000\n"}),
		     4096000);
}

Test(cgroup, a_path_that_is_too_long_is_left)
{
	static char text[4096];

	strcpy(text, "0::/");
	memset(text + 4, 'x', 3000);
	strcpy(text + 3004, "\n");
	cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", text}, {"/sys/fs/cgroup/memory.max", "1\n"}), SIZE_MAX);
}

Test(cgroup, numbers_that_are_none)
{
	static const char *const bad[] = {"", "max", "-1", "x", "99999999999999999999999999", "281474976710656"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_eq(LIMIT_WITH({"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/memory.max", bad[i]}), SIZE_MAX,
			     "%s", bad[i]);
}
