/* SPDX-License-Identifier: MIT */
/* What bslab.h promises of each call, in the mode that BSLAB_CONF names. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "bslab/bslab.h"
#include "stay.h"

#define UNTOUCHED 77

static void setup(void)
{
	stay();
	errno = UNTOUCHED;
}

TestSuite(api, .init = setup);

/* Kept from the compiler, which knows that these are too large. */
static volatile size_t huge = SIZE_MAX, largest = PTRDIFF_MAX, half_space = (size_t)1 << 47, zero = 0, forty_eight = 48;

static size_t natural_alignment(size_t size)
{
	size_t align = size & -size;

	return align > 4096 ? 4096 : align < 16 ? (size >= 16 ? 16 : 8) : align;
}

static void expect_block(void *p, size_t size, size_t align)
{
	cr_assert_not_null(p, "%zu bytes", size);
	cr_assert_eq((uintptr_t)p % align, 0, "%zu bytes aligned to %zu: %p", size, align, p);
	cr_assert_geq(bslab_malloc_usable_size(p), size);
	cr_assert_eq(errno, UNTOUCHED);
}

static void expect_enomem(const void *p)
{
	cr_assert_null(p);
	cr_assert_eq(errno, ENOMEM);
	errno = UNTOUCHED;
}

/* --- sizes and alignment -------------------------------------------------------------- */

Test(api, every_small_size)
{
	static char *p[40000];

	for (size_t size = 0; size < 40000; size++) {
		p[size] = bslab_malloc(size);
		expect_block(p[size], size, size ? natural_alignment(size) : 8);
		memset(p[size], (int)size, size);
	}
	for (size_t size = 1; size < 40000; size++) {
		cr_assert_eq(p[size][0], (char)size);
		cr_assert_eq(p[size][size - 1], (char)size);
		bslab_free(p[size]);
	}
	cr_assert_eq(errno, UNTOUCHED);
}

Test(api, larger_sizes_take_exact_pages)
{
	for (size_t size = 33 * KIB; size < 2 * MIB; size += 4096 - 512) {
		char *p = bslab_malloc(size);

		expect_block(p, size, natural_alignment(size));
		cr_assert_eq(bslab_malloc_usable_size(p), align_up(size, 4096));
		p[size - 1] = 1;
		bslab_free(p);
	}
	cr_assert_eq(bslab_malloc_usable_size(bslab_malloc(132 * KIB)), 33 * 4096);
}

Test(api, waste_is_bounded)
{
	for (size_t size = 129; size < 4 * MIB; size += size / 64 + 1) {
		void *p = bslab_malloc(size);
		size_t waste = bslab_malloc_usable_size(p) - size;

		cr_assert(waste * 8 <= size || waste < 4096, "%zu wastes %zu", size, waste);
		cr_assert(size > 32 * KIB || waste * 8 <= size, "%zu wastes %zu", size, waste);
		bslab_free(p);
	}
}

Test(api, very_large_sizes)
{
	for (size_t size = 2 * MIB; size <= 4 * GIB; size *= 2)
		for (int d = -1; d <= 1; d++) {
			char *p = bslab_malloc(size + (size_t)d);

			expect_block(p, size + (size_t)d, natural_alignment(size + (size_t)d));
			p[0] = p[size - 2] = 1;
			bslab_free(p);
		}
}

Test(api, zero_bytes_are_blocks_of_their_own)
{
	void *a = bslab_malloc(0), *b = bslab_malloc(0), *c = bslab_calloc(0, 9), *d = bslab_aligned_alloc(64, 0);

	cr_assert(a && b && c && d && a != b && b != c && c != d);
	cr_assert_eq((uintptr_t)d % 64, 0);
	bslab_free(a);
	bslab_free(b);
	bslab_free(c);
	bslab_free(d);
}

