/*
 * Usage: threads-short CONCURRENT THREADS
 *
 * Threads that come and go by the thousand, as in a server with a thread for each request: each allocates 200 objects,
 * frees three quarters of them in random order, and leaves the rest, which a later thread frees after this one's end.
 * What an allocator sets up for a thread's first malloc and clears away at its end is a good part of such a thread's
 * life, and the memory of the dead must find someone to take it over.
 *
 * CONCURRENT threads are there at once, started and joined by the main thread. An operation is one of the objects; the
 * thread's own start and end are in its cost. "thread us" is the wall time per thread. The idea is that of Larson and
 * Krishnan's generations (larson.c), with lives so short that they are mostly birth and death.
 */
#include "common.h"

enum { OBJECTS = 200, KEPT = 50, MAX_PLACES = 256 };

static const char usage[] = "usage: threads-short CONCURRENT THREADS";

/* One after the other has it, so there is no lock: joining the one and starting the next orders them. */
typedef struct place {
    uint64_t seed;
    pthread_t thread;
    int taken;        /* thread has been started */
    uint32_t left;    /* by the last thread */
    void *objects[OBJECTS];
} place;

static void shuffle(void **objects, uint32_t count, uint64_t *seed)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = random_below(seed, i);
        void *object = objects[i - 1];
        objects[i - 1] = objects[other];
        objects[other] = object;
    }
}

static void *live(void *argument)
{
    place *self = argument;

    drop_slots(self->objects, self->left);
    fill_slots(self->objects, OBJECTS, &self->seed);
    shuffle(self->objects, OBJECTS, &self->seed);
    drop_slots(self->objects + KEPT, OBJECTS - KEPT);
    self->left = KEPT;
    return NULL;
}

static span run_threads(place *places, int concurrent, long threads)
{
    span began = begin_span();

    for (long i = 0; i < threads; i++) {
        place *self = &places[i % concurrent];
        if (self->taken)
            pthread_join(self->thread, NULL);
        self->thread = start_thread(live, self);
        self->taken = 1;
    }
    for (int i = 0; i < concurrent; i++)
        pthread_join(places[i].thread, NULL);
    return end_span(began);
}

int main(int argc, char **argv)
{
    int concurrent = (int)number(argc, argv, 1, 1, MAX_PLACES, usage);
    long threads = number(argc, argv, 2, concurrent, 1L << 30, usage);
    place *places = scratch((size_t)concurrent * sizeof *places);

    for (int i = 0; i < concurrent; i++)
        places[i].seed = seed_of(i);
    span took = run_threads(places, concurrent, threads);
    double each = (double)took.wall / (double)threads / 1e3;
    report(took, (uint64_t)threads * OBJECTS, concurrent, (figure){"thread us", each});
    for (int i = 0; i < concurrent; i++)
        drop_slots(places[i].objects, places[i].left);
    return 0;
}
