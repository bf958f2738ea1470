/* SPDX-License-Identifier: MIT */
/*
 * libc's names. Each is a forward; malloc and free inline the fast path, so
 * that a preloaded program pays no jump.
 */
#include "bslab/bslab.h"

#include <errno.h>
#include <malloc.h>

#include "malloc/fast.h"

#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmissing-attributes"
#endif
#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t size)
{
	return malloc_fast(size);
}

EXPORT out_of_line void free(void *ptr)
{
	free_fast(ptr, HOME_FREE);
}

/* Removed from glibc's headers in 2.26, still exported for old programs. */
EXPORT void cfree(void *ptr) __attribute__((alias("free")));

EXPORT void *calloc(size_t count, size_t size)
{
	return bslab_calloc(count, size);
}

EXPORT out_of_line void *realloc(void *ptr, size_t size)
{
	return bslab_realloc(ptr, size);
}

/*
 * A program that brings its own malloc has malloc, free, calloc and realloc (glibc's manual asks for no more), and glibc's reallocarray()
 * calls its realloc. So does this one: by the name that the whole process knows (replaceable.list).
 */
EXPORT void *reallocarray(void *ptr, size_t count, size_t size)
{
	size_t total;

	if (unlikely(__builtin_mul_overflow(count, size, &total))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(ptr, total);
}

EXPORT void *memalign(size_t align, size_t size)
{
	return bslab_memalign(align, size);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	return bslab_aligned_alloc(align, size);
}

EXPORT int posix_memalign(void **ptr, size_t align, size_t size)
{
	return bslab_posix_memalign(ptr, align, size);
}

EXPORT void *valloc(size_t size)
{
	return bslab_valloc(size);
}

EXPORT void *pvalloc(size_t size)
{
	return bslab_pvalloc(size);
}

EXPORT size_t malloc_usable_size(void *ptr)
{
	return bslab_malloc_usable_size(ptr);
}

EXPORT void free_sized(void *ptr, size_t size);
void free_sized(void *ptr, size_t size)
{
	bslab_free_sized(ptr, size);
}

EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size);
void free_aligned_sized(void *ptr, size_t align, size_t size)
{
	bslab_free_aligned_sized(ptr, align, size);
}

EXPORT int malloc_trim(size_t pad)
{
	return bslab_malloc_trim(pad);
}

EXPORT void malloc_stats(void)
{
	bslab_malloc_stats();
}

EXPORT int malloc_info(int options, FILE *stream)
{
	return bslab_malloc_info(options, stream);
}

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct bslab_mallinfo m = bslab_mallinfo2();

	return (struct mallinfo2){m.arena,   m.ordblks, m.smblks,   m.hblks,	m.hblkhd,
				  m.usmblks, m.fsmblks, m.uordblks, m.fordblks, m.keepcost};
}

static int to_int(size_t n)
{
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
EXPORT struct mallinfo mallinfo(void)
{
	struct bslab_mallinfo m = bslab_mallinfo2();

	return (struct mallinfo){to_int(m.arena),    to_int(m.ordblks),	 to_int(m.smblks),  to_int(m.hblks),
				 to_int(m.hblkhd),   to_int(m.usmblks),	 to_int(m.fsmblks), to_int(m.uordblks),
				 to_int(m.fordblks), to_int(m.keepcost)};
}

EXPORT int mallopt(int param, int value)
{
	return bslab_mallopt(param, value);
}
