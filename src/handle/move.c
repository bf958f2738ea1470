/* SPDX-License-Identifier: MIT */
#include "handle/move.h"

#include "handle/entry.h"
#include "handle/slabs.h"
#include "os/bug.h"

/* --- compaction -------------------------------------------------------------------------------------------------------- */

/* Takes the lock of the slab's cache; false, and no lock, when it is not the slab at base any more. */
static bool lock_slab(struct handle_slab *s, uintptr_t base)
{
	lock_take(&s->cache->lock, RANK_CACHE);
	if (s->base == base)
		return true;
	lock_drop(&s->cache->lock, RANK_CACHE);
	return false;
}

/* Of a slab without objects; the lock is dropped. */
static void remove_and_drop(struct handle_slab *s)
{
	uintptr_t base = s->base;
	unsigned nr_pages = s->nr_pages;

	handle_slab_remove(s);
	lock_drop(&s->cache->lock, RANK_CACHE);
	handle_slab_destroy(s, base, nr_pages);
}

bool handle_slab_isolate(struct handle_slab *s, uintptr_t base)
{
	if (!lock_slab(s, base))
		return false;
	if (!s->nr_taken) {
		remove_and_drop(s);
		return true;
	}
	s->is_isolated = true;
	handle_slab_relist(s);
	lock_drop(&s->cache->lock, RANK_CACHE);
	return true;
}

bool handle_slab_putback(struct handle_slab *s, uintptr_t base)
{
	if (!lock_slab(s, base))
		return false;
	s->is_isolated = false;
	handle_slab_relist(s);
	lock_drop(&s->cache->lock, RANK_CACHE);
	return true;
}

/* An object that a thread keeps: the entry is left without one. */
static bool strip(struct handle_slab *s, unsigned i, struct handle_entry *e, uint64_t place)
{
	if (!atomic_compare_exchange_strong_explicit(&e->place, &place, place_of(0, ENTRY_FREE), memory_order_acquire,
						     memory_order_relaxed))
		return false;
	atomic_fetch_add_explicit(&s->cache->nr_stripped, 1, memory_order_relaxed);
	handle_slab_give(s, i);
	return true;
}

bool handle_slab_strip(struct handle_slab *s, uintptr_t base, unsigned *nr_objects, bool *is_busy)
{
	unsigned i;

	if (!lock_slab(s, base))
		return false;
	for (i = 0; s->base == base && i < s->cache->nr_objects; i++) {
		struct handle_entry *e = s->owner[i] && !(s->free[i / 64] >> i % 64 & 1) ? entry_at(s->owner[i]) : NULL;
		uint64_t place = e ? atomic_load_explicit(&e->place, memory_order_relaxed) : 0;
		bool is_here = place_address(place) == handle_object_address(s, i);

		if (!e || (is_here && place_state(place) == ENTRY_CACHED && strip(s, i, e, place)))
			continue;
		*nr_objects += 1;
		*is_busy |= !is_here || place_state(place) != ENTRY_LIVE || place_maps(place);
	}
	lock_drop(&s->cache->lock, RANK_CACHE);
	return true;
}

void handle_entry_strip(uint32_t index)
{
	struct handle_entry *e = entry_at(index);
	uint64_t place = e ? atomic_load_explicit(&e->place, memory_order_relaxed) : 0;
	struct handle_slab *s = place_state(place) == ENTRY_CACHED ? handle_slab_of(map_lookup(place_address(place))) : NULL;
	unsigned i;

	/* The place may be an old one, and lead to a header that is just being made: with its base its cache is to be seen, too. */
	if (!s || !__atomic_load_n(&s->base, __ATOMIC_ACQUIRE))
		return;
	lock_take(&s->cache->lock, RANK_CACHE);
	i = s->base && s->cache->size ? handle_object_number(s, place_address(place)) : MAX_HANDLE_OBJECTS;
	if (i < s->cache->nr_objects && s->owner[i] == index && handle_object_address(s, i) == place_address(place))
		strip(s, i, e, place);
	lock_drop(&s->cache->lock, RANK_CACHE);
}

/* --- a move ---------------------------------------------------------------------------------------------------------------- */

/* The one that is under way: a place is taken for it, and its entry is MOVING. Written under its cache's lock. */
static struct {
	struct handle_entry *e; /* NULL: none */
	uint64_t place;		/* MOVING, at the old address */
	struct handle_slab *from, *to;
	uintptr_t addr; /* the new one */
} on_its_way;

/*
 * Reads what its user may write meanwhile: then the copy is not used. Word by word, atomically: no other thread sees
 * dst, and that src is torn does not matter. Its slab stays until the move ends, so it can be read whoever frees it. Whether the
 * move is void by now is looked at for each page: then there is no need to go on.
 */
static looks_at_others void copy_object(size_t size)
{
	uint64_t *to = (uint64_t *)on_its_way.addr;
	const uint64_t *from = (const uint64_t *)place_address(on_its_way.place);
	size_t i, n = size / sizeof *to;

	for (i = 0; i < n; i++) {
		if (i % (BSLAB_PAGE_SIZE / sizeof *to) == 0 &&
		    atomic_load_explicit(&on_its_way.e->place, memory_order_relaxed) != on_its_way.place)
			return;
		to[i] = READ_ONCE(from[i]);
	}
}

/* With the lock held. MOVE_DONE: the object can be moved now. A slab that is not isolated is of a block that came free and in again. */
static enum move move_check(struct handle_slab *s, uintptr_t base, unsigned i, uint64_t *place)
{
	struct handle_entry *e;

