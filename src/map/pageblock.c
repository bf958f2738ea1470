/* SPDX-License-Identifier: MIT */
/*
 * The binary buddy system inside one pageblock (Knowlton 1965; Linux
 * mm/page_alloc.c). Free page blocks are linked through their descriptors, so
 * that no free page is ever touched.
 */
#include "map/pageblock.h"

#include "base/bits.h"
#include "os/bug.h"

static _Atomic page_desc_t *slot_of(const struct pageblock *b, unsigned index)
{
	return map_slot(pageblock_address(b)) + index;
}

static void write_links(const struct pageblock *b, unsigned index, struct free_links l)
{
	uint64_t n = l.order | l.prev << ORDER_BITS | (uint64_t)l.next << (ORDER_BITS + LINK_BITS);

	atomic_store_explicit(slot_of(b, index), desc_of_number(n, PAGE_FREE), memory_order_relaxed);
}

/* False when the page is not the head of a free page block. */
static bool read_links(const struct pageblock *b, unsigned index, struct free_links *l)
{
	return desc_links(atomic_load_explicit(slot_of(b, index), memory_order_relaxed), l);
}

static void link_free(struct pageblock *b, unsigned index, unsigned order)
{
	unsigned next = b->head[order];
	struct free_links l;

	if (next) {
		read_links(b, next - 1, &l);
		l.prev = index + 1;
		write_links(b, next - 1, l);
	}
	write_links(b, index, (struct free_links){order, 0, next});
	b->head[order] = (uint16_t)(index + 1);
	b->orders |= (uint16_t)(1u << order);
}

static void unlink_free(struct pageblock *b, unsigned index, struct free_links l)
{
	struct free_links other;

	if (l.prev) {
		read_links(b, l.prev - 1, &other);
		other.next = l.next;
		write_links(b, l.prev - 1, other);
	} else {
		b->head[l.order] = (uint16_t)l.next;
		if (!l.next)
			b->orders &= (uint16_t) ~(1u << l.order);
	}
	if (l.next) {
		read_links(b, l.next - 1, &other);
		other.prev = l.prev;
		write_links(b, l.next - 1, other);
	}
	atomic_store_explicit(slot_of(b, index), 0, memory_order_relaxed);
}

void pageblock_init_free(struct pageblock *b)
{
	bslab_assert(b->orders == 0);
	b->nr_free = PAGEBLOCK_PAGES;
	b->nr_dirty_free = (uint16_t)pageblock_nr_dirty(b, 0, PAGEBLOCK_PAGES);
	b->dirty_orders = b->nr_dirty_free ? NR_ORDERS : 0;
	b->warm_row = b->nr_dirty_free;
	bits_change(b->free, 0, PAGEBLOCK_PAGES, true);
	link_free(b, 0, PAGEBLOCK_ORDER);
}

void pageblock_fini_free(struct pageblock *b)
{
	bslab_assert(b->nr_free == PAGEBLOCK_PAGES && b->orders == 1u << PAGEBLOCK_ORDER);
	unlink_free(b, 0, (struct free_links){PAGEBLOCK_ORDER, 0, 0});
	bits_change(b->free, 0, PAGEBLOCK_PAGES, false);
	b->nr_free = b->nr_dirty_free = 0;
}

/* Links [index, end) as the largest aligned blocks that fit, without looking for merges: its neighbours are in use, or being taken. */
static void link_range(struct pageblock *b, unsigned index, unsigned end)
{
	while (index < end) {
		unsigned order = ilog2(end - index);

		if (index)
			order = order < (unsigned)__builtin_ctz(index) ? order : (unsigned)__builtin_ctz(index);
		link_free(b, index, order);
		b->nr_splits++;
		index += 1u << order;
	}
}

/* The head of the free page block that a page is in. */
static unsigned free_head(const struct pageblock *b, unsigned index)
{
	unsigned order = 0, head = index;
	struct free_links l;

	while (!read_links(b, head, &l) || l.order < order) {
		order++;
		bslab_assert(order < NR_ORDERS);
		head = index & ~((1u << order) - 1);
	}
	return head;
}

unsigned pageblock_take_row(struct pageblock *b, unsigned index, unsigned nr_pages)
{
	unsigned nr_dirty = pageblock_nr_dirty(b, index, nr_pages), end = index + nr_pages, head = free_head(b, index), i;
	struct free_links l;

	for (i = head; i < end; i += 1u << l.order) {
		read_links(b, i, &l);
		unlink_free(b, i, l);
	}
	link_range(b, head, index);
	link_range(b, end, i);
	bits_change(b->free, index, nr_pages, false);
	if (nr_dirty != nr_pages)
		pageblock_set_dirty(b, index, nr_pages, true);
	b->nr_free -= (uint16_t)nr_pages;
	b->nr_dirty_free -= (uint16_t)nr_dirty;
	return nr_dirty;
}

