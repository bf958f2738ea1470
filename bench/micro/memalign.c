/*
 * memalign/align:A/size:S: one posix_memalign and its free.  It models buffers
 * for vector units (32, 64), cache lines (64) and direct I/O (4096).  The loop is
 * the bench_fastpath_memalign of gperftools' malloc_bench.
 */
#include "micro.h"

#include <stdlib.h>

static void memalign_pair(bm_state *state)
{
    size_t alignment = (size_t)bm_arg(state, 0);
    size_t size = (size_t)bm_arg(state, 1);

    BM_LOOP(state) {
        void *block = NULL;
        if (posix_memalign(&block, alignment, size) != 0) {
            bm_skip_with_error(state, "out of memory");
            break;
        }
        bm_do_not_optimize(block);
        free(block);
    }
    bm_set_items(state, state->iterations);
}

void register_memalign(void)
{
    static const char *const names[] = {"align", "size"};
    static const int64_t sets[][2] = {
        {32, 64},       {64, 64},       {64, 256},       {64, 1024},
        {64, 8192},     {64, 65536},    {64, 1 << 20},   {4096, 4096},
        {4096, 16384},  {4096, 65536},  {4096, 1 << 20}};
    bm_family *family = bm_register("memalign", memalign_pair);

    bm_name_args(family, names);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        bm_add_args(family, 2, sets[i]);
}
