/*
 * typed/SIZE, typed_lifo/SIZE, typed_bulk/NR: bslab's typed caches beside
 * malloc, only where the process runs under bslab. typed is pair with the
 * cache's calls, typed_lifo is lifo; their SIZEs are none of malloc's own, or
 * the caches would be merged. typed_bulk allocates NR objects of 64 bytes by
 * one call and frees them by another; bulk_malloc is NR mallocs and NR frees in
 * the same order. Times are per object.
 */
#include "micro.h"

#include <stdlib.h>

#include <bslab/kmem.h>

#pragma weak bslab_cache_create
#pragma weak bslab_cache_alloc
#pragma weak bslab_cache_free
#pragma weak bslab_cache_alloc_bulk
#pragma weak bslab_cache_free_bulk
#pragma weak bslab_cache_destroy

enum { BLOCKS = 1000 };

static void *objects[BLOCKS];

static struct bslab_cache *make(bm_state *state, size_t size)
{
    struct bslab_cache *cache = bslab_cache_create("bench", size, 0, BSLAB_CACHE_NO_MERGE, NULL);

    if (!cache)
        bm_skip_with_error(state, "no cache");
    return cache;
}

static void typed(bm_state *state)
{
    struct bslab_cache *cache = make(state, (size_t)bm_arg(state, 0));

    BM_LOOP(state) {
        void *object = bslab_cache_alloc(cache);
        bm_do_not_optimize(object);
        bslab_cache_free(cache, object);
    }
    bm_set_items(state, state->iterations);
    bslab_cache_destroy(cache);
}

static void typed_lifo(bm_state *state)
{
    struct bslab_cache *cache = make(state, (size_t)bm_arg(state, 0));

    BM_LOOP_BATCH(state, BLOCKS) {
        for (int i = 0; i < BLOCKS; i++)
            objects[i] = bslab_cache_alloc(cache);
        bm_clobber_memory();
        for (int i = BLOCKS - 1; i >= 0; i--)
            bslab_cache_free(cache, objects[i]);
    }
    bm_set_items(state, state->iterations);
    bslab_cache_destroy(cache);
}

static void typed_bulk(bm_state *state)
{
    size_t nr = (size_t)bm_arg(state, 0);
    struct bslab_cache *cache = make(state, 64);

    BM_LOOP_BATCH(state, nr) {
        bslab_cache_alloc_bulk(cache, nr, objects);
        bm_clobber_memory();
        bslab_cache_free_bulk(cache, nr, objects);
    }
    bm_set_items(state, state->iterations);
    bslab_cache_destroy(cache);
}

static void bulk_malloc(bm_state *state)
{
    size_t nr = (size_t)bm_arg(state, 0);

    BM_LOOP_BATCH(state, nr) {
        for (size_t i = 0; i < nr; i++)
            objects[i] = malloc(64);
        bm_clobber_memory();
        for (size_t i = 0; i < nr; i++)
            free(objects[i]);
    }
    bm_set_items(state, state->iterations);
}

static void add_numbers(bm_family *family)
{
    bm_add_arg(family, 8);
    bm_add_arg(family, 32);
    bm_add_arg(family, 128);
    bm_add_arg(family, 1000);
}

static void add_sizes(bm_family *family)
{
    bm_add_arg(family, 40);
    bm_add_arg(family, 72);
    bm_add_arg(family, 264);
}

void register_typed(void)
{
    if (!bslab_cache_create)
        return;
    add_sizes(bm_register("typed", typed));
    add_sizes(bm_register("typed_lifo", typed_lifo));
    add_numbers(bm_register("typed_bulk", typed_bulk));
    add_numbers(bm_register("bulk_malloc", bulk_malloc));
}
