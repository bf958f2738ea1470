/* SPDX-License-Identifier: MIT */
#include "heap/highmem.h"

#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "heap/pool.h"
#include "os/bug.h"
#include "os/os.h"
#include "page/limit.h"
#include "slab/typed.h"

static struct {
	struct list all; /* under pools.lock */
	unsigned nr_made;
	uint64_t ids[NR_HIGHMEM_IDS / 64]; /* those in use */
	struct boot_pool pools, blocks[NR_HIGHMEM_KINDS];
} highmems;

/* --- kinds ------------------------------------------------------------------------------------------------------------ */

static uint32_t kind_of(size_t size)
{
	size = align_up(max_size(size, HIGHMEM_MIN_SIZE), 16);
	return (uint32_t)(size <= SMALL_MAX ? size_class(size) : NR_CLASSES + HIGHMEM_BLOCK / size - 1);
}

static size_t size_of_kind(uint32_t kind)
{
	return kind < NR_CLASSES ? class_size(kind) : align_down(HIGHMEM_BLOCK / (kind - NR_CLASSES + 1), 16);
}

static uint32_t nr_words(uint32_t nr_objects)
{
	return (nr_objects + 63) / 64;
}

/* --- tables ------------------------------------------------------------------------------------------------------------ */

/* Pages of the tables are taken as they are touched first, and kept until the end. */
static bool table_pages_take(struct bslab_highmem *h, size_t n)
{
	if (n && !limit_allows(n))
		return false;
	limit_note_mapped(0, n);
	__atomic_fetch_add(&pools.map_bytes, n << PAGE_SHIFT, __ATOMIC_RELAXED);
	h->nr_table_pages += n;
	return true;
}

static void table_pages_put(struct bslab_highmem *h)
{
	limit_note_mapped(h->nr_table_pages, 0);
	__atomic_fetch_sub(&pools.map_bytes, h->nr_table_pages << PAGE_SHIFT, __ATOMIC_RELAXED);
}

