/* The random numbers of the benchmarks: made by themselves, so that no library's state or lock is measured. */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <stdint.h>

static inline uint64_t next_random(uint64_t *state)
{
    /* xorshift64*, Marsaglia 2003 / Vigna 2016: enough for a schedule. */
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

/* Unbiased enough: bound is far below 2^32. */
static inline uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(((next_random(state) >> 32) * bound) >> 32);
}

#endif
