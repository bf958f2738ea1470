/*
 * xthread/SIZE: one thread allocates and another frees.  It models a pipeline
 * or a message queue, the case in which a cache per thread fills on one side
 * and drains on the other; the idea is xmalloc-test's (Lever and Boreham 2000,
 * also in mimalloc-bench).
 *
 * Blocks are handed over 64 at a time, in a ring of 16 such batches, so that
 * the queue's own cache misses are spread thin.  A side which must wait yields
 * the processor: with fewer cores than threads, spinning would only keep the
 * other side from running.  Each pair of threads has a ring of its own; each
 * block has its first word written by one side and read by the other.  Times
 * are wall time per iteration, which is a malloc on one side or a free on the
 * other: a block handed over takes two of them.  Items are blocks.
 */
#include "micro.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BATCH = 64, RING = 16, MAX_PAIRS = 4, CACHE_LINE = 64 };

typedef struct ring {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t produced;
    _Alignas(CACHE_LINE) atomic_uint_fast64_t consumed;
    _Alignas(CACHE_LINE) uint64_t *blocks[RING][BATCH];
} ring;

static ring rings[MAX_PAIRS];

static void produce(ring *self, uint64_t turn, size_t size)
{
    uint64_t **blocks = self->blocks[turn % RING];

    while (turn - atomic_load_explicit(&self->consumed,
                                       memory_order_acquire) == RING)
        sched_yield();
    for (int i = 0; i < BATCH; i++) {
        blocks[i] = malloc(size);
        *blocks[i] = turn;
    }
    atomic_store_explicit(&self->produced, turn + 1, memory_order_release);
}

static uint64_t consume(ring *self, uint64_t turn)
{
    uint64_t **blocks = self->blocks[turn % RING];
    uint64_t sum = 0;

    while (atomic_load_explicit(&self->produced, memory_order_acquire) == turn)
        sched_yield();
    for (int i = 0; i < BATCH; i++) {
        sum += *blocks[i];
        free(blocks[i]);
    }
    atomic_store_explicit(&self->consumed, turn + 1, memory_order_release);
    return sum;
}

/*
 * Both sides do as many turns, so a ring is empty again when both are done;
 * the counters then simply go on from where they are in the next run.
 */
static void xthread(bm_state *state)
{
    ring *self = &rings[state->thread_index / 2];
    bool producer = state->thread_index % 2 == 0;
    size_t size = (size_t)bm_arg(state, 0);
    uint64_t turn = producer ? atomic_load(&self->produced)
                             : atomic_load(&self->consumed);
    uint64_t sum = 0;

    BM_LOOP_BATCH(state, BATCH) {
        if (producer)
            produce(self, turn, size);
        else
            sum += consume(self, turn);
        turn++;
    }
    __asm__ volatile("" : : "r"(sum));
    bm_set_items(state, producer ? state->iterations : 0);
}

void register_xthread(void)
{
    bm_family *family = bm_register("xthread", xthread);

    bm_add_arg(family, 64);
    bm_add_arg(family, 1024);
    bm_use_real_time(bm_add_threads(bm_add_threads(family, 2), 8));
}
