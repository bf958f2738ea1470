/*
 * highmem_map/SLOTS, highmem_free/SIZE: bslab's pools in a file (one without a name, so in memory), only where the process runs
 * under bslab. highmem_map maps and unmaps objects of four blocks of 2 MiB in turn, the first word of each read: with four slots all are in
 * the window, with one none is, and each is an mmap() and a page fault. highmem_free is one alloc and free.
 */
#include "micro.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bslab/highmem.h>

#pragma weak bslab_highmem_create
#pragma weak bslab_highmem_destroy
#pragma weak bslab_highmem_alloc
#pragma weak bslab_highmem_free
#pragma weak bslab_highmem_map
#pragma weak bslab_highmem_unmap

enum { BLOCKS = 4 };

#define BLOCK ((size_t)2 << 20)

static struct bslab_highmem *create(int *fd, size_t nr_slots)
{
    *fd = memfd_create("highmem", MFD_CLOEXEC);
    return bslab_highmem_create("bench", *fd, 16 * BLOCK, nr_slots * BLOCK);
}

static void highmem_map(bm_state *state)
{
    int fd;
    struct bslab_highmem *m = create(&fd, (size_t)bm_arg(state, 0));
    bslab_handle_t h[BLOCKS];
    unsigned at = 0;

    for (unsigned i = 0; i < BLOCKS; i++)
        if (bslab_highmem_alloc(m, BLOCK, &h[i]))
            return;
    BM_LOOP(state) {
        volatile char *p = bslab_highmem_map(m, h[at]);

        (void)*p;
        bslab_highmem_unmap(m, h[at]);
        at = (at + 1) % BLOCKS;
    }
    bm_set_items(state, state->iterations);
    bslab_highmem_destroy(m);
    close(fd);
}

static void highmem_free(bm_state *state)
{
    int fd;
    struct bslab_highmem *m = create(&fd, 1);
    size_t size = (size_t)bm_arg(state, 0);
    bslab_handle_t h;

    BM_LOOP(state) {
        if (bslab_highmem_alloc(m, size, &h))
            return;
        bslab_highmem_free(m, h);
    }
    bm_set_items(state, state->iterations);
    bslab_highmem_destroy(m);
    close(fd);
}

void register_highmem(void)
{
    bm_family *map, *alloc;

    if (!bslab_highmem_create)
        return;
    map = bm_register("highmem_map", highmem_map);
    bm_add_arg(map, BLOCKS);
    bm_add_arg(map, 1);
    alloc = bm_register("highmem_free", highmem_free);
    bm_add_arg(alloc, 64);
    bm_add_arg(alloc, 1024);
}
