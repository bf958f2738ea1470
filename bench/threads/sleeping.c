/*
 * Usage: threads-sleeping active|calls THREADS OPERATIONS
 *
 * Each of THREADS threads allocates 1,000 objects of mixed sizes and goes to sleep. Then
 *   active: another thread goes on alone, replacing random objects of all the sleepers. What it frees belongs to heaps
 *     whose owners will not come to take it back: an allocator which leaves it for them must let the heap grow.
 *   calls: random calls to threads that sleep: a random one is woken, replaces 200 random objects of all, and sleeps
 *     again, the next is woken. One thread works at a time, but a different one each time, as in a pool of workers
 *     which share their data; a cache per thread has cooled, and has lain idle, since it was last used. The wake-ups
 *     are part of the cost, about as much as that of the operations between.
 *
 * "growth KiB" is what is resident at the end more than at the start of the replacing; the live set is the same size.
 * The idea is the remote frees of Larson and Krishnan (larson.c) driven to where no owner is left running.
 */
#include "common.h"

#include <semaphore.h>
#include <string.h>

enum { OBJECTS = 1000, PER_CALL = 200, MAX_SLEEPERS = 256 };

static const char usage[] = "usage: threads-sleeping active|calls THREADS OPERATIONS";

static struct sleeper {
    _Alignas(CACHE_LINE) sem_t wake;
    pthread_t thread;
    int ending;
} sleepers[MAX_SLEEPERS];

static void **table;
static uint32_t live;
static sem_t asleep;
static uint64_t schedule = 88172645463325252; /* one sequence, whoever draws from it */

static void replace_some(long count)
{
    for (long i = 0; i < count; i++)
        replace_one(table, live, &schedule);
}

static void wait_for(sem_t *what)
{
    while (sem_wait(what))
        ;
}

static void *sleep_on(void *argument)
{
    struct sleeper *self = argument;
    uint64_t seed = seed_of((int)(self - sleepers));

    fill_slots(table + (self - sleepers) * OBJECTS, OBJECTS, &seed);
    for (;;) {
        sem_post(&asleep);
        wait_for(&self->wake);
        if (self->ending)
            return NULL;
        replace_some(PER_CALL);
    }
}

static void start_sleepers(int count)
{
    sem_init(&asleep, 0, 0);
    for (int i = 0; i < count; i++) {
        sem_init(&sleepers[i].wake, 0, 0);
        sleepers[i].thread = start_thread(sleep_on, &sleepers[i]);
        wait_for(&asleep);
    }
}

static void end_sleepers(int count)
{
    for (int i = 0; i < count; i++) {
        sleepers[i].ending = 1;
        sem_post(&sleepers[i].wake);
        pthread_join(sleepers[i].thread, NULL);
    }
}

static void *act(void *argument)
{
    replace_some(*(long *)argument);
    return NULL;
}

/* In a thread of its own, since the main thread's heap is often a special one. */
static void run_active(long operations)
{
    pthread_join(start_thread(act, &operations), NULL);
}

static void run_calls(long operations, int count)
{
    uint64_t seed = seed_of(count);

    for (long i = 0; i < operations; i += PER_CALL) {
        sem_post(&sleepers[random_below(&seed, (uint32_t)count)].wake);
        wait_for(&asleep);
    }
}

static span run(int calls, long operations, int count)
{
    span began = begin_span();

    if (calls)
        run_calls(operations, count);
    else
        run_active(operations);
    return end_span(began);
}

int main(int argc, char **argv)
{
    if (argc < 2 || (strcmp(argv[1], "active") != 0 && strcmp(argv[1], "calls") != 0))
        die(BAD_USAGE, usage);
    int count = (int)number(argc, argv, 2, 1, MAX_SLEEPERS, usage);
    long operations = number(argc, argv, 3, 1, 1L << 40, usage);

    operations = (operations + PER_CALL - 1) / PER_CALL * PER_CALL;
    live = (uint32_t)count * OBJECTS;
    table = scratch(live * sizeof *table);
    start_sleepers(count);
    long before = resident_kb();
    span took = run(strcmp(argv[1], "calls") == 0, operations, count);
    report(took, (uint64_t)operations, 1, (figure){"growth KiB", (double)(resident_kb() - before)});
    end_sleepers(count);
    drop_slots(table, live);
    return 0;
}