Test(api, impossible_sizes)
{
	expect_enomem(bslab_malloc(huge));
	expect_enomem(bslab_malloc(largest));
	expect_enomem(bslab_malloc(largest + 1));
	expect_enomem(bslab_malloc((size_t)1 << 47));
	expect_enomem(bslab_calloc(huge, 2));
	expect_enomem(bslab_calloc(2, huge));
	expect_enomem(bslab_calloc(largest / 2 + 2, 2));
	expect_enomem(bslab_calloc(huge / 1000, 2000));
	expect_enomem(bslab_realloc(NULL, huge));
	expect_enomem(bslab_reallocarray(NULL, huge, 2));
	expect_enomem(bslab_aligned_alloc(64, huge));
	expect_enomem(bslab_aligned_alloc(64, largest - 10));
	expect_enomem(bslab_aligned_alloc(largest + 1, 1));
	expect_enomem(bslab_aligned_alloc(half_space, 1));
	expect_enomem(bslab_memalign(4096, huge));
	expect_enomem(bslab_valloc(huge));
	expect_enomem(bslab_pvalloc(huge));
	expect_enomem(bslab_pvalloc(huge - 4000));
	expect_block(bslab_malloc(100), 100, 16);
}

/* --- calloc -------------------------------------------------------------------------------- */

static bool is_zero(const char *p, size_t size)
{
	return !size || (!p[0] && !memcmp(p, p + 1, size - 1));
}

Test(api, calloc_is_zero_where_free_left_something)
{
	for (size_t size = 1; size < 12 * MIB; size = size * 3 / 2 + 1) {
		char *p[3];

		for (int i = 0; i < 3; i++) {
			p[i] = bslab_malloc(size);
			memset(p[i], 0xff, bslab_malloc_usable_size(p[i]));
		}
		for (int i = 0; i < 3; i++)
			bslab_free(p[i]);
		for (int i = 0; i < 3; i++) {
			p[i] = bslab_calloc(1, size);
			expect_block(p[i], size, natural_alignment(size));
			cr_assert(is_zero(p[i], size), "%zu bytes", size);
		}
		for (int i = 0; i < 3; i++)
			bslab_free(p[i]);
	}
}

static size_t nr_resident(const void *p, size_t size)
{
	unsigned char pages[256];
	size_t n = 0;

	cr_assert_leq(size, sizeof pages * BSLAB_PAGE_SIZE);
	cr_assert_eq(mincore((void *)p, size, pages), 0);
	for (size_t i = 0; i < size / BSLAB_PAGE_SIZE; i++)
		n += pages[i] & 1;
	return n;
}

/* A table of which little is used, again and again, stays as small as what is used of it. */
Test(api, calloc_makes_nothing_resident_that_was_not)
{
	char *p = NULL;

	for (int i = 0; i < 20; i++) {
		p = bslab_calloc(1, MIB);
		cr_assert_leq(nr_resident(p, MIB), 128);
		p[i * BSLAB_PAGE_SIZE] = 1;
		bslab_free(p);
	}
	p = bslab_calloc(1, MIB);
	cr_assert(is_zero(p, MIB));
	bslab_free(p);
}

/* The program may protect, lock or advise a mapping of its own: the next owner gets none of it. */
Test(api, a_large_mapping_comes_without_its_last_owners_protection)
{
	char *p;

	for (int i = 0; i < 200; i++) {
		p = bslab_malloc(300 * MIB);
		p[0] = 1;
		bslab_free(p);
	}
	p = bslab_malloc(300 * MIB);
	p[8192] = 7;
	cr_assert_eq(mprotect(p, BSLAB_PAGE_SIZE, PROT_READ), 0);
	bslab_free(p);
	p = bslab_malloc(300 * MIB);
	p[0] = 1;
	cr_assert_eq(p[8192], 0);
	bslab_free(p);
}

