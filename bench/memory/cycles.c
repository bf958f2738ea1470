/*
 * memory-cycles PEAK_MIB GROUP CYCLES DWELL_MS
 *
 * The heap grows to its peak and shrinks to a tenth of it, again and again,
 * and after each shrinking the program works for a while on a small working
 * set, mostly asleep.  What dies is chosen at random in groups of GROUP objects
 * that were made one after another: with 1 what stays is strewn over the whole
 * heap, and hardly a page is empty; with 16,384 (some 3 MB) objects die with
 * their neighbours, as those of a document, a batch or a query's result do,
 * and nine pages of ten could be given back.
 *
 * It models batch jobs and servers under load that comes in waves: how much of
 * a peak is kept for the time between, and whether peaks creep upwards.  The
 * ramps are those of Wilson and others' survey of 1995; that what matters is
 * RSS after the load has gone is what users complain of most.
 *
 * The time is that of growing and shrinking alone, per malloc and its free: an
 * allocator that gives back pays for it with faults at the next wave.
 */
#include "memory.h"

enum { SMALLEST_MEAN = 100, STEPS_PER_MS = 200, DWELL_SAMPLES = 4 };

static slot *slots;
static uint32_t *full, *empty; /* indices of groups */
static uint32_t full_count, empty_count, group;
static uint64_t seed = 5, churn_seed = 6, peak;
static int64_t timed;
static uint64_t timed_objects;

static void fill_group(void)
{
    if (!empty_count)
        die("the table is full");
    uint32_t which = empty[--empty_count];
    for (uint32_t i = 0; i < group; i++)
        slot_make(&slots[(size_t)which * group + i], mixed_size(&seed));
    full[full_count++] = which;
}

static void drop_group(void)
{
    uint32_t place = random_below(&seed, full_count), which = full[place];

    for (uint32_t i = 0; i < group; i++)
        slot_drop(&slots[(size_t)which * group + i]);
    full[place] = full[--full_count];
    empty[empty_count++] = which;
}

static void grow(void)
{
    uint64_t step = peak / 10, next = live_bytes + step;
    uint64_t made = objects_made;
    int64_t began = cpu_ns();

    while (live_bytes < peak) {
        fill_group();
        if (live_bytes < next)
            continue;
        report_sample();
        next += step;
    }
    timed += cpu_ns() - began;
    timed_objects += objects_made - made;
}

static void shrink(void)
{
    uint64_t step = peak / 10, next = live_bytes - step;
    int64_t began = cpu_ns();

    while (live_bytes > peak / 10) {
        drop_group();
        if (live_bytes > next)
            continue;
        report_sample();
        next -= next > step ? step : next;
    }
    timed += cpu_ns() - began;
}

static void dwell(int milliseconds)
{
    int64_t end = wall_ns() + (int64_t)milliseconds * 1000000;
    int64_t step = (int64_t)milliseconds * 1000000 / DWELL_SAMPLES;
    int64_t next = wall_ns() + step;

    while (wall_ns() < end) {
        working_set_churn(&churn_seed, STEPS_PER_MS);
        sleep_ms(1);
        if (wall_ns() < next)
            continue;
        report_sample();
        next += step;
    }
}

static void make_tables(void)
{
    uint32_t groups = (uint32_t)(peak / SMALLEST_MEAN / group) + 2;

    slots = table((size_t)groups * group, sizeof *slots);
    full = table(groups, sizeof *full);
    empty = table(groups, sizeof *empty);
    for (uint32_t i = groups; i-- > 0;)
        empty[empty_count++] = i;
}

static void run_cycles(int cycles, int milliseconds)
{
    double peaks = 0, valleys = 0, valley_mb = 0, first = 0, last = 0;

    for (int i = 0; i < cycles; i++) {
        grow();
        last = (double)report_sample();
        first = i ? first : last;
        peaks += per_live((uint64_t)last, live_bytes);
        shrink();
        dwell(milliseconds);
        uint64_t kb = report_sample();
        valleys += per_live(kb, live_bytes);
        valley_mb += megabytes(kb);
    }
    report_figure("peak rss/live", peaks / cycles);
    report_figure("valley rss/live", valleys / cycles);
    report_figure("valley rss MB", valley_mb / cycles);
    report_figure("last peak/first", first > 0 ? last / first : 0);
}

int main(int argc, char **argv)
{
    peak = argument(argc, argv, 1, 1, 65536) * MIB;
    group = (uint32_t)argument(argc, argv, 2, 1, 65536);
    int cycles = (int)argument(argc, argv, 3, 1, 1000);
    int milliseconds = (int)argument(argc, argv, 4, 0, 60000);

    make_tables();
    heap_begin();
    working_set_make(&churn_seed);
    run_cycles(cycles, milliseconds);
    report_time((double)timed / (double)timed_objects);
    report_send();
    return 0;
}
