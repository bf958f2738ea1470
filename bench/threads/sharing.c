/*
 * Usage: threads-sharing active|passive THREADS OBJECTS
 *
 * False sharing which the allocator brings about, after Berger, McKinley, Blumofe and Wilson ("Hoard", ASPLOS 2000):
 *   active (their cache-thrash): a thread allocates a small object, writes it many times, frees it, and again. An
 *     allocator which gives neighbours in a cache line to different threads makes them fight for the line.
 *   passive (their cache-scratch): the same, but first the main thread allocates an object for each thread, one after
 *     the other and so in few lines, and each thread begins by freeing its own. An allocator which gives a thread what
 *     it freed last, as nearly all do, hands the pieces of these lines out again to the same threads.
 *
 * An object is 8 bytes and is written 1,000 times; an operation is all of that with its malloc and free, so nearly all
 * of its time is the writes, and with a line to itself it does not depend on the allocator. "shared %" is how many of
 * the objects were, when made, in a line in which another thread had its object at that moment, whether or not that
 * thread was running: it tells a shared line from a slow malloc.
 */
#include "common.h"

#include <string.h>

enum { WRITES = 1000, CHUNK = 16, SIZE = 8, MAX_SHARERS = 64 };

static const char usage[] = "usage: threads-sharing active|passive THREADS OBJECTS";

/* The line of a thread's object, in a line of its own; two of them, for the prefetcher which fetches pairs. */
typedef struct place {
    _Alignas(2 * CACHE_LINE) atomic_uintptr_t line;
} place;

static place places[MAX_SHARERS];
static void *given[MAX_SHARERS]; /* by the main thread; NULL: none */
static int threads;
static _Alignas(2 * CACHE_LINE) atomic_long left;
static _Alignas(2 * CACHE_LINE) atomic_long shared;

static int is_shared(int index, uintptr_t line)
{
    for (int i = 0; i < threads; i++)
        if (i != index && atomic_load_explicit(&places[i].line, memory_order_relaxed) == line)
            return 1;
    return 0;
}

static int use_object(int index)
{
    volatile uint64_t *object = malloc(SIZE);

    if (!object)
        die(OUT_OF_MEMORY, "malloc returned NULL");
    uintptr_t line = (uintptr_t)object / CACHE_LINE;
    atomic_store_explicit(&places[index].line, line, memory_order_relaxed);
    int found = is_shared(index, line);
    *object = 0;
    for (int i = 0; i < WRITES; i++)
        *object += 1;
    if (*object != WRITES)
        die(OVERWRITTEN, "an object was overwritten");
    free((void *)object);
    return found;
}

static void work(int index)
{
    long found = 0;

    free(given[index]);
    clock_in(index);
    while (atomic_fetch_sub(&left, CHUNK) > 0)
        for (int i = 0; i < CHUNK; i++)
            found += use_object(index);
    clock_out(index);
    atomic_fetch_add(&shared, found);
}

static void give_objects(void)
{
    for (int i = 0; i < threads; i++) {
        given[i] = malloc(SIZE);
        if (!given[i])
            die(OUT_OF_MEMORY, "malloc returned NULL");
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || (strcmp(argv[1], "active") != 0 && strcmp(argv[1], "passive") != 0))
        die(BAD_USAGE, usage);
    threads = (int)number(argc, argv, 2, 1, MAX_SHARERS, usage);
    long objects = number(argc, argv, 3, 1, 1L << 40, usage);

    objects = (objects + CHUNK - 1) / CHUNK * CHUNK;
    atomic_store(&left, objects);
    if (strcmp(argv[1], "passive") == 0)
        give_objects();
    int64_t wall = run_crew(threads, work);
    double percent = 100.0 * (double)atomic_load(&shared) / (double)objects;
    report(wall, (uint64_t)objects, threads, (figure){"shared %", percent});
    return 0;
}
