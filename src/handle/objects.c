/* SPDX-License-Identifier: MIT */
#include "handle/objects.h"

#include "base/probe.h"
#include "handle/entry.h"
#include "map/pageblock.h"
#include "os/bug.h"
#include "page/limit.h"
#include "page/compactable.h"

#define MAX_HANDLE_ORDER 4
#define MAX_KEPT_PAGES 8
#define RECIPROCAL_SHIFT 40 /* slab/slab.c shows that it is enough */

struct handle_cache *handle_caches[NR_CLASSES] reader_root(handle_caches); /* made under caches_lock */

static _Atomic size_t nr_taken_bytes; /* relaxed */

size_t objects_bytes(void)
{
	return atomic_load_explicit(&nr_taken_bytes, memory_order_relaxed);
}

size_t objects_bytes_of(struct pageblock *blk)
{
	return atomic_load_explicit(&blk->object_bytes, memory_order_relaxed);
}

/* --- geometry ------------------------------------------------------------------------------------------------------- */

static unsigned objects_in(size_t size, unsigned order)
{
	return (unsigned)min_size((BSLAB_PAGE_SIZE << order) / size, MAX_HANDLE_OBJECTS);
}

static size_t lost_in(size_t size, unsigned order)
{
	return (BSLAB_PAGE_SIZE << order) - objects_in(size, order) * size;
}

