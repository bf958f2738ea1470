/* Objects, tables and clocks of the memory workloads: see memory.h. */
#include "memory.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t live_bytes, peak_live_bytes, objects_made;

static uint64_t mapped_for_tables;
static slot working_set[WORKING_SET];

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

void die(const char *why)
{
    say("memory: ");
    say(why);
    say("\n");
    _exit(1);
}

void *table(size_t count, size_t size)
{
    size_t bytes = (count * size + PAGE - 1) / PAGE * PAGE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        die("no memory for the tables");
    mapped_for_tables += bytes;
    return memory;
}

uint64_t table_bytes(void)
{
    return mapped_for_tables;
}

uint64_t argument(int argc, char **argv, int index, uint64_t low, uint64_t high)
{
    char *end = NULL;
    uint64_t value = index < argc ? strtoull(argv[index], &end, 10) : 0;

    if (!end || *end || end == argv[index] || value < low || value > high) {
        say("memory: an argument is missing or out of range\n");
        _exit(2);
    }
    return value;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t wall_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

void sleep_ms(int milliseconds)
{
    struct timespec time = {.tv_sec = milliseconds / 1000,
                            .tv_nsec = milliseconds % 1000 * 1000000};

    nanosleep(&time, NULL);
}

uint32_t mixed_size(uint64_t *seed)
{
    /* Per cent of the objects from 8 << i on; the last octave is two wide. */
    static const uint8_t weights[] = {14, 24, 25, 16, 9, 6, 4, 1, 1};
    enum { LAST = sizeof weights - 1 };
    uint32_t ticket = random_below(seed, 100), octave = 0;

    while (octave < LAST && ticket >= weights[octave])
        ticket -= weights[octave++];
    uint32_t low = 8u << octave;
    return low + random_below(seed, octave == LAST ? 3 * low : low);
}

void slot_check(const slot *s)
{
    uint64_t mark = slot_mark(s);
    bool whole = *(const uint64_t *)(const void *)s->at == mark;

    if (s->size > sizeof mark)
        whole &= s->at[s->size - 1] == (char)mark;
    for (uint32_t i = PAGE; i < s->size; i += PAGE)
        whole &= s->at[i] == (char)mark;
    if (!whole)
        die("an object is not what was written into it");
}

void shuffle(uint32_t *values, uint32_t count, uint64_t *seed)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = random_below(seed, i), kept = values[i - 1];
        values[i - 1] = values[other];
        values[other] = kept;
    }
}

void working_set_make(uint64_t *seed)
{
    for (int i = 0; i < WORKING_SET; i++)
        slot_make(&working_set[i], mixed_size(seed));
}

void working_set_churn(uint64_t *seed, int steps)
{
    for (int i = 0; i < steps; i++) {
        slot *s = &working_set[random_below(seed, WORKING_SET)];
        slot_drop(s);
        slot_make(s, mixed_size(seed));
    }
}

void working_set_drop(void)
{
    for (int i = 0; i < WORKING_SET; i++)
        slot_drop(&working_set[i]);
}
