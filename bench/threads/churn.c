/*
 * Usage: threads-churn THREADS OPERATIONS
 *
 * How the cost of an operation changes with the number of threads. 16,384 objects of mixed sizes are live, about
 * 3 MB, and OPERATIONS of them are replaced, each at random, as in micro/churn.c; both are divided among the threads,
 * so that only the number of threads differs from row to row: not the heap, nor the work. Hence peak memory may be
 * read along the curve as well: what rises there is what the allocator keeps for each thread.
 *
 * Each thread replaces objects of its own. The threads take the work in pieces, so that all of them have some until
 * the end; with one piece for each, the last would have the machine to itself. Scaling by threads that share nothing
 * is the oldest question put to allocators for multiprocessors: the thread-test of Hoard (Berger et al., ASPLOS 2000).
 */
#include "common.h"

enum { LIVE = 16384, PIECE = 500, MAX_CHURNERS = 256 };

static const char usage[] = "usage: threads-churn THREADS OPERATIONS";

static int threads;
static _Alignas(2 * CACHE_LINE) atomic_long left;
static _Alignas(2 * CACHE_LINE) void **table;

static void work(int index)
{
    uint32_t count = LIVE / (uint32_t)threads;
    void **slots = table + (size_t)index * count;
    uint64_t seed = seed_of(index);

    fill_slots(slots, count, &seed);
    clock_in(index);
    while (atomic_fetch_sub_explicit(&left, PIECE, memory_order_relaxed) > 0)
        for (int i = 0; i < PIECE; i++)
            replace_one(slots, count, &seed);
    clock_out(index);
    drop_slots(slots, count);
}

int main(int argc, char **argv)
{
    threads = (int)number(argc, argv, 1, 1, MAX_CHURNERS, usage);
    long operations = number(argc, argv, 2, 1, 1L << 40, usage);

    operations = (operations + PIECE - 1) / PIECE * PIECE;
    atomic_store(&left, operations);
    table = scratch(LIVE * sizeof *table);
    span took = run_crew(threads, WHERE_ROOM, work);
    report(took, (uint64_t)operations, threads, (figure){0});
    return 0;
}
