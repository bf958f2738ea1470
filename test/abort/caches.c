/* SPDX-License-Identifier: MIT */
/* One misuse of typed caches a case, as misuse.c beside this file has them of malloc; misuse.py knows what each has to say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bslab/kmem.h"

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

static struct bslab_cache *cache(const char *name, unsigned flags)
{
	return bslab_cache_create(name, 200, 0, flags | BSLAB_CACHE_NO_MERGE, NULL);
}

static void nothing(void *obj)
{
	(void)obj;
}

static void free_of_block(void)
{
	bslab_cache_free(cache("a", 0), say("block", bslab_malloc(200)));
}

static void free_of_run(void)
{
	bslab_cache_free(cache("a", 0), say("block", bslab_malloc(100000)));
}

static void free_of_stack(void)
{
	long x[4];

	bslab_cache_free(cache("a", 0), say("block", x));
}

static void free_of_other(void)
{
	struct bslab_cache *a = cache("a", 0), *b = cache("b", 0);

	bslab_cache_free(a, say("block", bslab_cache_alloc(b)));
}

static void free_of_merged_size(void)
{
	struct bslab_cache *c = bslab_cache_create("a", 64, 0, 0, NULL);

	bslab_cache_free(c, say("block", bslab_malloc(200)));
}

static void bulk_with_block(void)
{
	struct bslab_cache *c = cache("a", 0);
	void *obj[10];

	bslab_cache_alloc_bulk(c, 10, obj);
	bslab_cache_free(c, obj[5]);
	obj[5] = say("block", bslab_malloc(200));
	bslab_cache_free_bulk(c, 10, obj);
}

static void free_interior(void)
{
	struct bslab_cache *c = cache("a", 0);
	char *p = say("block", bslab_cache_alloc(c));

	bslab_cache_free(c, say("pointer", p + 64));
	bslab_malloc_trim(0);
}

static void double_free(void)
{
	struct bslab_cache *c = cache("a", 0);
	void *p = say("block", bslab_cache_alloc(c));

	bslab_cache_free(c, p);
	bslab_cache_free(c, hidden(p));
}

static void bulk_double_free(void)
{
	struct bslab_cache *c = cache("a", 0);
	void *p = say("block", bslab_cache_alloc(c)), *twice[2] = {p, hidden(p)};

	bslab_cache_free_bulk(c, 2, twice);
}

static void bulk_free_after_free(void)
{
	struct bslab_cache *c = cache("a", 0);
	void *p = say("block", bslab_cache_alloc(c)), *again = hidden(p);

	bslab_cache_free(c, p);
	bslab_cache_free_bulk(c, 1, &again);
}

static void double_free_poisoned(void)
{
	struct bslab_cache *c = cache("a", BSLAB_CACHE_POISON);
	void *p = say("block", bslab_cache_alloc(c)), *q = bslab_cache_alloc(c);

	bslab_cache_free(c, p);
	bslab_cache_free(c, q);
	bslab_cache_free(c, hidden(p));
}

static void malloc_free(void)
{
	bslab_free(say("block", bslab_cache_alloc(cache("a", 0))));
}

static void malloc_realloc(void)
{
	if (bslab_realloc(say("block", bslab_cache_alloc(cache("a", 0))), 300))
		puts("got a block");
}

static void malloc_sized_free(void)
{
	bslab_free_sized(say("block", bslab_cache_alloc(cache("a", 0))), 200);
}

static void alloc_after_destroy(void)
{
	struct bslab_cache *c = cache("a", 0);

	bslab_cache_destroy(c);
	if (bslab_cache_alloc(c))
		puts("got a block");
}

static void free_after_destroy(void)
{
	struct bslab_cache *c = cache("a", 0);

	bslab_cache_destroy(c);
	bslab_cache_free(c, say("block", bslab_malloc(200)));
}

static void bulk_after_destroy(void)
{
	struct bslab_cache *c = cache("a", 0);
	void *obj[3];

	bslab_cache_destroy(c);
	if (bslab_cache_alloc_bulk(c, 3, obj) || errno != EINVAL)
		puts("got a block");
}

static void info_after_destroy(void)
{
	struct bslab_cache *c = cache("a", 0);
	struct bslab_cache_info info = {.nr_live = 1};

	bslab_cache_destroy(c);
	bslab_cache_info(c, &info);
	if (info.nr_live || info.nr_pages)
		puts("got a block");
}

static void destroy_twice(void)
{
	struct bslab_cache *c = cache("a", 0);

	bslab_cache_destroy(c);
	bslab_cache_destroy(c);
}

static void zalloc_constructed(void)
{
	if (bslab_cache_zalloc(bslab_cache_create("a", 200, 0, 0, nothing)))
		puts("got a block");
}

static void grace_of_ordinary(void)
{
	bslab_cache_set_grace(cache("a", 0), NULL, NULL);
}

static void write_after_free(void)
{
	struct bslab_cache *c = cache("a", BSLAB_CACHE_POISON);
	char *p = say("block", bslab_cache_alloc(c));

	bslab_cache_free(c, p);
	p = hidden(p);
	p[17] = 1;
	bslab_cache_alloc(c) == p ? (void)0 : (void)puts("another object");
}

static void write_beyond(void)
{
	struct bslab_cache *c = cache("a", BSLAB_CACHE_RED_ZONE);
	char *p = say("block", bslab_cache_alloc(c));

	memset(hidden(p), 0, 201);
	bslab_cache_free(c, p);
}

#define CASE(name) {"cache_" #name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(free_of_block),   CASE(free_of_run),	     CASE(free_of_stack),     CASE(free_of_other),	 CASE(free_of_merged_size),
    CASE(bulk_with_block), CASE(free_interior),	     CASE(double_free),	      CASE(double_free_poisoned), CASE(malloc_free),
    CASE(malloc_realloc),  CASE(malloc_sized_free),  CASE(alloc_after_destroy), CASE(free_after_destroy), CASE(destroy_twice),
    CASE(bulk_after_destroy), CASE(info_after_destroy),
    CASE(bulk_double_free), CASE(bulk_free_after_free), CASE(zalloc_constructed), CASE(grace_of_ordinary), CASE(write_after_free),  CASE(write_beyond),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: caches CASE\n");
	return 2;
}
