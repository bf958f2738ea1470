/* SPDX-License-Identifier: MIT */
/*
 * One misuse of handles a case: `handles NAME` prints the handle or the address that its message must
 * name, commits the misuse, and says "went on" if it comes that far. handles.py beside this file knows what each has to say.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bslab/handle.h"

static void say(const void *p)
{
	printf("it %p\n", p);
	fflush(stdout);
}

static bslab_handle_t get(size_t size)
{
	bslab_handle_t h = bslab_handle_alloc(size);

	say((void *)(uintptr_t)h);
	return h;
}

static bslab_handle_t freed(size_t size)
{
	bslab_handle_t h = get(size);

	bslab_handle_free(h);
	return h;
}

static bslab_handle_t mapped(void)
{
	bslab_handle_t h = get(100);

	if (!bslab_handle_map(h))
		abort();
	return h;
}

static bslab_handle_t wild(uint64_t n)
{
	bslab_handle_free(bslab_handle_alloc(1));
	say((void *)(uintptr_t)n);
	return n;
}

static void expect(int good)
{
	if (!good)
		puts("did something");
}

static void double_free(void) { bslab_handle_free(freed(100)); }
static void double_free_run(void) { bslab_handle_free(freed(100000)); }
static void double_free_large(void) { bslab_handle_free(freed(5 << 20)); }
static void map_freed(void) { expect(bslab_handle_map(freed(100)) == NULL); }
static void unmap_freed(void) { bslab_handle_unmap(freed(100)); }
static void size_freed(void) { expect(bslab_handle_size(freed(100)) == 0); }
static void resize_freed(void) { expect(bslab_handle_resize(freed(100), 200) == -1 && errno == EINVAL); }
static void free_mapped(void) { bslab_handle_free(mapped()); }
static void resize_mapped(void) { expect(bslab_handle_resize(mapped(), 200) == -1 && errno == EINVAL); }
static void unmap_unmapped(void) { bslab_handle_unmap(get(100)); }
static void wild_free(void) { bslab_handle_free(wild(42)); }
static void wild_map(void) { expect(bslab_handle_map(wild(42)) == NULL); }
static void map_none(void) { expect(bslab_handle_map(wild(0)) == NULL); }
static void wild_high(void) { bslab_handle_unmap(wild(~0ull)); }

static void stale(void)
{
	bslab_handle_t h = freed(100), other = bslab_handle_alloc(100);

	bslab_handle_free(h);
	expect(other != h);
}

/* Freed by another thread while it is mapped here. */
static void *free_it(void *h)
{
	bslab_handle_free((uintptr_t)h);
	return NULL;
}

static void free_mapped_elsewhere(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, free_it, (void *)(uintptr_t)mapped()))
		abort();
	pthread_join(t, NULL);
}

/* The address is none of malloc's. */
static void free_address(void)
{
	void *p = bslab_handle_map(bslab_handle_alloc(100));

	say(p);
	bslab_free(p);
}

static void free_address_large(void)
{
	void *p = bslab_handle_map(bslab_handle_alloc(5 << 20));

	say(p);
	bslab_free(p);
}

static void realloc_address_large(void)
{
	void *p = bslab_handle_map(bslab_handle_alloc(5 << 20));

	say(p);
	expect(bslab_realloc(p, 50 << 20) == NULL);
}

#define CASE(name) {#name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(double_free),	 CASE(double_free_run), CASE(double_free_large), CASE(map_freed),   CASE(unmap_freed),
    CASE(size_freed),	 CASE(resize_freed),	CASE(free_mapped),	 CASE(resize_mapped), CASE(unmap_unmapped),
    CASE(wild_free),	 CASE(wild_map),	CASE(map_none),		 CASE(wild_high),   CASE(stale),
    CASE(free_mapped_elsewhere), CASE(free_address), CASE(free_address_large),
    CASE(realloc_address_large),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: handles CASE\n");
	return 2;
}
