/* The edges of the measured loop: gates, clocks, counters. */
#include "bm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bm_resume_timing(bm_state *state)
{
    state->cpu_began = now_ns(CLOCK_THREAD_CPUTIME_ID);
    state->real_began = now_ns(CLOCK_MONOTONIC);
    if (state->first_start == 0)
        state->first_start = state->real_began;
}

void bm_pause_timing(bm_state *state)
{
    state->last_stop = now_ns(CLOCK_MONOTONIC);
    state->real_ns += state->last_stop - state->real_began;
    state->cpu_ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - state->cpu_began;
}

uint64_t bm_begin(bm_state *state, uint64_t batch)
{
    if (state->error)
        return 0;
    uint64_t rounds = (state->max_iterations + batch - 1) / batch;

    state->iterations = rounds * batch;
    state->started = true;
    if (state->start_gate)
        pthread_barrier_wait(state->start_gate);
    bm_resume_timing(state);
    return rounds;
}

/* No gate at the end: each thread's own last_stop is kept, and joined on. */
void bm_end(bm_state *state)
{
    if (!state->started || state->finished)
        return;
    bm_pause_timing(state);
    state->finished = true;
}

bool bm_keep_running_edge(bm_state *state)
{
    if (!state->started)
        state->left = bm_begin(state, 1);
    if (state->left == 0 || state->finished) {
        bm_end(state);
        return false;
    }
    state->left--;
    return true;
}

void bm_skip_with_error(bm_state *state, const char *message)
{
    state->error = message;
    state->left = 0;
}

void bm_set_counter(bm_state *state, const char *name, double value)
{
    if (state->counter_count == BM_MAX_COUNTERS) {
        fprintf(stderr, "bm: too many counters\n");
        abort();
    }
    state->counters[state->counter_count++] =
        (bm_counter){.name = name, .value = value};
}

void *bm_scratch(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        perror("bm: cannot map scratch memory");
        exit(1);
    }
    return memory;
}

void bm_scratch_release(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}
