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
 *
 * "peak live KiB" is the most that all rings held when the first producer looked, which it does every 16 batches; right
 * to a batch of each pair.
 */
#include "common.h"

#include <sched.h>

enum { RING = 1024, BATCH = 32, MAX_PAIRS = 64, LOOK = 16 * BATCH };

static const char usage[] = "usage: threads-pipeline PAIRS BLOCKS";

/* Blocks, and their bytes beside them. */
typedef struct ring {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t produced, made;
    _Alignas(CACHE_LINE) atomic_uint_fast64_t consumed, dropped;
    _Alignas(CACHE_LINE) void *blocks[RING];
} ring;

static ring *rings;
static int pairs;
static uint64_t peak_live; /* the first producer's */
static uint64_t share; /* blocks per pair, whole batches */

/* Bytes made are read before those dropped, so that what goes on meanwhile makes it less and not more. */
static void look_at_live(void)
{
    uint64_t made = 0, dropped = 0;

    for (int i = 0; i < pairs; i++)
        made += atomic_load_explicit(&rings[i].made, memory_order_acquire);
    for (int i = 0; i < pairs; i++)
        dropped += atomic_load_explicit(&rings[i].dropped, memory_order_acquire);
    if (made > dropped && made - dropped > peak_live)
        peak_live = made - dropped;
}

static void produce(ring *to, uint64_t *seed)
{
    uint64_t bytes = 0;

    for (uint64_t at = 0; at < share; at += BATCH) {
        while (at - atomic_load_explicit(&to->consumed, memory_order_acquire) == RING)
            sched_yield();
        for (uint64_t i = at; i < at + BATCH; i++) {
            size_t size = draw_size(seed);
            to->blocks[i % RING] = make_object(size);
            bytes += size;
        }
        atomic_store_explicit(&to->made, bytes, memory_order_release);
        atomic_store_explicit(&to->produced, at + BATCH, memory_order_release);
        if (to == rings && at % LOOK == 0)
            look_at_live();
    }
}

static void consume(ring *from)
{
    uint64_t bytes = 0;

    for (uint64_t at = 0; at < share; at += BATCH) {
        while (atomic_load_explicit(&from->produced, memory_order_acquire) == at)
            sched_yield();
        for (uint64_t i = at; i < at + BATCH; i++) {
            bytes += size_of_object(from->blocks[i % RING]);
            drop_object(from->blocks[i % RING]);
        }
        atomic_store_explicit(&from->dropped, bytes, memory_order_release);
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
    pairs = (int)number(argc, argv, 1, 1, MAX_PAIRS, usage);
    uint64_t blocks = (uint64_t)number(argc, argv, 2, 1, 1L << 40, usage);

    share = (blocks / (uint64_t)pairs + BATCH - 1) / BATCH * BATCH;
    rings = scratch((size_t)pairs * sizeof *rings);
    span took = run_crew(2 * pairs, SPREAD, work);
    report(took, share * (uint64_t)pairs, 2 * pairs, (figure){"peak live KiB", (double)peak_live / 1024});
    return 0;
}
