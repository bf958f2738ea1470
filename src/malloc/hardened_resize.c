/* SPDX-License-Identifier: MIT */
/* realloc() in the hardened mode: what stays, what is moved, and what gets room to grow. */
#include <errno.h>
#include <string.h>

#include "malloc/explicit.h"
#include "malloc/hardened.h"
#include "malloc/hardened_block.h"
#include "malloc/hardened_pages.h"
#include "malloc/reports.h"
#include "os/os.h"
#include "slab/hardened.h"

/* What the word of a roomy block can say, with the rest of a page. */
#define MAX_ROOM (56 * KIB)

/* More bytes, or fewer, of the same block: those that come read as zero. What is behind them is pad already. */
static void *block_reseal(struct block *b, size_t size)
{
	uint64_t number;

	if (size <= b->size) {
		block_seal(b->start, size, b->end);
	} else {
		number = block_end_number(b->end);
		block_begin(b->end, number);
		memset((void *)(b->start + b->size), 0, size - b->size);
		block_end(b->end, number, b->end - BLOCK_WORD - b->start - size);
	}
	return (void *)b->start;
}

/* It stays as long as it fits and more than half of it is used. */
static void *object_resize(struct block *b, size_t size)
{
	size_t room = size + BLOCK_WORD, have = slab_cache(b->slab)->size;

	if (slab_cache(b->slab)->class == ZERO_CLASS || room > have || (room < have / 2 && have > MIN_BLOCK))
		return NULL;
	return block_reseal(b, size);
}

static void *run_resize(struct block *b, size_t size)
{
	size_t room = b->end - BLOCK_WORD - b->start;

	return size <= room && size >= room / 2 && room - size <= MAX_PAD ? block_reseal(b, size) : NULL;
}

/*
 * A mapping that grows by a little takes a quarter more, but no more than 256 times that little: each realloc() looks at
 * the pad. The rest of the machine's last page is pad, too.
 */
static size_t mapping_with_room(size_t old_size, size_t size)
{
	size_t more = size - old_size, max_room = MAX_PAD + 1 - min_size(os_page_size(), MAX_PAD + 1);

	return more < old_size / 4 ? size + min_size(min_size(old_size / 4, min_size(MAX_ROOM, max_room)), more * 256) : size;
}

/* To `have` bytes, of which size are the block's. */
static void *mapping_remap(struct block *b, size_t size, size_t have)
{
	size_t room = b->end - BLOCK_WORD - b->start;
	char *p;

	change_begin();
	memset((void *)(b->start + b->size), 0, room - b->size); /* the pad, which may be inside soon */
	p = large_resize(b->area, have + BLOCK_WORD);
	if (p && b->area->size > b->end - b->start)
		memset(p + room, 0, BLOCK_WORD); /* and the word */
	block_seal(b->area->addr, p ? size : b->size, b->area->addr + b->area->size);
	change_end();
	return p;
}

static void *mapping_resize(struct block *b, size_t size)
{
	size_t room = b->end - BLOCK_WORD - b->start, have;
	void *p;

	if (size < b->size / 2 && size + BLOCK_WORD <= PAGEBLOCK_SIZE)
		return NULL;
	if (size <= room && room - size <= MAX_PAD)
		return block_reseal(b, size);
	have = size > b->size ? mapping_with_room(b->size, size) : size;
	p = mapping_remap(b, size, have);
	return p || have == size ? p : mapping_remap(b, size, size);
}

/* Where it can stay, or be moved without a copy. */
static void *block_resize(struct block *b, size_t size)
{
	if (b->is_guarded || b->is_reserved)
		return NULL;
	if (b->slab)
		return object_resize(b, size);
	return b->area ? mapping_resize(b, size) : run_resize(b, size);
}

/* From here on a block that grows on is made a mapping, which then grows without a copy. */
#define MIN_GROWING_MAPPING (256 * KIB)

/*
 * A block that grew before gets room, which is pad until it grows into it. Without that a block that is appended to is
 * copied, faulted in and guarded at each page. Which grew before, the thread knows of one (size_with_room()): a run counts
 * as another, for several may grow in turn.
 */
static size_t room_to_grow(void *ptr, const struct block *old, size_t size)
{
	bool is_run = !old->slab && !old->area && !old->is_guarded;
	size_t roomy = is_run ? old->size + old->size / 4 : size_with_room(ptr, old->size, size);

	return size > old->size && roomy > size ? min_size(roomy, size + MAX_ROOM) : size;
}

static void *move_growing(void *ptr, struct block *old, size_t size, struct caller by, bool no_retry)
{
	size_t roomy = room_to_grow(ptr, old, size);
	struct block b;
	bool zeroed;
	void *p;

	if (roomy == size)
		return NULL;
	if (size >= MIN_GROWING_MAPPING)
		return alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = by, .is_mapping = true,
							  .no_retry = no_retry}, &zeroed);
	p = alloc_slow(&(struct alloc_request){.size = roomy, .align = 1, .asked = size, .by = by, .no_retry = no_retry}, &zeroed);
	if (p && block_find(p, "realloc", &b) && b.size > size)
		block_reseal(&b, size);
	return p;
}

/* Where it cannot be moved, a request for less is not refused if the pad can be so long. */
static void *block_shrink(struct block *b, size_t size)
{
	if (size > b->size)
		return NULL;
	if (b->is_guarded || b->is_reserved)
		return block_stays((void *)b->start);
	return b->end - BLOCK_WORD - b->start - size <= MAX_PAD ? block_reseal(b, size) : NULL;
}

void *hardened_realloc(void *ptr, size_t size, struct caller by, bool no_retry)
{
	unsigned zone = explicit_zone_of(map_lookup((uintptr_t)ptr));
	int saved = errno;
	struct block b;
	bool zeroed;
	void *p;

	if (unlikely(!block_find(ptr, "realloc", &b))) {
		errno = EINVAL;
		return NULL;
	}
	if (unlikely(size > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	if (zone)
		return explicit_realloc(ptr, b.size, size, zone, no_retry);
	p = block_resize(&b, size);
	if (p) {
		reports_poll();
		return p;
	}
	p = move_growing(ptr, &b, size, by, no_retry);
	if (!p)
		p = alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = by, .no_retry = no_retry}, &zeroed);
	if (!p)
		return with_errno(saved, block_shrink(&b, size));
	memcpy(p, ptr, min_size(b.size, size));
	hardened_free(ptr);
	thread_state.grown = size > b.size ? p : NULL;
	return with_errno(saved, p);
}
