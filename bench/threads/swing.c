/*
 * Usage: threads-swing THREADS ROUNDS
 *
 * Heaps that swing: in each round a thread replaces blocks at random, gives some to the others through shared slots,
 * and at its end frees all it has, while the others are in the midst of theirs. The blocks are of 16 B to 2 MiB, large
 * ones so much rarer that each octave has sqrt(2) times the bytes of the one below: what one round leaves free the next
 * wants in other pieces, and what a thread leaves free another could use.
 *
 * After mstress (mimalloc-bench), whose threads end with each of its iterations.
 */
#include "common.h"

enum { SLOTS = 1000, STEPS = 4000, SHARED = 256, LEAST = 16, MOST = 2 << 20, PAGE = 4096, MAX_SWINGERS = 64 };

typedef struct block {
    size_t size;
} block;

static const char usage[] = "usage: threads-swing THREADS ROUNDS";

/* Of each octave from LEAST on, of 512: half as many for every other. */
static const uint8_t tickets[] = {150, 106, 75, 53, 38, 27, 19, 13, 9, 7, 5, 3, 2, 2, 1, 1, 1};
static uint8_t octaves[512];

static _Atomic(block *) shared[SHARED];
static block *(*slots)[SLOTS];
static int threads;
static long rounds;

static void deal_octaves(void)
{
    size_t next = 0;

    for (size_t octave = 0; octave < sizeof tickets; octave++)
        for (int i = 0; i < tickets[octave]; i++)
            octaves[next++] = (uint8_t)octave;
}

static size_t draw_block(uint64_t *seed)
{
    uint64_t draw = next_random(seed);
    size_t low = (size_t)LEAST << octaves[draw >> 55];

    return low + (((draw & UINT32_MAX) * low) >> 32);
}

/* Its size at the head and a stamp at the end, and written to in each page. */
static block *make_block(size_t size)
{
    block *made = malloc(size);

    if (!made)
        die(OUT_OF_MEMORY, "malloc returned NULL");
    for (size_t at = PAGE; at < size; at += PAGE)
        ((char *)made)[at] = 1;
    *last_word(made, size) = (uintptr_t)made ^ size;
    made->size = size;
    return made;
}

static void drop_block(block *old)
{
    if (!old)
        return;
    if (old->size < LEAST || old->size >= MOST ||
        *last_word(old, old->size) != ((uintptr_t)old ^ old->size))
        die(OVERWRITTEN, "an object was overwritten: the allocator gave its memory out twice");
    free(old);
}

static void replace_some(block **own, uint64_t *seed)
{
    for (int step = 0; step < STEPS; step++) {
        block *made = make_block(draw_block(seed)), **slot = &own[random_below(seed, SLOTS)];

        if (random_below(seed, 4) == 0)
            made = atomic_exchange(&shared[random_below(seed, SHARED)], made);
        drop_block(*slot);
        *slot = made;
    }
}

static void drop_all(block **own)
{
    for (int i = 0; i < SLOTS; i++) {
        drop_block(own[i]);
        own[i] = NULL;
    }
}

static void work(int index)
{
    uint64_t seed = seed_of(index);

    clock_in(index);
    for (long i = 0; i < rounds; i++) {
        replace_some(slots[index], &seed);
        drop_all(slots[index]);
    }
    clock_out(index);
}

int main(int argc, char **argv)
{
    threads = (int)number(argc, argv, 1, 1, MAX_SWINGERS, usage);
    rounds = number(argc, argv, 2, 1, 1L << 30, usage);
    deal_octaves();
    slots = scratch((size_t)threads * sizeof *slots);
    span took = run_crew(threads, WHERE_ROOM, work);
    for (int i = 0; i < SHARED; i++)
        drop_block(atomic_load(&shared[i]));
    report(took, (uint64_t)threads * (uint64_t)rounds * STEPS, threads, (figure){0});
    return 0;
}
