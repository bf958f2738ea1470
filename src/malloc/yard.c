/* SPDX-License-Identifier: MIT */
#include "malloc/yard.h"

void yard_setup(struct yard *y, struct grave *graves, unsigned max_graves, size_t max_bytes, void (*release)(const struct grave *))
{
	y->grave = graves;
	y->max_graves = max_graves;
	y->max_bytes = max_bytes;
	y->release = release;
}

/* Takes the oldest, if nr_more bytes would be too much with it. */
static bool take_oldest(struct yard *y, size_t nr_more, struct grave *out)
{
	bool is_full;

	lock_take(&y->lock, RANK_RUNS);
	is_full = y->n && (y->n == y->max_graves || nr_more > y->max_bytes || y->bytes > y->max_bytes - nr_more);
	if (is_full) {
		*out = y->grave[y->first];
		y->first = (y->first + 1) % y->max_graves;
		y->n--;
		y->bytes -= out->size;
	}
	lock_drop(&y->lock, RANK_RUNS);
	return is_full;
}

/* False when there is no place: others were faster. */
static bool try_put(struct yard *y, struct grave g)
{
	bool has_place;

	lock_take(&y->lock, RANK_RUNS);
	has_place = y->n < y->max_graves;
	if (has_place) {
		y->grave[(y->first + y->n++) % y->max_graves] = g;
		y->bytes += g.size;
	}
	lock_drop(&y->lock, RANK_RUNS);
	return has_place;
}

void yard_put(struct yard *y, struct grave g)
{
	struct grave oldest;

	if (g.size > y->max_bytes) {
		y->release(&g);
		return;
	}
	do {
		while (take_oldest(y, g.size, &oldest))
			y->release(&oldest);
	} while (!try_put(y, g));
}

static struct grave *grave_at(struct yard *y, unsigned i)
{
	return &y->grave[(y->first + i) % y->max_graves];
}

bool yard_is_half_full(struct yard *y)
{
	bool is;

	lock_take(&y->lock, RANK_RUNS);
	is = y->n >= y->max_graves / 2 || y->bytes >= y->max_bytes / 2;
	lock_drop(&y->lock, RANK_RUNS);
	return is;
}

static bool is_good_for(const struct grave *g, size_t size, size_t align)
{
	return g->size == size && g->addr % align == 0 && !(g->is_bare && align <= BSLAB_PAGE_SIZE);
}

bool yard_take(struct yard *y, size_t size, size_t align, struct grave *out)
{
	unsigned i, older;
	bool found;

	lock_take(&y->lock, RANK_RUNS);
	older = y->n / 2;
	for (i = 0; i < older && !is_good_for(grave_at(y, i), size, align); i++)
		;
	found = i < older;
	if (found) {
		*out = *grave_at(y, i);
		y->bytes -= size;
		y->n--;
		for (; i < y->n; i++)
			*grave_at(y, i) = *grave_at(y, i + 1);
	}
	lock_drop(&y->lock, RANK_RUNS);
	return found;
}

void yard_look(struct yard *y, void (*look)(const struct grave *))
{
	unsigned i;

	for (i = 0; i < y->n; i++)
		look(grave_at(y, i));
}

void yard_drain(struct yard *y)
{
	struct grave oldest;

	while (take_oldest(y, SIZE_MAX, &oldest))
		y->release(&oldest);
}

void yard_fork_prepare(struct yard *y)
{
	lock_take_nested(&y->lock);
}

void yard_fork_done(struct yard *y, bool child)
{
	if (child)
		lock_reset(&y->lock);
	else
		lock_drop_nested(&y->lock);
}
