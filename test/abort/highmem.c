/* SPDX-License-Identifier: MIT */
/* One misuse of a pool in a file a case; misuse.py knows what each has to say. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bslab/highmem.h"

#define MIB ((size_t)1 << 20)

static struct bslab_highmem *pool;

static struct bslab_highmem *create(const char *name)
{
	return bslab_highmem_create(name, memfd_create(name, 0), 64 * MIB, 4 * MIB);
}

static bslab_handle_t get(size_t size)
{
	bslab_handle_t h = 0;

	if (bslab_highmem_alloc(pool, size, &h))
		perror("bslab_highmem_alloc");
	printf("block %p\n", (void *)(uintptr_t)h);
	fflush(stdout);
	return h;
}

static void double_free(void)
{
	bslab_handle_t h = get(100);

	bslab_highmem_free(pool, h);
	bslab_highmem_free(pool, h);
}

static void map_freed(void)
{
	bslab_handle_t h = get(100);

	bslab_highmem_free(pool, h);
	if (bslab_highmem_map(pool, h))
		puts("got an address");
}

static void map_of_other(void)
{
	struct bslab_highmem *b = create("b");

	if (bslab_highmem_map(b, get(100)))
		puts("got an address");
}

static void unmap_twice(void)
{
	bslab_handle_t h = get(100);

	if (!bslab_highmem_map(pool, h))
		puts("got no address");
	bslab_highmem_unmap(pool, h);
	bslab_highmem_unmap(pool, h);
}

static void free_mapped(void)
{
	bslab_handle_t h = get(2 * MIB);

	if (!bslab_highmem_map(pool, h))
		puts("got no address");
	bslab_highmem_free(pool, h);
}

static void free_mapped_of_many(void)
{
	bslab_handle_t other = get(100), h = get(100);

	if (!bslab_highmem_map(pool, h))
		puts("got no address");
	bslab_highmem_free(pool, h);
	bslab_highmem_free(pool, other);
}

static void unmap_of_neighbour(void)
{
	bslab_handle_t h = get(100), other = get(100);

	if (!bslab_highmem_map(pool, h))
		puts("got no address");
	bslab_highmem_unmap(pool, other);
	bslab_highmem_unmap(pool, h);
}

static void size_of_freed(void)
{
	bslab_handle_t h = get(100);

	bslab_highmem_free(pool, h);
	if (bslab_highmem_size(pool, h))
		puts("got a size");
}

static void free_of_address(void)
{
	bslab_handle_t h = get(100);
	void *p = bslab_highmem_map(pool, h);

	printf("pointer %p\n", p);
	fflush(stdout);
	__asm__ volatile("" : "+r"(p));
	bslab_free(p);
}

static void destroy_twice(void)
{
	struct bslab_highmem *p = pool;

	bslab_highmem_destroy(p);
	__asm__ volatile("" : "+r"(p));
	bslab_highmem_destroy(p);
}

static void alloc_after_destroy(void)
{
	bslab_handle_t h;

	bslab_highmem_destroy(pool);
	if (bslab_highmem_alloc(pool, 100, &h) == 0)
		puts("got a handle");
}

#define CASE(name) {"highmem_" #name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(double_free), CASE(map_freed),	    CASE(map_of_other),  CASE(unmap_twice),	     CASE(free_mapped),
    CASE(free_mapped_of_many), CASE(unmap_of_neighbour),
    CASE(size_of_freed), CASE(free_of_address), CASE(destroy_twice), CASE(alloc_after_destroy),
};

int main(int argc, char **argv)
{
	pool = create("a");
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: highmem CASE\n");
	return 2;
}
