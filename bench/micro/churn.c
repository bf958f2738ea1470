/*
 * churn/LIVE: LIVE objects of mixed sizes are kept; each step takes one at
 * random, frees it, and puts a new one of a random size in its place, writing
 * its first word.  It models a long-running program with a steady heap, and is
 * the one benchmark here in which neither the size nor the address freed can
 * be predicted.  1,000 live is about 170 KB and fits in L2; 100,000 is about
 * 17 MB and does not.
 *
 * The scheme, replacing random slots of a working set, is that of glibc's
 * benchtests/bench-malloc-thread.c (libc-alpha, April 2014) and of larson.
 *
 * Sizes: churn draws an octave by the weights below and a size uniformly
 * within it: 8..1024 bytes, half of it below 48, with a tail of 2% to 8 KiB;
 * the mean is about 170.  That most objects are small and few are large is
 * what glibc's benchmark imitates with an inverse-square law over 4..32768;
 * ours is less steep (an inverse-square law from 8 makes half the objects 16
 * bytes or less), so that more than a few size classes take part.
 * churn_uniform draws uniformly from 8..1024, as larson does, and churn_wide
 * from 16..8000, the range of the chart in rpmalloc's README: with it most
 * objects lie beyond the sizes allocators make fastest.
 *
 * Slots and sizes are drawn before the clock starts.  Two short tables are
 * read in windows whose starts are drawn anew for each 256 steps, so that the
 * sequence does not repeat and the tables stay in cache; a slot is moved by an
 * offset drawn likewise, so that every slot is reached.
 *
 * churn_mt is the same in 1..8 threads, each with a live set of its own.
 */
#include "micro.h"

#include <stdlib.h>

enum { STEPS = 256, TABLE = 16384 };

static uint16_t mixed_sizes[TABLE + STEPS];
static uint16_t uniform_sizes[TABLE + STEPS];
static uint16_t wide_sizes[TABLE + STEPS];

/* Per cent of the objects with a size of 8<<i up to, not including, 16<<i. */
static const uint8_t octave_weights[] = {14, 24, 25, 16, 9, 6, 4, 1, 1};
enum { OCTAVES = sizeof octave_weights };

static uint16_t draw_mixed(uint64_t *seed)
{
    uint32_t ticket = random_below(seed, 100);
    uint32_t octave = 0;

    while (octave < OCTAVES - 1 && ticket >= octave_weights[octave])
        ticket -= octave_weights[octave++];
    uint32_t low = 8u << octave;
    /* The top two octaves share one ticket each: 1..2 KiB and 2..8 KiB. */
    uint32_t width = octave == OCTAVES - 1 ? 3 * low : low;
    return (uint16_t)(low + random_below(seed, width));
}

static void draw_sizes(void)
{
    uint64_t seed = 1;

    for (int i = 0; i < TABLE + STEPS; i++) {
        mixed_sizes[i] = draw_mixed(&seed);
        uniform_sizes[i] = (uint16_t)(8 + random_below(&seed, 1017));
        wide_sizes[i] = (uint16_t)(16 + random_below(&seed, 7985));
    }
}

/* One thread's part; all of it from bm_scratch. */
typedef struct churner {
    uint64_t seed;
    uint32_t live;
    const uint16_t *sizes;
    uint64_t **objects;
    uint32_t slots[TABLE + STEPS];
} churner;

static size_t object_bytes(uint32_t live)
{
    return (size_t)live * sizeof(uint64_t *);
}

static churner *make_churner(const bm_state *state, const uint16_t *sizes)
{
    churner *self = bm_scratch(sizeof *self);

    self->seed = UINT64_C(0x9E3779B97F4A7C15) * (state->thread_index + 1u);
    self->live = (uint32_t)bm_arg(state, 0);
    self->sizes = sizes;
    self->objects = bm_scratch(object_bytes(self->live));
    for (int i = 0; i < TABLE + STEPS; i++)
        self->slots[i] = random_below(&self->seed, self->live);
    return self;
}

static bool fill_live_set(churner *self)
{
    for (uint32_t i = 0; i < self->live; i++) {
        size_t size = self->sizes[random_below(&self->seed, TABLE)];
        self->objects[i] = malloc(size);
        if (!self->objects[i])
            return false;
        *self->objects[i] = i;
    }
    return true;
}

static void drop_churner(churner *self)
{
    for (uint32_t i = 0; i < self->live; i++)
        free(self->objects[i]);
    bm_scratch_release(self->objects, object_bytes(self->live));
    bm_scratch_release(self, sizeof *self);
}

static inline void churn_steps(churner *self)
{
    const uint32_t *slots = self->slots + random_below(&self->seed, TABLE);
    const uint16_t *sizes = self->sizes + random_below(&self->seed, TABLE);
    uint32_t live = self->live;
    uint32_t offset = random_below(&self->seed, live);

    for (int i = 0; i < STEPS; i++) {
        uint32_t slot = slots[i] + offset;
        slot = slot < live ? slot : slot - live;
        free(self->objects[slot]);
        uint64_t *object = malloc(sizes[i]);
        *object = slot;
        self->objects[slot] = object;
    }
}

static void run_churn(bm_state *state, const uint16_t *sizes)
{
    churner *self = make_churner(state, sizes);

    if (!fill_live_set(self))
        bm_skip_with_error(state, "out of memory");
    BM_LOOP_BATCH(state, STEPS)
        churn_steps(self);
    bm_set_items(state, state->iterations);
    drop_churner(self);
}

static void churn(bm_state *state)
{
    run_churn(state, mixed_sizes);
}

static void churn_uniform(bm_state *state)
{
    run_churn(state, uniform_sizes);
}

static void churn_wide(bm_state *state)
{
    run_churn(state, wide_sizes);
}

static void add_live_sets(bm_family *family)
{
    bm_add_arg(family, 1000);
    bm_add_arg(family, 10000);
    bm_add_arg(family, 100000);
}

void register_churn(void)
{
    draw_sizes();
    add_live_sets(bm_register("churn", churn));
    add_live_sets(bm_register("churn_uniform", churn_uniform));
    add_live_sets(bm_register("churn_wide", churn_wide));

    bm_family *many = bm_register("churn_mt", churn);
    bm_add_arg(many, 1000);
    bm_use_real_time(bm_add_thread_range(many, 1, 8));
}
