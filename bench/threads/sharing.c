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
 * An object is 8 bytes, a counter, and is counted up 1,000 times, atomically, as reference counts and statistics are:
 * plain writes, as the originals have them, are gathered in the store buffers of later processors, which hide what is
 * asked here. An operation is all of that with its malloc and free, so nearly all of its time is the counting, and with
 * a line to itself it does not depend on the allocator. Neighbours are bound to different processors.
 *
 * "shared %" is how many of the objects were, when made, in a line in which a thread of another processor had its
 * object at that moment, or its last one, whether or not that thread was running: it tells a shared line from a slow
 * malloc.
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
static int threads, room;
static _Alignas(2 * CACHE_LINE) atomic_long left;
static _Alignas(2 * CACHE_LINE) atomic_long shared;

/* Thread i is bound to processor i % room: see common.h. */
static int is_shared(int index, uintptr_t line)
{
    for (int i = 0; i < threads; i++)
        if (i % room != index % room && atomic_load_explicit(&places[i].line, memory_order_relaxed) == line)
            return 1;
    return 0;
}

static int use_object(int index)
{
    atomic_uint_fast64_t *object = malloc(SIZE);

    if (!object)
        die(OUT_OF_MEMORY, "malloc returned NULL");
    uintptr_t line = (uintptr_t)object / CACHE_LINE;
    atomic_store_explicit(&places[index].line, line, memory_order_relaxed);
    int found = is_shared(index, line);
    atomic_init(object, 0);
    for (int i = 0; i < WRITES; i++)
        atomic_fetch_add_explicit(object, 1, memory_order_relaxed);
    if (atomic_load_explicit(object, memory_order_relaxed) != WRITES)
        die(OVERWRITTEN, "an object was overwritten: the allocator gave its memory out twice");
    free(object);
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
    room = processors();
    if (strcmp(argv[1], "passive") == 0)
        give_objects();
    span took = run_crew(threads, SPREAD, work);
    double percent = 100.0 * (double)atomic_load(&shared) / (double)objects;
    report(took, (uint64_t)objects, threads, (figure){"shared %", percent});
    return 0;
}
