/*
 * limit-touch [MIB [ROUNDS]]: the kernel's own price of a page. Fresh anonymous memory is mapped, one byte of each page
 * is written, and the memory unmapped: no allocator takes part, so no allocator that hands fresh pages to a program can
 * do it for less. Large pages are declined (MADV_NOHUGEPAGE): the price is that of a fault of 4 KiB, which is what
 * ru_minflt counts. The idea is that of the page fault tests in lmbench (McVoy and Staelin 1996).
 *
 * Prints the median over the rounds: time_ns is per page touched; "unmap ns" is per page given back.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, MAX_ROUNDS = 1000 };

typedef struct cost {
    double touch, unmap;
} cost;

static double touches[MAX_ROUNDS], unmaps[MAX_ROUNDS];

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static cost measure(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        perror("limit-touch: mmap");
        exit(1);
    }
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    double began = now_ns();
    for (size_t at = 0; at < bytes; at += PAGE)
        ((volatile char *)memory)[at] = 1;
    double touched = now_ns();
    munmap(memory, bytes);
    double pages = (double)(bytes / PAGE);
    return (cost){(touched - began) / pages, (now_ns() - touched) / pages};
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

static int argument(int argc, char **argv, int index, int otherwise, int most)
{
    int value = argc > index ? atoi(argv[index]) : otherwise;

    if (value >= 1 && value <= most)
        return value;
    fprintf(stderr, "usage: limit-touch [MIB [ROUNDS]]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    int mib = argument(argc, argv, 1, 64, 1 << 20);
    int rounds = argument(argc, argv, 2, 5, MAX_ROUNDS);

    for (int i = 0; i < rounds; i++) {
        cost one = measure((size_t)mib << 20);
        touches[i] = one.touch;
        unmaps[i] = one.unmap;
    }
    printf("{\"time_ns\": %.1f, \"figures\": {\"unmap ns\": %.1f}}\n", median(touches, rounds),
           median(unmaps, rounds));
    return 0;
}
