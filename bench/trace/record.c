/*
 * malloc and its relatives, each recorded and handed on.  In the manner of the
 * tracers which come with allocators' test suites (such as Lockless's, or
 * malloc_trace in glibc's), but with an order across threads which a replay
 * can follow, and without a lock.
 *
 * free(NULL) and calls which fail are not recorded.  operator new and delete
 * come here through libstdc++, strdup and the like through libc.
 */
#include "recorder.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static unsigned log2_of(size_t alignment)
{
    return alignment ? 63u - (unsigned)__builtin_clzll(alignment) : 0;
}

EXPORT void *malloc(size_t size)
{
    void *block = next.malloc(size);

    if (block)
        record(RECORD_MALLOC, block, size, 0);
    return block;
}

/* If the product overflowed, there is no block. */
EXPORT void *calloc(size_t count, size_t size)
{
    void *block = next.calloc(count, size);

    if (block && !is_early(block))
        record(RECORD_CALLOC, block, count * size, 0);
    return block;
}

EXPORT void free(void *block)
{
    if (!block || is_early(block))
        return;
    record(RECORD_FREE, block, 0, 0);
    next.free(block);
}

/*
 * Two records: the old address is free for others from the first on, the new
 * one is this thread's from the second on.
 */
EXPORT void *realloc(void *old, size_t size)
{
    if (old && is_early(old))
        return move_early(old, size);
    if (old)
        record(RECORD_REALLOC_BEGIN, old, 0, 0);
    void *block = next.realloc(old, size);
    if (old || block)
        record(RECORD_REALLOC_END, block, size, 0);
    return block;
}

/* Not handed on: libc's calls realloc, which would record it again. */
EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, bytes);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    void *block = next.memalign(alignment, size);

    if (block)
        record(RECORD_MEMALIGN, block, size, log2_of(alignment));
    return block;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    void *block = next.aligned_alloc(alignment, size);

    if (block)
        record(RECORD_ALIGNED_ALLOC, block, size, log2_of(alignment));
    return block;
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
    int error = next.posix_memalign(block, alignment, size);

    if (!error && *block)
        record(RECORD_POSIX_MEMALIGN, *block, size, log2_of(alignment));
    return error;
}

EXPORT void *valloc(size_t size)
{
    return memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

EXPORT void *pvalloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes;

    if (__builtin_add_overflow(size, page - 1, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, bytes & ~(page - 1));
}
