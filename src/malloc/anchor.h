/* SPDX-License-Identifier: MIT */
/*
 * The anchor: where a reader from outside begins (src/insight, bslab-stat).
 *
 * 1. The library, and a program with the archive in it, carries an ELF note of
 *    the owner "bslab". It is read-only, says which layout the structures have,
 *    and leads to the roots by their distance from itself: no relocation, no
 *    work at start.
 * 2. The layout is a hash of the sizes and offsets below. Another build with
 *    the same ones is read; any other is refused by name. What a reader knows
 *    besides them (what bits of a descriptor mean, that odd words are
 *    sentinels) is covered by ANCHOR_VERSION, to be raised when it changes.
 *
 * The note's contents: struct anchor, then ANCHOR_NAME_SIZE bytes of version.
 */
#ifndef BSLAB_MALLOC_ANCHOR_H
#define BSLAB_MALLOC_ANCHOR_H

#include "base/hot.h"
#include "boot/boot.h"
#include "handle/compact.h"
#include "handle/handle.h"
#include "heap/pool.h"
#include "large/large.h"
#include "malloc/internal.h"
#include "map/pageblock.h"
#include "os/options.h"
#include "page/buddy.h"
#include "page/zone.h"
#include "profile/samples.h"
#include "profile/stacks.h"
#include "region/region.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"
#include "slab/slab.h"
#include "slab/typed.h"

#define ANCHOR_OWNER "bslab"
#define ANCHOR_TYPE 0x62736c62 /* "bslb" */
#define ANCHOR_VERSION 2
#define ANCHOR_NAME_SIZE 12 /* of the library's version, padded with zeros */

enum anchor_root {
	ROOT_HOT,
	ROOT_OPTIONS,
	ROOT_BOOT,
	ROOT_NR_SECTIONS,
	ROOT_ZONE,
	ROOT_BUDDIES,
	ROOT_HIGHATOMIC,
	ROOT_LARGE,
	ROOT_CACHES,
	ROOT_PERCPU,
	ROOT_NONE_AREA,
	ROOT_NONE_WORDS,
	ROOT_SLOW_COUNTS,
	ROOT_HANDLE_TABLE,
	ROOT_HANDLE_CACHES,
	ROOT_HANDLE_THREADS,
	ROOT_COMPACT_COUNTS,
	ROOT_POOLS,
	NR_ROOTS,
};

struct anchor {
	uint32_t version;
	uint32_t layout;
	uint32_t nr_roots;
	int32_t root[NR_ROOTS]; /* address of the root minus that of this word */
};

