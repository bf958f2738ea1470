/* SPDX-License-Identifier: MIT */
/*
 * Handles: movable memory. An object that is allocated by handle has no address until it is mapped; while it is not, it
 * may be moved, and a heap of such objects can be compacted: whole pageblocks of 2 MiB come free, whatever order objects
 * were freed in.
 *
 *     bslab_handle_t h = bslab_handle_alloc(1000);
 *     char *p = bslab_handle_map(h);
 *     memcpy(p, text, 1000);
 *     bslab_handle_unmap(h);                       p is no longer valid
 *
 * The idea is that of the Macintosh's memory manager (1984: NewHandle, HLock); map and unmap are the kernel's
 * kmap_local_page() and kunmap_local(), and zsmalloc's zs_map_object(); compaction is that of the kernel's mm/compaction.c.
 * docs/handles.md tells when they pay.
 *
 * An address is good from a map to its unmap, in any thread. Maps nest and count, up to 65,535 at a time. While an object is
 * mapped it stays, and so does its pageblock: map for a moment. Contents move with the object; pointers into it are the
 * program's to avoid.
 *
 * A handle is a number that is never 0. After its free it is not given out again before 16 million others had the same place in the
 * table; a thread that does nothing but allocate and free one size comes there in half a second, so it is a help to find errors and no
 * proof.
 *
 * Errors: alloc and resize fail with ENOMEM, and an aligned alloc with EINVAL for an alignment that is none; nothing else fails, nor
 * does a resize to less. A misuse is reported by one line on stderr, "bslab: invalid free of handle ...", and the process aborts;
 * with BSLAB_CONF=on_error=warn the call does nothing instead (map returns NULL and size 0, and errno is kept; resize -1 with
 * EINVAL):
 *
 *   a handle that was freed          by every call
 *   a number that is no handle       by every call; 0 is fine for free alone
 *   free or resize of a mapped one   (resize: in whatever thread; one that is mapped while it is resized may have its new size)
 *   unmap without a map
 *   a map beyond 65,535
 *
 * Threads: all calls may be made from any thread, as bslab/bslab.h has it. A
 * handle orders nothing between two threads that map it: they need a lock or the like, as for any memory. Freeing, or resizing, a handle while another thread maps it is a misuse as well, and told
 * where the calls happen to be in that order.
 *
 * Signals: map, unmap and size may be called from a signal handler, and from a thread that must not wait: they take no lock,
 * make no system call, and never wait for a compaction, which gives way instead. The others may not. fork: handles
 * work in the child, also of a threaded process.
 *
 * Cost: alloc, free, map and unmap are one compare-and-swap each, but a store or an addition where the process has one thread,
 * and twenty to sixty instructions; once in some dozens of allocs or frees some dozens of objects change hands between the
 * thread and others, or the slabs, under a lock, and some 256 KiB may be moved (below). Above 32 KiB, alloc and free take locks
 * each time. A thread keeps up to 64 objects of each size that it frees, and of these at most 32 KiB, or two; what rests goes
 * home after 40 ms, when any thread comes to such a slow path. The calls take up to 3 KiB of the stack. Each handle takes 16
 * bytes in a table, and 4 beside its object's slab; a run of pages a header of its own. The heap profile does not count objects
 * with handles.
 *
 * A program that does not use them pays nothing.
 */
#ifndef BSLAB_HANDLE_H
#define BSLAB_HANDLE_H

#include <stdint.h>

#include <bslab/bslab.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t bslab_handle_t;

/*
 * An object of at least size bytes, not cleared; 0 and ENOMEM where there is no memory. Aligned, when it is mapped, as
 * malloc's blocks are, and to 16 at least; 1 TiB at most. Objects of more than 2 MiB do not move: they have pageblocks of their own.
 */
BSLAB_API bslab_handle_t bslab_handle_alloc(size_t size) __attribute__((warn_unused_result));
/*
 * The same at an address that is a multiple of align, a power of two up to 4096, wherever the object is moved and whatever size it
 * is given. 0 with EINVAL for another align. Takes the slow path each time.
 */
BSLAB_API bslab_handle_t bslab_handle_aligned_alloc(size_t align, size_t size) __attribute__((warn_unused_result));
/* Releases an object that is not mapped; 0 is fine. Keeps errno. May compact: see below. */
BSLAB_API void bslab_handle_free(bslab_handle_t handle);

/* The object's address until the unmap that belongs to this map. */
BSLAB_API void *bslab_handle_map(bslab_handle_t handle) __attribute__((warn_unused_result));
BSLAB_API void bslab_handle_unmap(bslab_handle_t handle);

/* The size that was asked for, by alloc or resize; above 2 MiB rounded up to pages. */
BSLAB_API size_t bslab_handle_size(bslab_handle_t handle);
/*
 * Changes the size of an object that is not mapped; the handle stays, and contents up to the smaller size. 0; or -1
 * with ENOMEM, and the object is as it was.
 */
BSLAB_API int bslab_handle_resize(bslab_handle_t handle, size_t size);

/*
 * Compacts: moves the objects of the emptiest pageblocks to the others, as long as that sets whole ones free, and returns
 * how many. They serve anything from then on; above the watermark (BSLAB_CONF=dirty) they go back to the system, as with
 * any free, and malloc_trim() compacts and gives all of them back. Blocks with an object that is mapped are left out.
 * About 0.3 to 2 ms for each MiB that moves; other threads go on meanwhile, and wait for it nowhere, but for another such call, or one
 * that found no memory.
 *
 * It happens by itself, too: near a soft limit; when memory runs out; and in a free that finds more than a pageblock, plus
 * BSLAB_CONF=dirty, plus a quarter of what is in use, free between objects. That free moves some 256 KiB at most, out of pageblocks that
 * are at most half used.
 *
 * vmstat (insight.h) counts as the kernel does: compact_success, compact_fail, compact_isolated, compact_migrate_scanned ...
 */
BSLAB_API size_t bslab_compact(void);

#ifdef __cplusplus
}
#endif

#endif
