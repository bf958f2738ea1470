/*
 * memory-handles [SURVIVORS [MIB]]: what compaction gains on a fragmented heap, beside the same heap by malloc.
 *
 * MIB (256) of objects of 16 to 2,000 bytes, evenly, are allocated; then all but one in SURVIVORS (10) are freed, at random,
 * and malloc_trim() is called: what an allocator has left of a heap whose survivors it cannot, or can, move. First with
 * malloc, under whatever allocator is preloaded; then, under bslab, by handles, compacted before the trim as
 * the frees go on (by the watermark), by the call, and by the trim. A child of fork each, so that none inherits another's
 * heap.
 *
 * A line each: KiB that the program holds; resident KiB beyond what an empty process has, before the frees and after the
 * trim; and, of bslab, pageblocks of 2 MiB that are in use then, and that were released by moving.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bslab/handle.h>
#include <bslab/insight.h>

#pragma weak bslab_handle_alloc
#pragma weak bslab_handle_free
#pragma weak bslab_handle_map
#pragma weak bslab_handle_unmap
#pragma weak bslab_compact
#pragma weak bslab_report_to

enum { MIN = 16, MAX = 2000 };

static unsigned survivors = 10;
static size_t total = (size_t)256 << 20;

static size_t resident_kib(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%*u %lu", &pages) != 1)
        exit(1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

struct sums {
    long in_use, released;
};

static long number_behind(const char *text, size_t len, const char *key)
{
    const char *at = memmem(text, len, key, strlen(key));

    return at ? atol(at + strlen(key)) : -1;
}

/* Pageblocks of all types that are in use: those of buddies. */
static int read_sums(const char *text, size_t len, void *arg)
{
    struct sums *s = arg;
    const char *at = text, *end = text + len;

    while ((at = memmem(at, (size_t)(end - at), "\"type\":\"", 8))) {
        long n = number_behind(at, (size_t)(end - at), "\"blocks\":");

        if (strncmp(at + 8, "Free", 4) && n > 0)
            s->in_use += n;
        at += 8;
    }
    s->released = number_behind(text, len, "\"compact_released\":");
    return 0;
}

static size_t random_size(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return MIN + (size_t)(*state >> 33) % (MAX - MIN);
}

static bool survives(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % survivors == 0;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void measure(const char *name, bool by_handle)
{
    size_t max = total / ((MIN + MAX) / 2) * 2, nr = 0, held = 0, sum = 0, empty, full, i;
    void **block = mmap(NULL, max * sizeof *block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    struct sums sums = {0};
    uint64_t random = 1;
    double compact_ms = 0, begin;

    if (block == MAP_FAILED)
        exit(1);
    empty = resident_kib();
    for (; sum < total && nr < max; nr++) {
        size_t size = random_size(&random);

        if (by_handle) {
            bslab_handle_t h = bslab_handle_alloc(size);

            memset(bslab_handle_map(h), 1, size);
            bslab_handle_unmap(h);
            block[nr] = (void *)(uintptr_t)h;
        } else {
            block[nr] = malloc(size);
            memset(block[nr], 1, size);
        }
        sum += size;
    }
    full = resident_kib();
    for (random = 1, i = 0; i < nr; i++) {
        size_t size = random_size(&random);
        uint64_t draw = random ^ 0x9e3779b97f4a7c15u;

        if (survives(&draw))
            held += size;
        else if (by_handle)
            bslab_handle_free((bslab_handle_t)(uintptr_t)block[i]);
        else
            free(block[i]);
    }
    if (by_handle) {
        begin = now();
        bslab_compact();
        compact_ms = (now() - begin) * 1000;
    }
    malloc_trim(0);
    printf("%-8s %10zu %12zu %12zu", name, held / 1024, full - empty, resident_kib() - empty);
    if (bslab_report_to && bslab_report_to("pagetypeinfo+vmstat", "json", read_sums, &sums) == 0)
        printf(" %12ld %12ld", sums.in_use, sums.released);
    if (by_handle)
        printf(" %12.1f", compact_ms);
    putchar('\n');
}

static void in_child(const char *name, bool by_handle)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        measure(name, by_handle);
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        survivors = (unsigned)atoi(argv[1]);
    if (argc > 2)
        total = (size_t)atol(argv[2]) << 20;
    if (!survivors || !total)
        return 2;
    printf("%-8s %10s %12s %12s %12s %12s %12s\n", "", "held KiB", "full KiB", "trimmed KiB", "pageblocks", "released", "compact ms");
    in_child("malloc", false);
    if (bslab_handle_alloc)
        in_child("handles", true);
    return 0;
}
