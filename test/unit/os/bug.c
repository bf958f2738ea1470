/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "fake_os.h"
#include "os/bug.h"

static void expect(const char *got, size_t len, const char *text)
{
	cr_assert_str_eq(got, text);
	cr_assert_eq(len, strlen(text));
}

Test(bug_format, every_conversion)
{
	char buf[200];

	expect(buf, bug_format(buf, sizeof buf, "plain"), "plain");
	expect(buf, bug_format(buf, sizeof buf, "%p", (void *)0x7f00abcd), "0x7f00abcd");
	expect(buf, bug_format(buf, sizeof buf, "%p", NULL), "0x0");
	expect(buf, bug_format(buf, sizeof buf, "%p", (void *)UINTPTR_MAX), "0xffffffffffffffff");
	expect(buf, bug_format(buf, sizeof buf, "[%s]", "text"), "[text]");
	expect(buf, bug_format(buf, sizeof buf, "%u %u", 0u, 4294967295u), "0 4294967295");
	expect(buf, bug_format(buf, sizeof buf, "%z", SIZE_MAX), "18446744073709551615");
	expect(buf, bug_format(buf, sizeof buf, "%x", 0xdeadu), "dead");
	expect(buf, bug_format(buf, sizeof buf, "100%%"), "100%");
	expect(buf, bug_format(buf, sizeof buf, "%s%z%s", "a", (size_t)10, "b"), "a10b");
}

Test(bug_format, widths)
{
	char buf[200];

	expect(buf, bug_format(buf, sizeof buf, "[%6z]", (size_t)42), "[    42]");
	expect(buf, bug_format(buf, sizeof buf, "[%-6z]", (size_t)42), "[42    ]");
	expect(buf, bug_format(buf, sizeof buf, "[%-10s][%10s]", "ab", "cd"), "[ab        ][        cd]");
	expect(buf, bug_format(buf, sizeof buf, "[%2u]", 12345u), "[12345]");
	expect(buf, bug_format(buf, sizeof buf, "%4p|%-5x|", (void *)0, 0xau), " 0x0|a    |");
	expect(buf, bug_format(buf, 5, "%9u", 7u), "   7");
	expect(buf, bug_format(buf, sizeof buf, "%12"), "2");
}

Test(bug_format, percent_at_the_end_is_itself)
{
	char buf[8];

	expect(buf, bug_format(buf, sizeof buf, "a%"), "a%");
}

Test(bug_format, cuts_and_terminates)
{
	char buf[8];

	memset(buf, 'z', sizeof buf);
	cr_assert_eq(bug_format(buf, 5, "abcdefgh"), 4);
	cr_assert_str_eq(buf, "abcd");
	cr_assert_eq(buf[5], 'z', "wrote behind the buffer");
	cr_assert_eq(bug_format(buf, 1, "abc"), 0);
	cr_assert_str_eq(buf, "");
	memset(buf, 'z', sizeof buf);
	cr_assert_eq(bug_format(buf, 0, "abc"), 0);
	cr_assert_eq(buf[0], 'z', "wrote into a buffer of no bytes");
}

Test(bug_say, one_line)
{
	fake.capture = true;
	bug_say("%s of %p", "free", (void *)16);
	cr_assert_str_eq(fake.text, "bslab: free of 0x10\n");
}

Test(bug_say, long_line_is_cut_and_ends)
{
	char text[1000];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	fake.capture = true;
	bug_say("%s", text);
	cr_assert_leq(strlen(fake.text), 256);
	cr_assert_eq(fake.text[strlen(fake.text) - 1], '\n');
}

Test(bug_caller, aborts, .signal = SIGABRT)
{
	bug_caller("fault");
}

Test(bug_abort, aborts_even_when_faults_only_warn, .signal = SIGABRT)
{
	bug_set_fatal(false);
	bug_abort("fault");
}

Test(bug_caller, goes_on_when_told_to)
{
	fake.capture = true;
	bug_set_fatal(false);
	bug_caller("fault %u", 1u);
	cr_assert_str_eq(fake.text, "bslab: fault 1\n");
}

Test(bug_caller, aborts_again_when_told_to, .signal = SIGABRT)
{
	bug_set_fatal(false);
	bug_caller("first");
	bug_set_fatal(true);
	bug_caller("second");
}
