/* SPDX-License-Identifier: MIT */
/* One misuse of libraries' heaps a case; misuse.py knows what each has to say. */
#include <stdio.h>
#include <string.h>

#include "bslab/heap.h"

#define MIB ((size_t)1 << 20)

static struct bslab_heap *heap;

static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static void *say(const char *name, void *p)
{
	printf("%s %p\n", name, p);
	fflush(stdout);
	return hidden(p);
}

static void *block(size_t size)
{
	return say("block", bslab_heap_alloc(heap, size));
}

static void free_of_malloc(void)
{
	bslab_heap_free(heap, say("block", bslab_malloc(100)));
}

static void free_of_other(void)
{
	struct bslab_heap *b = bslab_heap_create("b", 0, 0);

	bslab_heap_free(heap, say("block", bslab_heap_alloc(b, 100)));
}

static void free_of_stack(void)
{
	long x[4];

	bslab_heap_free(heap, say("block", x));
}

static void double_free(void)
{
	void *p = block(100), *q = bslab_heap_alloc(heap, 100);

	bslab_heap_free(heap, p);
	bslab_heap_free(heap, q);
	bslab_heap_free(heap, hidden(p));
}

/* When it is back in its slab, which a neighbour keeps. */
static void double_free_late(void)
{
	void *p = block(100), *q[200];

	for (int i = 0; i < 200; i++)
		q[i] = bslab_heap_alloc(heap, 100);
	bslab_heap_free(heap, p);
	for (int i = 1; i < 200; i++)
		bslab_heap_free(heap, q[i]);
	bslab_heap_free(heap, hidden(p));
}

static void double_free_run(void)
{
	void *p = block(100000);

	bslab_heap_free(heap, p);
	bslab_heap_free(heap, hidden(p));
}

static void interior(void)
{
	bslab_heap_free(heap, say("pointer", (char *)block(100) + 8));
}

static void interior_run(void)
{
	bslab_heap_free(heap, say("pointer", (char *)block(100000) + 8192));
}

static void realloc_of_malloc(void)
{
	if (bslab_heap_realloc(heap, say("block", bslab_malloc(100)), 300))
		puts("got a block");
}

static void malloc_free(void)
{
	bslab_free(block(100));
}

static void malloc_free_run(void)
{
	bslab_free(block(100000));
}

static void malloc_free_large(void)
{
	bslab_free(block(5 * MIB));
}

static void malloc_realloc(void)
{
	if (bslab_realloc(block(100), 300))
		puts("got a block");
}

static void after_destroy(void)
{
	void *p = block(100);

	bslab_heap_destroy(heap);
	bslab_free(hidden(p));
}

static void destroy_twice(void)
{
	block(100);
	bslab_heap_destroy(heap);
	bslab_heap_destroy(hidden(heap));
}

static void alloc_after_destroy(void)
{
	block(100);
	bslab_heap_destroy(heap);
	if (bslab_heap_alloc(hidden(heap), 100))
		puts("got a block");
}

static void free_after_destroy(void)
{
	void *p = block(100);

	bslab_heap_destroy(heap);
	bslab_heap_free(hidden(heap), p);
}

static void info_after_destroy(void)
{
	struct bslab_heap_info info;

	block(100);
	bslab_heap_destroy(heap);
	bslab_heap_info(hidden(heap), &info);
	if (info.nr_blocks || info.size_bytes)
		puts("not empty");
}

#define CASE(name) {"heap_" #name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(free_of_malloc),  CASE(free_of_other), CASE(free_of_stack),	  CASE(double_free),	CASE(double_free_late),
    CASE(double_free_run),
    CASE(interior),	   CASE(interior_run),	CASE(realloc_of_malloc),  CASE(malloc_free),	CASE(malloc_free_run),
    CASE(malloc_free_large), CASE(malloc_realloc), CASE(after_destroy),
    CASE(destroy_twice),   CASE(alloc_after_destroy), CASE(free_after_destroy), CASE(info_after_destroy),
};

int main(int argc, char **argv)
{
	heap = bslab_heap_create("a", 0, 0);
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: heaps CASE\n");
	return 2;
}
