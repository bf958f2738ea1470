/* SPDX-License-Identifier: MIT */
/*
 * One misuse a case: `misuse NAME` prints the addresses that its message must name, commits the misuse, and says
 * "went on" if it comes that far. misuse.py beside this file knows what each case has to say.
 *
 * Calls go by the public names of bslab.h where C23's are missing in libc, so the program is linked with the library.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bslab/bslab.h"

#define MIB ((size_t)1 << 20)

/* Kept from the compiler, which would warn of, or remove, what is done here on purpose. */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static void say(const char *name, const void *p)
{
	printf("%s %p\n", name, p);
	fflush(stdout);
}

static void *block(size_t size)
{
	void *p = bslab_malloc(size);

	say("block", p);
	return hidden(p);
}

static void *at(void *p, size_t offset)
{
	void *q = hidden((char *)p + offset);

	say("pointer", q);
	return q;
}

/* --- freed before ----------------------------------------------------------------------------- */

static void double_free(size_t size)
{
	void *p = block(size);

	bslab_free(p);
	bslab_free(hidden(p));
}

static void double_free_small(void)
{
	double_free(40);
}

static void double_free_run(void)
{
	double_free(100000);
}

static void double_free_blocks(void)
{
	double_free(5 * MIB);
}

static void double_free_mapping(void)
{
	double_free(512 * MIB);
}

/* Another block is freed between: only the slab's bitmap knows, when the caches come home. */
static void double_free_interleaved(void)
{
	void *p = block(40), *q = bslab_malloc(40);

	bslab_free(p);
	bslab_free(q);
	bslab_free(hidden(p));
	bslab_malloc_trim(0);
}

static void double_free_after_trim(void)
{
	void *p = block(40), *keep = bslab_malloc(40);

	bslab_free(p);
	bslab_malloc_trim(0);
	bslab_free(hidden(p));
	bslab_malloc_trim(0);
	bslab_free(keep);
}

static void double_free_slab_gone(void)
{
	void *p = block(3000);

	bslab_free(p);
	bslab_malloc_trim(0);
	bslab_free(hidden(p));
}

static void *free_here(void *p)
{
	bslab_free(p);
	return NULL;
}

static void free_in_thread(void *p)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, free_here, p) || pthread_join(thread, NULL))
		abort();
}

static void double_free_in_thread(void)
{
	void *p = block(40), *keep = bslab_malloc(40);

	bslab_free(p);
	free_in_thread(hidden(p));
	bslab_malloc_trim(0);
	bslab_free(keep);
}

static void double_free_after_thread(void)
{
	void *p = block(40), *keep = bslab_malloc(40);

	free_in_thread(p);
	bslab_free(hidden(p));
	bslab_malloc_trim(0);
	bslab_free(keep);
}

static void double_free_run_in_thread(void)
{
	void *p = block(100000);

	bslab_free(p);
	free_in_thread(hidden(p));
}

static void realloc_freed(size_t size)
{
	void *p = block(size);

	bslab_free(p);
	bslab_malloc_trim(0);
	if (bslab_realloc(hidden(p), 10))
		puts("got a block");
}

static void realloc_freed_small(void)
{
	void *keep = bslab_malloc(40);

	realloc_freed(40);
	bslab_free(keep);
}

static void realloc_freed_run(void)
{
	realloc_freed(100000);
}

static void realloc_freed_mapping(void)
{
	realloc_freed(512 * MIB);
}

static void usable_size_freed(void)
{
	void *p = block(100000);

	bslab_free(p);
	if (bslab_malloc_usable_size(hidden(p)) == 0)
		puts("zero");
}

/* --- not the start of a block ---------------------------------------------------------------------- */

static void interior_small(void)
{
	bslab_free(at(block(200), 64));
	bslab_malloc_trim(0);
}

static void interior_odd(void)
{
	void *p = block(200);

	memset(p, 0x41, 200);
	bslab_free(at(p, 1));
	for (int i = 0; i < 100; i++)
		bslab_free(hidden(bslab_malloc(200)));
	bslab_malloc_trim(0);
}

static void interior_run(void)
{
	bslab_free(at(block(100000), 8192));
}

static void interior_run_first_page(void)
{
	bslab_free(at(block(100000), 16));
}

static void interior_blocks(void)
{
	bslab_free(at(block(5 * MIB), 3 * MIB));
}

static void interior_blocks_first_page(void)
{
	bslab_free(at(block(5 * MIB), 8));
}

static void interior_mapping(void)
{
	bslab_free(at(block(512 * MIB), 100 * MIB));
}

static void realloc_interior_small(void)
{
	if (bslab_realloc(at(block(200), 8), 300))
		puts("got a block");
}

static void realloc_interior_run(void)
{
	if (bslab_realloc(at(block(100000), 4096), 300))
		puts("got a block");
}

static void usable_size_interior(void)
{
	if (bslab_malloc_usable_size(at(block(200), 8)) == 0)
		puts("zero");
}

/* --- never ours --------------------------------------------------------------------------------------- */

