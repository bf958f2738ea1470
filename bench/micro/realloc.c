/*
 * realloc growth, the shapes met in practice; times are per realloc.
 *
 * realloc_string: a string built by appending: 16 bytes, then 24 more at a
 * time, to 4 KiB.  Most steps stay within a size class, if there are such.
 * realloc_vector: two arrays of 16 bytes doubled in turn to 1 MiB, so that
 * neither can simply grow into what follows it.
 * realloc_large: a buffer of 1 MiB grown by half at a time to 64 MiB, each new
 * page written once: here it matters whether pages are moved (mremap) or
 * copied.
 * realloc_append: a buffer of up to 2 MiB, 16 bytes more at a time.
 * realloc_buffers: two buffers of up to 2 MiB, a page more at a time, in turn.
 *
 * No published benchmark is the model: 24 bytes is a word or a field appended,
 * doubling is what C++'s vectors do, and half at a time what many others do.
 */
#include "micro.h"

#include <stdlib.h>

enum {
    STRING_FIRST = 16,
    STRING_STEP = 24,
    STRING_LAST = 4096,
    STRING_STEPS = (STRING_LAST - STRING_FIRST) / STRING_STEP + 1
};

static void realloc_string(bm_state *state)
{
    BM_LOOP_BATCH(state, STRING_STEPS) {
        char *text = NULL;
        for (size_t i = 0; i < STRING_STEPS; i++) {
            size_t size = STRING_FIRST + i * STRING_STEP;
            text = realloc(text, size);
            text[size - 1] = 'x';
        }
        free(text);
    }
    bm_set_items(state, state->iterations);
}

enum { VECTOR_FIRST = 16, VECTOR_STEPS = 17 };

static void realloc_vector(bm_state *state)
{
    BM_LOOP_BATCH(state, 2 * VECTOR_STEPS) {
        char *left = NULL, *right = NULL;
        for (size_t i = 0; i < VECTOR_STEPS; i++) {
            size_t size = (size_t)VECTOR_FIRST << i;
            left = realloc(left, size);
            left[size - 1] = 'l';
            right = realloc(right, size);
            right[size - 1] = 'r';
        }
        free(left);
        free(right);
    }
    bm_set_items(state, state->iterations);
}

static const size_t large_first = 1u << 20, large_last = 64u << 20;
enum { PAGE = 4096, LARGE_STEPS = 11 };

static void realloc_large(bm_state *state)
{
    BM_LOOP_BATCH(state, LARGE_STEPS) {
        char *buffer = NULL;
        size_t written = 0;
        for (size_t size = large_first; size < large_last; size += size / 2) {
            buffer = realloc(buffer, size);
            for (; written < size; written += PAGE)
                buffer[written] = 'x';
        }
        free(buffer);
    }
    bm_set_items(state, state->iterations);
}

static const size_t append_last = 2u << 20;

/* So many buffers in turn. */
static void append(bm_state *state, size_t nr_buffers, size_t step)
{
    BM_LOOP_BATCH(state, nr_buffers * (append_last / step)) {
        char *buffer[2] = {NULL, NULL};
        for (size_t size = step; size <= append_last; size += step)
            for (size_t i = 0; i < nr_buffers; i++) {
                buffer[i] = realloc(buffer[i], size);
                buffer[i][size - 1] = 'x';
            }
        for (size_t i = 0; i < nr_buffers; i++)
            free(buffer[i]);
    }
    bm_set_items(state, state->iterations);
}

static void realloc_append(bm_state *state)
{
    append(state, 1, STRING_FIRST);
}

static void realloc_buffers(bm_state *state)
{
    append(state, 2, PAGE);
}

void register_realloc(void)
{
    bm_register("realloc_string", realloc_string);
    bm_register("realloc_vector", realloc_vector);
    bm_register("realloc_large", realloc_large);
    bm_register("realloc_append", realloc_append);
    bm_register("realloc_buffers", realloc_buffers);
}