/* Free page blocks of an order that are looked at for warm ones. */
#define MAX_LOOKS 8

int pageblock_find_warm(const struct pageblock *b, unsigned nr_pages, unsigned order)
{
	unsigned warm = b->nr_dirty_free * 2 >= nr_pages ? (1u << b->dirty_orders) - 1 : 0, link, i;
	unsigned orders = b->orders & warm & ~((1u << order) - 1);

	for (; orders; orders &= orders - 1) {
		link = b->head[__builtin_ctz(orders)];
		for (i = 0; link && i < MAX_LOOKS; i++, link = pageblock_next_free(b, link))
			if (pageblock_nr_dirty(b, link - 1, nr_pages) * 2 >= nr_pages)
				return (int)link - 1;
	}
	return -1;
}

static void warm_bits(const struct pageblock *b, uint64_t warm[PAGEBLOCK_PAGES / 64])
{
	unsigned w;

	for (w = 0; w < PAGEBLOCK_PAGES / 64; w++)
		warm[w] = b->free[w] & b->dirty[w];
}

/* The first of the shortest row of set bits that nr_pages fit in, or -1; and the length of the longest. */
static int find_row(const uint64_t bits[PAGEBLOCK_PAGES / 64], unsigned nr_pages, unsigned *longest)
{
	unsigned from, end = 0, best = PAGEBLOCK_PAGES + 1;
	int found = -1;

	*longest = 0;
	while (bits_next_row(bits, PAGEBLOCK_PAGES, &from, &end)) {
		*longest = end - from > *longest ? end - from : *longest;
		if (end - from >= nr_pages && end - from < best) {
			best = end - from;
			found = (int)from;
		}
	}
	return found;
}

int pageblock_find_row(struct pageblock *b, unsigned nr_pages)
{
	uint64_t warm[PAGEBLOCK_PAGES / 64];
	unsigned longest;
	int found;

	if (b->warm_row < nr_pages)
		return -1;
	warm_bits(b, warm);
	found = find_row(warm, nr_pages, &longest);
	b->warm_row = (uint16_t)longest;
	return found;
}

int pageblock_find_free_row(const struct pageblock *b, unsigned nr_pages)
{
	unsigned longest;

	return b->nr_free < nr_pages ? -1 : find_row(b->free, nr_pages, &longest);
}

int pageblock_alloc(struct pageblock *b, unsigned nr_pages, unsigned align_order, unsigned *nr_dirty)
{
	unsigned order = order_of(nr_pages), fitting;
	int index;

	if (order < align_order)
		order = align_order;
	fitting = b->orders & ~((1u << order) - 1);
	if (!fitting)
		return -1;
	index = pageblock_find_warm(b, nr_pages, order);
	if (index < 0)
		index = b->head[__builtin_ctz(fitting)] - 1;
	*nr_dirty = pageblock_take_row(b, (unsigned)index, nr_pages);
	return index;
}

/* What comes free, dirty in part at least, lengthens the rows of warm pages at both sides of it. */
static void raise_warm_row(struct pageblock *b, unsigned index, unsigned end)
{
	uint64_t warm[PAGEBLOCK_PAGES / 64];
	unsigned row;

	warm_bits(b, warm);
	row = bits_next(warm, end, PAGEBLOCK_PAGES, false) - bits_row_start(warm, index);
	if (row > b->nr_dirty_free)
		row = b->nr_dirty_free;
	if (b->warm_row < row)
		b->warm_row = (uint16_t)row;
}

static void free_order(struct pageblock *b, unsigned index, unsigned order)
{
	while (order < PAGEBLOCK_ORDER) {
		unsigned buddy = index ^ (1u << order);
		struct free_links l;

		if (!read_links(b, buddy, &l) || l.order != order)
			break;
		unlink_free(b, buddy, l);
		b->nr_merges++;
		index &= ~(1u << order);
		order++;
	}
	link_free(b, index, order);
	if (order >= b->dirty_orders && b->nr_dirty_free && pageblock_nr_dirty(b, index, 1u << order))
		b->dirty_orders = (uint8_t)(order + 1);
}

