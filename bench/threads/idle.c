/*
 * Usage: threads-idle THREADS ROUNDS
 *
 * A thousand threads that hardly do anything, as with a thread for each connection or the pools that libraries start:
 * each allocates 40 objects at first, about 7 KB, drops half of them, and sleeps. ROUNDS times each is woken, one after
 * the other, replaces some of its objects, and sleeps again. What is asked is memory: what an allocator keeps for each
 * thread it has seen, whether or not it will ever call again.
 *
 * Only one thread runs at a time, so nothing here depends on the scheduler. "per thread KiB" is what was resident while
 * all slept, less what was before they were started, for each thread: the live objects are 3.6 KiB of it, the stack
 * and the C library's part two pages or so. The stacks are of 64 KiB.
 */
#include "common.h"

#include <semaphore.h>

enum { OBJECTS = 40, KEPT = 20, REPLACED = 10 };

static const char usage[] = "usage: threads-idle THREADS ROUNDS";

typedef struct idler {
    sem_t wake;
    uint64_t seed;
    pthread_t thread;
    void *objects[OBJECTS];
} idler;

static long rounds;
static sem_t asleep;

static void begin(idler *self)
{
    fill_slots(self->objects, OBJECTS, &self->seed);
    drop_slots(self->objects + KEPT, OBJECTS - KEPT);
}

static void sleep_until_woken(idler *self)
{
    sem_post(&asleep);
    while (sem_wait(&self->wake))
        ;
}

static void *idle(void *argument)
{
    idler *self = argument;

    begin(self);
    for (long i = 0; i < rounds; i++) {
        sleep_until_woken(self);
        for (int j = 0; j < REPLACED; j++)
            replace_one(self->objects, KEPT, &self->seed);
    }
    sleep_until_woken(self);
    drop_slots(self->objects, KEPT);
    return NULL;
}

static void start(idler *self, int index)
{
    self->seed = seed_of(index);
    sem_init(&self->wake, 0, 0);
    self->thread = start_thread(idle, self);
    sem_wait(&asleep);
}

static void wake_each(idler *idlers, int count)
{
    for (int i = 0; i < count; i++) {
        sem_post(&idlers[i].wake);
        sem_wait(&asleep);
    }
}

static void end_each(idler *idlers, int count)
{
    for (int i = 0; i < count; i++) {
        sem_post(&idlers[i].wake);
        pthread_join(idlers[i].thread, NULL);
    }
}

int main(int argc, char **argv)
{
    int count = (int)number(argc, argv, 1, 1, MAX_THREADS, usage);
    rounds = number(argc, argv, 2, 0, 1L << 30, usage);
    idler *idlers = scratch((size_t)count * sizeof *idlers);
    long before = resident_kb();
    span began = begin_span();

    sem_init(&asleep, 0, 0);
    for (int i = 0; i < count; i++)
        start(&idlers[i], i);
    for (long i = 0; i < rounds; i++)
        wake_each(idlers, count);
    span took = end_span(began);
    double each = (double)(resident_kb() - before) / count;
    report(took, (uint64_t)count * (uint64_t)(OBJECTS + rounds * REPLACED), 1, (figure){"per thread KiB", each});
    end_each(idlers, count);
    return 0;
}
