/*
 * A small google-benchmark in C: the same words (state, ranges, threads,
 * repetitions, counters), the same flags and the same JSON, so that its
 * tools/compare.py reads our results.
 *
 * Why not google-benchmark itself: it is C++ and allocates while it runs,
 * through the very malloc under test.  Here the measured loop is one register
 * counted down, and all the shim keeps lives in memory mapped directly, so the
 * heap under test holds only what a benchmark put there.
 */
#ifndef BM_H
#define BM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BM_MAX_ARGS = 4, BM_MAX_COUNTERS = 8, BM_MAX_THREADS = 64 };

typedef struct bm_family bm_family;

typedef struct bm_counter {
    const char *name;
    double value;
} bm_counter;

typedef struct bm_state {
    uint64_t left; /* used by bm_keep_running only */
    uint64_t max_iterations;
    uint64_t iterations;
    uint64_t items;
    const int64_t *args;
    int thread_index;
    int threads;
    const char *error;
    bool started;
    bool finished;
    void *start_gate; /* pthread_barrier_t, NULL with one thread */
    int64_t real_began, cpu_began;
    int64_t real_ns, cpu_ns;
    int64_t first_start, last_stop;
    int counter_count;
    bm_counter counters[BM_MAX_COUNTERS];
} bm_state;

typedef void bm_function(bm_state *state);

/* Registration; each returns the family, so that calls can be nested. */
bm_family *bm_register(const char *name, bm_function *function);
bm_family *bm_add_args(bm_family *family, int count, const int64_t *values);
bm_family *bm_add_arg(bm_family *family, int64_t value);
bm_family *bm_add_range(bm_family *family, int64_t low, int64_t high,
                        int64_t multiplier);
bm_family *bm_name_args(bm_family *family, const char *const *names);
bm_family *bm_add_threads(bm_family *family, int threads);
bm_family *bm_add_thread_range(bm_family *family, int low, int high);
/* Iterations are then chosen, and items counted, by the wall clock. */
bm_family *bm_use_real_time(bm_family *family);

/* Parses the flags, runs what they select; the result is the exit status. */
int bm_main(int argc, char **argv);

/* Inside a benchmark. */
uint64_t bm_begin(bm_state *state, uint64_t batch);
void bm_end(bm_state *state);
bool bm_keep_running_edge(bm_state *state);
void bm_pause_timing(bm_state *state);
void bm_resume_timing(bm_state *state);
/* Ends this run with a message; call it before the loop, or leave the loop. */
void bm_skip_with_error(bm_state *state, const char *message);
void bm_set_counter(bm_state *state, const char *name, double value);
/* Zeroed memory straight from the kernel, never from the malloc under test. */
void *bm_scratch(size_t bytes);
void bm_scratch_release(void *memory, size_t bytes);

static inline int64_t bm_arg(const bm_state *state, int index)
{
    return state->args[index];
}

static inline void bm_set_items(bm_state *state, uint64_t items)
{
    state->items = items;
}

static inline bool bm_keep_running(bm_state *state)
{
    if (__builtin_expect(state->left != 0, 1)) {
        state->left--;
        return true;
    }
    return bm_keep_running_edge(state);
}

/*
 * The measured loop.  The count stays in a register across the calls made in
 * the body: a decrement and a branch.  Do not `return` out of the body.
 * BM_LOOP_BATCH is for a body which does `batch` operations: the iterations
 * reported, and so the times, are then per operation.
 */
#define BM_LOOP(state) BM_LOOP_BATCH(state, 1)
#define BM_LOOP_BATCH(state, batch)                                            \
    for (uint64_t bm_rounds_ = bm_begin((state), (batch));                     \
         bm_rounds_ != 0 || (bm_end(state), false); bm_rounds_--)

/* Keeps a value, or all of memory, from being optimised away. */
static inline void bm_do_not_optimize(const void *value)
{
    __asm__ volatile("" : : "r,m"(value) : "memory");
}

static inline void bm_clobber_memory(void)
{
    __asm__ volatile("" : : : "memory");
}

#endif
