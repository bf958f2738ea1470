/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "fake_os.h"
#include "os/overcommit.h"

static unsigned nr_files;

static void note_file(void)
{
	nr_files++;
}

static void set_mode(const char *text)
{
	static struct fake_file files[2] = {{.path = "/proc/sys/vm/overcommit_memory"}};

	files[0].text = text;
	fake.files = text ? files : NULL;
}

static void setup(void)
{
	fake.memory_size = 8 * GIB;
	fake.file_asked = note_file;
}

TestSuite(overcommit, .init = setup);

Test(overcommit, what_the_machine_has_is_not_asked_for)
{
	set_mode("0\n");
	cr_assert_not(overcommit_refuses(0));
	cr_assert_not(overcommit_refuses(8 * GIB));
	cr_assert_eq(nr_files, 0);
	fake.memory_size = 100;
	cr_assert_not(overcommit_refuses(GIB - 1), "never below a gibibyte");
	cr_assert_not(overcommit_refuses(8 * GIB), "what was once there");
	cr_assert_eq(nr_files, 0);
}

Test(overcommit, more_is_refused_as_the_kernel_does)
{
	set_mode("0\n");
	cr_assert(overcommit_refuses(8 * GIB + 1));
	cr_assert(overcommit_refuses(SIZE_MAX));
	set_mode("1\n");
	cr_assert_not(overcommit_refuses(SIZE_MAX), "always overcommit");
	set_mode("2\n");
	cr_assert_not(overcommit_refuses(SIZE_MAX), "the kernel says it at the mapping");
	set_mode(NULL);
	cr_assert(overcommit_refuses(8 * GIB + 1), "unknown: as it comes");
}

Test(overcommit, swap_that_comes_counts)
{
	set_mode("0\n");
	cr_assert(overcommit_refuses(12 * GIB));
	fake.memory_size = 16 * GIB;
	cr_assert_not(overcommit_refuses(12 * GIB));
}

Test(overcommit, a_machine_that_does_not_tell_refuses_nothing)
{
	fake.memory_size = 0;
	set_mode("0\n");
	cr_assert_not(overcommit_refuses(SIZE_MAX));
}
