/* SPDX-License-Identifier: MIT */
/*
 * Zones: a list by 32-bit pointers below 4 GiB; a table of explicit huge pages, or of what there is; tiles that make room for a frame.
 *
 *     cc zones.c $(pkg-config --cflags --libs bslab) && ./a.out
 */
#include <bslab/contig.h>
#include <bslab/kmalloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* --- compressed pointers: half the size --------------------------------------------------- */

struct node {
	uint32_t next; /* an address, below 4 GiB */
	uint32_t value;
};

static int use_low_memory(void)
{
	uint32_t first = 0, sum = 0;
	struct node *n;

	for (uint32_t i = 1; i <= 1000; i++) {
		n = bslab_kmalloc(sizeof *n, BSLAB_GFP_DMA32);
		if (!n)
			return 1;
		*n = (struct node){first, i};
		first = (uint32_t)(uintptr_t)n;
	}
	while (first) {
		n = (struct node *)(uintptr_t)first;
		first = n->next;
		sum += n->value;
		bslab_free(n);
	}
	printf("1000 nodes of %zu bytes: %u\n", sizeof *n, sum);
	return sum != 500500;
}

/* --- a large table: huge pages if the machine has a pool of them ------------------------------ */

static int use_huge_pages(void)
{
	char *sure = bslab_kmalloc(8 << 20, BSLAB_GFP_HUGETLB | BSLAB_GFP_NORETRY);
	char *table = sure ? sure : bslab_kmalloc(8 << 20, BSLAB_GFP_HUGE);

	if (!table)
		return 1;
	memset(table, 1, 8 << 20);
	printf("a table of %s\n", sure ? "explicit huge pages" : "what the kernel has");
	bslab_free(table);
	return 0;
}

/* --- memory of this node, for a thread that stays there ----------------------------------------- */

static int use_this_node(void)
{
	char *p = bslab_kmalloc(1 << 20, BSLAB_GFP_THISNODE | BSLAB_GFP_NORETRY);

	printf("a buffer of this node: %s\n", p ? "yes" : "it has none left");
	bslab_free(p);
	return 0;
}

/* --- tiles are cached in what is reserved for frames -------------------------------------------- */

struct tile {
	unsigned char *pixels;
	int is_drawn; /* a real program would try a lock */
};

static int tile_moved(void *to, void *from, size_t size, void *arg)
{
	struct tile *t = arg;

	if (t->is_drawn || t->pixels != from)
		return 1;
	memcpy(to, from, size);
	t->pixels = to;
	return 0;
}

#define NR_TILES 64
#define TILE ((size_t)128 << 10)

static int use_reserve(void)
{
	static struct tile tiles[NR_TILES];
	struct bslab_contig_info info;
	int wrong = 0;
	char *frame;

	if (bslab_contig_reserve(8 << 20, 0))
		return 1;
	for (int i = 0; i < NR_TILES; i++) {
		tiles[i].pixels = bslab_movable_alloc(TILE, tile_moved, &tiles[i]);
		if (!tiles[i].pixels)
			return 1;
		memset(tiles[i].pixels, i, TILE);
	}
	tiles[3].is_drawn = 1;
	frame = bslab_contig_alloc(8 << 20, 1);
	printf("a frame while a tile is drawn: %s\n", frame ? "yes" : "no");
	wrong |= frame != NULL;
	tiles[3].is_drawn = 0;
	frame = bslab_contig_alloc(8 << 20, 1);
	bslab_contig_info(&info);
	printf("and then: %s, %zu of %zu KiB\n", frame ? "yes" : "no", info.taken_bytes >> 10, info.size_bytes >> 10);
	wrong |= !frame;
	for (int i = 0; i < NR_TILES; i++) {
		wrong |= tiles[i].pixels[TILE - 1] != i;
		bslab_movable_free(tiles[i].pixels);
	}
	bslab_contig_free(frame);
	return wrong;
}

int main(void)
{
	return use_low_memory() || use_huge_pages() || use_this_node() || use_reserve();
}
