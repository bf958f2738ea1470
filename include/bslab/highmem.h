/* SPDX-License-Identifier: MIT */
/*
 * Highmem: handles whose objects live in a file, and have an address while they are mapped only. So they may take more than
 * the memory, or the address space, that the process has or wants to use.
 *
 *     int fd = open("/var/cache/frames", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
 *     struct bslab_highmem *m = bslab_highmem_create("frames", fd, 1ull << 40, 64 << 20);
 *     bslab_handle_t h;
 *     if (bslab_highmem_alloc(m, 5000, &h) == 0) {
 *             char *p = bslab_highmem_map(m, h);
 *             ...
 *             bslab_highmem_unmap(m, h);
 *             bslab_highmem_free(m, h);
 *     }
 *
 * The names are the kernel's: kmap() and kunmap() give pages of highmem an address for a while, in a window of slots; so do
 * map and unmap here, 2 MiB of the file at a time. What was unmapped stays in the window until its slot is needed.
 * docs/handles.md tells more.
 *
 * The file is the program's: the descriptor has to stay open, and nobody may shorten the file, or an access to a mapped
 * object raises SIGBUS. Its first `size` bytes are the pool's from create to destroy: they grow by 2 MiB at a time, room on the
 * disk is taken at the alloc that needs it, and given back when what stands in it was freed. What bslab keeps of it stands
 * elsewhere, 8 bytes for each 2 MiB of the file that was used, a bit for each object, and 2 bytes for each in the window: what
 * is found in the file afterwards is bytes, and no pool. A file without a name (memfd_create, O_TMPFILE) is a pool that takes
 * address space while it is used only.
 *
 * Errors: as the calls say. A misuse is reported by one line on stderr, and the process aborts; with BSLAB_CONF=on_error=warn
 * the call does nothing instead (map returns NULL, and size 0, with EINVAL): a handle of another pool, one that was freed,
 * one that is mapped, an unmap without a map. A handle that was freed is not known any more once its place is another object's.
 *
 * Threads: all calls may be made from any thread, but for destroy, after which nobody may use the pool. They take the pool's lock, and
 * none may be called in a signal handler. fork: the file and what is in it are shared with the child; one of both uses the
 * pool from then on.
 *
 * Cost: a lock, and what docs/handles.md measured; a map that finds no slot with its 2 MiB two system calls, and page faults as they are
 * touched; an alloc or a free that takes or gives 2 MiB of the file one of the file system. Other threads that use the pool wait
 * meanwhile.
 */
#ifndef BSLAB_HIGHMEM_H
#define BSLAB_HIGHMEM_H

#include <bslab/handle.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bslab_highmem;

#define BSLAB_HIGHMEM_MAX ((size_t)2 << 20) /* of an object */

/*
 * A pool in the file, which has to be open for reading and writing. size: bytes that it may have, window: bytes of
 * addresses, both in steps of 2 MiB; of a window above 16 GiB, 16 GiB. More objects than stand in the window cannot be mapped
 * at a time. NULL with:
 *   EINVAL   no name, no whole 2 MiB of one of both, or more than 2^32 times that
 *   ENOMEM   no memory or address space
 *   EMFILE   there are 256 pools
 *   others   of mmap(2): EACCES, EBADF, ENODEV ...
 */
BSLAB_API struct bslab_highmem *bslab_highmem_create(const char *name, int fd, uint64_t size, size_t window);
/* The pool with all its objects. NULL is fine. The file stays as it is. */
BSLAB_API void bslab_highmem_destroy(struct bslab_highmem *pool);

/*
 * An object of up to 2 MiB, not cleared, aligned to 16 when it is mapped. 0, and *handle is its; or -1 with ENOSPC (the pool or
 * the disk is full), ENOMEM, EINVAL (a larger one), or what fallocate(2) says: EOPNOTSUPP where the file system does not know it.
 * Beyond RLIMIT_FSIZE the kernel raises SIGXFSZ, which ends the process where it is not ignored or handled (then: EFBIG).
 */
BSLAB_API int bslab_highmem_alloc(struct bslab_highmem *pool, size_t size, bslab_handle_t *handle)
    __attribute__((warn_unused_result));
BSLAB_API void bslab_highmem_free(struct bslab_highmem *pool, bslab_handle_t handle);

/*
 * The object's address until the unmap that belongs to this map. Maps nest, and count. NULL with EAGAIN where each slot of the
 * window has an object that is mapped, or this one is mapped 65,535 times, ENOMEM (also beyond RLIMIT_MEMLOCK, where
 * mlockall(MCL_FUTURE) was called), or what mmap(2) says of the file.
 */
BSLAB_API void *bslab_highmem_map(struct bslab_highmem *pool, bslab_handle_t handle) __attribute__((warn_unused_result));
BSLAB_API void bslab_highmem_unmap(struct bslab_highmem *pool, bslab_handle_t handle);
/* The bytes that it has, at least those that were asked for. */
BSLAB_API size_t bslab_highmem_size(struct bslab_highmem *pool, bslab_handle_t handle);

struct bslab_highmem_info {
	const char *name;
	size_t nr_objects, object_bytes; /* live ones; bytes that they have */
	uint64_t file_bytes;		 /* of the file that they stand in */
	size_t window_bytes, nr_maps;	 /* of addresses; maps without their unmap as yet */
	uint64_t nr_hits, nr_misses;	 /* maps that found their 2 MiB in the window; for which it was mapped */
};
BSLAB_API void bslab_highmem_info(struct bslab_highmem *pool, struct bslab_highmem_info *info);

#ifdef __cplusplus
}
#endif

#endif
