/*
 * calloc/SIZE: one calloc and its free, the block not otherwise touched.  It
 * models objects made zeroed of which hardly anything is then used: a large
 * table made for the worst case, a structure dropped on an early return.
 * Small sizes show the cost of clearing a block which was used before; large
 * ones whether the allocator knows that memory fresh from the kernel is zero
 * already, and whether it then keeps it.  With large sizes an allocator which
 * always answers with fresh pages looks best, as no page is ever paid for.
 *
 * calloc_used/SIZE is the same with each page of the block read, and then
 * written, once: a table that is used, as a hash table, a bit map or a matrix
 * is.  Now fresh pages cost their faults, and kept ones their clearing; which
 * is dearer is what an allocator must know.  A page that is not zero ends it.
 *
 * calloc_part/used:PERCENT/size:SIZE uses only that share of the pages, the
 * first ones: a table made for more than came.  Whether it pays to clear what
 * is there or to have it replaced by fresh pages turns over somewhere here.
 *
 * No one program is the model.  That clearing fresh memory again is waste is in
 * every allocator since Lea's; the second family is here because the first
 * alone rewards the waste of page faults.
 */
#include "micro.h"

#include <stdlib.h>

enum { PAGE = 4096 };

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

static inline unsigned use_pages(volatile unsigned char *block, size_t size)
{
    unsigned seen = 0;

    for (size_t at = 0; at < size; at += PAGE) {
        seen |= block[at];
        block[at] = 1;
    }
    return seen;
}

static void calloc_used(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 0);
    unsigned seen = 0;

    BM_LOOP(state) {
        unsigned char *block = calloc(1, size);
        if (!block) {
            bm_skip_with_error(state, "out of memory");
            break;
        }
        seen |= use_pages(block, size);
        free(block);
    }
    if (seen)
        bm_skip_with_error(state, "calloc gave memory that is not zero");
    bm_set_items(state, state->iterations);
}

static void calloc_part(bm_state *state)
{
    size_t size = (size_t)bm_arg(state, 1), used = size / 100 * (size_t)bm_arg(state, 0);
    unsigned seen = 0;

    BM_LOOP(state) {
        unsigned char *block = calloc(1, size);
        if (!block) {
            bm_skip_with_error(state, "out of memory");
            break;
        }
        seen |= use_pages(block, used);
        free(block);
    }
    if (seen)
        bm_skip_with_error(state, "calloc gave memory that is not zero");
    bm_set_items(state, state->iterations);
}

void register_calloc(void)
{
    static const int64_t parts[][2] = {{10, 512 << 10}, {25, 512 << 10}, {45, 512 << 10},
                                       {10, 1 << 20},   {25, 1 << 20},   {45, 1 << 20}};
    static const char *const names[] = {"used", "size"};
    bm_family *part;

    bm_add_range(bm_register("calloc", calloc_pair), 16, 1 << 20, 8);
    bm_add_range(bm_register("calloc_used", calloc_used), 64 << 10, 1 << 20, 2);
    part = bm_register("calloc_part", calloc_part);
    bm_name_args(part, names);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        bm_add_args(part, 2, parts[i]);
}
