/*
 * memory-survivor BYTES_MIB SIZE OTHER
 *
 * The heap is filled with objects of SIZE; of those that begin in one 4 KiB
 * page one, drawn at random, survives and the rest are freed, in random order.
 * Then as many bytes as were freed are allocated in objects of OTHER bytes; at
 * last these are freed, and as many bytes allocated in objects of SIZE again.
 *
 * It is the bad case for an allocator that gives a page to one size: no page is
 * empty, so nothing can go back, and another size cannot use the holes.  An
 * allocator that merges neighbours of any size can use them; one that moves
 * pages on top of one another can give them back.  The case is the one that
 * Mesh was built against (Powers, Tench, Berger and McGregor, PLDI 2019), and
 * that jemalloc's documents call a pinned run.
 *
 * The survivors depend on the addresses, necessarily; all else does not.
 */
#include "memory.h"

typedef struct page_entry {
    uintptr_t page; /* 0: not used */
    uint32_t seen, survivor;
} page_entry;

static slot *objects, *others;
static uint32_t *doomed;
static page_entry *pages;
static uint64_t page_mask;
static uint64_t seed = 23;

static page_entry *entry_of(const char *at)
{
    uintptr_t page = (uintptr_t)at / PAGE;
    uint64_t place = page * UINT64_C(0x9E3779B97F4A7C15) >> 20;

    while (pages[place & page_mask].page &&
           pages[place & page_mask].page != page)
        place++;
    pages[place & page_mask].page = page;
    return &pages[place & page_mask];
}

/* One of each page, all equally likely: the k-th seen replaces with 1/k. */
static void choose_survivors(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        page_entry *entry = entry_of(objects[i].at);
        if (random_below(&seed, ++entry->seen) == 0)
            entry->survivor = i;
    }
}

static uint32_t list_doomed(uint32_t count)
{
    uint32_t listed = 0;

    for (uint32_t i = 0; i < count; i++)
        if (entry_of(objects[i].at)->survivor != i)
            doomed[listed++] = i;
    shuffle(doomed, listed, &seed);
    return listed;
}

static void make_tables(uint32_t count, uint32_t other_count)
{
    uint64_t places = 1024;

    while (places < 2 * (uint64_t)count)
        places *= 2;
    page_mask = places - 1;
    pages = table(places, sizeof *pages);
    objects = table(count, sizeof *objects);
    others = table(other_count, sizeof *others);
    doomed = table(count, sizeof *doomed);
}

static void fill(uint32_t count, uint32_t size)
{
    for (uint32_t i = 0; i < count; i++)
        slot_make(&objects[i], size);
    report_figure("full rss/live", per_live(report_sample(), live_bytes));
}

static void free_doomed(uint32_t listed)
{
    for (uint32_t i = 0; i < listed; i++)
        slot_drop(&objects[doomed[i]]);
    uint64_t kb = report_sample();
    report_figure("rss after frees MB", megabytes(kb));
    report_figure("rss/live after frees", per_live(kb, live_bytes));
}

static void reuse_by_others(uint32_t count, uint32_t size)
{
    int64_t began = cpu_ns();

    for (uint32_t i = 0; i < count; i++)
        slot_make(&others[i], size);
    report_time((double)(cpu_ns() - began) / count);
    report_figure("rss/live after reuse",
                  per_live(report_sample(), live_bytes));
    for (uint32_t i = 0; i < count; i++)
        slot_drop(&others[i]);
    report_sample();
}

static void reuse_by_same(uint32_t listed, uint32_t size)
{
    for (uint32_t i = 0; i < listed; i++)
        slot_make(&objects[doomed[i]], size);
    report_figure("rss/live same size", per_live(report_sample(), live_bytes));
}

int main(int argc, char **argv)
{
    uint64_t bytes = argument(argc, argv, 1, 1, 65536) * MIB;
    uint32_t size = (uint32_t)argument(argc, argv, 2, 8, 2048);
    uint32_t other = (uint32_t)argument(argc, argv, 3, 8, 65536);
    uint32_t count = (uint32_t)(bytes / size);

    make_tables(count, (uint32_t)(bytes / other));
    heap_begin();
    fill(count, size);
    choose_survivors(count);
    uint32_t listed = list_doomed(count);
    free_doomed(listed);
    reuse_by_others((uint32_t)((uint64_t)listed * size / other), other);
    reuse_by_same(listed, size);
    for (uint32_t i = 0; i < count; i++)
        slot_drop(&objects[i]);
    report_sample();
    report_send();
    return 0;
}
