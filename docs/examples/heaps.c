/* SPDX-License-Identifier: MIT */
/*
 * Heaps of libraries, pages and scopes: a "plug-in" that parses lines into a heap of its own with a limit, and is then dropped with all it
 * holds; a ring buffer of pages with two holders; what a function allocates is freed however it ends.
 *
 *     cc heaps.c $(pkg-config --cflags --libs bslab) && ./a.out
 */
#include <bslab/heap.h>
#include <bslab/kmalloc.h>
#include <bslab/page.h>
#include <bslab/shrinker.h>
#include <stdio.h>
#include <string.h>

struct word {
	struct word *next;
	char text[];
};

/* Forgets to free anything. */
static struct word *parse(struct bslab_heap *heap, const char *line)
{
	struct word *first = NULL;

	for (line += strspn(line, " "); *line; line += strspn(line, " ")) {
		size_t len = strcspn(line, " ");
		struct word *w = bslab_heap_calloc(heap, 1, sizeof *w + len + 1);

		if (!w)
			return NULL;
		memcpy(w->text, line, len);
		w->next = first;
		first = w;
		line += len;
	}
	return first;
}

static int use_heap(void)
{
	struct bslab_heap *heap = bslab_heap_create("words", 1 << 20, BSLAB_HEAP_UNLOCKED);
	struct bslab_heap_info info;
	int lines = 0;

	if (!heap)
		return 1;
	while (parse(heap, "all of these words stay until the heap is destroyed"))
		lines++;
	bslab_heap_info(heap, &info);
	printf("%d lines in %zu blocks fill %zu of %zu bytes\n", lines, info.nr_blocks, info.size_bytes, info.limit);
	bslab_heap_destroy(heap);
	return lines == 0;
}

static int use_pages(void)
{
	char *ring = bslab_pages_alloc(2, BSLAB_PAGES_ZERO);
	struct bslab_page_info info;

	if (!ring)
		return 1;
	bslab_folio_get(ring); /* for a second holder */
	bslab_page_info(bslab_virt_to_page(ring + 10000), &info);
	printf("a page of a run of %zu pages, %u references, %s\n", info.nr_pages, info.ref_count,
	       info.head == ring ? "ours" : "not ours");
	bslab_folio_put(ring);
	bslab_folio_put(ring);
	return bslab_folio_head(ring) != NULL;
}

static void say_closed(void *name)
{
	printf("%s closed\n", (char *)name);
}

static int use_scope(int fails)
{
	BSLAB_SCOPE(scope);
	char *buffer = bslab_scope_alloc(&scope, 1000, BSLAB_GFP_ZERO);

	if (!buffer || bslab_scope_add(&scope, say_closed, fails ? "first" : "second"))
		return 1;
	if (fails)
		return 0; /* no clean-up to forget */
	buffer[0] = 1;
	return 0;
}

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

static char array[256 << 10];

/* All of it in an array, which may as well be a file that is mapped. */
static int use_brought_memory(void)
{
	struct bslab_heap *h = bslab_heap_create_in("in an array", array, sizeof array, 0);
	struct bslab_heap_info info;
	char *p;
	int is_inside;

	if (!h)
		return 1;
	p = bslab_heap_alloc(h, 100 << 10);
	is_inside = p >= array && p < array + sizeof array;
	bslab_heap_info(h, &info);
	printf("heap '%s': %zu of %zu KiB\n", info.name, info.size_bytes >> 10, info.limit >> 10);
	bslab_heap_destroy(h);
	return !is_inside;
}

static int use_shrinker(void)
{
	struct bslab_shrinker *s = bslab_shrinker_register("cached", drop_cached, NULL);
	char *p;

	cached = bslab_malloc(40 << 20);
	bslab_set_limits(0, 64 << 20);
	p = bslab_malloc(50 << 20); /* not beside the other */
	bslab_shrinker_unregister(s);
	bslab_set_limits(0, 0);
	bslab_free(p);
	return !p || cached;
}

int main(void)
{
	return use_brought_memory() || use_shrinker() || use_heap() || use_pages() || use_scope(1) || use_scope(0);
}