/* What the reader relies on: S a struct's size, M where a member stands, N a number. */
#define LAYOUT(S, M, N)                                                                            \
	N(class, NR_CLASSES) N(typed, FIRST_TYPED) N(cache, NR_CACHES) N(page, PAGE_SHIFT) N(pageblock, PAGEBLOCK_SHIFT) \
	N(section, SECTION_SHIFT)                                                                  \
	N(addresses, ADDRESS_BITS) N(migratetypes, NR_MIGRATETYPES) N(slots, NR_CPU_SLOTS)         \
	N(region_blocks, REGION_MAX_BLOCKS) N(states, PAGEBLOCK_CONTIG) N(types, PAGE_CONTIG)         \
	N(links, LINK_BITS) N(modes, INDEX_THREAD) N(slab_states, SLAB_PARTIAL)                    \
	S(hot) M(hot, small_limit) M(hot, area) M(hot, root)                                       \
	S(options) M(options, index) M(options, dirty_size) M(options, large_size)                 \
	S(boot) M(boot, used) M(boot, mapped) S(slow_counts) S(pools) M(pools, map_bytes)                                       \
	S(section) M(section, block)                                                               \
	S(pageblock) M(pageblock, owner) M(pageblock, number) M(pageblock, state) M(pageblock, migratetype)    \
	M(pageblock, nr_free) M(pageblock, nr_dirty_free) M(pageblock, users) M(pageblock, is_huge) M(pageblock, dirty)  \
	S(region) M(region, next) M(region, base) M(region, nr_blocks) M(region, nr_committed) M(region, zone)    \
	S(zone) M(zone, regions) M(zone, nr_used) M(zone, nr_dirty_pages) M(zone, nr_dirty_in) M(zone, dirty_floor)     \
	M(zone, nr_learned) M(zone, count) S(zone_info) M(zone_info, nr_purged_pages)              \
	M(zone_info, nr_commit_blocks)                                                             \
	S(buddies) M(buddies, all)                                                                 \
	S(buddy) M(buddy, next) M(buddy, count) S(buddy_counters) M(buddy_counters, nr_fresh_pages)            \
	M(buddy_counters, nr_claims) M(buddy_counters, nr_purged_pages)                            \
	S(large) M(large, areas) M(large, info) M(large, hot) S(large_info) M(large_info, nr_maps)               \
	M(large_info, nr_block_allocs)                                                             \
	S(vm_area) M(vm_area, node) M(vm_area, addr) M(vm_area, size) M(vm_area, first) M(vm_area, nr_blocks)  \
	M(vm_area, map_addr) M(vm_area, map_size)                                                  \
	S(kmem_cache) M(kmem_cache, size) M(kmem_cache, class) M(kmem_cache, full_order)           \
	M(kmem_cache, migratetype) M(kmem_cache, nr_out) M(kmem_cache, nr_uncached_allocs)         \
	M(kmem_cache, nr_slabs) M(kmem_cache, nr_partial) M(kmem_cache, nr_objects)                \
	M(kmem_cache, nr_pages) M(kmem_cache, nr_slab_creates) M(kmem_cache, barn) M(kmem_cache, typed)        \
	S(typed) M(typed, name) M(typed, past)                                                                    \
	S(barn) M(barn, nr_full) M(barn, nr_empty) M(barn, capacity) M(barn, full) M(barn, nr_gets)            \
	M(barn, nr_overs) M(barn, nr_puts)                                                         \
	S(slab) M(slab, base) M(slab, nr_free) M(slab, nr_objects) M(slab, state) M(slab, free)    \
	S(sheaf) M(sheaf, next) M(sheaf, capacity) M(sheaf, nr) M(sheaf, low_sentinel) M(sheaf, slot)          \
	S(percpu) M(percpu, mode) M(percpu, orphans) M(percpu, limbo) M(percpu, nr_slots)          \
	M(percpu, nr_sheaf_reaps) S(sample) M(sample, size) M(sample, nr_pages) M(sample, class)   \
	M(sample, stack) M(sample, addr) M(sample, at_ms) M(vm_area, sample)                       \
	S(stack) M(stack, nr_frames) M(stack, pc)                                                  \
	S(handle_table) M(handle_table, nr_free) M(handle_table, nr_entries) M(handle_table, nr_backed)           \
	S(handle_entry) S(handle_cache) M(handle_cache, size) M(handle_cache, nr_stripped)         \
	M(handle_cache, nr_slabs) M(handle_cache, nr_depot) M(handle_cache, nr_taken) M(handle_cache, nr_partial)            \
	M(handle_cache, nr_slab_creates) M(handle_cache, nr_flushes)                               \
	M(handle_slab, base) M(handle_slab, nr_pages) M(handle_slab, free) M(handle_slab, owner)   \
	S(handle_thread) M(handle_thread, kept) S(handle_kept) M(handle_kept, nr) M(handle_threads, all) S(compact_counts) \
	S(percpu_area) M(percpu_area, top) M(percpu_area, run) M(percpu_area, next_orphan) S(percpu_cell) M(percpu_cell, key)

/* Each number has a place of its own, so that two that change places change the sum. */
#define LAYOUT_S_PLACE(s) LAYOUT_##s,
#define LAYOUT_M_PLACE(s, m) LAYOUT_##s##__##m,
#define LAYOUT_N_PLACE(name, n) LAYOUT_NR_##name,
enum { LAYOUT(LAYOUT_S_PLACE, LAYOUT_M_PLACE, LAYOUT_N_PLACE) NR_LAYOUT };

/* Odd multipliers that have nothing in common: 2^32 divided by the golden ratio, and one of xxHash's. */
#define LAYOUT_MIX(place, n) (((uint32_t)(n) + 1) * (((uint32_t)(place) * 0x9e3779b1u) | 1) * 0x85ebca77u)
#define LAYOUT_S_HASH(s) + LAYOUT_MIX(LAYOUT_##s, sizeof(struct s))
#define LAYOUT_M_HASH(s, m) + LAYOUT_MIX(LAYOUT_##s##__##m, offsetof(struct s, m))
#define LAYOUT_N_HASH(name, n) + LAYOUT_MIX(LAYOUT_NR_##name, n)
#define LAYOUT_HASH ((uint32_t)(NR_LAYOUT LAYOUT(LAYOUT_S_HASH, LAYOUT_M_HASH, LAYOUT_N_HASH)))

#endif