static size_t nr_pages_of(size_t size)
{
	return align_up(size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT;
}

/* --- slots ------------------------------------------------------------------------------------------------------------- */

static void *slot_address(const struct bslab_highmem *h, uint32_t slot)
{
	return h->window + (size_t)(slot - 1) * HIGHMEM_BLOCK;
}

static uint64_t file_offset(const struct highmem_block *b)
{
	return (uint64_t)b->number * HIGHMEM_BLOCK;
}

/* What was in it, and is not mapped by anybody, stays there until something else is. */
static void slot_forget(struct bslab_highmem *h, struct highmem_block *b)
{
	if (b->slot) {
		h->slot[b->slot - 1].block = NULL;
		h->nr_shown--;
	}
	b->slot = 0;
}

/* 1 + the slot: one without a block, where there is any; 0: each has one that is mapped. The second time round none has been
 * used since. */
static uint32_t slot_find(struct bslab_highmem *h)
{
	bool is_full = h->nr_shown == h->nr_slots;

	if (h->nr_busy == h->nr_slots)
		return 0;
	for (;;) {
		uint32_t at = h->hand;
		struct highmem_slot *s = &h->slot[at];

		h->hand = at + 1 == h->nr_slots ? 0 : at + 1;
		if (!s->block || (is_full && !s->block->nr_maps && !s->was_used))
			return at + 1;
		if (is_full)
			s->was_used = false;
	}
}

static bool slot_is_idle(const struct highmem_slot *s)
{
	return !s->block || !s->block->nr_maps;
}

/*
 * All that nothing is mapped in become one reservation again, and one mapping for those in a row (Linux:
 * flush_all_zero_pkmaps()): the process may have too many mappings for another one.
 */
static void window_flush(struct bslab_highmem *h)
{
	uint32_t i, end;

	for (i = 0; i < h->nr_slots; i = end + 1) {
		for (end = i; end < h->nr_slots && slot_is_idle(&h->slot[end]); end++)
			if (h->slot[end].block)
				slot_forget(h, h->slot[end].block);
		if (end > i) /* refused: nobody's, as it is */
			os_seal(slot_address(h, i + 1), (size_t)(end - i) * HIGHMEM_BLOCK);
	}
}

/* Memory for the counts of a block's maps. */
static bool counts_take(struct bslab_highmem *h, struct highmem_slot *s, const struct highmem_block *b)
{
	size_t n = nr_pages_of(b->nr_objects * sizeof *h->count);

	if (n > s->nr_count_pages) {
		if (!table_pages_take(h, n - s->nr_count_pages))
			return false;
		s->nr_count_pages = (uint32_t)n;
	}
	return true;
}

static int block_show(struct bslab_highmem *h, struct highmem_block *b)
{
	uint32_t slot = slot_find(h);
	int error;

	if (!slot)
		return -EAGAIN;
	if (!counts_take(h, &h->slot[slot - 1], b))
		return -ENOMEM;
	if (h->slot[slot - 1].block)
		slot_forget(h, h->slot[slot - 1].block);
	error = os_map_file(slot_address(h, slot), HIGHMEM_BLOCK, h->fd, file_offset(b));
	if (error == -ENOMEM) {
		window_flush(h);
		error = os_map_file(slot_address(h, slot), HIGHMEM_BLOCK, h->fd, file_offset(b));
	}
	if (error)
		return error;
	h->nr_shown++;
	h->slot[slot - 1].block = b;
	b->slot = slot;
	return 0;
}

/* --- blocks ------------------------------------------------------------------------------------------------------------ */

static void block_destroy(struct bslab_highmem *h, struct highmem_block *b)
{
	bslab_assert(b->nr_free == b->nr_objects && !b->nr_maps); /* so its slot's counts are 0 */
	list_del(&h->partial[b->kind], &b->node);
	slot_forget(h, b);
	os_file_punch(h->fd, file_offset(b), HIGHMEM_BLOCK);
	h->info.file_bytes -= HIGHMEM_BLOCK;
	h->block[b->number] = NULL;
	h->lowest = min_size(h->lowest, b->number);
	boot_pool_put(&highmems.blocks[b->kind], b);
}

/* h->lowest is a number that is free then. */
static int number_find(struct bslab_highmem *h)
{
	size_t nr_pages;

	while (h->lowest < h->nr_numbers && h->block[h->lowest])
		h->lowest++;
	if (h->lowest < h->nr_numbers)
		return 0;
	if (h->lowest == h->nr_blocks)
		return -ENOSPC;
	nr_pages = nr_pages_of((h->nr_numbers + 1) * sizeof *h->block) - nr_pages_of(h->nr_numbers * sizeof *h->block);
	if (!table_pages_take(h, nr_pages))
		return -ENOMEM;
	h->nr_numbers++;
	return 0;
}

static void block_setup(struct highmem_block *b, size_t number, uint32_t kind)
{
	uint32_t i;

	b->number = (uint32_t)number;
	b->kind = kind;
	b->size = (uint32_t)size_of_kind(kind);
	b->nr_objects = b->nr_free = (uint32_t)(HIGHMEM_BLOCK / b->size);
	b->nr_maps = b->slot = b->hint = 0;
	for (i = 0; i < b->nr_objects / 64; i++)
		b->free[i] = ~0ull;
	if (b->nr_objects % 64)
		b->free[i] = (1ull << b->nr_objects % 64) - 1;
}

/* Sets up b in the place, and the room in the file, of the block that is kept. */
static void block_take_over(struct bslab_highmem *h, struct highmem_block *b, uint32_t kind)
{
	struct highmem_block *old = h->empty;

	h->empty = NULL;
	list_del(&h->partial[old->kind], &old->node);
	slot_forget(h, old);
	block_setup(b, old->number, kind);
	boot_pool_put(&highmems.blocks[old->kind], old);
}

static int block_reserve(struct bslab_highmem *h, struct highmem_block *b, uint32_t kind)
{
	int error = number_find(h);

	if (error)
		return error;
	block_setup(b, h->lowest, kind);
	error = os_file_reserve(h->fd, file_offset(b), HIGHMEM_BLOCK);
	if (error)
		os_file_punch(h->fd, file_offset(b), HIGHMEM_BLOCK); /* a file system may keep what it got until then */
	else
		h->info.file_bytes += HIGHMEM_BLOCK;
	return error;
}

static int block_create(struct bslab_highmem *h, uint32_t kind)
{
	size_t nr_objects = HIGHMEM_BLOCK / size_of_kind(kind);
	struct highmem_block *b =
	    boot_pool_get(&highmems.blocks[kind], sizeof *b + nr_words((uint32_t)nr_objects) * sizeof(uint64_t), 8);
	int error = 0;

	if (!b)
		return -ENOMEM;
	if (h->empty)
		block_take_over(h, b, kind);
	else
		error = block_reserve(h, b, kind);
	if (error) {
		boot_pool_put(&highmems.blocks[kind], b);
		return error;
	}
	h->block[b->number] = b;
	list_add(&h->partial[kind], &b->node);
	return 0;
}

/* Without objects, and so without maps, it is kept, and the one kept before goes. */
static void block_rest(struct bslab_highmem *h, struct highmem_block *b)
{
	if (b->nr_free < b->nr_objects)
		return;
	if (h->empty)
		block_destroy(h, h->empty);
	h->empty = b;
}

/* --- objects ----------------------------------------------------------------------------------------------------------- */

static uint64_t handle_make(const struct bslab_highmem *h, const struct highmem_block *b, uint32_t i)
{
	return (uint64_t)HIGHMEM_TAG << 56 | (uint64_t)h->id << 48 | (uint64_t)i << 32 | b->number;
}

static uint32_t handle_index(uint64_t handle)
{
	return (uint32_t)(handle >> 32) & 0xffff;
}

/* The lock is held. */
static enum highmem_fault find(const struct bslab_highmem *h, uint64_t handle, struct highmem_block **block)
{
	uint32_t number = (uint32_t)handle, i = handle_index(handle);
	struct highmem_block *b;

	if (!h->is_live)
		return HIGHMEM_DESTROYED;
	if (handle >> 48 != (HIGHMEM_TAG << 8 | h->id) || number >= h->nr_blocks)
		return HIGHMEM_FOREIGN;
	*block = b = h->block[number];
	return !b || i >= b->nr_objects || b->free[i / 64] >> i % 64 & 1 ? HIGHMEM_FREE : HIGHMEM_GOOD;
}

/* How often an object is mapped: where its block is in a slot. */
static uint16_t *count_of(const struct bslab_highmem *h, const struct highmem_block *b, uint32_t i)
{
	return &h->count[(size_t)(b->slot - 1) * MAX_HIGHMEM_OBJECTS + i];
}

static uint32_t nr_maps_of(const struct bslab_highmem *h, const struct highmem_block *b, uint32_t i)
{
	return b->slot ? *count_of(h, b, i) : 0;
}

static uint64_t object_take(struct bslab_highmem *h, struct highmem_block *b)
{
	uint32_t i;

	while (!b->free[b->hint])
		b->hint++;
	i = b->hint * 64 + (uint32_t)__builtin_ctzll(b->free[b->hint]);
	b->free[b->hint] &= b->free[b->hint] - 1;
	if (!--b->nr_free)
		list_del(&h->partial[b->kind], &b->node);
	if (h->empty == b)
		h->empty = NULL;
	h->info.nr_objects++;
	h->info.object_bytes += b->size;
	return handle_make(h, b, i);
}

enum highmem_fault highmem_alloc(struct bslab_highmem *h, size_t size, uint64_t *handle, int *error)
{
	uint32_t kind = kind_of(size);
	bool is_live;

	*error = 0;
	lock_take(&h->lock, RANK_HEAP);
	is_live = h->is_live;
	if (is_live && !h->partial[kind].first)
		*error = block_create(h, kind);
	if (is_live && !*error)
		*handle = object_take(h, container_of(h->partial[kind].first, struct highmem_block, node));
	lock_drop(&h->lock, RANK_HEAP);
	return is_live ? HIGHMEM_GOOD : HIGHMEM_DESTROYED;
}

enum highmem_fault highmem_free(struct bslab_highmem *h, uint64_t handle)
{
	struct highmem_block *b;
	enum highmem_fault fault;
	uint32_t i = handle_index(handle);

	lock_take(&h->lock, RANK_HEAP);
	fault = find(h, handle, &b);
	if (fault == HIGHMEM_GOOD && nr_maps_of(h, b, i))
		fault = HIGHMEM_MAPPED;
	if (fault == HIGHMEM_GOOD) {
		b->free[i / 64] |= 1ull << i % 64;
		b->hint = (uint32_t)min_size(b->hint, i / 64);
		if (!b->nr_free++)
			list_add(&h->partial[b->kind], &b->node);
		h->info.nr_objects--;
		h->info.object_bytes -= b->size;
		block_rest(h, b);
	}
	lock_drop(&h->lock, RANK_HEAP);
	return fault;
}

/* The lock is held. */
static void *map_object(struct bslab_highmem *h, struct highmem_block *b, uint32_t i, int *error)
{
	bool is_here = b->slot != 0;

	*error = !is_here ? block_show(h, b) : nr_maps_of(h, b, i) < UINT16_MAX ? 0 : -EAGAIN;
	if (*error)
		return NULL;
	h->info.nr_hits += is_here;
	h->info.nr_misses += !is_here;
	h->info.nr_maps++;
	h->slot[b->slot - 1].was_used = is_here;
	h->nr_busy += !b->nr_maps++;
	++*count_of(h, b, i);
	return (char *)slot_address(h, b->slot) + (size_t)i * b->size;
}

enum highmem_fault highmem_map(struct bslab_highmem *h, uint64_t handle, void **ptr, int *error)
{
	struct highmem_block *b;
	enum highmem_fault fault;

	*ptr = NULL;
	lock_take(&h->lock, RANK_HEAP);
	fault = find(h, handle, &b);
	if (fault == HIGHMEM_GOOD)
		*ptr = map_object(h, b, handle_index(handle), error);
	lock_drop(&h->lock, RANK_HEAP);
	return fault;
}

enum highmem_fault highmem_unmap(struct bslab_highmem *h, uint64_t handle)
{
	struct highmem_block *b;
	enum highmem_fault fault;
	uint32_t i = handle_index(handle);

	lock_take(&h->lock, RANK_HEAP);
	fault = find(h, handle, &b);
	if (fault == HIGHMEM_GOOD && !nr_maps_of(h, b, i))
		fault = HIGHMEM_UNMAPPED;
	if (fault == HIGHMEM_GOOD) {
		--*count_of(h, b, i);
		h->nr_busy -= !--b->nr_maps;
		h->info.nr_maps--;
	}
	lock_drop(&h->lock, RANK_HEAP);
	return fault;
}

enum highmem_fault highmem_size(struct bslab_highmem *h, uint64_t handle, size_t *size)
{
	struct highmem_block *b;
	enum highmem_fault fault;

	lock_take(&h->lock, RANK_HEAP);
	fault = find(h, handle, &b);
	if (fault == HIGHMEM_GOOD)
		*size = b->size;
	lock_drop(&h->lock, RANK_HEAP);
	return fault;
}

/* --- pools ------------------------------------------------------------------------------------------------------------- */

static size_t tables_size(const struct bslab_highmem *h)
{
	size_t counts = h->nr_slots * MAX_HIGHMEM_OBJECTS * sizeof *h->count;

	return align_up(counts + h->nr_blocks * sizeof *h->block + h->nr_slots * sizeof *h->slot, os_page_size());
}

static int window_create(struct bslab_highmem *h)
{
	size_t size = (size_t)h->nr_slots * HIGHMEM_BLOCK;
	int error;

	h->count = table_pages_take(h, nr_pages_of(h->nr_slots * sizeof *h->slot)) ? os_map(tables_size(h)) : NULL;
	if (!h->count)
		return -ENOMEM;
	os_no_huge_pages(h->count, tables_size(h)); /* they are sparse, and charged by the page */
	h->block = (struct highmem_block **)(h->count + h->nr_slots * MAX_HIGHMEM_OBJECTS);
	h->slot = (struct highmem_slot *)(h->block + h->nr_blocks);
	h->window = os_reserve(size, HIGHMEM_BLOCK, 0);
	error = h->window ? os_map_file(h->window, HIGHMEM_BLOCK, h->fd, 0) : -ENOMEM; /* can it be mapped at all? */
	if (!error)
		return 0;
	if (h->window)
		os_unmap(h->window, size);
	os_unmap(h->count, tables_size(h));
	return error;
}

/* One that no live pool has, and that was given back longest ago, or nearly so. False: there is none. */
static bool id_take(uint8_t *id)
{
	unsigned i;
	bool good = false;

	lock_take(&pools.lock, RANK_HEAPS);
	for (i = 0; i < NR_HIGHMEM_IDS && !good; i++) {
		*id = (uint8_t)highmems.nr_made++;
		good = !(highmems.ids[*id / 64] >> *id % 64 & 1);
	}
	if (good)
		highmems.ids[*id / 64] |= 1ull << *id % 64;
	lock_drop(&pools.lock, RANK_HEAPS);
	return good;
}

static void id_put(uint8_t id)
{
	lock_take(&pools.lock, RANK_HEAPS);
	highmems.ids[id / 64] &= ~(1ull << id % 64);
	lock_drop(&pools.lock, RANK_HEAPS);
}

static struct bslab_highmem *publish(struct bslab_highmem *h)
{
	lock_take(&pools.lock, RANK_HEAPS);
	h->is_live = true;
	list_add(&highmems.all, &h->node);
	lock_drop(&pools.lock, RANK_HEAPS);
	return h;
}

struct bslab_highmem *highmem_create(const char *name, int fd, uint64_t size, size_t window, int *error)
{
	struct bslab_highmem *h = boot_pool_get(&highmems.pools, sizeof *h, 64);

	if (!h) {
		*error = -ENOMEM;
		return NULL;
	}
	memset(h, 0, sizeof *h);
	typed_copy_name(h->name, name);
	h->fd = fd;
	h->nr_blocks = (size_t)(size / HIGHMEM_BLOCK);
	h->nr_slots = (uint32_t)min_size(min_size(window / HIGHMEM_BLOCK, h->nr_blocks), MAX_HIGHMEM_SLOTS);
	h->info.window_bytes = (size_t)h->nr_slots * HIGHMEM_BLOCK;
	if (!id_take(&h->id)) {
		*error = -EMFILE;
	} else {
		*error = window_create(h);
		if (!*error)
			return publish(h);
		table_pages_put(h);
		id_put(h->id);
	}
	boot_pool_put(&highmems.pools, h);
	return NULL;
}

/* True for one caller. */
static bool withdraw(struct bslab_highmem *h)
{
	bool was_live;

	lock_take(&pools.lock, RANK_HEAPS);
	was_live = h->is_live;
	h->is_live = false;
	if (was_live)
		list_del(&highmems.all, &h->node);
	lock_drop(&pools.lock, RANK_HEAPS);
	return was_live;
}

/* No block is left in it, so that who still calls it comes to where he is told. */
bool highmem_destroy(struct bslab_highmem *h)
{
	size_t i;

	if (!withdraw(h))
		return false;
	for (i = 0; i < h->nr_numbers; i++)
		if (h->block[i])
			boot_pool_put(&highmems.blocks[h->block[i]->kind], h->block[i]);
	os_unmap(h->window, h->info.window_bytes);
	os_unmap(h->count, tables_size(h));
	table_pages_put(h);
	h->nr_blocks = 0;
	memset(h->partial, 0, sizeof h->partial);
	h->empty = NULL;
	id_put(h->id);
	boot_pool_put(&highmems.pools, h);
	return true;
}

void highmem_snapshot(struct bslab_highmem *h, struct highmem_info *info)
{
	lock_take(&h->lock, RANK_HEAP);
	*info = h->info;
	lock_drop(&h->lock, RANK_HEAP);
}

/* --- fork -------------------------------------------------------------------------------------------------------------- */

void highmem_fork_prepare(void)
{
	struct list_node *n;

	for (n = highmems.all.first; n; n = n->next)
		lock_take_nested(&container_of(n, struct bslab_highmem, node)->lock);
}

void highmem_fork_done(bool child)
{
	struct list_node *n;

	for (n = highmems.all.first; n; n = n->next) {
		struct bslab_highmem *h = container_of(n, struct bslab_highmem, node);

		if (child)
			lock_reset(&h->lock);
		else
			lock_drop_nested(&h->lock);
	}
}
