/* SPDX-License-Identifier: MIT */
#include "insight/maps.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(maps);

Test(maps, a_line_of_a_file)
{
	struct mapping m;

	cr_assert(mapping_parse("7f0839f82000-7f084cb84000 r-xp 0001f000 08:01 1573 /usr/lib/a b (deleted)\n", &m));
	cr_assert_eq(m.start, 0x7f0839f82000);
	cr_assert_eq(m.end, 0x7f084cb84000);
	cr_assert_eq(m.offset, 0x1f000);
	cr_assert(m.readable && m.has_file);
}

Test(maps, a_line_of_anonymous_memory)
{
	struct mapping m;

	cr_assert(mapping_parse("1000-2000 ---p 00000000 00:00 0 ", &m));
	cr_assert(!m.readable && !m.has_file);
	cr_assert(mapping_parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n", &m));
	cr_assert_eq(m.end, 0xffffffffff601000);
}

Test(maps, what_is_no_line)
{
	static const char *const lines[] = {
	    "", "\n", "-", "1000", "1000-", "1000-2000", "1000-2000 ", "1000-2000 r", "1000-2000 r-xp", "1000-2000 r-xp\n",
	    "1000-2000 r-xp 0", "1000-2000 r-xp 0 0", "1000-2000 r-xp 0 0:0", "1000-2000 r-xp 0 0:0 ", "1000-2000 r-xp 0 0:0 x",
	    "2000-1000 r-xp 0 00:00 0", "1000-1000 r-xp 0 00:00 0", "g000-2000 r-xp 0 00:00 0", " 1000-2000 r-xp 0 00:00 0",
	    "10000000000000000-2 r-xp 0 00:00 0", "1000-2000 r-xp0 00:00 0", "1000-2000\nr-xp 0 00:00 0",
	};
	struct mapping m;

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		cr_assert_not(mapping_parse(lines[i], &m), "'%s'", lines[i]);
}

Test(maps, a_file_of_them)
{
	struct mappings maps;
	char text[16 * 1024] = "nonsense\n";

	for (unsigned i = 1; i <= 200; i++)
		sprintf(text + strlen(text), "%x000-%x000 rw-p 0 00:00 %u\n", i, i + 1, i % 2);
	cr_assert(mappings_parse(&maps, text));
	cr_assert_eq(maps.nr, 200);
	cr_assert_eq(maps.map[199].start, 200 * 4096);
	mappings_free(&maps);
	cr_assert(mappings_parse(&maps, ""));
	cr_assert_eq(maps.nr, 0);
	mappings_free(&maps);
}

Test(maps, cut_short_anywhere)
{
	static const char line[] = "7f0839f82000-7f084cb84000 r-xp 0001f000 08:01 1573 /usr/lib/libc.so.6\n";

	for (size_t n = 0; n <= sizeof line; n++) {
		char *text = strndup(line, n); /* of its own, so that a sanitizer sees its end */
		struct mapping m;

		cr_assert_eq(mapping_parse(text, &m), n > strlen("7f0839f82000-7f084cb84000 r-xp 0001f000 08:01 "), "%zu", n);
		free(text);
	}
}
