/* SPDX-License-Identifier: MIT */
/*
 * kinds: a process with memory of each kind that is not malloc's alone, for a reader from outside, until its standard input
 * ends. It writes lines of a name and an address, and then "ready".
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bslab/contig.h"
#include "bslab/handle.h"
#include "bslab/heap.h"
#include "bslab/kmalloc.h"
#include "bslab/kmem.h"
#include "bslab/page.h"

#define NR_PARTS 100
#define LARGE_SIZE (3 << 20) /* of pageblocks */

static void put(const char *name, void *p)
{
	printf("%s %p\n", name, p);
}

static int stay(void *to, void *from, size_t size, void *arg)
{
	(void)to;
	(void)from;
	(void)size;
	(void)arg;
	return 1;
}

int main(void)
{
	struct bslab_cache *parts = bslab_cache_create("parts \"x\"", 200, 0, BSLAB_CACHE_NO_MERGE, NULL);
	struct bslab_heap *heap = bslab_heap_create("library", 0, 0);
	struct bslab_mempool *pool = bslab_mempool_create(10, 500);
	void *part[NR_PARTS], *page, *kept;
	bslab_handle_t handle;
	char c;

	if (bslab_nowait_pool(300, 4, 0) || bslab_cache_alloc_bulk(parts, NR_PARTS, part) != NR_PARTS)
		return 1;
	put("part", part[50]);
	put("heap", bslab_heap_alloc(heap, 100));
	put("heap_large", bslab_heap_alloc(heap, 5 << 20));
	put("element", bslab_mempool_alloc(pool, BSLAB_GFP_NOWAIT));
	put("reserved", bslab_kmalloc(300, BSLAB_GFP_NOWAIT));
	put("folio", bslab_pages_alloc(3, 0));
	page = bslab_pages_alloc(0, 0);
	put("page_freed", page);
	bslab_pages_free(page);
	handle = bslab_handle_alloc(1000);
	put("handle", bslab_handle_map(handle));
	put("handle_next", (char *)bslab_handle_map(handle) + 1024);
	put("handle_3k", bslab_handle_map(bslab_handle_alloc(3000)));
	put("dma32", bslab_kmalloc(1000, BSLAB_GFP_DMA32));
	if (bslab_contig_reserve(4 << 20, 0))
		return 1;
	put("contig", bslab_contig_alloc(100000, 1));
	page = bslab_contig_alloc(4096, 1);
	put("contig_free", page);
	bslab_contig_free(page);
	put("movable", (char *)bslab_movable_alloc(100000, stay, NULL) + 50000);
	put("object", bslab_malloc(300));
	put("zero", bslab_malloc(0));
	put("run", bslab_malloc(100000));
	kept = bslab_malloc(LARGE_SIZE);
	memset(kept, 1, LARGE_SIZE); /* what cost no page fault is not kept */
	put("kept", kept);
	bslab_free(kept);
	printf("ready\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	_exit(0);
}
