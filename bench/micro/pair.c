/*
 * pair/SIZE: one malloc and its free, nothing between them, in a process with
 * one thread.  It models the short-lived temporary, and is the floor of what
 * an allocator costs: the block is always the one just freed, hot in L1, and
 * the loop is as predictable as a loop can be.  The block is not written to.
 * From some size on, up to 1 GiB here, a block is the kernel's: then this is the
 * cost of asking for it and giving it back, or of keeping it.  The loop is the
 * bench_fastpath_simple of gperftools' malloc_bench.
 *
 * pair_mt is the same in 1..8 threads at once, each on blocks of its own: it
 * shows what a lock or a shared cache line costs.  Its time is the wall time
 * divided by all the pairs done.
 */
#include "micro.h"

#include <stdlib.h>

static void pair(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);
    void *first = malloc(size);

    if (!first)
        bm_skip_with_error(state, "out of memory");
    free(first);
    BM_LOOP(state) {
        void *block = malloc(size);
        bm_do_not_optimize(block);
        free(block);
    }
    bm_set_items(state, state->iterations);
}

void register_pair(void)
{
    static const int64_t sizes[] = {8,   16,   32,   48,   64,   128,  256,
                                    512, 1024, 2048, 4096, 8192, 16384, 32768};
    static const int64_t largest = 1 << 30;
    bm_family *single = bm_register("pair", pair);

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        bm_add_arg(single, sizes[i]);
    bm_add_range(single, 64 << 10, largest, 4);

    bm_family *many = bm_register("pair_mt", pair);
    bm_add_arg(many, 64);
    bm_use_real_time(bm_add_thread_range(many, 1, 8));
}
