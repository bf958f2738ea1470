/*
 * memory-afterfree BYTES_MIB SECONDS BUSY
 *
 * A heap of small objects (16..511 B) is freed, all of it, in random order; how
 * much of it is still resident at once, and after 1, 5 and 30 seconds?  With
 * BUSY 0 the program sleeps meanwhile, so only an allocator that gave the
 * memory back at once or has a thread of its own can do anything; with 1 it
 * works on a thousand objects, a few hundred replaced each millisecond, so one
 * that gives back by the clock or by the count of calls gets its turn.
 *
 * It models the program that has finished something big: a browser after a tab,
 * a service after a reload.  The delays are chosen around the decay times that
 * allocators document (jemalloc's dirty_decay_ms: 10 s; mimalloc's purge delay:
 * 10 ms and up; tcmalloc's release rate).
 *
 * RSS includes pages given back with MADV_FREE that the kernel has not taken;
 * how many these are is told as "lazyfree".
 */
#include "memory.h"

#include <unistd.h>

enum { SMALLEST_MEAN = 120, STEPS_PER_MS = 200, SAMPLE_MS = 100 };

static uint64_t seed = 31, churn_seed = 32;

static void fill_and_free(uint64_t bytes, slot *objects, uint32_t *order,
                          uint32_t capacity)
{
    uint32_t count = 0;

    for (uint64_t before = live_bytes;
         live_bytes - before < bytes && count < capacity; count++) {
        slot_make(&objects[count], log_uniform(&seed, 4, 9));
        order[count] = count;
    }
    report_figure("full rss MB", megabytes(report_sample()));
    shuffle(order, count, &seed);
    int64_t began = cpu_ns();
    for (uint32_t i = 0; i < count; i++)
        slot_drop(&objects[order[i]]);
    report_time((double)(cpu_ns() - began) / count);
}

static void wait_until(int64_t end, bool busy)
{
    int64_t next = wall_ns() + (int64_t)SAMPLE_MS * 1000000;

    while (wall_ns() < end) {
        if (busy)
            working_set_churn(&churn_seed, STEPS_PER_MS);
        sleep_ms(busy ? 1 : SAMPLE_MS / 10);
        if (wall_ns() < next)
            continue;
        report_sample();
        next += (int64_t)SAMPLE_MS * 1000000;
    }
}

typedef struct moment {
    uint64_t seconds;
    const char *rss, *lazy;
} moment;

static const moment moments[] = {
    {0, "rss after 0 s MB", "lazyfree after 0 s MB"},
    {1, "rss after 1 s MB", "lazyfree after 1 s MB"},
    {5, "rss after 5 s MB", "lazyfree after 5 s MB"},
    {30, "rss after 30 s MB", "lazyfree after 30 s MB"},
};

static void watch(uint64_t seconds, bool busy)
{
    int64_t began = wall_ns();

    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        const moment *at = &moments[i];
        if (at->seconds > seconds)
            return;
        wait_until(began + (int64_t)at->seconds * 1000000000, busy);
        report_figure(at->rss, megabytes(report_sample()));
        report_figure(at->lazy,
                      megabytes(read_rollup((int)getpid()).lazy_free_kb));
    }
}

int main(int argc, char **argv)
{
    uint64_t bytes = argument(argc, argv, 1, 1, 65536) * MIB;
    uint64_t seconds = argument(argc, argv, 2, 0, 60);
    bool busy = argument(argc, argv, 3, 0, 1);
    uint32_t capacity = (uint32_t)(bytes / SMALLEST_MEAN);
    slot *objects = table(capacity, sizeof *objects);
    uint32_t *order = table(capacity, sizeof *order);

    heap_begin();
    working_set_make(&churn_seed);
    fill_and_free(bytes, objects, order, capacity);
    watch(seconds, busy);
    report_figure("still live MB", (double)live_bytes / MIB);
    working_set_drop();
    report_send();
    return 0;
}
