/* SPDX-License-Identifier: MIT */
/*
 * Typed caches, heaps, pools, pages and handles beside malloc, from threads and in a child, in whatever mode BSLAB_CONF says; in
 * the hardened one all blocks are looked at once more at the end.
 */
#include <bslab/handle.h>
#include <bslab/heap.h>
#include <bslab/kmalloc.h>
#include <bslab/kmem.h>
#include <bslab/page.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_HELD 200
#define NR_KINDS 12
#define MAX_BYTES 300000
#define BROUGHT ((size_t)8 << 20)

static struct bslab_cache *plain, *poisoned, *made, *stable;
static struct bslab_heap *heap, *brought;
static struct bslab_mempool *elements;

static void demand(int is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "apart: %s\n", what);
	_exit(1);
}

static void construct(void *obj)
{
	memset(obj, 0x5a, 200);
}

/* Of a kind, with at least *size bytes, which it may set. */
static void *take(unsigned kind, size_t *size)
{
	switch (kind) {
	case 0:
		return *size = 48, bslab_cache_alloc(plain);
	case 1:
		return *size = 100, bslab_cache_zalloc(poisoned);
	case 2:
		return *size = 200, bslab_cache_alloc(made);
	case 3:
		return *size = 1000, bslab_cache_alloc(stable);
	case 4:
		return bslab_heap_alloc(heap, *size);
	case 5:
		*size %= 5000;
		return bslab_heap_calloc(brought, 1, *size);
	case 6:
		return bslab_kmalloc(*size, BSLAB_GFP_ZERO);
	case 7:
		return bslab_vmalloc(*size);
	case 8:
		return *size = 500, bslab_kmalloc(500, BSLAB_GFP_NOWAIT);
	case 9:
		return *size = 700, bslab_mempool_alloc(elements, BSLAB_GFP_NOWAIT);
	case 10:
		return bslab_pages_alloc_exact(*size + 1, 0);
	default:
		return bslab_malloc(*size);
	}
}

static void give(unsigned kind, void *p, size_t size)
{
	switch (kind) {
	case 0:
		bslab_cache_free(plain, p);
		return;
	case 1:
		bslab_cache_free(poisoned, p);
		return;
	case 2:
		construct(p);
		bslab_cache_free(made, p);
		return;
	case 3:
		bslab_cache_free(stable, p);
		return;
	case 4:
		bslab_heap_free(heap, p);
		return;
	case 5:
		bslab_heap_free(brought, p);
		return;
	case 8:
		bslab_free_sized(p, size);
		return;
	case 9:
		bslab_mempool_free(elements, p);
		return;
	case 10:
		bslab_pages_free(p);
		return;
	default:
		bslab_free(p);
	}
}

static int is_mallocs(unsigned kind)
{
	return kind == 6 || kind == 7 || kind == 8 || kind == 11;
}

static void check(const unsigned char *p, size_t size, unsigned char with)
{
	for (size_t i = 0; i < size; i++)
		demand(p[i] == with, "somebody else wrote to a block");
}

struct held {
	unsigned char *p;
	size_t size;
	unsigned kind;
};

static void grow(struct held *h, unsigned char with, size_t size)
{
	unsigned char *p = h->kind == 4 ? bslab_heap_realloc(heap, h->p, size) : bslab_krealloc(h->p, size, BSLAB_GFP_ZERO);

	demand(p != NULL, "no memory");
	check(p, h->size < size ? h->size : size, with);
	memset(p, with, size);
	h->p = p;
	h->size = size;
	if (h->kind != 4)
		h->kind = 6; /* out of a pool it comes to malloc */
}

