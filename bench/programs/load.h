/* What a protocol is to the client: how a request is written and where an answer ends. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { MAX_REQUEST = 8 << 10, MAX_ANSWER = 256 << 10 };

/* A stream of numbers that is the same in each run. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

typedef struct {
    const char *name;
    /* One after the other, before anything is timed; 0 when there are no more. */
    size_t (*fill)(char *out, uint64_t number, uint64_t keys);
    /* At most MAX_REQUEST bytes. */
    size_t (*request)(char *out, uint64_t random, uint64_t keys);
    /*
     * The bytes of the first answer; 0 when it is not all there, and -1 when it is wrong.
     * *missed counts answers that are right, but empty.
     */
    ptrdiff_t (*answer)(const char *in, size_t size, uint64_t *missed);
} protocol;

extern const protocol memcached_protocol, http_protocol;
