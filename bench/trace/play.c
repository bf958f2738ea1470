/*
 * The loop over a prepared trace.  It reads eight bytes for most operations,
 * in order; what else an operation costs is the allocator's, and the misses of
 * touching the block, which are the allocator's choice of address.
 *
 * With threads, the order between them is kept by two kinds of wait: for a
 * slot to be filled, and for the slowest thread to come within the window.
 * Who waits yields the processor, and then sleeps: there may be more threads
 * than cores.  The CPU time of waiting is the replay's, and not counted.
 */
#include "play.h"
#include "rss.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CACHE_LINE = 64, PAGE = 4096, ALWAYS = 16 };

typedef struct progress {
    _Alignas(CACHE_LINE) _Atomic uint64_t index; /* reached, not yet done */
} progress;

static progress *reached;
static player *playing;
static _Atomic uint32_t running;
static _Atomic int64_t waiting_ns;
static sem_t all_done;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool is_threaded(const player *self)
{
    return self->script->header->streams > 1;
}

/* With one thread the clocks stand still meanwhile. */
static void take_sample(player *self, uint32_t number)
{
    play_sample *sample = &self->samples[number];
    int64_t wall = clock_ns(CLOCK_MONOTONIC);

    if (is_threaded(self)) {
        *sample = (play_sample){wall - self->began_ns, rss_kb()};
        return;
    }
    int64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    sample->time_ns = cpu - self->began_cpu_ns - self->sampling_cpu_ns;
    sample->rss_kb = rss_kb();
    self->sampling_cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    self->sampling_wall_ns += clock_ns(CLOCK_MONOTONIC) - wall;
}

/* Turns 0, 1, ... of one wait. */
static void wait_a_turn(unsigned turn)
{
    static const struct timespec nap = {.tv_nsec = 20000};

    if (turn < 64)
        __asm__ volatile("" ::: "memory");
    else if (turn < 256)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

static bool is_behind(uint32_t stream, uint64_t index)
{
    return atomic_load_explicit(&reached[stream].index,
                                memory_order_acquire) < index;
}

static void count_wait(int64_t since)
{
    atomic_fetch_add_explicit(&waiting_ns,
                              clock_ns(CLOCK_THREAD_CPUTIME_ID) - since,
                              memory_order_relaxed);
}

static void wait_for_stream(uint32_t stream, uint64_t index)
{
    int64_t since = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    for (unsigned turn = 0; is_behind(stream, index); turn++)
        wait_a_turn(turn);
    count_wait(since);
}

static void keep_to_window(uint32_t stream, uint64_t index)
{
    const script_header *header = playing->script->header;

    atomic_store_explicit(&reached[stream].index, index,
                          memory_order_release);
    if (index < header->window)
        return;
    for (uint32_t i = 0; i < header->streams; i++)
        if (is_behind(i, index - header->window))
            wait_for_stream(i, index - header->window);
}

static void *load_slot(player *self, uint32_t slot)
{
    return atomic_load_explicit((_Atomic(void *) *)&self->slots[slot],
                                memory_order_relaxed);
}

static void store_slot(player *self, uint32_t slot, void *block)
{
    atomic_store_explicit((_Atomic(void *) *)&self->slots[slot], block,
                          memory_order_release);
}

static void *read_slot(player *self, uint32_t slot)
{
    return atomic_load_explicit((_Atomic(void *) *)&self->slots[slot],
                                memory_order_acquire);
}

static void *wait_for_slot(player *self, uint32_t slot)
{
    void *block = read_slot(self, slot);

    if (__builtin_expect(block != NULL, 1))
        return block;
    int64_t since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned turn = 0; !block; turn++) {
        wait_a_turn(turn);
        block = read_slot(self, slot);
    }
    count_wait(since);
    return block;
}

static void write_every(volatile char *block, size_t from, size_t size,
                        size_t step)
{
    for (size_t i = from; i < size; i += step)
        block[i] = 1;
    if (size > step)
        block[size - 1] = 1;
}

