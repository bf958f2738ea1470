/*
 * worst [CALLS]: how long a single call of malloc or free takes at worst, and under bslab one of
 * bslab_kmalloc(NOWAIT), while other threads of the process allocate and free all
 * the time (two, of up to 64 KiB, which sets the slow paths in motion).
 *
 * The measured thread holds 256 blocks of up to 1 KiB, frees one at random and
 * allocates another, CALLS times (10^8). The first word of each new block is
 * written within the measured time: a page fault is the allocator's doing.
 * Nothing is left out: a call during which the kernel took the CPU away is as long
 * as it was. What that makes of the figures the first line shows, which measures no call
 * at all. Output: a line each for allocations and frees of each way of calling, all times in us.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <bslab/kmalloc.h>

#pragma weak bslab_kmalloc
#pragma weak bslab_nowait_pool
#pragma weak bslab_free

enum { HELD = 256, NR_SLOTS = 512, MAX_SIZE = 1024, NR_NOISE = 2, NOISE_HELD = 1000, STEPS = 8, BUCKETS = 64 * STEPS };

static atomic_bool done;

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *make_noise(void *arg)
{
    static _Thread_local void *held[NOISE_HELD];
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load_explicit(&done, memory_order_relaxed)) {
        unsigned i = (unsigned)rand_r(&seed) % NOISE_HELD;

        free(held[i]);
        held[i] = malloc((unsigned)rand_r(&seed) % 65536);
    }
    for (int i = 0; i < NOISE_HELD; i++)
        free(held[i]);
    return NULL;
}

static void *plain(size_t size)
{
    return malloc(size);
}

static void *nowait(size_t size)
{
    return bslab_kmalloc(size, BSLAB_GFP_NOWAIT);
}

static void *nothing(size_t size)
{
    static long word[NR_SLOTS][2];
    static unsigned next;

    (void)size;
    return word[next++ % NR_SLOTS];
}

static void free_nothing(void *p)
{
    (void)p;
}

/* Times by their logarithm, in steps of an eighth of a doubling. */
struct times {
    uint64_t nr[BUCKETS], worst, sum;
};

static unsigned bucket_of(uint64_t ns)
{
    unsigned log = 63 - (unsigned)__builtin_clzl(ns | STEPS);

    return log * STEPS + (unsigned)(ns >> (log - 3)) % STEPS;
}

static double upper_end(unsigned bucket)
{
    return (double)(1ull << bucket / STEPS) * (1 + (bucket % STEPS + 1) / (double)STEPS);
}

static void note(struct times *t, uint64_t ns)
{
    t->nr[bucket_of(ns)]++;
    t->sum++;
    t->worst = ns > t->worst ? ns : t->worst;
}

/* No more than one call in so many took longer. */
static double one_in(const struct times *t, uint64_t nr)
{
    uint64_t above = t->sum / nr;
    unsigned b = BUCKETS;

    while (b-- && t->nr[b] <= above)
        above -= t->nr[b];
    return upper_end(b) / 1000;
}

static uint64_t above_us(const struct times *t, unsigned us)
{
    uint64_t sum = 0;

    for (unsigned b = bucket_of(us * 1000ull); b < BUCKETS; b++)
        sum += t->nr[b];
    return sum;
}

static void print(const char *name, const char *call, const struct times *t)
{
    printf("%-8s %-5s %8.2f %8.2f %8.2f %8.2f %8.2f %10.1f %9lu %8lu %8lu\n", name, call, one_in(t, 2), one_in(t, 1000),
           one_in(t, 100000), one_in(t, 1000000), one_in(t, 10000000), (double)t->worst / 1000, above_us(t, 1), above_us(t, 8),
           above_us(t, 1000));
    fflush(stdout);
}

static long nr_switches(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static void measure(const char *name, void *(*alloc)(size_t), void (*release)(void *), long nr_calls)
{
    static void *held[HELD];
    static struct times allocs, frees;
    uint64_t nr_failed = 0;
    long switches = nr_switches();
    unsigned seed = 1;

    allocs = frees = (struct times){0};
    for (long i = 0; i < nr_calls; i++) {
        unsigned k = (unsigned)rand_r(&seed) % HELD;
        size_t size = sizeof(long) + (unsigned)rand_r(&seed) % (MAX_SIZE - sizeof(long));
        uint64_t from = now(), between, to;

        release(held[k]);
        between = now();
        held[k] = alloc(size);
        if (held[k])
            *(volatile long *)held[k] = 1;
        to = now();
        nr_failed += !held[k];
        note(&frees, between - from);
        note(&allocs, to - between);
    }
    for (int i = 0; i < HELD; i++) {
        release(held[i]);
        held[i] = NULL;
    }
    print(name, "alloc", &allocs);
    print(name, "free", &frees);
    printf("%-8s the CPU was taken away %ld times; %lu calls failed\n", name, nr_switches() - switches, nr_failed);
}

int main(int argc, char **argv)
{
    long nr_calls = argc > 1 ? atol(argv[1]) : 100000000;
    pthread_t noise[NR_NOISE];

    for (uintptr_t i = 0; i < NR_NOISE; i++)
        pthread_create(&noise[i], NULL, make_noise, (void *)i);
    printf("%-14s %8s %8s %8s %8s %8s %10s %9s %8s %8s\n", "", "half", "1 in 1e3", "in 1e5", "in 1e6", "in 1e7", "worst", "from 1 us",
           "8 us", "1 ms");
    measure("nothing", nothing, free_nothing, nr_calls);
    measure("malloc", plain, free, nr_calls);
    if (bslab_kmalloc && bslab_nowait_pool(MAX_SIZE, HELD + 1, 1) == 0)
        measure("NOWAIT", nowait, bslab_free, nr_calls);
    atomic_store(&done, true);
    for (int i = 0; i < NR_NOISE; i++)
        pthread_join(noise[i], NULL);
    return 0;
}
