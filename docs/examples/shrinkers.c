/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: a program that caches what it could read again, and gives it back when a call would otherwise fail at the hard
 * limit.
 *
 *     cc shrinkers.c $(pkg-config --cflags --libs bslab) && ./a.out
 */
#include <bslab/shrinker.h>
#include <stdio.h>

static void *cached;

/* Within malloc: it frees, and waits for nothing. */
static size_t drop_cached(size_t nr_bytes, void *unused)
{
	size_t size = cached ? bslab_malloc_usable_size(cached) : 0;

	(void)unused;
	printf("asked for %s than is cached\n", nr_bytes > size ? "more" : "less");
	bslab_free(cached);
	cached = NULL;
	return size;
}

int main(void)
{
	struct bslab_shrinker *s = bslab_shrinker_register("cached", drop_cached, NULL);
	struct bslab_shrinker_info info;
	char *p;

	cached = bslab_malloc(40 << 20);
	bslab_set_limits(0, 64 << 20);
	p = bslab_malloc(50 << 20); /* not beside the other */
	bslab_shrinker_info(s, &info);
	printf("%s: %zu calls, %zu MiB\n", info.name, info.nr_calls, info.nr_bytes >> 20);
	bslab_shrinker_unregister(s);
	bslab_set_limits(0, 0);
	bslab_free(p);
	return !p || cached;
}