/* What is new in a block: from old, which is 0 for one just made. */
static inline void write_new(player *self, void *block, size_t old,
                             size_t size)
{
    if (old >= size || self->touch == TOUCH_NONE)
        return;
    if (__builtin_expect(self->touch == TOUCH_PAGES, 1)) {
        ((volatile char *)block)[old] = 1;
        if (__builtin_expect(size - old > PAGE, 0))
            write_every(block, old + PAGE, size, PAGE);
    } else if (self->touch == TOUCH_FIRST) {
        ((volatile char *)block)[old] = 1;
    } else if (self->touch == TOUCH_LINES) {
        write_every(block, old, size, CACHE_LINE);
    } else {
        memset((char *)block + old, 1, size - old);
    }
}

/* Checking: every byte of a block is its slot's until the block's end. */
static unsigned char mark_of(uint32_t slot)
{
    return (unsigned char)(1 + slot % 255);
}

static bool holds(const unsigned char *block, unsigned char mark, size_t size)
{
    return size == 0 ||
           (block[0] == mark && memcmp(block, block + 1, size - 1) == 0);
}

static void check_old(uint32_t slot, const void *block, size_t size)
{
    if (!holds(block, mark_of(slot), size))
        fail("corrupt: block %p of %zu bytes has been written to by another",
             block, size);
}

static void check_made(player *self, uint32_t slot, void *block, size_t size,
                       size_t alignment)
{
    if ((uintptr_t)block % alignment ||
        (size >= ALWAYS && (uintptr_t)block % ALWAYS))
        fail("corrupt: block %p of %zu bytes is not aligned", block, size);
    self->sizes[slot] = size;
    if (size)
        memset(block, mark_of(slot), size);
}

_Noreturn static void no_memory(size_t size)
{
    fail("out of memory: %zu bytes", size);
}

static inline void made(player *self, uint32_t slot, void *block, size_t size)
{
    if (__builtin_expect(!block && size, 0))
        no_memory(size);
    if (__builtin_expect(self->check, 0))
        check_made(self, slot, block, size, 1);
    write_new(self, block, 0, size);
    store_slot(self, slot, block);
}

static inline void make_zeroed(player *self, uint32_t slot, size_t size)
{
    void *block = calloc(1, size);

    if (__builtin_expect(self->check, 0) && block && !holds(block, 0, size))
        fail("corrupt: calloc of %zu bytes is not zero", size);
    made(self, slot, block, size);
}

static inline void end(player *self, uint32_t slot, void *block)
{
    if (__builtin_expect(self->check, 0) && block) {
        check_old(slot, block, self->sizes[slot]);
        self->sizes[slot] = 0;
    }
    free(block);
}

typedef struct resize {
    uint32_t slot, old_slot;
    size_t size, old_size;
    bool waits;
} resize;

static inline void *old_block(player *self, const resize *how)
{
    if (how->old_slot == NO_SLOT)
        return NULL;
    return how->waits ? wait_for_slot(self, how->old_slot)
                      : load_slot(self, how->old_slot);
}

static void check_resized(player *self, const resize *how, void *block)
{
    size_t kept = how->old_size < how->size ? how->old_size : how->size;

    if (how->old_slot != NO_SLOT) {
        check_old(how->old_slot, block, kept);
        self->sizes[how->old_slot] = 0;
    }
    check_made(self, how->slot, block, how->size, 1);
}

static inline void run_resize(player *self, const resize *how)
{
    void *block = realloc(old_block(self, how), how->size);

    if (__builtin_expect(!block && how->size, 0))
        no_memory(how->size);
    if (__builtin_expect(self->check, 0))
        check_resized(self, how, block);
    else
        write_new(self, block, how->old_size, how->size);
    store_slot(self, how->slot, block);
}

static inline void run_realloc(player *self, const uint64_t *at, bool waits)
{
    run_resize(self, &(resize){word_slot(at[0]), (uint32_t)at[1],
                               word_size(at[0]), at[1] >> 32, waits});
}

