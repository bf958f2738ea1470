/* SPDX-License-Identifier: MIT */
/* One misuse of blocks of explicit zones, of the contiguous reserve and of movable runs a case; misuse.py knows what each has to say. */
#include <stdio.h>
#include <string.h>

#include "bslab/contig.h"
#include "bslab/heap.h"
#include "bslab/kmalloc.h"
#include "bslab/page.h"

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

/* Too large for a sheaf: the zone's heap knows it. */
static char *low(void)
{
	return say("block", bslab_kmalloc(40000, BSLAB_GFP_DMA32));
}

static char *small(void)
{
	return say("block", bslab_kmalloc(200, BSLAB_GFP_DMA32));
}

static char *range(void)
{
	if (bslab_contig_reserve(4 << 20, 0))
		puts("no reserve");
	return say("block", bslab_contig_alloc(100000, 1));
}

static int refuse(void *to, void *from, size_t size, void *arg)
{
	(void)to;
	(void)from;
	(void)size;
	(void)arg;
	return 1;
}

static char *movable(void)
{
	return say("block", bslab_movable_alloc(100000, refuse, NULL));
}

static void double_free(void)
{
	char *p = low();

	bslab_free(p);
	bslab_free(hidden(p));
}

static void interior(void)
{
	bslab_free(say("pointer", low() + 16));
}

static void realloc_of_freed(void)
{
	char *p = low();

	bslab_free(p);
	if (bslab_realloc(hidden(p), 1000))
		puts("a block");
}

static void heap_free(void)
{
	bslab_heap_free(bslab_heap_create("h", 0, 0), low());
}

static void small_double_free(void)
{
	char *p = small();

	bslab_free(p);
	bslab_free(hidden(p));
}

static void small_realloc_interior(void)
{
	if (bslab_realloc(say("pointer", small() + 16), 1000))
		puts("a block");
}

static void small_heap_free(void)
{
	bslab_heap_free(bslab_heap_create("h", 0, 0), small());
}

static void contig_double_free(void)
{
	char *p = range();

	bslab_contig_free(p);
	bslab_contig_free(hidden(p));
}

static void contig_interior(void)
{
	bslab_contig_free(say("pointer", range() + 4096));
}

static void contig_malloc_free(void)
{
	bslab_free(say("pointer", range() + 5000));
}

static void movable_double_free(void)
{
	char *p = movable();

	bslab_movable_free(p);
	bslab_movable_free(hidden(p));
}

static void movable_malloc_free(void)
{
	bslab_free(movable());
}

static void movable_realloc(void)
{
	if (bslab_realloc(movable(), 1000))
		puts("a block");
}

static void movable_pages_free(void)
{
	bslab_pages_free(movable());
}

static int free_itself(void *to, void *from, size_t size, void *arg)
{
	(void)arg;
	bslab_movable_free(say("block", from));
	memcpy(to, from, size);
	return 0;
}

static void movable_free_within(void)
{
	char *p;

	if (bslab_contig_reserve(2 << 20, 0))
		puts("no reserve");
	p = bslab_movable_alloc(100000, free_itself, NULL);
	bslab_contig_free(bslab_contig_alloc(2 << 20, 1));
	hidden(p);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    {"zone_double_free", double_free},
    {"zone_interior", interior},
    {"zone_realloc_of_freed", realloc_of_freed},
    {"zone_heap_free", heap_free},
    {"zone_small_double_free", small_double_free},
    {"zone_small_realloc_interior", small_realloc_interior},
    {"zone_small_heap_free", small_heap_free},
    {"zone_contig_double_free", contig_double_free},
    {"zone_contig_interior", contig_interior},
    {"zone_contig_malloc_free", contig_malloc_free},
    {"zone_movable_double_free", movable_double_free},
    {"zone_movable_malloc_free", movable_malloc_free},
    {"zone_movable_realloc", movable_realloc},
    {"zone_movable_pages_free", movable_pages_free},
    {"zone_movable_free_within", movable_free_within},
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: %s CASE\n", argv[0]);
	return 2;
}
