/*
 * The allocator behind the recorder: the next malloc in the search order, be
 * it libc's or one the program is linked with.
 *
 * dlsym allocates itself in some cases (glibc: for an error, or an object's
 * first lookup).  What is asked for meanwhile comes from a small array and is
 * never given back.  That this happens before there are threads, or under the
 * loader's lock, is not relied upon: the array's end moves atomically.
 */
#include "recorder.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EARLY_BYTES = 16384, EARLY_ALIGN = 16 };

static _Alignas(64) char early[EARLY_BYTES];
static _Atomic size_t early_used;
static atomic_bool resolving;

bool is_early(const void *block)
{
    return (uintptr_t)block - (uintptr_t)early < EARLY_BYTES;
}

static void die(const char *message)
{
    syscall(SYS_write, STDERR_FILENO, message, strlen(message));
    syscall(SYS_exit_group, 127);
}

/* Zeroed, as static memory is. */
static void *early_block(size_t size)
{
    size_t bytes = (size + EARLY_ALIGN - 1) & ~(size_t)(EARLY_ALIGN - 1);
    size_t at = atomic_fetch_add(&early_used, bytes);

    return size <= EARLY_BYTES && at + bytes <= EARLY_BYTES ? early + at
                                                            : NULL;
}

/* How long it was is not kept: what follows it in the array does no harm. */
void *move_early(void *block, size_t size)
{
    char *moved = next.malloc(size);
    size_t most = (size_t)(early + EARLY_BYTES - (char *)block);

    return moved ? memcpy(moved, block, size < most ? size : most) : NULL;
}

static void *find(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found)
        die("librecord: no next allocator\n");
    return found;
}

/* False: this is dlsym asking. */
static bool resolve(void)
{
    if (atomic_exchange(&resolving, true))
        return false;
    next_allocator found = {
        .malloc = find("malloc"),
        .calloc = find("calloc"),
        .realloc = find("realloc"),
        .memalign = find("memalign"),
        .aligned_alloc = find("aligned_alloc"),
        .posix_memalign = find("posix_memalign"),
        .free = find("free"),
    };
    next = found;
    return true;
}

static void *first_malloc(size_t size)
{
    return resolve() ? next.malloc(size) : early_block(size);
}

static void *first_calloc(size_t count, size_t size)
{
    return resolve() ? next.calloc(count, size) : early_block(count * size);
}

static void *first_realloc(void *old, size_t size)
{
    if (resolve())
        return next.realloc(old, size);
    return old ? NULL : early_block(size);
}

static void *first_memalign(size_t alignment, size_t size)
{
    return resolve() ? next.memalign(alignment, size) : NULL;
}

static void *first_aligned_alloc(size_t alignment, size_t size)
{
    return resolve() ? next.aligned_alloc(alignment, size) : NULL;
}

static int first_posix_memalign(void **block, size_t alignment, size_t size)
{
    return resolve() ? next.posix_memalign(block, alignment, size) : -1;
}

static void first_free(void *block)
{
    if (resolve())
        next.free(block);
}

next_allocator next = {
    first_malloc, first_calloc, first_realloc, first_memalign,
    first_aligned_alloc, first_posix_memalign, first_free,
};
