/*
 * What the memory workloads share: objects that are checked, tables that are
 * not in the heap under test, RSS, and the line of JSON at the end.
 *
 * Terms.  Live is the sum of the sizes asked for, never what an allocator
 * rounds them to.  Heap is the RSS above the baseline, which is taken after the
 * tables are in memory and before the first malloc of the program: so neither
 * the tables nor the libraries count, but everything that the allocator maps
 * from then on does, its own records included.
 *
 * The seed is fixed and no decision depends on an address or a clock (but for
 * those that a file names), so every allocator sees the same calls.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "../random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { PAGE = 4096, MIB = 1 << 20 };

/* heap.c: errors, tables, arguments, clocks, sizes. */
_Noreturn void die(const char *why);
/* Zeroed, resident, straight from the kernel; call it before heap_begin(). */
void *table(size_t count, size_t size);
uint64_t table_bytes(void);
/* argv[index] as a number of low..high; ends the program with 2 if not. */
uint64_t argument(int argc, char **argv, int index, uint64_t low,
                  uint64_t high);
int64_t wall_ns(void);
/* Of all threads, and not lengthened by other processes. */
int64_t cpu_ns(void);
void sleep_ms(int milliseconds);
int64_t page_faults(void);

/* From 1 << low to below 1 << high, every octave as likely as any other. */
static inline uint32_t log_uniform(uint64_t *seed, uint32_t low, uint32_t high)
{
    uint32_t octave = 1u << (low + random_below(seed, high - low));

    return octave + random_below(seed, octave);
}

/* 8 B..8 KiB, half of it below 48, mean 170: the mix of micro's churn. */
uint32_t mixed_size(uint64_t *seed);

/*
 * An object.  What is written into it (its first word, its last byte, and a
 * byte in each page between) makes all of it resident and depends on `serial`,
 * so that a block given out twice or written over is found by slot_check().
 */
typedef struct slot {
    char *at;
    uint32_t size; /* at least 8 */
    uint32_t serial;
} slot;

extern uint64_t live_bytes, peak_live_bytes, objects_made;

static inline uint64_t slot_mark(const slot *s)
{
    return (s->serial + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);
}

static inline void slot_write(slot *s)
{
    uint64_t mark = slot_mark(s);

    for (uint32_t i = PAGE; i < s->size; i += PAGE)
        s->at[i] = (char)mark;
    s->at[s->size - 1] = (char)mark;
    *(uint64_t *)(void *)s->at = mark;
}

static inline void slot_make(slot *s, uint32_t size)
{
    s->at = malloc(size);
    if (__builtin_expect(!s->at, 0))
        die("malloc gave NULL");
    s->size = size;
    s->serial = (uint32_t)objects_made++;
    slot_write(s);
    live_bytes += size;
    if (live_bytes > peak_live_bytes)
        peak_live_bytes = live_bytes;
}

void slot_check(const slot *s);

/* For timed loops: the object is not read first. */
static inline void slot_drop_unread(slot *s)
{
    live_bytes -= s->size;
    free(s->at);
    s->at = NULL;
}

static inline void slot_drop(slot *s)
{
    slot_check(s);
    slot_drop_unread(s);
}

void shuffle(uint32_t *values, uint32_t count, uint64_t *seed);

/* A few objects replaced now and then, as a program does that is not busy. */
enum { WORKING_SET = 1000 };
void working_set_make(uint64_t *seed);
void working_set_churn(uint64_t *seed, int steps);
void working_set_drop(void);

/* rss.c: no stdio and no malloc, so that reading does not change the heap. */
typedef struct rollup {
    uint64_t rss_kb, pss_kb, private_dirty_kb, lazy_free_kb;
} rollup;

void heap_begin(void);
uint64_t heap_kb(void); /* now */
uint64_t heap_exact_kb(void); /* to the page, and slow */
uint64_t heap_peak_kb(void); /* as the kernel kept it, between samples too */
uint64_t process_peak_kb(void); /* the same with the baseline */
/* /proc/PID/smaps_rollup, which walks the page tables: not in a timed part. */
rollup read_rollup(int pid);

static inline double per_live(uint64_t kb, uint64_t bytes)
{
    return bytes ? (double)kb * 1024 / (double)bytes : 0;
}

static inline double megabytes(uint64_t kb)
{
    return (double)kb / 1024;
}

/* report.c */
void report_prepare(void);
void report_time(double nanoseconds_per_operation);
void report_figure(const char *name, double value);
/* A point of the series "rss" (the heap) and "live"; gives heap_kb(). */
uint64_t report_sample(void);
void report_send(void);

#endif