	if (s->base != base || !s->is_isolated || s->free[i / 64] >> i % 64 & 1)
		return MOVE_NOTHING;
	e = entry_at(s->owner[i]);
	*place = atomic_load_explicit(&e->place, memory_order_relaxed);
	if (*place == place_of(handle_object_address(s, i), ENTRY_CACHED))
		return strip(s, i, e, *place) ? MOVE_NOTHING : MOVE_BUSY;
	return *place == place_of(handle_object_address(s, i), ENTRY_LIVE) ? MOVE_DONE : MOVE_BUSY;
}

/* A place for an object of s, with the lock held, which is dropped meanwhile where there is none. */
static struct handle_slab *slab_for_move(const struct handle_slab *s)
{
	struct handle_cache *c = s->cache;
	unsigned nr_pages = s->nr_pages;
	struct handle_slab *to = handle_slab_fullest(c);
	uintptr_t base;

	if (to)
		return to;
	lock_drop(&c->lock, RANK_CACHE);
	to = handle_slab_create(c, nr_pages, false, &base);
	lock_take(&c->lock, RANK_CACHE);
	if (to)
		handle_slab_add(to, base);
	return to;
}

/* The lock is held. MOVE_DONE: it is on its way. */
static enum move move_begin(struct handle_slab *s, uintptr_t base, unsigned i, struct handle_slab *to, uint64_t place)
{
	uint64_t moving = place_of(place_address(place), ENTRY_MOVING);
	uint32_t index = s->owner[i];
	struct handle_entry *e = entry_at(index);

	bslab_assert(s->base == base && to != s && !to->is_isolated);
	if (!atomic_compare_exchange_strong_explicit(&e->place, &place, moving, memory_order_acquire, memory_order_relaxed))
		return MOVE_VOID;
	on_its_way.e = e;
	on_its_way.place = moving;
	on_its_way.from = s;
	on_its_way.to = to;
	s->is_source = true;
	handle_slab_take(to, &index, &on_its_way.addr, 1);
	return MOVE_DONE;
}

/*
 * The lock is held. False: it was mapped or freed meanwhile, and its new place is free again. The slab that it stands in may be
 * without objects then, and is the caller's to free.
 */
static bool move_end(void)
{
	struct handle_slab *to = on_its_way.to;
	uint64_t moving = on_its_way.place;
	bool done = atomic_compare_exchange_strong_explicit(&on_its_way.e->place, &moving, place_of(on_its_way.addr, ENTRY_LIVE),
							    memory_order_release, memory_order_relaxed);

	on_its_way.e = NULL;
	on_its_way.from->is_source = false;
	if (!done)
		handle_slab_give(to, to->cache->size ? handle_object_number(to, on_its_way.addr) : 0);
	return done;
}

/* The lock is held, and dropped in the end. The move was begun. */
static enum move move_finish(struct handle_slab *s, uintptr_t base, unsigned i)
{
	bool done;

	lock_drop(&s->cache->lock, RANK_CACHE);
	copy_object(handle_object_size(on_its_way.to));
	lock_take(&s->cache->lock, RANK_CACHE);
	done = move_end();
	if (done)
		handle_slab_give(s, i); /* what was MOVING until now is still there */
	lock_drop(&s->cache->lock, RANK_CACHE);
	if (done)
		return MOVE_DONE;
	handle_slab_isolate(s, base); /* as it is; frees it, where it has no objects any more */
	return MOVE_VOID;
}

enum move handle_object_move(struct handle_slab *s, uintptr_t base, unsigned i)
{
	struct handle_cache *c = s->cache;
	struct handle_slab *to = NULL;
	uintptr_t to_base = 0;
	enum move result;
	uint64_t place;

	lock_take(&c->lock, RANK_CACHE);
	result = move_check(s, base, i, &place);
	if (result == MOVE_DONE && !(to = slab_for_move(s)))
		result = MOVE_NO_ROOM;
	if (result == MOVE_DONE) {
		to_base = to->base;
		result = move_check(s, base, i, &place); /* again: the lock may have been dropped */
	}
	if (result == MOVE_DONE)
		result = handle_object_size(to) == handle_object_size(s) ? move_begin(s, base, i, to, place) : MOVE_VOID;
	if (result == MOVE_DONE)
		return move_finish(s, base, i);
	/* A new one, for nothing: one for runs has room for this size only. It may be gone: move_check() drops the lock to strip. */
	if (to && to->base == to_base && !to->nr_taken)
		remove_and_drop(to);
	else
		lock_drop(&c->lock, RANK_CACHE);
	return result;
}

void handle_move_cancel(void)
{
	struct handle_slab *from = on_its_way.from;
	uint64_t moving = on_its_way.place;

	if (!on_its_way.e)
		return;
	atomic_compare_exchange_strong(&on_its_way.e->place, &moving, moving ^ (ENTRY_MOVING ^ ENTRY_LIVE));
	lock_take(&from->cache->lock, RANK_CACHE);
	move_end(); /* which finds the move void */
	lock_drop(&from->cache->lock, RANK_CACHE);
	handle_slab_isolate(from, from->base);
}

/* Frees one slab without objects. */
static bool shrink_one(struct handle_cache *c)
{
	struct list_node *n;

	lock_take(&c->lock, RANK_CACHE);
	n = c->list[0].first;
	if (n)
		remove_and_drop(container_of(n, struct handle_slab, node));
	else
		lock_drop(&c->lock, RANK_CACHE);
	return n != NULL;
}

void handle_caches_shrink(void)
{
	unsigned class;

	for (class = 0; class < NR_CLASSES; class++)
		while (handle_cache_if_used(class) && shrink_one(handle_caches[class]))
			;
}
