/*
 * memory-sweep LIVE_MIB OPERATIONS
 *
 * The same churn (a random object freed, another of a mixed size in its place)
 * over live sets from 1 MiB up: the cost of a malloc and its free, and RSS over
 * live, as the heap outgrows the caches, the TLB, and what an allocator keeps
 * close at hand.  The mix is that of churn in micro/, which stops at 17 MB.
 *
 * The heap is first filled and every object replaced once on the average, so
 * that neighbours are of all ages at every size.  The table of objects outgrows
 * the caches as well; its lines are fetched ahead, some draws early, so that
 * what is timed is the allocator's misses and not the program's.  No object is
 * read before it is freed; all are checked at the end.
 *
 * "faults/op" is the page faults of the timed churn, for whoever wants to take
 * their price out of it.
 */
#include "memory.h"

enum { SMALLEST_MEAN = 100, BATCH = 64, TABLE = 16384 };

static slot *objects;
static uint32_t count;
static uint16_t sizes[TABLE];
static uint64_t seed = 53;

static void draw_sizes(void)
{
    for (int i = 0; i < TABLE; i++)
        sizes[i] = (uint16_t)mixed_size(&seed);
}

static void fill(uint64_t bytes, uint32_t capacity)
{
    while (live_bytes < bytes) {
        if (count == capacity)
            die("the table is full");
        slot_make(&objects[count++], sizes[random_below(&seed, TABLE)]);
    }
}

static void churn_batch(void)
{
    uint32_t picks[BATCH];
    uint16_t wanted[BATCH];

    for (int i = 0; i < BATCH; i++) {
        picks[i] = random_below(&seed, count);
        wanted[i] = sizes[random_below(&seed, TABLE)];
        __builtin_prefetch(&objects[picks[i]], 1);
    }
    for (int i = 0; i < BATCH; i++) {
        slot *s = &objects[picks[i]];
        slot_drop_unread(s);
        slot_make(s, wanted[i]);
    }
}

static void churn(uint64_t operations)
{
    for (uint64_t done = 0; done < operations; done += BATCH)
        churn_batch();
}

/* Told apart: to take a large heap down may cost more than to use it. */
static void drop_all(void)
{
    int64_t began = cpu_ns();

    for (uint32_t i = 0; i < count; i++)
        slot_drop(&objects[i]);
    report_figure("last free ns", (double)(cpu_ns() - began) / count);
    report_sample();
}

int main(int argc, char **argv)
{
    uint64_t bytes = argument(argc, argv, 1, 1, 65536) * MIB;
    uint64_t operations = argument(argc, argv, 2, BATCH, UINT64_C(1) << 40);
    uint32_t capacity = (uint32_t)(bytes / SMALLEST_MEAN);

    operations = operations / BATCH * BATCH;
    draw_sizes();
    objects = table(capacity, sizeof *objects);
    heap_begin();
    fill(bytes, capacity);
    report_sample();
    report_figure("filled rss/live", per_live(heap_exact_kb(), live_bytes));
    churn(count);
    report_sample();
    int64_t began = cpu_ns(), faults = page_faults();
    churn(operations);
    report_time((double)(cpu_ns() - began) / (double)operations);
    report_figure("faults/op", (double)(page_faults() - faults) / (double)operations);
    report_sample();
    report_figure("final rss/live", per_live(heap_exact_kb(), live_bytes));
    report_figure("rss/live", per_live(heap_peak_kb(), peak_live_bytes));
    drop_all();
    report_send();
    return 0;
}
