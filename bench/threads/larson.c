/*
 * Usage: threads-larson THREADS GENERATIONS
 *
 * A server as Larson and Krishnan describe it ("Memory allocation for long-running server applications", ISMM 1998):
 * each thread keeps an array of objects and replaces one at random for each request; after a while it ends, and a new
 * thread, which it starts, takes over the array with the objects of its predecessors. So objects outlive the thread
 * that made them, and most of the frees of a young thread are of memory of dead ones.
 *
 * An array has 5,000 objects of 16 to 1,000 bytes, uniformly, and a thread replaces 50,000 of them: by its end there
 * are few left that it took over. The arrays are filled by the main thread, whose heap is often a special one. The
 * measured time is from the first thread's start to the last one's end, with all the starts and ends between. The
 * generations are shared by all the arrays, so that all have work until the end.
 */
#include "common.h"

#include <semaphore.h>

enum { SLOTS = 5000, REPLACED = 50000, MAX_LINES = 256, LOW = 16, HIGH = 1000 };

static const char usage[] = "usage: threads-larson THREADS GENERATIONS";

/* An array, and the threads which have it, one after the other. */
typedef struct line {
    uint64_t seed;
    pthread_t thread; /* the one before, or at the end the last */
    int follows;      /* there is one before */
    void *slots[SLOTS];
} line;

static atomic_long generations_left;
static sem_t finished;

static void *make_any(uint64_t *seed)
{
    return make_object(LOW + random_below(seed, HIGH + 1 - LOW));
}

static void replace(line *self)
{
    uint64_t seed = self->seed;

    for (int i = 0; i < REPLACED; i++) {
        void **slot = &self->slots[random_below(&seed, SLOTS)];
        drop_object(*slot);
        *slot = make_any(&seed);
    }
    self->seed = seed;
}

static void *serve(void *argument)
{
    line *self = argument;

    if (self->follows)
        pthread_join(self->thread, NULL);
    replace(self);
    self->thread = pthread_self();
    self->follows = 1;
    if (atomic_fetch_sub(&generations_left, 1) > 0)
        start_thread(serve, self);
    else
        sem_post(&finished);
    return NULL;
}

static span run_lines(line *lines, int count)
{
    span began = begin_span();

    for (int i = 0; i < count; i++)
        start_thread(serve, &lines[i]);
    for (int i = 0; i < count; i++)
        sem_wait(&finished);
    for (int i = 0; i < count; i++)
        pthread_join(lines[i].thread, NULL);
    return end_span(began);
}

static void fill(line *self, int index)
{
    self->seed = seed_of(index);
    for (int i = 0; i < SLOTS; i++)
        self->slots[i] = make_any(&self->seed);
}

int main(int argc, char **argv)
{
    int count = (int)number(argc, argv, 1, 1, MAX_LINES, usage);
    long generations = number(argc, argv, 2, count, 1L << 30, usage);
    line *lines = scratch((size_t)count * sizeof *lines);

    sem_init(&finished, 0, 0);
    atomic_store(&generations_left, generations - count);
    for (int i = 0; i < count; i++)
        fill(&lines[i], i);
    span took = run_lines(lines, count);
    report(took, (uint64_t)generations * REPLACED, count, (figure){0});
    for (int i = 0; i < count; i++)
        drop_slots(lines[i].slots, SLOTS);
    return 0;
}