static void *work(void *seed_of)
{
	unsigned seed = *(unsigned *)seed_of;
	struct held held[NR_HELD] = {0};

	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = (unsigned)rand_r(&seed) % NR_HELD;
		struct held *h = &held[i];

		if (!h->p) {
			h->kind = (unsigned)rand_r(&seed) % NR_KINDS;
			h->size = (size_t)rand_r(&seed) % (n % 50 ? 3000 : MAX_BYTES) + 1;
			h->p = take(h->kind, &h->size);
			if (h->p && h->kind == 2)
				check(h->p, h->size, 0x5a);
			if (h->p)
				memset(h->p, (int)i, h->size);
			else
				demand(h->kind == 5 || h->kind == 8 || h->kind == 9, "no memory");
		} else if ((is_mallocs(h->kind) || h->kind == 4) && n % 3 == 0) {
			grow(h, (unsigned char)i, (size_t)rand_r(&seed) % 6000 + 1);
		} else {
			check(h->p, h->size, (unsigned char)i);
			give(h->kind, h->p, h->size);
			h->p = NULL;
		}
		if (n % 4000 == 0)
			bslab_malloc_trim(0);
	}
	for (unsigned i = 0; i < NR_HELD; i++)
		if (held[i].p) {
			check(held[i].p, held[i].size, (unsigned char)i);
			give(held[i].kind, held[i].p, held[i].size);
		}
	return NULL;
}

static void make_all(void)
{
	void *memory = mmap(NULL, BROUGHT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	plain = bslab_cache_create("plain", 48, 0, 0, NULL);
	poisoned = bslab_cache_create("poisoned", 100, 0, BSLAB_CACHE_POISON | BSLAB_CACHE_RED_ZONE, NULL);
	made = bslab_cache_create("made", 200, 0, 0, construct);
	stable = bslab_cache_create("stable", 1000, 0, BSLAB_CACHE_TYPE_STABLE, NULL);
	heap = bslab_heap_create("heap", 0, 0);
	brought = bslab_heap_create_in("brought", memory, BROUGHT, 0);
	elements = bslab_mempool_create(64, 700);
	demand(plain && poisoned && made && stable && heap && brought && elements, "something was not made");
	demand(bslab_nowait_pool(500, 64, 0) == 0, "no NOWAIT pool");
}

/* Live at the end, and full to their last byte: what has a handle has no word behind it that the hardened mode may look for. */
static void leave_handles(void)
{
	static const size_t sizes[] = {100, 4096, 100000, 300000, (size_t)5 << 20};

	for (unsigned i = 0; i < 200; i++) {
		size_t size = sizes[i % (i < 190 ? 4 : 5)];
		bslab_handle_t h = bslab_handle_alloc(size);

		demand(h != 0, "no memory");
		memset(bslab_handle_map(h), 0x77, size);
		bslab_handle_unmap(h);
		if (i % 3)
			bslab_handle_free(h);
	}
	bslab_compact();
}

static void check_ends(void)
{
	void *p = bslab_heap_alloc(heap, (size_t)5 << 20); /* stays, for the heap's end */

	demand(p != NULL, "no memory");
	demand(bslab_cache_destroy(plain) == 0 && bslab_cache_destroy(poisoned) == 0 && bslab_cache_destroy(made) == 0,
	       "an object was lost");
	demand(bslab_mempool_destroy(elements) == 0, "an element was lost");
	bslab_heap_destroy(brought);
	leave_handles();
}

/* Written, and freed last of all: the last look is not to take it for what has to be wiped. */
static void free_some_pages(void)
{
	void *bulk[100];

	for (unsigned order = 0; order <= BSLAB_MAX_PAGE_ORDER; order++) {
		char *p = bslab_pages_alloc(order, 0);

		demand(p != NULL, "no pages");
		memset(p, 1, (size_t)BSLAB_PAGE_BYTES << order);
		bslab_pages_free(p);
	}
	for (size_t nr = 1; nr <= 100; nr *= 10) {
		demand(bslab_pages_alloc_bulk(nr, bulk, 0) == nr, "no pages in bulk");
		for (size_t i = 0; i < nr; i++)
			memset(bulk[i], 1, BSLAB_PAGE_BYTES);
		bslab_pages_free_bulk(nr, bulk);
	}
}

int main(void)
{
	unsigned seed[4] = {1, 2, 3, 4};
	pthread_t thread[4];
	int status = 0;
	pid_t pid;

	make_all();
	work(&seed[0]);
	for (int i = 0; i < 4; i++)
		demand(pthread_create(&thread[i], NULL, work, &seed[i]) == 0, "no thread");
	pid = fork();
	if (!pid) {
		work(&seed[1]);
		_exit(0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	demand(waitpid(pid, &status, 0) == pid && !status, "the child failed");
	check_ends();
	free_some_pages();
	return 0;
}
