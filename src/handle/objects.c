/* SPDX-License-Identifier: MIT */
#include "handle/objects.h"

#include "handle/slabs.h"
#include "os/bug.h"

/* --- taking and giving ----------------------------------------------------------------------------------------------- */

static bool add_slab(struct handle_cache *c, bool may_grow)
{
	uintptr_t base;
	struct handle_slab *s = handle_slab_create(c, c->nr_pages, may_grow, &base);

	if (!s)
		return false;
	lock_take(&c->lock, RANK_CACHE);
	handle_slab_add(s, base);
	lock_drop(&c->lock, RANK_CACHE);
	return true;
}

unsigned objects_take(struct handle_cache *c, const uint32_t *index, uintptr_t *addr, unsigned n)
{
	struct handle_slab *s;
	unsigned done = 0;

	do {
		lock_take(&c->lock, RANK_CACHE);
		while (done < n && (s = handle_slab_fullest(c)))
			done += handle_slab_take(s, index + done, addr + done, n - done);
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
		handle_slab_give(s, c->size ? handle_object_number(s, addr[i]) : 0);
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
	struct handle_slab *s = c ? handle_slab_create(c, nr_pages, true, &base) : NULL;

	if (!s)
		return 0;
	lock_take(&c->lock, RANK_CACHE);
	handle_slab_add(s, base);
	handle_slab_take(s, &index, &addr, 1);
	lock_drop(&c->lock, RANK_CACHE);
	return addr;
}

unsigned handle_run_pages(uintptr_t addr)
{
	return handle_slab_of(map_lookup(addr))->nr_pages;
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