/* A full table is written over without a question; that a sparse one is made next to it does not make that resident. */
Test(api, a_sparse_calloc_beside_full_ones_stays_sparse)
{
	for (int i = 0; i < 20; i++) {
		char *p;

		for (int k = 0; k < 20; k++) {
			p = bslab_calloc(1, MIB);
			memset(p, 1, MIB);
			bslab_free(p);
		}
		p = bslab_calloc(64, MIB);
		memset(p, 1, MIB);
		for (size_t at = 4 * MIB; at < 64 * MIB; at += MIB)
			cr_assert_eq(nr_resident(p + at, MIB), 0, "round %d, at %zu", i, at);
		bslab_free(p);
	}
}

/* --- aligned ---------------------------------------------------------------------------------- */

/* The first block of a size comes by the slow path, most others by the fast one. */
static void for_every_alignment(void (*release)(void *p, size_t align, size_t size))
{
	for (size_t align = 1; align <= 64 * MIB; align *= 2)
		for (size_t size = 0; size < 5 * MIB; size = size < 40 ? size + 1 : size * 2 + 7) {
			void *p[3];

			for (int i = 0; i < 3; i++) {
				p[i] = bslab_aligned_alloc(align, size);
				expect_block(p[i], size, align);
			}
			for (int i = 0; i < 3; i++)
				release(p[i], align, size);
		}
}

static void release_plain(void *p, size_t align, size_t size)
{
	(void)align;
	(void)size;
	bslab_free(p);
}

Test(api, every_alignment_of_many_sizes)
{
	for_every_alignment(release_plain);
}

Test(api, sized_free_of_every_alignment)
{
	for_every_alignment(bslab_free_aligned_sized);
}

Test(api, no_bytes_aligned_to_pages)
{
	for (size_t align = 8192; align <= 4 * MIB; align *= 2) {
		void *a = bslab_aligned_alloc(align, 0), *b = bslab_aligned_alloc(align, 0);

		expect_block(a, 1, align);
		expect_block(b, 1, align);
		cr_assert_neq(a, b);
		bslab_free(a);
		bslab_free(b);
	}
}

/* Each is the first of its size in its process' life and in a row of them. */
Test(api, sixteen_bytes_of_alignment_for_fewer_bytes)
{
	for (size_t size = 0; size <= 16; size++)
		for (int i = 0; i < 600; i++) {
			void *p = NULL;

			expect_block(bslab_aligned_alloc(16, size), size, 16);
			cr_assert_eq(bslab_posix_memalign(&p, 16, size), 0);
			expect_block(p, size, 16);
		}
}

Test(api, posix_memalign_returns_its_errors)
{
	void *p = &p;

	cr_assert_eq(bslab_posix_memalign(&p, 0, 8), EINVAL);
	cr_assert_eq(bslab_posix_memalign(&p, 4, 8), EINVAL);
	cr_assert_eq(bslab_posix_memalign(&p, 24, 8), EINVAL);
	cr_assert_eq(bslab_posix_memalign(&p, 8, huge), ENOMEM);
	cr_assert_eq(bslab_posix_memalign(&p, 8, largest - 8), ENOMEM);
	cr_assert_eq(p, &p, "touched the pointer on failure");
	cr_assert_eq(errno, UNTOUCHED);
	cr_assert_eq(bslab_posix_memalign(&p, 8, 8), 0);
	expect_block(p, 8, 8);
	cr_assert_eq(bslab_posix_memalign(&p, 512, 0), 0);
	expect_block(p, 0, 512);
}

Test(api, bad_alignments)
{
	cr_assert_null(bslab_aligned_alloc(zero, 8));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(bslab_aligned_alloc(forty_eight, 8));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(bslab_memalign((size_t)-1, 8));
	cr_assert_eq(errno, EINVAL);
	errno = UNTOUCHED;
	expect_block(bslab_memalign(0, 8), 8, 8);
	expect_block(bslab_memalign(48, 8), 8, 64);
	expect_block(bslab_memalign(65, 8), 8, 128);
}

Test(api, valloc_and_pvalloc)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p;

	expect_block(bslab_valloc(1), 1, page);
	p = bslab_pvalloc(page + 1);
	expect_block(p, 2 * page, page);
	p = bslab_pvalloc(0);
	expect_block(p, page, page);
}

