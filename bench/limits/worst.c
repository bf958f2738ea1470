/*
 * worst [CALLS]: how long a single call of malloc takes at worst, and under bslab one of
 * bslab_kmalloc(NOWAIT), while other threads of the process allocate and free all
 * the time (two, of up to 64 KiB, which sets the slow paths in motion).
 *
 * The measured thread holds 256 blocks of up to 1 KiB, frees one at random and
 * allocates another, CALLS times (10^7). The first word of each new block is
 * written within the measured time: a page fault is the allocator's doing.
 * A call during which the kernel took the CPU away (ru_nivcsw) says nothing of the
 * allocator and is counted apart. Output: one line for each way of calling.
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
#pragma weak bslab_reserve

enum { HELD = 256, MAX_SIZE = 1024, NR_NOISE = 2, NOISE_HELD = 1000, BUCKETS = 40 };

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

static void measure(const char *name, void *(*alloc)(size_t), long nr_calls)
{
    static void *held[HELD];
    uint64_t worst = 0, worst_preempted = 0, over[BUCKETS] = {0}, nr_failed = 0;
    long switches = 0;
    unsigned seed = 1;

    for (long i = 0; i < nr_calls; i++) {
        unsigned k = (unsigned)rand_r(&seed) % HELD;
        size_t size = sizeof(long) + (unsigned)rand_r(&seed) % (MAX_SIZE - sizeof(long));
        uint64_t from, took;

        free(held[k]);
        from = now();
        held[k] = alloc(size);
        if (held[k])
            *(volatile long *)held[k] = 1;
        took = now() - from;
        nr_failed += !held[k];
        over[63 - __builtin_clzl(took | 1)]++;
        if (took > worst && took > 1000) {
            struct rusage usage;

            getrusage(RUSAGE_THREAD, &usage);
            if (usage.ru_nivcsw != switches)
                worst_preempted = took > worst_preempted ? took : worst_preempted;
            else
                worst = took;
            switches = usage.ru_nivcsw;
        } else if (took > worst) {
            worst = took;
        }
    }
    for (int i = 0; i < HELD; i++) {
        free(held[i]);
        held[i] = NULL;
    }
    printf("%-8s worst %8.1f us, while preempted %8.1f us; calls from 1 us on", name, (double)worst / 1000, (double)worst_preempted / 1000);
    for (int b = 10, more = 1; b < BUCKETS && more; b++) {
        uint64_t n = 0;

        for (int i = b; i < BUCKETS; i++)
            n += over[i];
        printf(" %lu", n);
        more = n != 0;
    }
    printf(" (each twice the time); %lu failed\n", nr_failed);
}

int main(int argc, char **argv)
{
    long nr_calls = argc > 1 ? atol(argv[1]) : 10000000;
    pthread_t noise[NR_NOISE];

    for (uintptr_t i = 0; i < NR_NOISE; i++)
        pthread_create(&noise[i], NULL, make_noise, (void *)i);
    measure("malloc", plain, nr_calls);
    if (bslab_kmalloc && bslab_reserve(MAX_SIZE, HELD + 1, 1) == 0)
        measure("NOWAIT", nowait, nr_calls);
    atomic_store(&done, true);
    for (int i = 0; i < NR_NOISE; i++)
        pthread_join(noise[i], NULL);
    return 0;
}