void pageblock_free(struct pageblock *b, unsigned index, unsigned nr_pages)
{
	unsigned end = index + nr_pages, nr_dirty = pageblock_nr_dirty(b, index, nr_pages);

	map_set_range(pageblock_address(b) + ((size_t)index << PAGE_SHIFT), nr_pages, 0);
	b->nr_free += (uint16_t)nr_pages;
	b->nr_dirty_free += (uint16_t)nr_dirty;
	bits_change(b->free, index, nr_pages, true);
	if (nr_dirty && b->warm_row < b->nr_dirty_free)
		raise_warm_row(b, index, end);
	while (index < end) {
		unsigned order = ilog2(end - index);

		if (index && (unsigned)__builtin_ctz(index) < order)
			order = (unsigned)__builtin_ctz(index);
		free_order(b, index, order);
		index += 1u << order;
	}
}

bool pageblock_extend(struct pageblock *b, unsigned index, unsigned nr_pages, unsigned *nr_dirty)
{
	unsigned end = index + nr_pages;

	if (end > PAGEBLOCK_PAGES || bits_next(b->free, index, end, false) < end)
		return false;
	*nr_dirty = pageblock_take_row(b, index, nr_pages);
	return true;
}

void pageblock_isolate(struct pageblock *b, unsigned index, unsigned order)
{
	struct free_links l;

	read_links(b, index, &l);
	bslab_assert(l.order == order);
	unlink_free(b, index, l);
	bits_change(b->free, index, 1u << order, false);
	b->nr_free -= (uint16_t)(1u << order);
	b->nr_dirty_free -= (uint16_t)pageblock_nr_dirty(b, index, 1u << order);
}

unsigned pageblock_nr_dirty(const struct pageblock *b, unsigned index, unsigned nr_pages)
{
	unsigned end = index + nr_pages, w, n = 0;

	for (w = index / 64; w * 64 < end; w++)
		n += (unsigned)__builtin_popcountll(b->dirty[w] & bits_mask(w, index, end));
	return n;
}

void pageblock_set_dirty(struct pageblock *b, unsigned index, unsigned nr_pages, bool dirty)
{
	if (!dirty)
		b->is_huge = false;
	bits_change(b->dirty, index, nr_pages, dirty);
}

unsigned pageblock_next_free(const struct pageblock *b, unsigned link)
{
	struct free_links l;

	return read_links(b, link - 1, &l) ? l.next : 0;
}

bool pageblock_has_dirty(struct pageblock *b, unsigned min_order)
{
	unsigned order, link;

	while (b->dirty_orders > min_order) {
		order = b->dirty_orders - 1u;
		for (link = b->nr_dirty_free ? b->head[order] : 0; link; link = pageblock_next_free(b, link))
			if (pageblock_nr_dirty(b, link - 1, 1u << order))
				return true;
		b->dirty_orders = (uint8_t)order;
	}
	return false;
}

static unsigned longest_row(const uint64_t *bits)
{
	unsigned from, end = 0, longest = 0;

	while (bits_next_row(bits, PAGEBLOCK_PAGES, &from, &end))
		longest = end - from > longest ? end - from : longest;
	return longest;
}

static bool bits_are_valid(const struct pageblock *b)
{
	unsigned w, n = 0;
	uint64_t warm[PAGEBLOCK_PAGES / 64];

	for (w = 0; w < PAGEBLOCK_PAGES / 64; w++)
		n += (unsigned)__builtin_popcountll(b->free[w]);
	warm_bits(b, warm);
	return n == b->nr_free && longest_row(warm) <= b->warm_row;
}

bool pageblock_is_valid(const struct pageblock *b)
{
	unsigned order, link, prev, nr_free = 0, nr_dirty = 0, nr, end;
	struct free_links l;

	for (order = 0; order < NR_ORDERS; order++) {
		if (!b->head[order] != !(b->orders & 1u << order))
			return false;
		for (prev = 0, link = b->head[order]; link; prev = link, link = l.next) {
			end = link - 1 + (1u << order);
			if (!read_links(b, link - 1, &l) || l.order != order || l.prev != prev ||
			    ((link - 1) & ((1u << order) - 1)) || bits_next(b->free, link - 1, end, false) < end)
				return false;
			nr_free += 1u << order;
			nr = pageblock_nr_dirty(b, link - 1, 1u << order);
			if (nr && order >= b->dirty_orders)
				return false;
			nr_dirty += nr;
		}
	}
	return nr_free == b->nr_free && nr_dirty == b->nr_dirty_free && bits_are_valid(b);
}
