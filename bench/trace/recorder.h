/* The recorder's two halves: where records go, and what is behind malloc. */
#ifndef TRACE_RECORDER_H
#define TRACE_RECORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/single_threaded.h>

#include "format.h"

/* Of one process.  In memory which fork wipes, so in a child it is off. */
typedef struct recorder_state {
    atomic_bool on;
    bool exit_at_limit;
    uint64_t limit;
    /* Lines of their own: every thread writes the first at every operation. */
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) _Atomic uint64_t file_end;
    _Atomic uint32_t threads;
    char path[4096 - 192];
} recorder_state;

/* Of one thread: its chunk. */
typedef struct recorder_thread {
    trace_record *cursor;
    trace_record *end; /* leaves room for one more */
    uint64_t base;
    chunk_header *chunk;
    uint32_t id;
    uint32_t next_bytes;
} recorder_thread;

extern recorder_state *recorder;
extern __thread recorder_thread recorder_own;

/* A place for a record with this ticket, or NULL: nothing is recorded now. */
trace_record *recorder_new_chunk(uint64_t ticket);
void recorder_stop_at_limit(void);

/*
 * The order of operations: one counter for the process, which while there is
 * one thread only need not be incremented with a lock.  A release takes its
 * ticket before the allocator has the block back, an allocation takes one
 * after it has the block; so whoever is given an address next has the later
 * ticket, the allocator's own synchronisation being between the two.  That is
 * why relaxed is enough.
 */
static inline uint64_t take_ticket(recorder_state *state)
{
    if (__libc_single_threaded) {
        uint64_t ticket = atomic_load_explicit(&state->ticket,
                                               memory_order_relaxed);
        atomic_store_explicit(&state->ticket, ticket + 1,
                              memory_order_relaxed);
        return ticket;
    }
    return atomic_fetch_add_explicit(&state->ticket, 1, memory_order_relaxed);
}

static inline trace_record *place_for(uint64_t ticket)
{
    recorder_thread *own = &recorder_own;

    if (__builtin_expect(own->cursor >= own->end ||
                         ticket - own->base > UINT32_MAX, 0))
        return recorder_new_chunk(ticket);
    return own->cursor;
}

/* The word which makes a record valid is written last. */
static inline void finish(trace_record *place, uint64_t what)
{
    atomic_store_explicit((_Atomic uint64_t *)&place->what, what,
                          memory_order_release);
}

static inline void record(record_kind kind, const void *block, size_t size,
                          unsigned align_shift)
{
    recorder_state *state = recorder;

    if (!atomic_load_explicit(&state->on, memory_order_relaxed))
        return;
    uint64_t ticket = take_ticket(state);
    if (__builtin_expect(ticket >= state->limit, 0)) {
        recorder_stop_at_limit();
        return;
    }
    trace_record *place = place_for(ticket);
    if (__builtin_expect(!place, 0))
        return;
    place->ticket = (uint32_t)(ticket - recorder_own.base);
    recorder_own.cursor = place + 1;
    if (__builtin_expect(size >= SIZE_FOLLOWS, 0)) {
        place->size = SIZE_FOLLOWS;
        recorder_own.cursor = place + 2;
        finish(place + 1, (size < ADDRESS_MASK ? size : ADDRESS_MASK) |
               (uint64_t)RECORD_SIZE << KIND_SHIFT);
    } else {
        place->size = (uint32_t)size;
    }
    finish(place, ((uintptr_t)block & ADDRESS_MASK) |
           (uint64_t)kind << KIND_SHIFT |
           (uint64_t)align_shift << ALIGN_SHIFT);
}

/* The allocator behind: each resolves all of them when first called. */
typedef struct next_allocator {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void (*free)(void *);
} next_allocator;

extern next_allocator next;

/* Blocks handed out while dlsym looked for the above. */
bool is_early(const void *block);
void *move_early(void *block, size_t size);

#endif
