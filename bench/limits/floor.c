/*
 * libfloor.so: the least that a malloc and a free behind the usual two calls can cost. It is no allocator.
 *
 * Each size class is a stack of blocks in an array; malloc pops, free pushes, and nothing is checked but NULL: not
 * whether a stack is empty or full, not where a pointer comes from. A block's class is a part of its address, so free
 * reads no header, and the blocks themselves are never touched. The stacks belong to the one thread that the process
 * has: reached through a thread-local array, as an allocator would reach its cache, but only the first thread's are
 * filled, so a second thread that calls malloc dies. A program that holds more than STACK blocks of one class dies too.
 *
 * What remains is what nobody can leave out: two calls, a size made into a class, a pointer loaded, a pointer stored.
 *
 * The idea of an empty-bodied bound beside real allocators is that of the "null" or "bump" entries in published
 * comparisons; a bump pointer would not do here, since it takes fresh memory and its price is the page fault.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    FINE = 16,
    FINE_LIMIT = 1024, /* classes 1..64: 16, 32, ... 1024 bytes */
    COARSE = 1024,
    COARSE_LIMIT = 33 * 1024, /* classes 66..97: 2, 3, ... 33 KiB */
    FIRST_COARSE = FINE_LIMIT / FINE,
    BIG = 127,
    CLASSES = 128,
    STACK = 2048, /* blocks in each class */
    SHIFT = 27,   /* each class has 128 MiB of addresses */
    PAGE = 4096
};

static const size_t room = (size_t)CLASSES << SHIFT;

static __thread void **tops[CLASSES] __attribute__((tls_model("initial-exec")));
static char *base, *big_next;

static inline size_t class_of_size(size_t size)
{
    if (__builtin_expect(size > FINE_LIMIT, 0))
        return FIRST_COARSE + (size + COARSE - 1) / COARSE;
    return (size + FINE - 1) / FINE;
}

static inline size_t class_of(const void *block)
{
    return ((uintptr_t)block >> SHIFT) % CLASSES;
}

static size_t size_of_class(size_t class)
{
    return class <= FIRST_COARSE ? (class ? class : 1) * FINE : (class - FIRST_COARSE) * COARSE;
}

static char *start_of_class(size_t class)
{
    return base + (class << SHIFT);
}

static void die(const char *why)
{
    ssize_t ignored = write(STDERR_FILENO, why, strlen(why));
    (void)ignored;
    _exit(127);
}

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        die("floor: no address space\n");
    return memory;
}

/* The lowest address on top, as it would be in a fresh heap. */
static void **fill_stack(void **stack, size_t class)
{
    for (size_t i = 0; i < STACK; i++)
        stack[i] = start_of_class(class) + (STACK - 1 - i) * size_of_class(class);
    return stack + STACK;
}

__attribute__((constructor)) static void prepare(void)
{
    uintptr_t anywhere = (uintptr_t)map(2 * room);
    void **stacks = map(CLASSES * STACK * 2 * sizeof *stacks);

    base = (char *)((anywhere + room - 1) / room * room);
    for (size_t class = 0; class < BIG; class++)
        tops[class] = fill_stack(stacks + class * STACK * 2, class);
    /* What is too big for a class is never used again: its frees pile up unread. */
    tops[BIG] = stacks + BIG * STACK * 2;
    big_next = start_of_class(BIG);
}

static void *big(size_t alignment, size_t size)
{
    char *block = (char *)(((uintptr_t)big_next + alignment - 1) / alignment * alignment);

    if (size > (size_t)(base + room - block))
        return NULL;
    big_next = block + (size + PAGE - 1) / PAGE * PAGE + PAGE;
    return block;
}

__attribute__((noinline)) static void *malloc_big(size_t size)
{
    return big(PAGE, size);
}

EXPORT void *malloc(size_t size)
{
    if (__builtin_expect(size > COARSE_LIMIT, 0))
        return malloc_big(size);
    return *--tops[class_of_size(size)];
}

EXPORT void free(void *block)
{
    if (block)
        *tops[class_of(block)]++ = block;
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = malloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

EXPORT size_t malloc_usable_size(void *block)
{
    if (!block)
        return 0;
    return class_of(block) == BIG ? (size_t)(big_next - (char *)block) : size_of_class(class_of(block));
}

EXPORT void *realloc(void *old, size_t size)
{
    void *block = malloc(size);
    size_t held = malloc_usable_size(old);

    if (old && block) {
        memcpy(block, old, held < size ? held : size);
        free(old);
    }
    return block;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return alignment <= FINE ? malloc(size) : big(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    *out = aligned_alloc(alignment, size);
    return *out ? 0 : ENOMEM;
}
