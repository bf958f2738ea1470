/* SPDX-License-Identifier: MIT */
/*
 * kmalloc with flags, vmalloc, mempools and scopes, as the kernel has them.
 *
 * Blocks of bslab_kmalloc(), bslab_krealloc(), bslab_kvmalloc() and bslab_vmalloc() are malloc's: bslab_free() frees
 * each of them, and where bslab is the malloc of the process, so does free(). Elements of a mempool go back to it.
 *
 * Threads: all calls may be made from any thread, but for the ends of mempools and scopes. Errors: NULL and errno ENOMEM where
 * nothing else is said, EINVAL for flags that are not among these; misuse as bslab.h has it.
 */
#ifndef BSLAB_KMALLOC_H
#define BSLAB_KMALLOC_H

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

enum bslab_gfp {
	BSLAB_GFP_KERNEL = 0, /* as malloc */
	BSLAB_GFP_ZERO = 1,
	/*
	 * From a NOWAIT pool (bslab_nowait_pool()), or NULL at once: no system call, no lock that could be waited for,
	 * no page fault. For threads that have a deadline. Wins over NOFAIL.
	 */
	BSLAB_GFP_NOWAIT = 2,
	/* Does not return before there is memory, but for sizes that can never be; looks again after 1 to 100 ms. */
	BSLAB_GFP_NOFAIL = 4,
	/*
	 * NULL rather than emptying caches and giving memory back to make room: where the program can do with less. Near a
	 * soft limit, too, the work is left to the next call without it.
	 */
	BSLAB_GFP_NORETRY = 8,
	/*
	 * Hints, of which not more than one: what a block of more than 32 KiB stands beside. MOVABLE: other blocks of
	 * that size, as by default. RECLAIMABLE: objects of some KiB, for what soon goes; long-lived ones are then not kept
	 * apart from the rest by it.
	 */
	BSLAB_GFP_MOVABLE = 16,
	BSLAB_GFP_RECLAIMABLE = 32,
	/*
	 * Of the NUMA node that the thread runs on, and NULL rather than of another, or where that has no memory; at most 1 GiB at
	 * a time. Its memory is resident when the call returns. On a machine of one node, or in a process that was given a memory
	 * policy (numactl), without effect. Where a seccomp filter forbids mbind and move_pages (containers) the node is preferred
	 * at best, and nothing is checked; where swapping or the kernel's balancing moves the pages afterwards, nothing tells.
	 * Costs as malloc does, and two system calls for each slab or run of pages; before Linux 6.3 one more for each block.
	 */
	BSLAB_GFP_THISNODE = 64,
	/*
	 * A hint, which the hardened mode does not take: as HUGETLB where the pool has some; else from 2 MiB on the block is
	 * aligned to 2 MiB and resident by huge pages, where the kernel has some at hand. Not if the option `huge` forbids it. A
	 * block that is of the pool stays so: to make it larger is NULL where the pool has no more.
	 */
	BSLAB_GFP_HUGE = 128,
	/*
	 * Below 4 GiB, for compressed pointers and code that jumps by 32 bits; at most 1 GiB at a time, and no more than the process
	 * has free there. Costs as malloc does up to 32 KiB, beyond that a lock. NULL with ENOMEM where there is none; not together with
	 * NOWAIT, nor for mempools: EINVAL.
	 */
	BSLAB_GFP_DMA32 = 256,
	/*
	 * Of explicit huge pages (vm.nr_hugepages), of any size: those of 2 MiB, or of 1 GiB for a block of a gibibyte or more where
	 * that fits. NULL with ENOMEM where the pool has none. They are set aside for the process from then on. To touch
	 * them fails (SIGBUS) where a limit of the hugetlb cgroup or a cpuset forbids the page; and after fork the child's copies need
	 * more of the pool, and it is killed where there are none. Below a gibibyte not before Linux 5.16. Costs as DMA32 does; not
	 * together with that, NOWAIT, nor for mempools: EINVAL.
	 */
	BSLAB_GFP_HUGETLB = 512,
};

BSLAB_API void *bslab_kmalloc(size_t size, unsigned gfp) BSLAB_MALLOC __attribute__((alloc_size(1)));
/* count * size bytes; NULL with ENOMEM where that is too much for a size_t. With ZERO it is kcalloc. */
BSLAB_API void *bslab_kmalloc_array(size_t count, size_t size, unsigned gfp) BSLAB_MALLOC __attribute__((alloc_size(1, 2)));
/*
 * As realloc; a block that was asked for with DMA32 stays below 4 GiB, and with DMA32 another moves there; so with THISNODE, and
 * with HUGETLB and huge pages, but without the flag a block of them of a gibibyte or more does not stay there when it grows. Where
 * the zone of a block has no more, one that grows is NULL, and one that shrinks stays as it is. ZERO: bytes
 * beyond the old block's usable size read as zero. NOWAIT: the block stays where it is or moves from one NOWAIT pool to
 * another; one of malloc's that would have to grow is not moved, for its pages may not be resident, and its free takes a lock:
 * NULL. To know such a block's size reads what bslab keeps of it, which may not be resident either.
 */
