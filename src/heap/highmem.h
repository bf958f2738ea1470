/* SPDX-License-Identifier: MIT */
/*
 * Objects in a file, of which a window is mapped (Linux: highmem, mm/highmem.c: kmap() and its pkmap slots).
 *
 * 1. The file is cut into blocks of a pageblock's size. A block serves objects of one kind: of one of malloc's size classes,
 *    or, above those, so many of equal size as it holds. Which of them are free is a bitmap in memory of bslab's own;
 *    nothing of bslab's stands in the file, and nothing is moved in it.
 *
 * 2. A handle says where an object is: no table is needed, and none is looked up.
 *
 *        | HIGHMEM_TAG (8) | pool (8) | number of the object (16) | number of the block (32) |
 *
 * 3. The window is a range of addresses of so many slots, each of which has a block mapped, or none. A block stays in its slot
 *    when its last object is unmapped, until another block needs a slot: then one without maps goes that was not used again
 *    since the hand passed it (second chance). Where a mapping is refused, all that nothing is mapped in go at once.
 *
 * 4. Room in the file is asked for when a block is taken (fallocate), so that a full disk is an error of a call and no
 *    SIGBUS later. A block that comes free is given back, but for one of the pool, which the next kind that needs a block takes over.
 *
 * Invariants: nr_free = number of bits set; a block is on its kind's partial list exactly when nr_free > 0; slot[b->slot - 1]
 * is b exactly when b->slot is not 0, and it is not 0 while nr_maps is not; nr_maps = sum of its slot's counts, and those of a
 * slot without a block are 0; nr_busy = number of blocks with maps; a free object has no maps; `empty` has no objects and no maps.
 */
#ifndef BSLAB_HIGHMEM_FLOOR_H
#define BSLAB_HIGHMEM_FLOOR_H

#include "base/list.h"
#include "os/lock.h"
#include "slab/slab.h"

#define HIGHMEM_TAG 0xb6u
#define HIGHMEM_BLOCK PAGEBLOCK_SIZE
#define HIGHMEM_MIN_SIZE ((size_t)64)
#define MAX_HIGHMEM_OBJECTS (HIGHMEM_BLOCK / HIGHMEM_MIN_SIZE) /* of a block */
#define MAX_HIGHMEM_BLOCKS ((uint64_t)1 << 32)
/* 16 GiB. Each may be a mapping, of which a process has 65,530 (vm.max_map_count). */
#define MAX_HIGHMEM_SLOTS 8192
#define NR_HIGHMEM_IDS 256
/* Kinds from NR_CLASSES on: one object in a block, two ... */
#define NR_HIGHMEM_KINDS (NR_CLASSES + HIGHMEM_BLOCK / SMALL_MAX)

struct highmem_block {
	struct list_node node; /* in the kind's partial list; first, so that a pooled header keeps the rest */
	uint32_t number, kind;
	uint32_t size; /* of an object */
	uint32_t nr_objects, nr_free;
	uint32_t nr_maps;
	uint32_t slot; /* 1 + that it is in; 0: none */
	uint32_t hint; /* no word of free[] before it has a bit */
	uint64_t free[];
};

struct highmem_slot {
	struct highmem_block *block; /* NULL: none */
	uint32_t nr_count_pages; /* taken for its counts */
	bool was_used; /* by another map than that which brought it in, since the hand passed */
};

struct highmem_info {
	size_t nr_objects, object_bytes; /* live, rounded up to their kinds */
	uint64_t file_bytes; /* of blocks that have room in the file */
	size_t window_bytes, nr_maps;
	uint64_t nr_hits, nr_misses; /* maps whose block was in the window; that had to be mapped */
};

struct bslab_highmem {
	struct list_node node; /* of all; first, so that a pooled one keeps the rest */
	struct lock lock;      /* RANK_HEAP: all of this */
	bool is_live;	       /* under pools.lock; false once it was destroyed, until it is another one */
	/* Constant: */
	char name[CACHE_NAME_SIZE];
	int fd;
	uint8_t id;
	uint32_t nr_slots;
	size_t nr_blocks; /* that the file may have */
	char *window;
	/* Under lock: */
	uint16_t *count; /* maps of each object of the block in a slot, MAX_HIGHMEM_OBJECTS a slot */
	struct highmem_block **block; /* by number; NULL: free */
	struct highmem_slot *slot;
	size_t nr_numbers; /* no block from here on was ever used */
	size_t lowest; /* none before it is free */
	size_t nr_table_pages; /* that limits and pools.map_bytes count */
	uint32_t hand, nr_shown, nr_busy; /* slots that have a block, and one that is mapped */
	struct highmem_block *empty; /* kept */
	struct highmem_info info;
	struct list partial[NR_HIGHMEM_KINDS];
};

/* Of a file's first size bytes, with a window of so many bytes; both at least a block. NULL, and *error is a negative errno. */
struct bslab_highmem *highmem_create(const char *name, int fd, uint64_t size, size_t window, int *error);
/* False for one that was destroyed before. */
bool highmem_destroy(struct bslab_highmem *h);

enum highmem_fault {
	HIGHMEM_GOOD,
	HIGHMEM_DESTROYED,
	HIGHMEM_FOREIGN,  /* no handle of this pool */
	HIGHMEM_FREE,	  /* freed before, or never allocated */
	HIGHMEM_UNMAPPED, /* unmap without a map */
	HIGHMEM_MAPPED,	  /* free of a mapped one */
};
/* size: at most a block's. *error: 0, or a negative errno: -ENOSPC where the pool or the disk is full. */
enum highmem_fault highmem_alloc(struct bslab_highmem *h, size_t size, uint64_t *handle, int *error);
enum highmem_fault highmem_free(struct bslab_highmem *h, uint64_t handle);
/*
 * *ptr is NULL, and *error a negative errno, where it cannot be: -EAGAIN while the window is full of what is mapped, or
 * the object is mapped 65,535 times.
 */
enum highmem_fault highmem_map(struct bslab_highmem *h, uint64_t handle, void **ptr, int *error);
enum highmem_fault highmem_unmap(struct bslab_highmem *h, uint64_t handle);
enum highmem_fault highmem_size(struct bslab_highmem *h, uint64_t handle, size_t *size);
void highmem_snapshot(struct bslab_highmem *h, struct highmem_info *info);

/* Inside pool_fork_prepare() and pool_fork_done(). */
void highmem_fork_prepare(void);
void highmem_fork_done(bool child);

#endif
