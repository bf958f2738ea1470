/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "insight/top_rows.h"

#include <stdlib.h>
#include <string.h>

#include "insight/scale.h"

static uint64_t nr_moves(const struct cache_info *c)
{
	return c->nr_refills + c->nr_drains;
}

static struct cache_row row_of(const struct class_report *c, const struct class_report *before, double seconds)
{
	const struct cache_info *i = &c->cache;
	size_t bytes = i->nr_pages << PAGE_SHIFT, active = c->nr_used * i->size;
	struct cache_row row = {i->size, i->objects_per_slab, i->pages_per_slab, i->nr_objects, c->nr_used, c->nr_cached,
				i->nr_slabs, i->nr_partial, bytes, bytes > active ? bytes - active : 0,
				scale_percent(c->nr_used, i->nr_objects), "", 0};

	if (before && seconds > 0 && nr_moves(i) > nr_moves(&before->cache))
		row.rate = (double)(nr_moves(i) - nr_moves(&before->cache)) / seconds;
	return row;
}

unsigned cache_rows(const struct heap_report *now, const struct heap_report *before, double seconds,
		    struct cache_row row[NR_LISTED])
{
	unsigned i, n = 0;

	for (i = 1; i < NR_LISTED; i++) {
		if (!listed_cache(now, i)->cache.nr_slabs)
			continue;
		row[n] = row_of(listed_cache(now, i), before ? listed_cache(before, i) : NULL, seconds);
		listed_name(row[n++].name, now, i);
	}
	return n;
}

/* --- the order ---------------------------------------------------------------------------------- */

static const struct {
	char letter;
	char name[20];
} keys[NR_SORT_KEYS] = {
    [SORT_BYTES] = {'c', "size"},	 [SORT_OBJECTS] = {'o', "objects"},
    [SORT_ACTIVE] = {'a', "active"},	 [SORT_USE] = {'u', "use"},
    [SORT_WASTE] = {'w', "waste"},	 [SORT_RATE] = {'r', "rate"},
    [SORT_NAME] = {'n', "name"},	 [SORT_OBJECT_SIZE] = {'s', "object-size"},
    [SORT_SLABS] = {'l', "slabs"},	 [SORT_PARTIAL] = {'v', "partial-slabs"},
    [SORT_OBJECTS_PER_SLAB] = {'b', "objects-per-slab"}, [SORT_PAGES] = {'p', "pages-per-slab"},
    [SORT_CACHED] = {'e', "cached"},
};

int sort_key_of(const char *text)
{
	int i;

	for (i = 0; i < NR_SORT_KEYS; i++)
		if ((text[0] == keys[i].letter && !text[1]) || !strcmp(text, keys[i].name))
			return i;
	return -1;
}

char sort_key_letter(enum sort_key key)
{
	return keys[key].letter;
}

const char *sort_key_name(enum sort_key key)
{
	return keys[key].name;
}

static double sort_value(const struct cache_row *r, enum sort_key key)
{
	switch (key) {
	case SORT_BYTES:
		return (double)r->bytes;
	case SORT_OBJECTS:
		return (double)r->nr_objects;
	case SORT_ACTIVE:
		return (double)r->nr_active;
	case SORT_USE: /* finer than the 100ths that are shown */
		return r->nr_objects ? (double)r->nr_active / (double)r->nr_objects : 0;
	case SORT_WASTE:
		return (double)r->waste;
	case SORT_RATE:
		return r->rate;
	case SORT_NAME:
		return -(double)r->object_size;
	case SORT_SLABS:
		return (double)r->nr_slabs;
	case SORT_PARTIAL:
		return (double)r->nr_partial;
	case SORT_OBJECTS_PER_SLAB:
		return (double)r->objects_per_slab;
	case SORT_PAGES:
		return (double)r->pages_per_slab;
	case SORT_CACHED:
		return (double)r->nr_cached;
	case SORT_OBJECT_SIZE:
	case NR_SORT_KEYS:
		break;
	}
	return (double)r->object_size;
}

struct sorting {
	enum sort_key key;
	bool reverse;
};

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct cache_row *x = a, *y = b;
	const struct sorting *sorting = arg;
	double p = sort_value(x, sorting->key), q = sort_value(y, sorting->key);
	int order = (p < q) - (p > q);

	if (order)
		return sorting->reverse ? -order : order;
	return (x->object_size > y->object_size) - (x->object_size < y->object_size);
}

void cache_rows_sort(struct cache_row *row, unsigned nr, enum sort_key key, bool reverse)
{
	struct sorting sorting = {key, reverse};

	qsort_r(row, nr, sizeof *row, compare_rows, &sorting);
}
