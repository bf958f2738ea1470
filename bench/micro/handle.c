/*
 * handle/SIZE, handle_free/SIZE, handle_map/SIZE, handle_lifo/SIZE, atomic_pair: bslab's handles beside malloc (pair, lifo), only
 * where the process runs under bslab. handle is one alloc, map, unmap and free, handle_free the first and the last of them, and
 * handle_map the two between. handle_lifo is lifo. atomic_pair is two compare-and-swaps of a word that no
 * other thread touches: what a map and an unmap cannot do without.
 */
#include "micro.h"

#include <stdatomic.h>

#include <bslab/handle.h>

#pragma weak bslab_handle_alloc
#pragma weak bslab_handle_free
#pragma weak bslab_handle_map
#pragma weak bslab_handle_unmap

enum { BLOCKS = 1000 };

static bslab_handle_t handles[BLOCKS];

static void handle(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP(state) {
        bslab_handle_t h = bslab_handle_alloc(size);
        void *p = bslab_handle_map(h);

        bm_do_not_optimize(p);
        bslab_handle_unmap(h);
        bslab_handle_free(h);
    }
    bm_set_items(state, state->iterations);
}

static void handle_free(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP(state) {
        bslab_handle_t h = bslab_handle_alloc(size);

        bm_do_not_optimize((void *)(uintptr_t)h);
        bslab_handle_free(h);
    }
    bm_set_items(state, state->iterations);
}

static void handle_map(bm_state *state)
{
    bslab_handle_t h = bslab_handle_alloc((size_t)bm_arg(state, 0));

    BM_LOOP(state) {
        void *p = bslab_handle_map(h);

        bm_do_not_optimize(p);
        bslab_handle_unmap(h);
    }
    bm_set_items(state, state->iterations);
    bslab_handle_free(h);
}

static void handle_lifo(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP_BATCH(state, BLOCKS) {
        for (int i = 0; i < BLOCKS; i++)
            handles[i] = bslab_handle_alloc(size);
        bm_clobber_memory();
        for (int i = BLOCKS - 1; i >= 0; i--)
            bslab_handle_free(handles[i]);
    }
    bm_set_items(state, state->iterations);
}

static void atomic_pair(bm_state *state)
{
    static _Atomic uint64_t word;

    BM_LOOP(state) {
        uint64_t w = atomic_load_explicit(&word, memory_order_relaxed);

        atomic_compare_exchange_strong(&word, &w, w + 1);
        w = atomic_load_explicit(&word, memory_order_relaxed);
        atomic_compare_exchange_strong(&word, &w, w - 1);
    }
    bm_set_items(state, state->iterations);
}

void register_handle(void)
{
    static const int64_t sizes[] = {64, 1024, 16384};
    bm_family *families[4];

    if (!bslab_handle_alloc)
        return;
    bm_register("atomic_pair", atomic_pair);
    families[0] = bm_register("handle", handle);
    families[1] = bm_register("handle_free", handle_free);
    families[2] = bm_register("handle_map", handle_map);
    families[3] = bm_register("handle_lifo", handle_lifo);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            bm_add_arg(families[f], sizes[i]);
}