static void *aligned(wide_call call, size_t alignment, size_t size)
{
    void *block = NULL;

    if (call == WIDE_ALIGNED_ALLOC)
        return aligned_alloc(alignment, size);
    if (call == WIDE_MEMALIGN)
        return memalign(alignment, size);
    return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

static void run_wide(player *self, const wide_operation *wide)
{
    wide_call call = (wide_call)word_size(wide->word);
    uint32_t slot = word_slot(wide->word);
    size_t alignment = (size_t)1 << wide->align_shift;

    if (call == WIDE_MALLOC) {
        made(self, slot, malloc(wide->size), wide->size);
    } else if (call == WIDE_CALLOC) {
        make_zeroed(self, slot, wide->size);
    } else if (call == WIDE_REALLOC || call == WIDE_REALLOC_WAIT) {
        run_resize(self, &(resize){slot, wide->old_slot, wide->size,
                                   wide->old_size, call == WIDE_REALLOC_WAIT});
    } else {
        made(self, slot, aligned(call, alignment, wide->size), wide->size);
        if (self->check)
            check_made(self, slot, self->slots[slot], wide->size, alignment);
    }
}

static void run_stream(player *self, uint32_t number);

/* The last to be done takes the time. */
static void finish_stream(player *self, uint32_t number)
{
    atomic_store_explicit(&reached[number].index, UINT64_MAX / 2,
                          memory_order_release);
    if (atomic_fetch_sub(&running, 1) > 1)
        return;
    self->wall_ns = clock_ns(CLOCK_MONOTONIC) - self->began_ns -
                    self->sampling_wall_ns;
    self->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - self->began_cpu_ns -
                   self->sampling_cpu_ns - atomic_load(&waiting_ns);
    sem_post(&all_done);
}

static void *thread_main(void *number)
{
    run_stream(playing, (uint32_t)(uintptr_t)number);
    return NULL;
}

static void spawn(uint32_t number)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, thread_main,
                               (void *)(uintptr_t)number);

    if (error)
        fail("cannot start a thread: %s", strerror(error));
    pthread_detach(thread);
}

static void run_other(player *self, uint32_t number, const uint64_t *at)
{
    switch (word_kind(*at)) {
    case SCRIPT_WIDE: run_wide(self, (const void *)at); break;
    case SCRIPT_SAMPLE: take_sample(self, word_size(*at)); break;
    case SCRIPT_SPAWN: spawn(word_size(*at)); break;
    case SCRIPT_PROGRESS: keep_to_window(number, at[1]); break;
    default: fail("operation of an unknown kind");
    }
}

static void run_stream(player *self, uint32_t number)
{
    const uint64_t *at =
        stream_words(self->script, &self->script->streams[number]);

    for (;;) {
        uint64_t word = *at;
        uint32_t slot = word_slot(word);
        uint32_t size = word_size(word);
        switch (word_kind(word)) {
        case SCRIPT_MALLOC:
            made(self, slot, malloc(size), size);
            at++;
            break;
        case SCRIPT_CALLOC:
            make_zeroed(self, slot, size);
            at++;
            break;
        case SCRIPT_FREE:
            end(self, slot, load_slot(self, slot));
            at++;
            break;
        case SCRIPT_FREE_WAIT:
            end(self, slot, wait_for_slot(self, slot));
            at++;
            break;
        case SCRIPT_REALLOC:
            run_realloc(self, at, false);
            at += 2;
            break;
        case SCRIPT_REALLOC_WAIT:
            run_realloc(self, at, true);
            at += 2;
            break;
        case SCRIPT_END:
            finish_stream(self, number);
            return;
        default:
            run_other(self, number, at);
            at += script_words(word_kind(word));
        }
    }
}

static void check_live(player *self)
{
    for (uint32_t i = 0; i < self->script->header->slots; i++)
        if (self->sizes[i])
            check_old(i, self->slots[i], self->sizes[i]);
}

void play(player *self)
{
    uint32_t streams = self->script->header->streams;

    playing = self;
    reached = pages(streams * sizeof *reached);
    for (uint32_t i = 0; i < streams; i++)
        reached[i].index = self->script->streams[i].first;
    running = streams;
    sem_init(&all_done, 0, 0);
    self->began_ns = clock_ns(CLOCK_MONOTONIC);
    self->began_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    run_stream(self, 0);
    while (sem_wait(&all_done) != 0)
        if (errno != EINTR)
            fail("sem_wait: %s", strerror(errno));
    if (self->check)
        check_live(self);
}