/* --- the rest --------------------------------------------------------------------------------------- */

Test(api, free_keeps_errno)
{
	for (size_t size = 1; size < 600 * MIB; size *= 3) {
		void *p = bslab_malloc(size), *q = bslab_malloc(size);

		errno = UNTOUCHED;
		bslab_free(p);
		bslab_free_sized(q, size);
		bslab_free(NULL);
		bslab_free_sized(NULL, 3);
		bslab_free_aligned_sized(NULL, 64, 3);
		cr_assert_eq(errno, UNTOUCHED);
	}
}

Test(api, sized_free_of_what_each_call_gave)
{
	for (size_t size = 0; size < 6 * MIB; size = size * 5 / 4 + 1) {
		bslab_free_sized(bslab_malloc(size), size);
		bslab_free_sized(bslab_calloc(1, size), size);
		bslab_free_sized(bslab_realloc(bslab_malloc(2 * size + 1), size ? size : 1), size ? size : 1);
		bslab_free_sized(bslab_realloc(bslab_malloc(size / 2), size ? size : 1), size ? size : 1);
	}
}

Test(api, usable_size_of_null)
{
	cr_assert_eq(bslab_malloc_usable_size(NULL), 0);
}

Test(api, mallinfo_follows_what_is_in_use)
{
	struct bslab_mallinfo before = bslab_mallinfo2(), during, after;
	void *small = bslab_malloc(1000), *run = bslab_malloc(100 * 4096), *mapped = bslab_malloc(512 * MIB);

	during = bslab_mallinfo2();
	cr_assert_eq(during.uordblks - before.uordblks, 1024 + 100 * 4096);
	cr_assert_eq(during.hblkhd - before.hblkhd, 512 * MIB);
	cr_assert_eq(during.hblks - before.hblks, 1);
	bslab_free(small);
	bslab_free(run);
	bslab_free(mapped);
	after = bslab_mallinfo2();
	cr_assert_eq(after.uordblks, before.uordblks);
	cr_assert_eq(after.hblkhd, before.hblkhd);
	cr_assert_gt(after.keepcost, 0);
}

Test(api, trim_gives_back_once)
{
	char *p = bslab_malloc(MIB);

	memset(p, 1, MIB);
	bslab_free(p);
	cr_assert_eq(bslab_malloc_trim(0), 1);
	cr_assert_eq(bslab_malloc_trim(0), 0);
	cr_assert_eq(bslab_mallinfo2().keepcost, 0);
}

/* With a low threshold, what trimming sets free is given back on the way: it counts too. */
Test(api, trim_counts_all_that_it_gives_back)
{
	static char *p[3000];

	bslab_mallopt(M_TRIM_THRESHOLD, 0);
	for (int i = 0; i < 3000; i++) {
		p[i] = bslab_malloc(1000);
		memset(p[i], 1, 1000);
	}
	for (int i = 0; i < 3000; i++)
		bslab_free(p[i]);
	cr_assert_eq(bslab_malloc_trim(0), 1);
	cr_assert_eq(bslab_malloc_trim(0), 0);
}

Test(api, mallopt)
{
	char *p;

	cr_assert_eq(bslab_mallopt(M_TRIM_THRESHOLD, 64 << 20), 1);
	cr_assert_eq(bslab_mallopt(M_TRIM_THRESHOLD, -1), 1);
	cr_assert_eq(bslab_mallopt(M_MMAP_THRESHOLD, -5), 0);
	cr_assert_eq(bslab_mallopt(M_MMAP_THRESHOLD, 1), 1);
	p = bslab_malloc(3 * MIB);
	cr_assert_eq(bslab_mallinfo2().hblks, 1, "the threshold is not kept");
	bslab_free(p);
	cr_assert_eq(bslab_mallopt(M_MXFAST, 64), 1);
	cr_assert_eq(bslab_mallopt(M_ARENA_MAX, 1), 1);
	cr_assert_eq(bslab_mallopt(12345, 1), 0);
}

