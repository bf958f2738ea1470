/*
 * heap/SIZE, heap_lifo/SIZE, heap_life, kmalloc/SIZE, kmalloc_dma32/SIZE, kmalloc_dma32_lifo/SIZE, kmalloc_thisnode/SIZE,
 * kmalloc_thisnode_lifo/SIZE, pages/ORDER, pages_lifo/ORDER, pages_bulk/NUMBER, mempool/SIZE: bslab's other interfaces beside
 * malloc (pair, lifo), only where the process runs under bslab. Each is one allocation and its free, those of _lifo as lifo,
 * pages_bulk one page of a bulk of so many; heap_unlocked and heap_unlocked_lifo are those of a heap without a lock, and heap_mt is
 * heap in 1..4 threads, each with a heap of its own. heap_life is a heap that is made, gives 200 blocks of 16 to 215 bytes,
 * and is destroyed.
 */
#include "micro.h"

#include <bslab/heap.h>
#include <bslab/kmalloc.h>
#include <bslab/page.h>

#pragma weak bslab_heap_create
#pragma weak bslab_heap_destroy
#pragma weak bslab_heap_alloc
#pragma weak bslab_heap_free
#pragma weak bslab_kmalloc
#pragma weak bslab_free
#pragma weak bslab_pages_alloc
#pragma weak bslab_pages_free
#pragma weak bslab_pages_alloc_bulk
#pragma weak bslab_pages_free_bulk
#pragma weak bslab_mempool_create
#pragma weak bslab_mempool_alloc
#pragma weak bslab_mempool_free
#pragma weak bslab_mempool_destroy

enum { BLOCKS = 1000, LIFE = 200 };

static void *blocks[BLOCKS];

static struct bslab_heap *make(bm_state *state, unsigned flags)
{
    struct bslab_heap *heap = bslab_heap_create("bench", 0, flags);

    if (!heap)
        bm_skip_with_error(state, "no heap");
    return heap;
}

static void pairs(bm_state *state, unsigned flags)
{
    size_t size = (size_t)bm_arg(state, 0);
    struct bslab_heap *heap = make(state, flags);

    BM_LOOP(state) {
        void *block = bslab_heap_alloc(heap, size);
        bm_do_not_optimize(block);
        bslab_heap_free(heap, block);
    }
    bm_set_items(state, state->iterations);
    bslab_heap_destroy(heap);
}

static void heap(bm_state *state)
{
    pairs(state, 0);
}

static void heap_unlocked(bm_state *state)
{
    pairs(state, BSLAB_HEAP_UNLOCKED);
}

static void batches(bm_state *state, unsigned flags)
{
    size_t size = (size_t)bm_arg(state, 0);
    struct bslab_heap *heap = make(state, flags);

    BM_LOOP_BATCH(state, BLOCKS) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = bslab_heap_alloc(heap, size);
        bm_clobber_memory();
        for (int i = BLOCKS - 1; i >= 0; i--)
            bslab_heap_free(heap, blocks[i]);
    }
    bm_set_items(state, state->iterations);
    bslab_heap_destroy(heap);
}

static void heap_lifo(bm_state *state)
{
    batches(state, 0);
}

static void heap_unlocked_lifo(bm_state *state)
{
    batches(state, BSLAB_HEAP_UNLOCKED);
}

static void heap_life(bm_state *state)
{
    uint64_t seed = 1;

    BM_LOOP(state) {
        struct bslab_heap *heap = make(state, 0);

        for (int i = 0; i < LIFE; i++)
            bm_do_not_optimize(bslab_heap_alloc(heap, 16 + random_below(&seed, 200)));
        bslab_heap_destroy(heap);
    }
    bm_set_items(state, state->iterations);
}

static void kmallocs(bm_state *state, unsigned gfp)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP(state) {
        void *block = bslab_kmalloc(size, gfp);
        bm_do_not_optimize(block);
        bslab_free(block);
    }
    bm_set_items(state, state->iterations);
}

static void kmalloc(bm_state *state)
{
    kmallocs(state, 0);
}

static void kmalloc_dma32(bm_state *state)
{
    kmallocs(state, BSLAB_GFP_DMA32);
}

