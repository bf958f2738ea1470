/*
 * Usage: threads-bursts THREADS ROUNDS
 *
 * Work in phases, as of a parallel build, a map and a reduce, or a game's frames: in each round every thread allocates
 * a burst of objects; then all exchange, a quarter of a burst being freed by the thread that made it and the rest by
 * the next three (with two threads, half by each). Between the bursts nothing is live. A cache per thread is overrun
 * each time, and what it keeps is the wrong amount in the next round: a burst is 500 to 8,000 objects, drawn anew.
 *
 * No one program is the model. That threads swap objects and free each other's is akin to mstress (mimalloc-bench) and
 * to rpmalloc's own benchmark; here who frees what is fixed, and only the sizes of bursts and objects are drawn.
 */
#include "common.h"

enum { PARTS = 4, LEAST = 500, MOST = 8000, MAX_BURSTERS = 64 };

static const char usage[] = "usage: threads-bursts THREADS ROUNDS";

typedef struct burst {
    uint32_t count;
    uint64_t made; /* in all the rounds */
    void *objects[MOST];
} burst;

static burst *bursts;
static int threads;
static long rounds;
static pthread_barrier_t turn;

static void allocate(burst *self, uint64_t *seed)
{
    self->count = LEAST + random_below(seed, MOST - LEAST + 1);
    fill_slots(self->objects, self->count, seed);
    self->made += self->count;
}

static void drop_part(burst *of, uint32_t part)
{
    uint32_t low = of->count * part / PARTS, high = of->count * (part + 1) / PARTS;

    drop_slots(of->objects + low, high - low);
}

static void work(int index)
{
    uint64_t seed = seed_of(index);

    clock_in(index);
    for (long i = 0; i < rounds; i++) {
        allocate(&bursts[index], &seed);
        pthread_barrier_wait(&turn);
        for (int part = 0; part < PARTS; part++)
            drop_part(&bursts[(index + part) % threads], (uint32_t)part);
        pthread_barrier_wait(&turn);
    }
    clock_out(index);
}

int main(int argc, char **argv)
{
    uint64_t made = 0;

    threads = (int)number(argc, argv, 1, 1, MAX_BURSTERS, usage);
    rounds = number(argc, argv, 2, 1, 1L << 30, usage);
    bursts = scratch((size_t)threads * sizeof *bursts);
    pthread_barrier_init(&turn, NULL, (unsigned)threads);
    span took = run_crew(threads, WHERE_ROOM, work);
    for (int i = 0; i < threads; i++)
        made += bursts[i].made;
    report(took, made, threads, (figure){0});
    return 0;
}