BSLAB_API void *bslab_krealloc(void *ptr, size_t size, unsigned gfp) __attribute__((warn_unused_result, alloc_size(2)));
/* Overwrites all of the block with zeros before it is freed, for certain. NULL is fine. */
BSLAB_API void bslab_kfree_sensitive(void *ptr);
/* Where memory that is at hand does not have it, a mapping of its own. */
BSLAB_API void *bslab_kvmalloc(size_t size, unsigned gfp) BSLAB_MALLOC __attribute__((alloc_size(1)));
/*
 * Always a mapping of its own, zero, with a page that traps before and behind it, whatever the option `guard` says. A
 * system call or four. In the hardened mode its word stands behind it, and the page that traps behind that.
 */
BSLAB_API void *bslab_vmalloc(size_t size) BSLAB_MALLOC __attribute__((alloc_size(1)));

/*
 * Adds nr blocks of size bytes (each at most 2 MiB) to what NOWAIT has: resident from now on, and for good. lock: also
 * mlock()ed, with all that bslab keeps of them, so that they stay it. At most 16 times. 0, or EINVAL, ENOMEM (the
 * hard limit counts them; at most 2^24, else EINVAL), ENOSPC (the 17th), or EPERM: mlock was refused (RLIMIT_MEMLOCK), and nothing
 * was added. A request takes a block of the smallest size that fits and has one.
 *
 * fork() makes pages read-only in the parent, too, locked or not: from the moment of the fork until it returns, which takes
 * longer for it copies these pools again, a thread may fault once for each page that it writes. In the child they may
 * fault. A program's stacks, code and data are its own to lock (mlockall).
 */
BSLAB_API int bslab_nowait_pool(size_t size, size_t nr, int lock);

/* --- mempools ------------------------------------------------------------------------------- */

struct bslab_mempool;

/*
 * At least min_nr elements of size bytes (up to 2 MiB), aligned to 16, can be had whatever happens: they are resident
 * from the start, and counted by the hard limit; at most 2^24 of them. After a fork they are as all memory is: whoever writes a page first, parent
 * or child, faults, and gets a copy if the kernel has one. NULL with ENOMEM or EINVAL.
 */
BSLAB_API struct bslab_mempool *bslab_mempool_create(size_t min_nr, size_t size);
/*
 * From malloc as long as it gives, then of the guaranteed ones; NOWAIT: of the guaranteed ones only, as above. NULL when
 * those are out; with NOFAIL it waits for one, as Linux does for GFP_KERNEL.
 */
BSLAB_API void *bslab_mempool_alloc(struct bslab_mempool *pool, unsigned gfp) BSLAB_MALLOC;
/* NULL is fine. Without a lock or system call for a guaranteed one. */
BSLAB_API void bslab_mempool_free(struct bslab_mempool *pool, void *element);
/* How many of the guaranteed ones are taken. */
BSLAB_API size_t bslab_mempool_nr_taken(struct bslab_mempool *pool);
/* 0; or how many of the guaranteed ones are taken: a line on stderr tells, and nothing is done. NULL is fine. */
BSLAB_API size_t bslab_mempool_destroy(struct bslab_mempool *pool);

/* --- scopes ------------------------------------------------------------------------------------ */

/*
 * What was allocated in a scope is freed at its end, the last first (devm_kmalloc; cleanup.h):
 *
 *     BSLAB_SCOPE(scope);
 *     char *name = bslab_scope_alloc(&scope, 100, 0);
 *     FILE *file = fopen(name, "r");
 *     if (file && bslab_scope_add(&scope, close_file, file) != 0) ...
 *     return ...;                                          here, whichever way out is taken
 *
 * One thread's at a time.
 */
struct bslab_scope {
	struct bslab_scope_entry *last;
};

#define BSLAB_SCOPE(name) struct bslab_scope name __attribute__((cleanup(bslab_scope_end))) = {0}

/* A block, as by bslab_kmalloc(), of 32 bytes more, which a NOWAIT pool has to have, too; not to be freed otherwise. */
BSLAB_API void *bslab_scope_alloc(struct bslab_scope *scope, size_t size, unsigned gfp) BSLAB_MALLOC
    __attribute__((alloc_size(2)));
/* end(arg) is called at the end. 0, or ENOMEM: end(arg) was called at once (devm_add_action_or_reset). */
BSLAB_API int bslab_scope_add(struct bslab_scope *scope, void (*end)(void *arg), void *arg);
/* Now; the scope is empty then, and may be used again. */
BSLAB_API void bslab_scope_end(struct bslab_scope *scope);

#ifdef __cplusplus
}
#endif

#endif
