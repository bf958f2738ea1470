/* SPDX-License-Identifier: MIT */
/*
 * bslab: a malloc built the way the Linux kernel manages memory.
 *
 * libbslab.so, preloaded or linked, replaces malloc, free and C++'s operators
 * new and delete. The calls below are the same allocator under names of its
 * own, so that a program can use it beside another malloc. Memory of either set
 * of names may be passed to the other only where bslab is also the malloc of
 * the process.
 *
 * Units are bytes unless a name says otherwise. Alignment: a size that is a
 * multiple of 2^k, up to 4096, gives an address that is one; 16 at least from
 * 16 bytes up, 8 below. With BSLAB_CONF=hardened=yes, 16 and no more
 * (docs/hardened.md).
 *
 * Errors: a call that cannot allocate returns NULL and sets errno to ENOMEM; the
 * process can go on. A pointer that is not the start of a live block (freed
 * before, inside a block, never allocated) is reported by one line on stderr,
 * "bslab: ...", and the process aborts; with BSLAB_CONF=on_error=warn the call
 * does nothing instead. docs/errors.md says which misuse is seen when.
 * No call changes errno when it succeeds; bslab_free never does.
 *
 * Threads: all calls may be made from any thread, and a block may be freed by any thread. Here and in the other headers a thread
 * is one that bslab's own libc made; one of clone() by hand, or of another libc in a namespace of dlmopen(), is unknown to it
 * (<sys/single_threaded.h>), and may not call malloc while no other thread was ever made; nor under glibc's malloc.
 *
 * Signals: none of the calls may be made from a signal handler, as POSIX says of malloc. fork: all calls may be
 * made in the child of a threaded process, but for one that forks while another thread is within the first call of all. vfork: not in
 * the child.
 *
 * Cost: "fast" below is some twenty instructions, without lock or system call, for sizes up to 32 KiB, and once in
 * some dozens to hundreds of calls a swap of a full for an empty array under a lock. The calls take up to 3.5 KiB of the stack, which
 * coroutines have to have; those that write reports, and misuse, more.
 */
#ifndef BSLAB_BSLAB_H
#define BSLAB_BSLAB_H

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BSLAB_VERSION_MAJOR 0
#define BSLAB_VERSION_MINOR 1
#define BSLAB_VERSION_PATCH 0

#define BSLAB_API __attribute__((visibility("default")))
#if defined(__has_attribute)
#if __has_attribute(malloc)
#define BSLAB_MALLOC __attribute__((malloc, warn_unused_result))
#endif
#endif
#ifndef BSLAB_MALLOC
#define BSLAB_MALLOC
#endif

/* A block of at least size bytes; size 0 gives a block of its own. Fast. */
BSLAB_API void *bslab_malloc(size_t size) BSLAB_MALLOC __attribute__((alloc_size(1)));
/* Releases a block; NULL is fine. Keeps errno. Fast. */
BSLAB_API void bslab_free(void *ptr);
/* count * size zero bytes; ENOMEM when the product overflows. Pages fresh from the kernel are not written. */
BSLAB_API void *bslab_calloc(size_t count, size_t size) BSLAB_MALLOC __attribute__((alloc_size(1, 2)));
/*
 * Changes a block's size, moving it if it must; contents up to the smaller size are kept. ptr NULL is malloc, size 0
 * frees and returns NULL (as glibc does). On failure the block is as it was; a request for less does not fail, but in the hardened
 * mode. What outgrows its place is copied below 256 KiB; from there on its pages are moved, unless the process takes such
 * memory back so often that warm copies cost less.
 */
BSLAB_API void *bslab_realloc(void *ptr, size_t size) __attribute__((warn_unused_result, alloc_size(2)));
BSLAB_API void *bslab_reallocarray(void *ptr, size_t count, size_t size)
    __attribute__((warn_unused_result, alloc_size(2, 3)));

/* C11; align must be a power of two, else EINVAL. Fast where align is at most 4096 and the size at most 32 KiB. */
BSLAB_API void *bslab_aligned_alloc(size_t align, size_t size) BSLAB_MALLOC
    __attribute__((alloc_size(2), alloc_align(1)));