static void stack_pointer(void)
{
	long x[4];

	bslab_free(at(x, 0));
}

static void static_pointer(void)
{
	static long x[4];

	bslab_free(at(x, 0));
}

static void foreign_mapping(void)
{
	bslab_free(at(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 0));
}

extern void *__libc_malloc(size_t size);

/* glibc's own block. */
static void foreign_allocator(void)
{
	bslab_free(at(__libc_malloc(100), 0));
}

static void foreign_allocator_realloc(void)
{
	if (bslab_realloc(at(__libc_malloc(100), 0), 200))
		puts("got a block");
}

static void wild_low(void)
{
	bslab_free(at((void *)16, 0));
}

static void wild_high(void)
{
	bslab_free(at((void *)UINTPTR_MAX, 0));
}

static void wild_noncanonical(void)
{
	bslab_free(at((void *)0x4141414141414140, 0));
}

/* In one of our regions, where nothing was ever allocated. */
static void wild_ours(void)
{
	uintptr_t p = (uintptr_t)block(100000);

	bslab_free(at((void *)((p | (2 * MIB - 1)) - 4095), 0));
}

static void realloc_stack(void)
{
	long x[4];

	if (bslab_realloc(at(x, 0), 10))
		puts("got a block");
}

/* --- sizes and alignments ----------------------------------------------------------------------------------- */

static void sized_too_large(void)
{
	bslab_free_sized(block(100), 1000);
}

static void sized_too_small(void)
{
	bslab_free_sized(block(1000), 10);
}

static void sized_run_too_large(void)
{
	bslab_free_sized(block(100000), 200000);
}

static void sized_misaligned(void)
{
	void *p;

	do
		p = block(72);
	while ((uintptr_t)p % 64 == 0);
	bslab_free_aligned_sized(p, 64, 72);
}

static void sized_bad_alignment(void)
{
	bslab_free_aligned_sized(block(48), 0, 48);
}

static void sized_odd_alignment(void)
{
	bslab_free_aligned_sized(block(48), 24, 48);
}

/* --- errno ---------------------------------------------------------------------------------------------------- */

static volatile size_t huge = SIZE_MAX; /* huge - 2 and huge + 1 are no powers of two */

static void result(const char *call, const void *p)
{
	printf("%s %s %s\n", call, p ? "pointer" : "NULL", strerrorname_np(errno) ? strerrorname_np(errno) : "0");
	errno = 0;
}

static void errnos(void)
{
	void *p = NULL;
	int e;

	errno = 0;
	result("malloc", bslab_malloc(huge / 2 + 1));
	result("malloc", bslab_malloc(huge));
	result("calloc", bslab_calloc(huge / 2, 3));
	result("realloc", bslab_realloc(hidden(bslab_malloc(10)), huge / 2 + 1));
	result("reallocarray", bslab_reallocarray(hidden(bslab_malloc(10)), huge / 2, 3));
	result("aligned_alloc", bslab_aligned_alloc(huge - 2, 10));
	result("aligned_alloc", bslab_aligned_alloc(huge + 1, 10));
	result("memalign", bslab_memalign(huge, 10));
	result("pvalloc", bslab_pvalloc(huge));
	e = bslab_posix_memalign(&p, 3, 10);
	printf("posix_memalign %s\n", strerrorname_np(e));
	e = bslab_posix_memalign(&p, 4096, huge / 2);
	printf("posix_memalign %s\n", strerrorname_np(e));
	result("malloc(0)", bslab_malloc(0));
}

static void nothing(void)
{
	bslab_free(bslab_malloc(1));
}

#define CASE(name) {#name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(double_free_small),	  CASE(double_free_run),	  CASE(double_free_blocks),	CASE(double_free_mapping),
    CASE(double_free_interleaved), CASE(double_free_after_trim),   CASE(double_free_slab_gone), CASE(realloc_freed_small),
    CASE(realloc_freed_run),	  CASE(realloc_freed_mapping),	  CASE(usable_size_freed),	CASE(interior_small),
    CASE(interior_odd),		  CASE(interior_run),		  CASE(interior_run_first_page), CASE(interior_blocks),
    CASE(interior_blocks_first_page), CASE(interior_mapping),	  CASE(realloc_interior_small), CASE(realloc_interior_run),
    CASE(usable_size_interior),	  CASE(stack_pointer),		  CASE(static_pointer),		CASE(foreign_mapping),
    CASE(wild_low),		  CASE(wild_high),		  CASE(wild_noncanonical),	CASE(wild_ours),
    CASE(realloc_stack),	  CASE(sized_too_large),	  CASE(sized_too_small),	CASE(sized_run_too_large),
    CASE(sized_misaligned),	  CASE(sized_bad_alignment),	  CASE(sized_odd_alignment),	CASE(errnos),
    CASE(nothing),		  CASE(double_free_in_thread),	  CASE(double_free_after_thread), CASE(double_free_run_in_thread),
    CASE(foreign_allocator),	  CASE(foreign_allocator_realloc),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: misuse CASE\n");
	return 2;
}
