/*
 * large/LIVE: blocks of 5..25 MiB, LIVE of them kept; each step frees one and
 * allocates another of a random size, writing one byte to each page.  The first
 * LIVE are not measured.  It models image and matrix buffers; the sizes are those
 * of malloc-large in mimalloc-bench.  What it measures is the policy on returning
 * memory: the page faults of blocks fresh from the kernel outweigh everything
 * else, and an allocator can avoid them only by keeping memory.  Read it with
 * peak RSS.
 */
#include "micro.h"

#include <stdlib.h>

enum { SIZES = 256, PAGE = 4096, MAX_LIVE = 8 };

static size_t sizes[SIZES];

static void draw_sizes(void)
{
    uint64_t seed = 7;

    for (int i = 0; i < SIZES; i++)
        sizes[i] = (5u << 20) + random_below(&seed, 20u << 20);
}

static bool replace(char **slot, size_t size)
{
    free(*slot);
    *slot = malloc(size);
    if (!*slot)
        return false;
    for (size_t at = 0; at < size; at += PAGE)
        (*slot)[at] = 1;
    return true;
}

static void large(bm_state *state)
{
    char *slots[MAX_LIVE] = {NULL};
    unsigned live = (unsigned)bm_arg(state, 0), step = 0;

    while (step < live && replace(&slots[step], sizes[step]))
        step++;
    BM_LOOP(state) {
        if (!replace(&slots[step % live], sizes[step % SIZES])) {
            bm_skip_with_error(state, "out of memory");
            break;
        }
        step++;
    }
    for (unsigned i = 0; i < live; i++)
        free(slots[i]);
    bm_set_items(state, state->iterations);
}

void register_large(void)
{
    bm_family *family = bm_register("large", large);

    draw_sizes();
    bm_add_arg(family, 1);
    bm_add_arg(family, MAX_LIVE);
}
