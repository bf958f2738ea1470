/* SPDX-License-Identifier: MIT */
/*
 * Heaps: memory of a library, a request or a plug-in, apart from everyone else's, with a limit and figures of its own,
 * that is freed all at once.
 *
 *     struct bslab_heap *h = bslab_heap_create("parser", 64 << 20, 0);
 *     struct node *n = bslab_heap_alloc(h, sizeof *n);
 *     ...
 *     bslab_heap_destroy(h);                  every block, freed or not
 *
 * Blocks are sized and aligned as malloc's, may be freed one by one, and belong to their heap: bslab_free() and the
 * like of such a block, and bslab_heap_free() of anything else, are reported by one line on stderr, and the process
 * aborts (bslab.h says how to survive that), as are a second free and a pointer inside a block; here all of them at
 * once.
 *
 * Threads: all calls may be made from any thread, but for destroy, after which nobody may use the heap or its blocks; a
 * heap with BSLAB_HEAP_UNLOCKED is one thread's at a time. Signals, fork: as for malloc. Cost: what malloc takes, for blocks up to
 * 32 KiB, in the thread that uses the heap; where another one comes it takes a barrier of all threads (membarrier, some us; the
 * first of a process with threads 10 ms and more), a few times, and from then on a lock. info walks over the slabs and large blocks.
 * Memory: whole pages, a slab for each size class in use, and some 4 KiB for the heap, up to 22 KiB for each size that grows as
 * below, which its limit does not count. Of each size up to 64 freed blocks, but no
 * more than 16 KiB or two blocks, wait to be allocated again before they go back to their slabs; of a size that comes and goes by
 * hundreds up to 1,024 blocks, or 64 KiB.
 */
#ifndef BSLAB_HEAP_H
#define BSLAB_HEAP_H

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bslab_heap;

enum bslab_heap_flags {
	BSLAB_HEAP_UNLOCKED = 1, /* the program sees to it that one thread at a time makes calls on it */
};

/*
 * limit: bytes of pages that its blocks may take, 0 for none; at it a call fails at once, and nobody else's memory is
 * asked for. The name is for messages; of more than 31 bytes the first ones, and what is no printable character, a quote
 * or a space becomes '_'. NULL with ENOMEM, or EINVAL: no name, unknown flags.
 */
BSLAB_API struct bslab_heap *bslab_heap_create(const char *name, size_t limit, unsigned flags);
/*
 * A heap in memory that the program brings: a file or shared memory that it has mapped, a device's memory, hugetlbfs, a
 * static array. Whole pages of it are used; what bslab keeps of them stands elsewhere, so blocks are all that is written
 * there, and what was in the memory is in the blocks (calloc writes its zeros). At its end a call fails with ENOMEM; alignments
 * up to 2 MiB. The memory has to stay until the heap is destroyed, and is the program's again then, as it stands. Of a
 * mapping that is shared with another process, or with a child after fork, one of them uses the heap. NULL with:
 *   EINVAL   no name, no address, unknown flags, not a whole page
 *   EBUSY    some of it is malloc's, or stands in the same 2 MiB (by address) as another such heap's
 *   ENOMEM   no memory for the heap, or for the descriptors of pages (0.2 %)
 */
BSLAB_API struct bslab_heap *bslab_heap_create_in(const char *name, void *addr, size_t size, unsigned flags);
/* The heap with all its blocks. NULL is fine. Costs by slabs and large blocks, not by blocks. */
BSLAB_API void bslab_heap_destroy(struct bslab_heap *heap);

/* As malloc, calloc, aligned_alloc: NULL with ENOMEM (also: the limit) or, of an alignment that is no power of two, EINVAL. */
BSLAB_API void *bslab_heap_alloc(struct bslab_heap *heap, size_t size) BSLAB_MALLOC __attribute__((alloc_size(2)));
BSLAB_API void *bslab_heap_calloc(struct bslab_heap *heap, size_t count, size_t size) BSLAB_MALLOC
    __attribute__((alloc_size(2, 3)));
BSLAB_API void *bslab_heap_aligned_alloc(struct bslab_heap *heap, size_t align, size_t size) BSLAB_MALLOC
    __attribute__((alloc_size(3)));
/* As realloc: a block of the same heap; ptr NULL allocates, size 0 frees and returns NULL. */
BSLAB_API void *bslab_heap_realloc(struct bslab_heap *heap, void *ptr, size_t size)
    __attribute__((warn_unused_result, alloc_size(3)));
/* NULL is fine. Keeps errno. */
BSLAB_API void bslab_heap_free(struct bslab_heap *heap, void *ptr);
BSLAB_API size_t bslab_heap_usable_size(struct bslab_heap *heap, void *ptr);

struct bslab_heap_info {
	const char *name;
	size_t nr_blocks;   /* that are live */
	size_t block_bytes; /* of them, rounded up as usable_size says */
	size_t size_bytes;  /* of the pages they stand in */
	size_t peak_bytes;  /* the most that was */
	size_t limit;
};
BSLAB_API void bslab_heap_info(struct bslab_heap *heap, struct bslab_heap_info *info);

#ifdef __cplusplus
}
#endif

#endif
