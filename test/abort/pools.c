/* SPDX-License-Identifier: MIT */
/* One misuse of mempools and of NOWAIT pools a case; misuse.py knows what each has to say. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bslab/contig.h"
#include "bslab/kmalloc.h"
#include "bslab/shrinker.h"

#define MIB ((size_t)1 << 20)

static struct bslab_mempool *pool;

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

static char *element(void)
{
	return say("block", bslab_mempool_alloc(pool, BSLAB_GFP_NOWAIT));
}

static char *reserved(void)
{
	if (bslab_nowait_pool(128, 4, 0))
		puts("no reserve");
	return say("block", bslab_kmalloc(128, BSLAB_GFP_NOWAIT));
}

static void double_free(void)
{
	char *p = element();

	bslab_mempool_free(pool, p);
	bslab_mempool_free(pool, hidden(p));
}

static void interior(void)
{
	bslab_mempool_free(pool, say("pointer", element() + 16));
}

static void free_of_other(void)
{
	bslab_mempool_free(bslab_mempool_create(4, 64), element());
}

static void free_of_stack(void)
{
	long x[4];

	bslab_mempool_free(pool, say("block", x));
}

static void malloc_free(void)
{
	bslab_free(element());
}

static void malloc_realloc(void)
{
	if (bslab_realloc(element(), 300))
		puts("got a block");
}

static void krealloc_of_stack(void)
{
	long x[4];

	errno = 0;
	if (bslab_krealloc(say("block", x), 300, 0) || errno != EINVAL)
		puts("got a block");
}

static void zone_realloc_interior(void)
{
	char *p = bslab_kmalloc(40000, BSLAB_GFP_DMA32);

	errno = 0;
	if (bslab_realloc(say("pointer", p + 16), 1000) || errno != EINVAL)
		puts("got a block");
}

static int free_it(void *to, void *from, size_t size, void *arg)
{
	(void)to;
	(void)size;
	*(bool *)arg = true;
	bslab_movable_free(say("block", from));
	return 1;
}

/* Ranges of the whole reserve want the run moved. */
static void movable_free_within(void)
{
	bool was_asked = false;

	if (bslab_contig_reserve(4 * MIB, 0))
		puts("no reserve");
	for (int i = 0; i < 1000 && !was_asked; i++) {
		if (!bslab_movable_alloc(64 * 1024, free_it, &was_asked))
			puts("no memory");
		bslab_contig_free(bslab_contig_alloc(4 * MIB, 1));
	}
}

static void reserve_double_free(void)
{
	char *p = reserved();

	bslab_free(p);
	bslab_free(hidden(p));
}

static void reserve_interior(void)
{
	bslab_free(say("pointer", reserved() + 16));
}

static void destroy_twice(void)
{
	bslab_mempool_destroy(pool);
	bslab_mempool_destroy(hidden(pool));
}

static void alloc_after_destroy(void)
{
	bslab_mempool_destroy(pool);
	if (bslab_mempool_alloc(hidden(pool), 0))
		puts("got an element");
}

static size_t give_nothing(size_t nr_bytes, void *unused)
{
	(void)nr_bytes;
	(void)unused;
	return 0;
}

static void shrinker_twice(void)
{
	struct bslab_shrinker *s = bslab_shrinker_register("a", give_nothing, NULL);

	bslab_shrinker_unregister(s);
	bslab_shrinker_unregister(hidden(s));
}

#define CASE(name) {"pool_" #name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(double_free), CASE(interior),	     CASE(free_of_other),	CASE(free_of_stack),
    CASE(malloc_free), CASE(malloc_realloc), CASE(reserve_double_free), CASE(reserve_interior),
    CASE(destroy_twice), CASE(alloc_after_destroy), CASE(shrinker_twice), CASE(krealloc_of_stack),
    CASE(zone_realloc_interior), CASE(movable_free_within),
};

int main(int argc, char **argv)
{
	pool = bslab_mempool_create(4, 64);
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: pools CASE\n");
	return 2;
}
