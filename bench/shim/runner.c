/* Runs one case: its threads, and how many iterations it takes. */
#include "bm_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker {
    const bm_case *bench;
    bm_state state;
} worker;

/* Static: the shim takes nothing from the malloc under test. */
static worker workers[BM_MAX_THREADS];

static void *run_worker(void *argument)
{
    worker *self = argument;

    self->bench->family->function(&self->state);
    /* One which never reached its loop must not leave the others waiting. */
    if (!self->state.started && self->state.start_gate)
        pthread_barrier_wait(self->state.start_gate);
    if (!self->state.started && !self->state.error)
        self->state.error = "the benchmark has no measured loop";
    return NULL;
}

static void prepare_workers(const bm_case *bench, uint64_t iterations,
                            pthread_barrier_t *gate)
{
    for (int i = 0; i < bench->threads; i++) {
        workers[i].bench = bench;
        workers[i].state = (bm_state){
            .max_iterations = iterations,
            .args = bench->args,
            .thread_index = i,
            .threads = bench->threads,
            .start_gate = bench->threads > 1 ? gate : NULL,
        };
    }
}

/*
 * With one thread none is created: allocators and libc take other paths once
 * a process has had a second thread.
 */
static void run_workers(int threads)
{
    pthread_t ids[BM_MAX_THREADS];

    for (int i = 1; i < threads; i++) {
        int code = pthread_create(&ids[i], NULL, run_worker, &workers[i]);
        if (code != 0) {
            fprintf(stderr, "bm: cannot create a thread: %s\n",
                    strerror(code));
            exit(1);
        }
    }
    run_worker(&workers[0]);
    for (int i = 1; i < threads; i++)
        pthread_join(ids[i], NULL);
}

static void sum_counters(bm_result *result, const bm_state *state)
{
    if (result->counter_count == 0) {
        result->counter_count = state->counter_count;
        memcpy(result->counters, state->counters, sizeof result->counters);
        return;
    }
    for (int i = 0; i < state->counter_count; i++)
        result->counters[i].value += state->counters[i].value;
}

/* The wall time of many threads is from the first start to the last stop. */
static double wall_seconds(int threads)
{
    int64_t start = workers[0].state.first_start;
    int64_t stop = workers[0].state.last_stop;

    if (threads == 1)
        return (double)workers[0].state.real_ns * 1e-9;
    for (int i = 1; i < threads; i++) {
        const bm_state *state = &workers[i].state;
        start = state->first_start < start ? state->first_start : start;
        stop = state->last_stop > stop ? state->last_stop : stop;
    }
    return (double)(stop - start) * 1e-9;
}

static void collect(const bm_case *bench, bm_result *result)
{
    uint64_t items = 0;

    memset(result, 0, sizeof *result);
    for (int i = 0; i < bench->threads; i++) {
        const bm_state *state = &workers[i].state;
        result->iterations += state->iterations;
        result->cpu_s += (double)state->cpu_ns * 1e-9;
        items += state->items;
        sum_counters(result, state);
        if (state->error)
            result->error = state->error;
    }
    if (result->error || result->iterations == 0)
        return;
    result->real_s = wall_seconds(bench->threads);
    result->real_ns = result->real_s * 1e9 / (double)result->iterations;
    result->cpu_ns = result->cpu_s * 1e9 / (double)result->iterations;
    if (items > 0)
        result->items_per_second =
            (double)items /
            (bench->family->real_time ? result->real_s
                                      : result->cpu_s / bench->threads);
}

void bm_run_trial(const bm_case *bench, uint64_t iterations, bm_result *result)
{
    pthread_barrier_t gate;

    if (bench->threads > 1)
        pthread_barrier_init(&gate, NULL, (unsigned)bench->threads);
    prepare_workers(bench, iterations, &gate);
    run_workers(bench->threads);
    collect(bench, result);
    if (bench->threads > 1)
        pthread_barrier_destroy(&gate);
}

/* google-benchmark's rule: aim 1.4 times past, trust only a near miss. */
static uint64_t next_iterations(uint64_t iterations, double seconds,
                                double min_time)
{
    double multiplier = min_time * 1.4 / (seconds > 1e-9 ? seconds : 1e-9);

    if (seconds / min_time <= 0.1 && multiplier > 10.0)
        multiplier = 10.0;
    double next = multiplier * (double)iterations;
    if (next < (double)iterations + 1.0)
        next = (double)iterations + 1.0;
    return next > 1e9 ? 1000000000u : (uint64_t)next;
}

/* The last trial is a full measurement, so its result is handed back too. */
uint64_t bm_choose_iterations(const bm_case *bench, const bm_options *options,
                              bm_result *result)
{
    uint64_t iterations = options->fixed_iterations;

    if (iterations > 0) {
        bm_run_trial(bench, iterations, result);
        return iterations;
    }
    iterations = 1;
    for (;;) {
        bm_run_trial(bench, iterations, result);
        double seconds = bench->family->real_time ? result->real_s
                                                  : result->cpu_s;
        /* Five times: a machine shared with others can starve the CPU clock. */
        if (result->error || seconds >= options->min_time ||
            result->real_s >= 5 * options->min_time ||
            iterations >= 1000000000u)
            return iterations;
        iterations = next_iterations(iterations, seconds, options->min_time);
    }
}
