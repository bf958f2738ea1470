/*
 * calloc/SIZE: one calloc and its free, the block not otherwise touched.  It
 * models objects made zeroed.  Small sizes show the cost of clearing a block
 * which was used before; large ones whether the allocator knows that memory
 * fresh from the kernel is zero already, and whether it then keeps it.
 */
#include "micro.h"

#include <stdlib.h>

static void calloc_pair(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);

    BM_LOOP(state) {
        void *block = calloc(1, size);
        bm_do_not_optimize(block);
        free(block);
    }
    bm_set_items(state, state->iterations);
}

void register_calloc(void)
{
    bm_add_range(bm_register("calloc", calloc_pair), 16, 1 << 20, 8);
}
