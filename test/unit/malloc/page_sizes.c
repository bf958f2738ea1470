/* SPDX-License-Identifier: MIT */
/* Where the machine's pages are larger than ours: aarch64 has 16 and 64 KiB. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "bslab/bslab.h"
#include "fake_os.h"
#include "os/options.h"

ParameterizedTestParameters(page_sizes, a_mapping_grows_in_the_hardened_mode)
{
	static size_t sizes[] = {4 * KIB, 16 * KIB, 64 * KIB};

	return cr_make_param_array(size_t, sizes, sizeof sizes / sizeof *sizes);
}

/* The rest of its last page is pad as well, of which a word has to say how much there is. */
ParameterizedTest(size_t *page_size, page_sizes, a_mapping_grows_in_the_hardened_mode)
{
	size_t size = 3 * MIB;
	char *p;

	fake.page_size = *page_size;
	fake.env = "hardened=yes";
	p = bslab_malloc(size);
	cr_assert(bslab_options.hardened);
	for (; size < 4 * MIB; size += 10000) {
		p = bslab_realloc(p, size);
		cr_assert_not_null(p);
		cr_assert_eq(bslab_malloc_usable_size(p), size);
	}
	bslab_free(p);
}