/* The fewest pages that hold 8 objects and lose at most 1/32 behind the last; or the most. */
static unsigned slab_order(size_t size)
{
	unsigned order = order_of((size + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT);

	while (order < MAX_HANDLE_ORDER &&
	       (objects_in(size, order) < 8 || lost_in(size, order) > (BSLAB_PAGE_SIZE << order) / 32))
		order++;
	return order;
}

static struct handle_cache *cache_create(unsigned class)
{
	struct handle_cache *c = boot_alloc(sizeof *c, _Alignof(struct handle_cache));
	size_t size = class == RUN_CLASS ? 0 : class_size(class);
	unsigned order = size ? slab_order(size) : 0;

	if (!c)
		return NULL;
	c->class = (uint8_t)class;
	c->size = (uint32_t)size;
	c->nr_objects = size ? (uint16_t)objects_in(size, order) : 1;
	if (size) {
		c->nr_pages = (uint16_t)(align_up(c->nr_objects * size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT);
		c->reciprocal = ((1ull << RECIPROCAL_SHIFT) + size - 1) / size;
	}
	return c;
}

struct handle_cache *handle_cache_if_used(unsigned class)
{
	return __atomic_load_n(&handle_caches[class], __ATOMIC_ACQUIRE);
}

struct handle_cache *handle_cache_of(unsigned class)
{
	struct handle_cache *c = handle_cache_if_used(class);

	if (unlikely(!c)) {
		lock_take(&caches_lock, RANK_CACHES);
		c = handle_caches[class];
		if (!c) {
			c = cache_create(class);
			__atomic_store_n(&handle_caches[class], c, __ATOMIC_RELEASE);
		}
		lock_drop(&caches_lock, RANK_CACHES);
	}
	return c;
}

static unsigned object_number(const struct handle_slab *s, uintptr_t addr)
{
	return (unsigned)((addr - s->base) * s->cache->reciprocal >> RECIPROCAL_SHIFT);
}

static uintptr_t object_address(const struct handle_slab *s, unsigned i)
{
	return s->base + (uintptr_t)i * s->cache->size;
}

/* --- slabs come and go; the lock is not held ------------------------------------------------------------------------ */

/* It is none to anybody, a compaction least of all, before slab_add(): so its address is not in it yet. */
static struct handle_slab *slab_create(struct handle_cache *c, unsigned nr_pages, bool may_grow, uintptr_t *base)
{
	size_t header = sizeof(struct handle_slab) + c->nr_objects * sizeof(uint32_t);
	struct handle_slab *s = boot_pool_get(&c->pool, header, _Alignof(struct handle_slab));
	void *pages = NULL;
	bool zeroed;
	unsigned i;

	if (!s)
		return NULL;
	if (!may_grow || limit_allows(nr_pages)) /* room for what is moved is made up for by what moves away */
		pages = pages_alloc_compactable(nr_pages, may_grow);
	if (!pages && may_grow && limit_allows(nr_pages)) /* the zone is empty: what stands among malloc's does not move */
		pages = pages_alloc(nr_pages, 0, MIGRATE_MOVABLE, 0, &zeroed);
	if (!pages) {
		boot_pool_put(&c->pool, s);
		return NULL;
	}
	if (!s->cache) /* others may read it */
		s->cache = c;
	WRITE_ONCE(s->nr_pages, nr_pages);
	WRITE_ONCE(s->nr_taken, 0);
	s->list = 0;
	for (i = 0; i < MAX_HANDLE_OBJECTS / 64; i++) {
		unsigned rest = c->nr_objects > i * 64 ? c->nr_objects - i * 64 : 0;

		s->free[i] = rest >= 64 ? ~0ull : (1ull << rest) - 1;
	}
	*base = (uintptr_t)pages;
	map_set_range(*base, nr_pages, desc_of_pointer(s, PAGE_HANDLE, 0));
	PROBE(handle_slab_create, c->size, pages, c->nr_objects, nr_pages);
	return s;
}

/* It was removed. */
static void slab_destroy(struct handle_slab *s, uintptr_t base, unsigned nr_pages)
{
	PROBE(handle_slab_destroy, s->cache->size, base, nr_pages);
	pages_free((void *)base, nr_pages);
	boot_pool_put(&s->cache->pool, s);
}

/* --- lists, and objects of a slab; the lock is held ------------------------------------------------------------------ */

static void slab_unlist(struct handle_slab *s)
{
	if (!s->list)
		return;
	list_del(&s->cache->list[s->list - 1], &s->node);
	s->cache->nr_partial--;
	s->list = 0;
}

/* Call after objects were taken or given, or the slab's being isolated changed. */
static void slab_relist(struct handle_slab *s)
{
	struct handle_cache *c = s->cache;
	unsigned list = s->nr_taken ? 1 + s->nr_taken * 8u / c->nr_objects : 0;
	bool listed = s->nr_taken < c->nr_objects && !s->is_isolated;

	bslab_assert(lock_is_held(&c->lock));
	if (listed && s->list == list + 1)
		return;
	slab_unlist(s);
	if (listed) {
		s->list = (uint8_t)(list + 1);
		list_add(&c->list[list], &s->node);
		c->nr_partial++;
	}
}

static void slab_add(struct handle_slab *s, uintptr_t base)
{
	struct handle_cache *c = s->cache;

	__atomic_store_n(&s->base, base, __ATOMIC_RELEASE);
	/* Either the compactor, which marks the block and then looks for slabs, finds this one, or it is seen here. */
	atomic_thread_fence(memory_order_seq_cst);
	s->is_isolated = READ_ONCE(map_pageblock(base)->is_isolated);
	c->nr_slabs++;
	c->nr_empty++;
	c->nr_slab_pages += s->nr_pages;
	c->nr_slab_creates++;
	slab_relist(s);
}

/* A slab without objects: its address and pages are the caller's to free. */
static void slab_remove(struct handle_slab *s)
{
	struct handle_cache *c = s->cache;

	bslab_assert(lock_is_held(&c->lock) && s->nr_taken == 0 && !s->is_source);
	slab_unlist(s);
	c->nr_slabs--;
	c->nr_empty--;
	c->nr_slab_pages -= s->nr_pages;
	c->nr_slab_destroys++;
	WRITE_ONCE(s->base, 0);
}

static struct handle_slab *slab_fullest(struct handle_cache *c)
{
	unsigned i;

	for (i = NR_HANDLE_LISTS; i-- > 0;)
		if (c->list[i].first)
			return container_of(c->list[i].first, struct handle_slab, node);
	return NULL;
}

static void count_taken(const struct handle_slab *s, int n)
{
	struct handle_cache *c = s->cache;
	size_t bytes = (size_t)n * handle_object_size(s); /* modulo 2^64 where they go: the sums are right */

	c->nr_taken += (size_t)n;
	atomic_fetch_add_explicit(&nr_taken_bytes, bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&map_pageblock(s->base)->object_bytes, (uint32_t)bytes, memory_order_relaxed);
}

/* Up to n; the slab has free ones. */
static unsigned slab_objects_take(struct handle_slab *s, const uint32_t *index, uintptr_t *addr, unsigned n)
{
	unsigned w, i, done = 0;

	for (w = 0; w < MAX_HANDLE_OBJECTS / 64 && done < n; w++)
		for (; s->free[w] && done < n; s->free[w] &= s->free[w] - 1) {
			i = w * 64 + (unsigned)__builtin_ctzll(s->free[w]);
			s->owner[i] = index[done];
			addr[done++] = object_address(s, i);
		}
	if (!s->nr_taken && done)
		s->cache->nr_empty--;
	WRITE_ONCE(s->nr_taken, (uint16_t)(s->nr_taken + done));
	count_taken(s, (int)done);
	slab_relist(s);
	return done;
}

/* One comes back. True when the slab was removed: the caller destroys it. */
static bool object_give(struct handle_slab *s, unsigned i)
{
	struct handle_cache *c = s->cache;

	bslab_assert(s->owner[i] && !(s->free[i / 64] >> i % 64 & 1));
	s->owner[i] = 0;
	s->free[i / 64] |= 1ull << i % 64;
	count_taken(s, -1);
	WRITE_ONCE(s->nr_taken, (uint16_t)(s->nr_taken - 1));
	if (s->nr_taken) {
		slab_relist(s);
		return false;
	}
	c->nr_empty++;
	if (s->is_source || (!s->is_isolated && c->nr_empty == 1 && s->nr_pages <= MAX_KEPT_PAGES && c->size)) {
		slab_relist(s);
		return false;
	}
	slab_remove(s);
	return true;
}

static void give_one(struct handle_slab *s, unsigned i)
{
	uintptr_t base = s->base;
	unsigned nr_pages = s->nr_pages;

	if (object_give(s, i)) {
		lock_drop(&s->cache->lock, RANK_CACHE);
		slab_destroy(s, base, nr_pages);
		lock_take(&s->cache->lock, RANK_CACHE);
	}
}

/* --- taking and giving ----------------------------------------------------------------------------------------------- */

static bool add_slab(struct handle_cache *c, bool may_grow)
{
	uintptr_t base;
	struct handle_slab *s = slab_create(c, c->nr_pages, may_grow, &base);

	if (!s)
		return false;
	lock_take(&c->lock, RANK_CACHE);
	slab_add(s, base);
	lock_drop(&c->lock, RANK_CACHE);
	return true;
}

unsigned objects_take(struct handle_cache *c, const uint32_t *index, uintptr_t *addr, unsigned n)
{
	struct handle_slab *s;
	unsigned done = 0;

	do {
		lock_take(&c->lock, RANK_CACHE);
		while (done < n && (s = slab_fullest(c)))
			done += slab_objects_take(s, index + done, addr + done, n - done);
		c->nr_refills += done != 0;
		lock_drop(&c->lock, RANK_CACHE);
	} while (!done && add_slab(c, true));
	return done;
}

void objects_give(struct handle_cache *c, const uintptr_t *addr, unsigned n)
{
	unsigned i;

	lock_take(&c->lock, RANK_CACHE);
	for (i = 0; i < n; i++) {
		struct handle_slab *s = handle_slab_of(map_lookup(addr[i]));

		bslab_assert(s && s->cache == c);
		give_one(s, c->size ? object_number(s, addr[i]) : 0);
	}
	c->nr_flushes++;
	lock_drop(&c->lock, RANK_CACHE);
}

bool depot_put(struct handle_cache *c, struct handle_chain chain)
{
	bool fits;

	lock_take(&c->lock, RANK_CACHE);
	c->nr_depot_visits++;
	fits = c->nr_chains < MAX_DEPOT && (c->nr_depot + chain.nr) * c->size <= MAX_DEPOT_BYTES;
	if (fits) {
		c->depot[c->nr_chains++] = chain;
		WRITE_ONCE(c->nr_depot, c->nr_depot + chain.nr);
	}
	lock_drop(&c->lock, RANK_CACHE);
	return fits;
}

bool depot_get(struct handle_cache *c, struct handle_chain *chain)
{
	bool found;

	lock_take(&c->lock, RANK_CACHE);
	c->nr_depot_visits++;
	found = c->nr_chains != 0;
	if (found) {
		*chain = c->depot[--c->nr_chains];
		WRITE_ONCE(c->nr_depot, c->nr_depot - chain->nr);
	}
	lock_drop(&c->lock, RANK_CACHE);
	return found;
}

bool depot_has_rested(struct handle_cache *c)
{
	bool rested;

	lock_take(&c->lock, RANK_CACHE);
	rested = c->nr_chains && c->nr_depot_visits == c->nr_visits_seen;
	c->nr_visits_seen = c->nr_depot_visits;
	lock_drop(&c->lock, RANK_CACHE);
	return rested;
}

uintptr_t run_take(uint32_t index, unsigned nr_pages)
{
	struct handle_cache *c = handle_cache_of(RUN_CLASS);
	uintptr_t addr, base;
	struct handle_slab *s = c ? slab_create(c, nr_pages, true, &base) : NULL;

	if (!s)
		return 0;
	lock_take(&c->lock, RANK_CACHE);
	slab_add(s, base);
	slab_objects_take(s, &index, &addr, 1);
	lock_drop(&c->lock, RANK_CACHE);
	return addr;
}

unsigned handle_run_pages(uintptr_t addr)
{
	return handle_slab_of(map_lookup(addr))->nr_pages;
}

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

	slab_remove(s);
	lock_drop(&s->cache->lock, RANK_CACHE);
	slab_destroy(s, base, nr_pages);
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
	slab_relist(s);
	lock_drop(&s->cache->lock, RANK_CACHE);
	return true;
}

bool handle_slab_putback(struct handle_slab *s, uintptr_t base)
{
	if (!lock_slab(s, base))
		return false;
	s->is_isolated = false;
	slab_relist(s);
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
	give_one(s, i);
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
		bool is_here = place_address(place) == object_address(s, i);

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
	i = s->base && s->cache->size ? object_number(s, place_address(place)) : MAX_HANDLE_OBJECTS;
	if (i < s->cache->nr_objects && s->owner[i] == index && object_address(s, i) == place_address(place))
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
	if (*place == place_of(object_address(s, i), ENTRY_CACHED))
		return strip(s, i, e, *place) ? MOVE_NOTHING : MOVE_BUSY;
	return *place == place_of(object_address(s, i), ENTRY_LIVE) ? MOVE_DONE : MOVE_BUSY;
}

/* A place for an object of s, with the lock held, which is dropped meanwhile where there is none. */
static struct handle_slab *slab_for_move(const struct handle_slab *s)
{
	struct handle_cache *c = s->cache;
	unsigned nr_pages = s->nr_pages;
	struct handle_slab *to = slab_fullest(c);
	uintptr_t base;

	if (to)
		return to;
	lock_drop(&c->lock, RANK_CACHE);
	to = slab_create(c, nr_pages, false, &base);
	lock_take(&c->lock, RANK_CACHE);
	if (to)
		slab_add(to, base);
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
	slab_objects_take(to, &index, &on_its_way.addr, 1);
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
		give_one(to, to->cache->size ? object_number(to, on_its_way.addr) : 0);
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
		give_one(s, i); /* what was MOVING until now is still there */
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

/* --- reports, fork ----------------------------------------------------------------------------------------------------- */

void objects_snapshot(unsigned class, struct cache_info *info)
{
	struct handle_cache *c = handle_cache_if_used(class);

	*info = (struct cache_info){0};
	if (!c)
		return;
	lock_take(&c->lock, RANK_CACHE);
	handle_cache_info(c, info);
	lock_drop(&c->lock, RANK_CACHE);
}

void objects_fork_prepare(void)
{
	unsigned class;

	for (class = 0; class < NR_CLASSES; class++)
		if (handle_caches[class])
			lock_take_nested(&handle_caches[class]->lock);
}

void objects_fork_done(bool child)
{
	unsigned class;

	for (class = 0; class < NR_CLASSES; class++) {
		struct handle_cache *c = handle_caches[class];

		if (c && child)
			lock_reset(&c->lock);
		else if (c)
			lock_drop_nested(&c->lock);
	}
}
