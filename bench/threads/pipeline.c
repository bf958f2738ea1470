/*
 * Usage: threads-pipeline PAIRS BLOCKS
 *
 * Every block is allocated by one thread and freed by another: the stages of a pipeline, a logger, a message queue.
 * A cache per thread fills on one side and drains on the other, so each block must find its way back through what the
 * threads share. The idea is that of xmalloc-test (Lever and Boreham, "malloc() performance in a multithreaded Linux
 * environment", USENIX 2000), here with mixed sizes and a queue which is bounded, so that the live set is as well.
 *
 * Producers and consumers are bound to processors by turns, so with an even number of processors every block crosses
 * from one to another. Each pair has a ring of 1,024 places, published 32 at a time to spread the queue's own cache
 * misses thin. Who must wait yields the processor: with fewer processors than threads, spinning would only keep the
 * other side from running.
 */
#include "common.h"

#include <sched.h>

enum { RING = 1024, BATCH = 32, MAX_PAIRS = 64 };

static const char usage[] = "usage: threads-pipeline PAIRS BLOCKS";

typedef struct ring {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t produced;
    _Alignas(CACHE_LINE) atomic_uint_fast64_t consumed;
    _Alignas(CACHE_LINE) void *blocks[RING];
} ring;

static ring *rings;
static uint64_t share; /* blocks per pair, whole batches */

static void produce(ring *to, uint64_t *seed)
{
    for (uint64_t at = 0; at < share; at += BATCH) {
        while (at - atomic_load_explicit(&to->consumed, memory_order_acquire) == RING)
            sched_yield();
        for (uint64_t i = at; i < at + BATCH; i++)
            to->blocks[i % RING] = make_object(draw_size(seed));
        atomic_store_explicit(&to->produced, at + BATCH, memory_order_release);
    }
}

static void consume(ring *from)
{
    for (uint64_t at = 0; at < share; at += BATCH) {
        while (atomic_load_explicit(&from->produced, memory_order_acquire) == at)
            sched_yield();
        for (uint64_t i = at; i < at + BATCH; i++)
            drop_object(from->blocks[i % RING]);
        atomic_store_explicit(&from->consumed, at + BATCH, memory_order_release);
    }
}

static void work(int index)
{
    uint64_t seed = seed_of(index);

    clock_in(index);
    if (index % 2 == 0)
        produce(&rings[index / 2], &seed);
    else
        consume(&rings[index / 2]);
    clock_out(index);
}

int main(int argc, char **argv)
{
    int pairs = (int)number(argc, argv, 1, 1, MAX_PAIRS, usage);
    uint64_t blocks = (uint64_t)number(argc, argv, 2, 1, 1L << 40, usage);

    share = (blocks / (uint64_t)pairs + BATCH - 1) / BATCH * BATCH;
    rings = scratch((size_t)pairs * sizeof *rings);
    span took = run_crew(2 * pairs, SPREAD, work);
    report(took, share * (uint64_t)pairs, 2 * pairs, (figure){0});
    return 0;
}