Test(api, no_mappings)
{
	char *p, *q;

	cr_assert_eq(bslab_mallopt(M_MMAP_MAX, 0), 1);
	p = bslab_malloc(300 * MIB);
	q = bslab_malloc(MIB);
	q = bslab_realloc(q, 5 * MIB);
	q = bslab_realloc(q, 300 * MIB);
	cr_assert(p && q);
	cr_assert_eq(bslab_mallinfo2().hblks, 0);
	bslab_free(p);
	bslab_free(q);
	cr_assert_eq(bslab_mallopt(M_MMAP_MAX, 65536), 1);
	p = bslab_malloc(300 * MIB);
	cr_assert_eq(bslab_mallinfo2().hblks, 1, "as before");
	bslab_free(p);
}

Test(api, perturb_fills_new_blocks)
{
	cr_assert_eq(bslab_mallopt(M_PERTURB, 0x5a), 1);
	for (size_t size = 1; size < 4 * MIB; size = size * 3 + 1) {
		char *p = bslab_malloc(size);

		for (size_t i = 0; i < size; i++)
			cr_assert_eq((unsigned char)p[i], 0xa5);
		bslab_free(p);
		p = bslab_calloc(1, size);
		cr_assert(is_zero(p, size));
		bslab_free(p);
	}
	cr_assert_eq(bslab_mallopt(M_PERTURB, 0), 1);
	expect_block(bslab_malloc(10), 10, 8);
}

Test(api, malloc_info)
{
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	cr_assert_eq(bslab_malloc_info(1, stream), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_eq(bslab_malloc_info(0, stream), 0);
	fclose(stream);
	cr_assert_eq(strncmp(text, "<malloc version=", 16), 0);
	cr_assert_not_null(strstr(text, "</malloc>"));
	free(text);
}

Test(api, malloc_info_tells_its_own_failures)
{
	FILE *full = fopen("/dev/full", "w"), *null = fopen("/dev/null", "w");

	cr_assert(full && null);
	setvbuf(full, NULL, _IONBF, 0);
	errno = 0;
	cr_assert_eq(bslab_malloc_info(0, full), -1);
	cr_assert_eq(errno, ENOSPC);
	cr_assert(getc(null) == EOF && ferror(null)); /* it is not for reading */
	cr_assert_eq(bslab_malloc_info(0, null), 0, "an error of before");
	fclose(full);
	fclose(null);
}

Test(api, index_mode_is_named)
{
	const char *conf = getenv("BSLAB_CONF"), *mode = bslab_index_mode();

	if (conf && strstr(conf, "index=thread"))
		cr_assert_str_eq(mode, "thread");
	cr_assert(!strcmp(mode, "mm_cid") || !strcmp(mode, "cpu_id") || !strcmp(mode, "thread"));
}

Test(api, limits_are_set)
{
	void *p;

	cr_assert_eq(bslab_set_limits(2 * MIB, MIB), EINVAL);
	cr_assert_eq(bslab_set_limits(0, 64 * MIB), 0);
	cr_assert_null(bslab_malloc(128 * MIB));
	cr_assert_eq(bslab_set_limits(0, 0), 0);
	p = bslab_malloc(128 * MIB);
	cr_assert_not_null(p);
	bslab_free(p);
}

Test(api, a_misuse_need_not_be_fatal)
{
	char *p = bslab_malloc(100);

	cr_assert_eq(bslab_mallopt(M_CHECK_ACTION, 1), 1); /* says so, and goes on */
	bslab_free(p + 1);
	expect_block(p, 100, 8);
}

Test(api, a_misuse_may_be_fatal, .signal = SIGABRT)
{
	char *p = bslab_malloc(100);

	cr_assert_eq(bslab_mallopt(M_CHECK_ACTION, 1), 1);
	cr_assert_eq(bslab_mallopt(M_CHECK_ACTION, 3), 1);
	bslab_free(p + 1);
}