static void kmalloc_thisnode(bm_state *state)
{
    kmallocs(state, BSLAB_GFP_THISNODE);
}

static void kmalloc_batches(bm_state *state, unsigned gfp)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP_BATCH(state, BLOCKS) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = bslab_kmalloc(size, gfp);
        bm_clobber_memory();
        for (int i = BLOCKS - 1; i >= 0; i--)
            bslab_free(blocks[i]);
    }
    bm_set_items(state, state->iterations);
}

static void kmalloc_dma32_lifo(bm_state *state)
{
    kmalloc_batches(state, BSLAB_GFP_DMA32);
}

static void kmalloc_thisnode_lifo(bm_state *state)
{
    kmalloc_batches(state, BSLAB_GFP_THISNODE);
}

static void pages(bm_state *state)
{
    unsigned order = (unsigned)bm_arg(state, 0);

    BM_LOOP(state) {
        void *run = bslab_pages_alloc(order, 0);
        bm_do_not_optimize(run);
        bslab_pages_free(run);
    }
    bm_set_items(state, state->iterations);
}

static void pages_lifo(bm_state *state)
{
    unsigned order = (unsigned)bm_arg(state, 0);

    BM_LOOP_BATCH(state, BLOCKS) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = bslab_pages_alloc(order, 0);
        bm_clobber_memory();
        for (int i = BLOCKS - 1; i >= 0; i--)
            bslab_pages_free(blocks[i]);
    }
    bm_set_items(state, state->iterations);
}

static void pages_bulk(bm_state *state)
{
    size_t nr = (size_t)bm_arg(state, 0);

    BM_LOOP_BATCH(state, nr) {
        if (bslab_pages_alloc_bulk(nr, blocks, 0) != nr)
            bm_skip_with_error(state, "no pages");
        bm_clobber_memory();
        bslab_pages_free_bulk(nr, blocks);
    }
    bm_set_items(state, state->iterations);
}

static void mempool(bm_state *state)
{
    struct bslab_mempool *pool = bslab_mempool_create(8, (size_t)bm_arg(state, 0));

    if (!pool)
        bm_skip_with_error(state, "no pool");
    BM_LOOP(state) {
        void *element = bslab_mempool_alloc(pool, 0);
        bm_do_not_optimize(element);
        bslab_mempool_free(pool, element);
    }
    bm_set_items(state, state->iterations);
    bslab_mempool_destroy(pool);
}

static void add_sizes(bm_family *family)
{
    bm_add_arg(family, 64);
    bm_add_arg(family, 1024);
}

void register_kernel(void)
{
    bm_family *many;

    if (!bslab_heap_create)
        return;
    add_sizes(bm_register("heap", heap));
    add_sizes(bm_register("heap_unlocked", heap_unlocked));
    bm_add_arg(bm_register("heap_lifo", heap_lifo), 64);
    bm_add_arg(bm_register("heap_unlocked_lifo", heap_unlocked_lifo), 64);
    many = bm_register("heap_mt", heap);
    bm_add_arg(many, 64);
    bm_use_real_time(bm_add_thread_range(many, 1, 4));
    bm_register("heap_life", heap_life);
    bm_add_arg(bm_register("kmalloc", kmalloc), 64);
    bm_add_arg(bm_register("kmalloc_dma32", kmalloc_dma32), 64);
    bm_add_arg(bm_register("kmalloc_dma32_lifo", kmalloc_dma32_lifo), 64);
    bm_add_arg(bm_register("kmalloc_thisnode", kmalloc_thisnode), 64);
    bm_add_arg(bm_register("kmalloc_thisnode_lifo", kmalloc_thisnode_lifo), 64);
    many = bm_register("pages", pages);
    bm_add_arg(many, 0);
    bm_add_arg(many, 3);
    bm_add_arg(many, 4);
    bm_add_arg(bm_register("pages_lifo", pages_lifo), 0);
    many = bm_register("pages_bulk", pages_bulk);
    bm_add_arg(many, 32);
    bm_add_arg(many, BLOCKS);
    bm_add_arg(bm_register("mempool", mempool), 64);
}
