/*
 * memcached's text protocol: nine gets to a set, keys drawn evenly, values mostly of some hundred bytes and rarely of
 * some thousand.  The mixture and the sizes are of the kind that "Workload Analysis of a Large-Scale Key-Value Store"
 * (Atikoglu and others, SIGMETRICS 2012) reports for a general-purpose pool.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 4000 };

/* Of a number that changes with each set, so that an item also changes its size. */
static size_t value_size(uint64_t random)
{
    return random % 16 ? 20 + random / 16 % 700 : 1000 + random / 16 % (LARGEST - 1000);
}

static size_t set(char *out, uint64_t key, uint64_t random)
{
    size_t size = value_size(random);
    size_t head = (size_t)sprintf(out, "set object:%010llu 0 0 %zu\r\n", (unsigned long long)key, size);

    memset(out + head, 'v', size);
    /* What get must find at the start of it. */
    out[head + (size_t)sprintf(out + head, "%010llu", (unsigned long long)key)] = 'v';
    memcpy(out + head + size, "\r\n", 2);
    return head + size + 2;
}

static size_t fill(char *out, uint64_t number, uint64_t keys)
{
    uint64_t state = number;

    return number < keys ? set(out, number, next_random(&state)) : 0;
}

static size_t request(char *out, uint64_t random, uint64_t keys)
{
    uint64_t key = random / 1000 % keys;

    if (random % 10 == 0)
        return set(out, key, random / 10);
    return (size_t)sprintf(out, "get object:%010llu\r\n", (unsigned long long)key);
}

/* VALUE object:0000000042 0 123, the 123 bytes, END. */
static ptrdiff_t value(const char *in, size_t size)
{
    static const char before[] = "VALUE object:";
    const char *line = memchr(in, '\n', size);

    if (!line)
        return 0;
    const char *key = in + sizeof before - 1, *data = line + 1;
    if (strncmp(in, before, sizeof before - 1) != 0 || key[10] != ' ')
        return -1;
    char *end;
    strtoul(key + 10, &end, 10);
    size_t length = strtoul(end, &end, 10);
    size_t all = (size_t)(data - in) + length + sizeof "\r\nEND\r\n" - 1;
    if (size < all)
        return 0;
    if (length < 10 || memcmp(data, key, 10) != 0 || memcmp(data + length, "\r\nEND\r\n", 7) != 0)
        return -1;
    return (ptrdiff_t)all;
}

static ptrdiff_t answer(const char *in, size_t size, uint64_t *missed)
{
    if (size < 5)
        return 0;
    if (in[0] == 'V')
        return value(in, size);
    if (memcmp(in, "END\r\n", 5) == 0) {
        ++*missed;
        return 5;
    }
    if (size < 8)
        return memcmp(in, "STORED\r\n", size) == 0 ? 0 : -1;
    return memcmp(in, "STORED\r\n", 8) == 0 ? 8 : -1;
}

const protocol memcached_protocol = {"memcached", fill, request, answer};