/* The same; an align that is no power of two is rounded up to one, as glibc does. */
BSLAB_API void *bslab_memalign(size_t align, size_t size) BSLAB_MALLOC __attribute__((alloc_size(2)));
/* Returns 0, EINVAL (align no power of two times sizeof(void *)) or ENOMEM; errno is not set. */
BSLAB_API int bslab_posix_memalign(void **ptr, size_t align, size_t size);
/* Aligned to a page of the machine; pvalloc also rounds the size up to one. */
BSLAB_API void *bslab_valloc(size_t size) BSLAB_MALLOC;
BSLAB_API void *bslab_pvalloc(size_t size) BSLAB_MALLOC;

/* How many bytes of the block may be used: at least as many as asked for. 0 for NULL. */
BSLAB_API size_t bslab_malloc_usable_size(void *ptr);

/* C23: like free. A size, or an alignment, that the block cannot have been allocated with is reported. */
BSLAB_API void bslab_free_sized(void *ptr, size_t size);
BSLAB_API void bslab_free_aligned_sized(void *ptr, size_t align, size_t size);

/*
 * Gives everything that is not in use back to the OS: empties the caches of all CPUs, releases empty slabs and drops
 * free pages. pad: bytes of free pages to keep. Returns 1 if any page was given back, else 0. Slow: milliseconds.
 */
BSLAB_API int bslab_malloc_trim(size_t pad);
/*
 * Statistics. Each of the three calls costs what a report does (insight.h), and allocates nothing but a mapping of some 400 KiB
 * for the time of the call. This one: as text on stderr; where there is no memory for the mapping, one line that says so.
 */
BSLAB_API void bslab_malloc_stats(void);
/*
 * As XML. 0; or -1 with EINVAL for options that are not 0, ENOMEM where there is no memory for the mapping, or the stream's errno
 * where it does not take them.
 */
BSLAB_API int bslab_malloc_info(int options, FILE *stream);

/* The fields of glibc's struct mallinfo2, with what they mean here. */
struct bslab_mallinfo {
	size_t arena;	 /* bytes of committed pageblocks */
	size_t ordblks;	 /* free page blocks in buddies and free pageblocks */
	size_t smblks;	 /* free objects in slabs and caches */
	size_t hblks;	 /* large blocks with a mapping of their own */
	size_t hblkhd;	 /* their bytes */
	size_t usmblks;	 /* 0 */
	size_t fsmblks;	 /* bytes of free objects in slabs and caches */
	size_t uordblks; /* bytes in use */
	size_t fordblks; /* bytes committed and free */
	size_t keepcost; /* bytes that malloc_trim could give back at once: dirty free pages */
};
/* All 0 where there is no memory for the mapping. */
BSLAB_API struct bslab_mallinfo bslab_mallinfo2(void);

/*
 * glibc's parameters. M_TRIM_THRESHOLD: bytes of free dirty pages that are kept. M_MMAP_THRESHOLD: size from which a
 * block is a mapping of its own (at least 2 MiB). M_CHECK_ACTION: bit 1 clear means warn only. M_PERTURB: fills new
 * blocks with the complement of the byte. The others have no meaning here and are accepted. 1: known, 0: not, or a
 * bad value.
 */
BSLAB_API int bslab_mallopt(int param, int value);

/*
 * Limits of what the heap may take, in bytes, rounded up to pages; 0: none. They replace those of the options
 * soft_limit and hard_limit. Near the soft one, caches are emptied and free pages given back before more is taken;
 * nothing is refused. What would pass the hard one fails with ENOMEM until enough is freed;
 * threads that ask at the same moment may pass it together, by what they ask for. 0, or EINVAL when the soft
 * limit is above the hard one. A hard one takes locks. The memory limit of the process's cgroup is a soft one as well.
 */
BSLAB_API int bslab_set_limits(size_t soft, size_t hard);

/* How the caches are indexed in this process: "mm_cid", "cpu_id" (per CPU, rseq) or "thread". */
BSLAB_API const char *bslab_index_mode(void);

#ifdef __cplusplus
}
#endif

#endif
