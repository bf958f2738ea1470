/* SPDX-License-Identifier: MIT */
/*
 * The program locks a page of a block (mlock) and frees the block: nothing traps, and what stands around it goes back to the kernel
 * (MAX_LEFT_KIB; hardened nothing has to, for there pages that could not be made to trap wait). And what it locked stays locked.
 */
#include <malloc.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "life.h"

enum { NR = 100, MAX_LEFT_KIB = 12 << 10 };

static char *page_within(char *p, size_t size)
{
	return (char *)(((uintptr_t)p + size / 2) & ~(uintptr_t)4095);
}

static void lock_one_of(size_t size, int must_shrink)
{
	char *p[NR], *page;
	long before = status_kib("VmRSS");

	for (int i = 0; i < NR; i++) {
		EXPECT((p[i] = malloc(size)));
		memset(p[i], 1, size);
	}
	page = page_within(p[NR / 2], size);
	if (mlock(page, 4096))
		SKIP("mlock is refused");
	for (int i = 0; i < NR; i++)
		free(p[i]);
	malloc_trim(0);
	EXPECT(!must_shrink || status_kib("VmRSS") < before + MAX_LEFT_KIB);
	EXPECT(use_malloc());
	for (int i = 0; i < NR; i++) {
		EXPECT((p[i] = malloc(size)));
		memset(p[i], 2, size);
	}
	for (int i = 0; i < NR; i++)
		free(p[i]);
	munlock(page, 4096); /* it may be nobody's by now */
}

/* Such advice is refused where a page is locked. */
static int is_locked(char *p)
{
	return madvise(page_within(p, 8192), 4096, MADV_COLD) != 0;
}

/* What realloc() moves by its page tables takes no lock off what stands beside it. */
static void grow_one_of_locked(size_t size)
{
	enum { NR_LOCKED = 8 };
	char *p[NR_LOCKED];

	for (int i = 0; i < NR_LOCKED; i++) {
		EXPECT((p[i] = malloc(size)));
		memset(p[i], 1, size);
		if (mlock(p[i], size))
			SKIP("mlock is refused");
	}
	if (!is_locked(p[0]))
		SKIP("the kernel does not tell");
	EXPECT((p[3] = realloc(p[3], 6 * size)));
	for (int i = 0; i < NR_LOCKED; i++)
		EXPECT(i == 3 || is_locked(p[i]));
	EXPECT(p[3][size - 1] == 1);
	for (int i = 0; i < NR_LOCKED; i++) {
		munlock(p[i], i == 3 ? 6 * size : size);
		free(p[i]);
	}
}

int main(int argc, char **argv)
{
	int hardened = argc > 1 && !strcmp(argv[1], "hardened");

	grow_one_of_locked(512 << 10);
	lock_one_of(1 << 20, !hardened);
	lock_one_of(256 << 10, !hardened);
	lock_one_of(40 << 10, !hardened);
	lock_one_of(3 << 20, !hardened);
	return 0;
}
