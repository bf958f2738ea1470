/*
 * lifo/SIZE, fifo/SIZE, shuffle/SIZE: 1,000 mallocs, then 1,000 frees in the
 * reverse, the same or a random order.  They model a phase which builds a
 * structure and then drops it: a stack or a recursion unwinding, a queue
 * drained, a hash table destroyed.  1,000 blocks are more than most thread
 * caches hold of one size, so the refill and the flush are in the figure; for
 * an allocator with a free list threaded through the blocks, shuffle is also
 * what makes the next lifo hand out scattered addresses.
 *
 * The three orders are those of bench_fastpath_stack and _rnd_dependent in
 * gperftools' malloc_bench, and of glibc's benchtests/bench-malloc-simple.c.
 * The blocks are not written to.  Times are per malloc+free, not per 1,000.
 */
#include "micro.h"

#include <stdlib.h>

enum { BLOCKS = 1000 };

static void *blocks[BLOCKS];
static uint16_t order[BLOCKS];

static inline void fill(size_t size)
{
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(size);
    bm_clobber_memory();
}

static void lifo(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP_BATCH(state, BLOCKS) {
        fill(size);
        for (int i = BLOCKS - 1; i >= 0; i--)
            free(blocks[i]);
    }
    bm_set_items(state, state->iterations);
}

static void fifo(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP_BATCH(state, BLOCKS) {
        fill(size);
        for (int i = 0; i < BLOCKS; i++)
            free(blocks[i]);
    }
    bm_set_items(state, state->iterations);
}

/* Fisher-Yates over the indices, once: one fixed random order. */
static void shuffle_order(void)
{
    uint64_t seed = 42;

    for (int i = 0; i < BLOCKS; i++)
        order[i] = (uint16_t)i;
    for (uint32_t i = BLOCKS - 1; i > 0; i--) {
        uint32_t j = random_below(&seed, i + 1);
        uint16_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

static void shuffle(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    shuffle_order();
    BM_LOOP_BATCH(state, BLOCKS) {
        fill(size);
        for (int i = 0; i < BLOCKS; i++)
            free(blocks[order[i]]);
    }
    bm_set_items(state, state->iterations);
}

static void add_sizes(bm_family *family)
{
    bm_add_arg(family, 16);
    bm_add_arg(family, 48);
    bm_add_arg(family, 64);
    bm_add_arg(family, 256);
}

void register_batch(void)
{
    add_sizes(bm_register("lifo", lifo));
    add_sizes(bm_register("fifo", fifo));
    add_sizes(bm_register("shuffle", shuffle));
}
