/* SPDX-License-Identifier: MIT */
/*
 * Heaps of libraries: a "plug-in" that parses lines into a heap of its own with a limit, and is then dropped with all it
 * holds; a heap in memory that the program brings.
 *
 *     cc heaps.c $(pkg-config --cflags --libs bslab) && ./a.out
 */
#include <bslab/heap.h>
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

int main(void)
{
	return use_brought_memory() || use_heap();
}
