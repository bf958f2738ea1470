/*
 * What the programs of this folder share: random numbers, sizes, stamped objects, a crew of threads that start
 * together, and the line of JSON at the end.
 *
 * The programs measure themselves, by wall time, from the first thread's start to the last one's stop, so that neither
 * the loading of the program nor the making and dropping of its live set counts. What is told is
 *
 *     time_ns = wall time * min(active threads, processors) / operations
 *
 * where an operation is one malloc with its free: the processor time that one of them may be said to have taken. It
 * stays the same with more threads if the allocator scales perfectly. "throughput ops/s" is operations by wall time,
 * plainly; "cpu ns" is the processor time that the process took in that span, per operation, which says whether a
 * long wall time was work or waiting (or another process on the machine), but counts those who yield as at work;
 * "faults/op" is the page faults of that span, for whoever wants to take their price out.
 *
 * The work is fixed, not the time, so that peak memory is that of the same work under every allocator. What the
 * programs need for themselves comes from mmap, and their threads have small stacks: peak RSS is the allocator's but
 * for 1 or 2 MiB. They call no function of stdio that allocates.
 */
#ifndef COMMON_H
#define COMMON_H

#include "../random.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { CACHE_LINE = 64, MAX_THREADS = 4096 };

/* How a program ends when it cannot go on, having said why on stderr. */
enum { BAD_USAGE = 2, OVERWRITTEN = 3, OUT_OF_MEMORY = 4, NO_THREAD = 5 };

_Noreturn void die(int status, const char *what);

/* The argument at `index`, a number from low to high; anything else ends the program with its usage. */
long number(int argc, char **argv, int index, long low, long high, const char *usage);

/* Zeroed, and never in huge pages; the end of the program takes it back. */
void *scratch(size_t bytes);

/* What is resident now, exactly (the counters that statm shows are not). */
long resident_kb(void);

/* With a stack of 64 KiB. */
pthread_t start_thread(void *(*run)(void *), void *argument);

/* How many this process may use. */
int processors(void);

/* Nanoseconds, and of a clock that stands still nothing; page faults. */
typedef struct span {
    int64_t wall, cpu, faults;
} span;

span begin_span(void);
span end_span(span began);

/*
 * Threads 0 to count - 1 of a crew each run work(index), which makes ready what it needs, clocks in, does what is
 * measured, clocks out, and clears up. No one passes clock_in before all are there, nor clock_out.
 *
 * SPREAD binds thread i to processor i, modulo their number: threads that are said to work at the same time, or across
 * from one another, do. Otherwise a scheduler may well run a producer and its consumer by turns on one processor, and
 * then nothing is handed from cache to cache. WHERE_ROOM does that if there is a processor for each, and else leaves
 * all to the scheduler.
 */
typedef enum placement { SPREAD, WHERE_ROOM } placement;
typedef void crew_work(int index);
void clock_in(int index);
void clock_out(int index);
/* From the first to clock in to the last to clock out. */
span run_crew(int count, placement where, crew_work *work);

typedef struct figure {
    const char *name; /* "name unit"; NULL: none */
    double value;
} figure;

/* Prints the result; active: how many threads would run at once if there were a processor for each. */
void report(span took, uint64_t operations, int active, figure more);

static inline uint64_t seed_of(int index)
{
    return UINT64_C(0x9E3779B97F4A7C15) * ((uint64_t)index + 1);
}

/* xorshift64*, Marsaglia 2003 / Vigna 2016. */
/* Tickets of 128 for sizes of 16<<i up to, not including, 32<<i: see draw_size. */
extern uint8_t octave_of[128];

/*
 * The sizes of micro/churn.c's programs, without the smallest, which have no room for two stamps: 16 B to 8 KiB,
 * half of them below 48 B, 185 B in the mean.
 */
static inline size_t draw_size(uint64_t *state)
{
    uint64_t draw = next_random(state);
    size_t low = (size_t)16 << octave_of[draw >> 57];

    return low + (((draw & UINT32_MAX) * low) >> 32);
}

typedef uint64_t __attribute__((aligned(1), may_alias)) word;

static inline word *last_word(void *object, size_t size)
{
    return (word *)((char *)object + size - sizeof(word));
}

/*
 * A new object, stamped at both ends with its address and size: its maker writes it, and whoever drops it reads it,
 * as programs do, and an allocator which lets two objects overlap is found out. 16 to 65535 bytes.
 */
static inline void *make_object(size_t size)
{
    void *object = malloc(size);

    if (!object)
        die(OUT_OF_MEMORY, "malloc returned NULL");
    uint64_t stamp = (uint64_t)(uintptr_t)object << 16 | size;
    *(word *)object = stamp;
    *last_word(object, size) = stamp;
    return object;
}

static inline size_t size_of_object(void *object)
{
    return *(word *)object & 0xFFFF;
}

static inline void drop_object(void *object)
{
    uint64_t stamp = *(word *)object;

    if (stamp >> 16 != ((uint64_t)(uintptr_t)object << 16) >> 16 ||
        *last_word(object, size_of_object(object)) != stamp)
        die(OVERWRITTEN, "an object was overwritten: the allocator gave its memory out twice");
    free(object);
}

static inline void fill_slots(void **slots, uint32_t count, uint64_t *seed)
{
    for (uint32_t i = 0; i < count; i++)
        slots[i] = make_object(draw_size(seed));
}

static inline void replace_one(void **slots, uint32_t count, uint64_t *seed)
{
    void **slot = &slots[random_below(seed, count)];

    drop_object(*slot);
    *slot = make_object(draw_size(seed));
}

static inline void drop_slots(void **slots, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        drop_object(slots[i]);
}

#endif
