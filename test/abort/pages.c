/* SPDX-License-Identifier: MIT */
/* One misuse of page runs a case; misuse.py knows what each has to say. */
#include <stdio.h>
#include <string.h>

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

static char *run(void)
{
	return say("block", bslab_pages_alloc(3, 0));
}

static void free_of_malloc(void)
{
	bslab_pages_free(say("block", bslab_malloc(100000)));
}

static void free_of_object(void)
{
	bslab_pages_free(say("block", bslab_malloc(100)));
}

static void free_of_stack(void)
{
	long x[4];

	bslab_pages_free(say("block", x));
}

static void interior(void)
{
	bslab_pages_free(say("pointer", run() + 8192));
}

static void interior_first_page(void)
{
	bslab_pages_free(say("pointer", run() + 8));
}

static void double_free(void)
{
	char *p = run();

	bslab_pages_free(p);
	bslab_pages_free(hidden(p));
}

/* Of one page, whose first free leaves it to its CPU, alone or of a number. */
static void double_free_of_one(void)
{
	char *p = say("block", bslab_pages_alloc(0, 0));

	bslab_pages_free(p);
	bslab_pages_free(hidden(p));
}

static void double_free_in_bulk(void)
{
	void *p[100];
	size_t i;

	if (bslab_pages_alloc_bulk(100, p, 0) != 100)
		return;
	for (i = 0; i < 100; i++)
		p[i] = hidden(p[i]);
	say("block", p[98]);
	p[99] = p[98];
	bslab_pages_free_bulk(100, p);
}

static void double_free_of_kept(void)
{
	char *p = bslab_pages_alloc(4, 0);

	bslab_pages_free(p);
	p = say("block", bslab_pages_alloc(4, 0));
	bslab_pages_free(p);
	bslab_pages_free(hidden(p));
}

static void interior_of_one(void)
{
	bslab_pages_free(say("pointer", (char *)say("block", bslab_pages_alloc(0, 0)) + 2048));
}

static void malloc_free_of_freed(void)
{
	char *p = say("block", bslab_pages_alloc(0, 0));

	bslab_pages_free(p);
	bslab_free(hidden(p));
}

static void get_freed(void)
{
	char *p = run();

	bslab_pages_free(p);
	bslab_folio_get(hidden(p));
}

static void split_interior(void)
{
	if (bslab_pages_split(say("pointer", run() + 4096), 1))
		puts("split");
}

static void malloc_free(void)
{
	bslab_free(run());
}

static void malloc_realloc(void)
{
	if (bslab_realloc(run(), 100000))
		puts("got a block");
}

#define CASE(name) {"pages_" #name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(free_of_malloc), CASE(free_of_object), CASE(free_of_stack),  CASE(interior),	 CASE(interior_first_page),
    CASE(double_free),	  CASE(get_freed),	CASE(split_interior), CASE(malloc_free), CASE(malloc_realloc),
    CASE(double_free_of_one), CASE(double_free_in_bulk), CASE(double_free_of_kept), CASE(interior_of_one), CASE(malloc_free_of_freed),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: pages CASE\n");
	return 2;
}
