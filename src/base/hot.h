/* SPDX-License-Identifier: MIT */
/*
 * The words that a malloc or a free reads when nothing goes wrong, in one
 * object, so that one address computation reaches them all.
 *
 * It stands in .bss and is all zero until the process is booted. That is why
 * the fast paths need no "is it initialised" test:
 *  - small_limit is 0, so each malloc takes the slow path, which boots;
 *  - root is empty, so each free finds "not mine" and takes the slow path.
 *
 * Each member belongs to the floor named beside it.
 */
#ifndef BSLAB_HOT_H
#define BSLAB_HOT_H

#include "base/base.h"

/* As large as the kernel's own NR_CPUS gets on x86-64; indices are compact, so only used entries are touched. */
#define NR_CPU_SLOTS 8192

/* One entry of the root covers a section: 2 GiB of addresses (see map/map.h). */
#define SECTION_SHIFT 31
#define NR_SECTIONS ((size_t)1 << (ADDRESS_BITS - SECTION_SHIFT))

struct percpu_area;

/* The descriptor of a restartable sequence (Linux: struct rseq_cs). */
struct rseq_descriptor {
	uint32_t version, flags; /* 0 */
	uint64_t start, size, abort; /* addresses and bytes of code */
} __attribute__((aligned(32)));

/* Those of free()'s own sequences stand here: see 5 in arch/percpu.h. */
enum hot_home { HOME_BSLAB_FREE, HOME_FREE, HOME_DELETE, NR_HOMES };

struct hot {
	struct rseq_descriptor home[NR_HOMES]; /* slab: written at boot */
	size_t delete_limit;		       /* preload: sized deletes of sizes below may be served; 0 where delete is the program's */
	size_t unused[3];		       /* so that what follows begins a cache line */
	size_t small_limit;		       /* malloc: sizes below are served by a sheaf; 0 before boot */
	intptr_t rseq_offset;		       /* slab: from the thread pointer to the struct rseq in use */
	intptr_t rseq_offset_cpu;	       /* slab: the same where the index is cpu_id, which the fast paths do not use */
	size_t guarded_limit;		       /* malloc: sizes below may go by guarding's countdown; 0 unless nothing else counts */
	size_t kept_limit;		       /* slab: runs of up to so many pages are kept by their CPU; 0 as small_limit is, but while blocks are guarded */
	struct percpu_area *area[NR_CPU_SLOTS + 1]; /* slab: this CPU's sheaves, by concurrency id */
	uintptr_t root[NR_SECTIONS];	       /* map: biased pointer to a section's descriptors, or 0 */
};

/* At the start of a page: boot/boot.c says why. */
extern struct hot bslab_hot __attribute__((visibility("hidden"), aligned(4096)));

#endif
