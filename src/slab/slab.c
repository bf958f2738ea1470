/* SPDX-License-Identifier: MIT */
#include "slab/slab.h"

#include <string.h>

#include "base/probe.h"
#include "boot/paged.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "os/shared.h"
#include "page/buddy.h"
#include "page/guard.h"
#include "page/limit.h"
#include "page/zone.h"
#include "slab/geometry.h"
#include "slab/hardened.h"
#include "slab/pcp.h"
#include "slab/typed.h"

static struct paged_pool headers[MAX_SLAB_WORDS + 1]; /* by number of bitmap words */

struct kmem_cache gone_cache;

/*
 * With the first slab, so before a header goes back, and not by an initializer: the library has no .data, which each process would copy a
 * page of. Two threads may do it at once, and store the same.
 */
static void gone_cache_make(void)
{
	if (likely(READ_ONCE(gone_cache.size)))
		return;
	WRITE_ONCE(gone_cache.reciprocal, 1ull << RECIPROCAL_SHIFT);
	WRITE_ONCE(gone_cache.line_objects, 1);
	WRITE_ONCE(gone_cache.size, 1);
}

uintptr_t slab_object_base(struct slab *s, uintptr_t addr)
{
	const struct kmem_cache *c = slab_cache(s);

	return s->base + (uintptr_t)object_index(c, addr - s->base) * c->size;
}

/* --- slabs come and go -------------------------------------------------------- */

/* Hardened: its objects are blocks as slab/hardened.h has them. Those of typed caches keep what is in them. */
static bool cache_has_words(const struct kmem_cache *c)
{
	return bslab_options.hardened && !c->typed;
}

static unsigned nr_words_for(unsigned nr_objects)
{
	return (nr_objects + 63) / 64;
}

static unsigned slab_nr_words(const struct slab *s)
{
	return nr_words_for(slab_nr_objects(s));
}

static size_t slab_nr_pages(const struct slab *s)
{
	return pages_for((size_t)slab_nr_objects(s) * s->cache->size);
}

static page_desc_t desc_of_slab(const struct slab *s, unsigned cache)
{
	if (cache >= FIRST_TYPED)
		return cache_pages_flags(s->cache) ? desc_of_pointer(s, PAGE_NONE, cache) : desc_of_pointer(s, (enum page_type)cache, 0);
	return bslab_options.hardened ? desc_of_pointer(s, PAGE_OBJECTS, 0) : desc_of_pointer(s, PAGE_NONE, cache);
}

static void slab_init(struct slab *s, struct kmem_cache *c, void *pages, unsigned nr_objects)
{
	unsigned w;

	s->cache = c;
	s->base = (uintptr_t)pages;
	atomic_store_explicit(&s->nr_objects, (uint16_t)nr_objects, memory_order_relaxed);
	for (w = 0; w < nr_words_for(nr_objects); w++) {
		unsigned rest = nr_objects - w * 64u;

		atomic_store_explicit(&s->free[w], rest >= 64 ? ~0ull : (1ull << rest) - 1, memory_order_relaxed);
	}
	atomic_store_explicit(&s->nr_free, (int16_t)nr_objects, memory_order_relaxed);
	atomic_store_explicit(&s->state, SLAB_DEAD, memory_order_relaxed); /* until it is on the list */
}

/* Hardened: between two pages that trap. */
static void *slab_alloc_pages(struct kmem_cache *c, unsigned nr_pages, unsigned flags, bool *zeroed)
{
	if (unlikely(bslab_options.hardened))
		return guard_alloc_pages(nr_pages, 0, (enum migratetype)c->migratetype, flags, zeroed);
	return limit_allows(nr_pages) ? pages_alloc(nr_pages, 0, (enum migratetype)c->migratetype, flags, zeroed) : NULL;
}

/*
 * Objects that were never handed out read as zero; those of no size are not to be touched at all. Fresh pages are made
 * resident by one call: each would take two faults, for the look at an object comes before the first store. Refused or
 * unknown to the kernel, it makes no difference but that.
 */
static void slab_harden(struct slab *s, bool zeroed)
{
	unsigned nr_pages = (unsigned)slab_nr_pages(s);

	if (s->cache->class == ZERO_CLASS)
		guard_close((void *)s->base, nr_pages);
	else if (zeroed)
		os_populate((void *)s->base, (size_t)nr_pages << PAGE_SHIFT);
	else
		memset((void *)s->base, 0, (size_t)nr_pages << PAGE_SHIFT);
}

/* Adds the objects, of those that are free in the slab, that were written since: of up to max, how many there are then. */
static unsigned slab_find_written(const struct slab *s, void **out, unsigned n, unsigned max)
{
	const struct kmem_cache *c = s->cache;
	uintptr_t addr = s->base;
	unsigned i;

	for (i = 0; c->class != ZERO_CLASS && i < slab_nr_objects(s) && n < max; i++, addr += c->size)
		if (atomic_load(&s->free[i / 64]) >> (i % 64) & 1 && unlikely(!object_is_clean(addr, addr + c->size)))
			out[n++] = (void *)addr;
	return n;
}

/* All are free, when the slab goes. There they are looked at in order, and at the latest. */
static void slab_check_clean(const struct slab *s)
{
	void *written[MAX_WRITTEN];
	unsigned n = slab_find_written(s, written, 0, MAX_WRITTEN), i;

	for (i = 0; i < n; i++)
		report_write_after_free(written[i]);
}

static void slab_free_hardened(struct slab *s)
{
	unsigned n = (unsigned)slab_nr_pages(s);

	if (cache_has_words(s->cache))
		slab_check_clean(s);
	map_set_range(s->base, n, 0); /* the header may serve another slab before they are free */
	guard_free_pages((void *)s->base, n);
}

/* How many objects the next slab has: see 6 in slab.h. A stale count only makes it another size. */
static unsigned next_nr_objects(const struct kmem_cache *c)
{
	size_t nr_present = READ_ONCE(c->nr_objects);
	unsigned order = c->first_order;

	while (order < c->full_order && objects_in(c->size, order + 1) <= nr_present)
		order++;
	return objects_in(c->size, order);
}

static struct slab *slab_create_of(struct kmem_cache *c, unsigned nr_objects, unsigned pages_flags)
{
	unsigned nr_words = nr_words_for(nr_objects);
	struct slab *s = paged_get(&headers[nr_words], sizeof *s + nr_words * sizeof(uint64_t));
	unsigned nr_pages = (unsigned)pages_for((size_t)nr_objects * c->size);
	void *pages;
	bool zeroed;

	if (!s)
		return NULL;
	gone_cache_make();
	pages = slab_alloc_pages(c, nr_pages, pages_flags | cache_pages_flags(c), &zeroed);
	if (!pages) {
		paged_put(&headers[nr_words], s);
		return NULL;
	}
	if (unlikely(c->typed != NULL))
		typed_construct(c, pages, nr_objects);
	slab_init(s, c, pages, nr_objects);
	if (unlikely(cache_has_words(c)))
		slab_harden(s, zeroed);
	/* Not before its objects are clean: a handler that calls exit() looks at all that the page map knows. */
	atomic_signal_fence(memory_order_seq_cst);
	map_set_range(s->base, slab_nr_pages(s), desc_of_slab(s, c->class));
	PROBE(slab_create, c->size, pages, nr_objects, nr_pages);
	return s;
}

/* Where a limit, or what is free in pieces, has no room for a large one, there may be for a small one (Linux: allocate_slab()). */
static struct slab *slab_create(struct kmem_cache *c, unsigned pages_flags)
{
	unsigned nr_objects = next_nr_objects(c), fewest = objects_in(c->size, c->first_order);
	struct slab *s = slab_create_of(c, nr_objects, pages_flags);

	return likely(s != NULL) || nr_objects == fewest ? s : slab_create_of(c, fewest, pages_flags);
}

/* As many pages of free headers are kept as headers of the pages that the process has shown to take back soon need, and a few. */
#define MIN_KEPT_HEADERS 8
#define PAGES_PER_HEADERS 64

static void header_put(struct slab *s)
{
	struct paged_pool *pool = &headers[slab_nr_words(s)];
	size_t nr_keep = MIN_KEPT_HEADERS + zone_learned_pages() / PAGES_PER_HEADERS;

	paged_put(pool, s);
	if (paged_has_empty(pool, nr_keep))
		paged_trim(pool, nr_keep);
}

/* Unlinked and DEAD: nobody else uses it. */
static void slab_destroy(struct slab *s)
{
	PROBE(slab_destroy, s->cache->size, s->base, slab_nr_pages(s));
	if (unlikely(bslab_options.hardened))
		slab_free_hardened(s);
	else
		pages_free((void *)s->base, slab_nr_pages(s));
	header_put(s);
}

static void count_slab(struct kmem_cache *c, const struct slab *s, int by)
{
	bslab_assert(lock_is_held(&c->lock));
	WRITE_ONCE(c->nr_slabs, c->nr_slabs + (uint32_t)by);
	*(by > 0 ? &c->nr_slab_creates : &c->nr_slab_destroys) += 1;
	WRITE_ONCE(c->nr_pages, c->nr_pages + (size_t)by * slab_nr_pages(s));
	if (c->nr_pages > READ_ONCE(c->nr_peak_pages))
		WRITE_ONCE(c->nr_peak_pages, c->nr_pages);
	WRITE_ONCE(c->nr_objects, c->nr_objects + (size_t)by * slab_nr_objects(s));
}

static bool slab_has_free(const struct slab *s)
{
	unsigned w;

	for (w = 0; w < slab_nr_words(s); w++)
		if (atomic_load(&s->free[w]))
			return true;
	return false;
}

static void partial_add(struct kmem_cache *c, struct slab *s, bool at_tail)
{
	bslab_assert(lock_is_held(&c->lock));
	atomic_store(&s->state, slab_state(c, SLAB_PARTIAL));
	c->nr_partial++;
	if (at_tail)
		list_add_tail(&c->partial, &s->node);
	else
		list_add(&c->partial, &s->node);
}

static void partial_del(struct kmem_cache *c, struct slab *s, enum slab_state state)
{
	bslab_assert(lock_is_held(&c->lock));
	list_del(&c->partial, &s->node);
	c->nr_partial--;
	atomic_store(&s->state, slab_state(c, state));
}

/* --- taking -------------------------------------------------------------------- */

#define NR_CHOICES 8
/* For a single object that is to be moved. */
#define NR_FULLER_CHOICES 64

struct taken {
	uintptr_t base;
	unsigned n, nr_words;
	uint64_t mask[MAX_SLAB_WORDS];
};

static uint64_t lowest_bits(uint64_t word, unsigned n)
{
	uint64_t rest = word;

	if (n >= 64)
		return word;
	while (n-- && rest)
		rest &= rest - 1;
	return word & ~rest;
}

/* Of the groups of n bits, n a power of two, those that are all set. */
static uint64_t whole_groups(uint64_t word, unsigned n)
{
	uint64_t all = word;
	unsigned i;

	for (i = 1; i < n; i *= 2)
		all &= all >> i;
	all &= ~0ull / ((1ull << n) - 1); /* the lowest of each group */
	return all * ((1ull << n) - 1);
}

/* Hardened: before the bits say so; see slab/hardened.h. Those of no size have no word. */
static void objects_leave(const struct slab *s, unsigned word, uint64_t mask)
{
	size_t size = s->cache->size;

	for (; mask && s->cache->class != ZERO_CLASS; mask &= mask - 1)
		object_leaves(s->base + (word * 64u + (unsigned)__builtin_ctzll(mask) + 1) * size);
}

/* Only the holder of the lock clears bits, so what was read is still there. */
static void take_lines(struct slab *s, unsigned nr_objects, unsigned max, struct taken *t)
{
	unsigned w;

	for (w = 0; w < t->nr_words && t->n < max; w++) {
		uint64_t mask = lowest_bits(whole_groups(atomic_load(&s->free[w]), nr_objects), max - t->n);

		if (unlikely(cache_has_words(s->cache)))
			objects_leave(s, w, mask);
		if (mask)
			shared_and(&s->free[w], ~mask);
		t->mask[w] |= mask;
		t->n += (unsigned)__builtin_popcountll(mask);
	}
}

static void take_bits(struct slab *s, unsigned max, struct taken *t)
{
	unsigned nr_line_objects = s->cache->line_objects;

	t->base = s->base;
	t->n = 0;
	t->nr_words = slab_nr_words(s);
	memset(t->mask, 0, t->nr_words * sizeof *t->mask);
	if (nr_line_objects > 1 && max > 1)
		take_lines(s, nr_line_objects, max, t);
	take_lines(s, 1, max, t);
	shared_add16(&s->nr_free, -(int)t->n);
}

/* By the share of objects that are free: slabs of a cache differ in size. */
static bool slab_is_fuller(const struct slab *a, const struct slab *b)
{
	int a_free = atomic_load_explicit(&a->nr_free, memory_order_relaxed);
	int b_free = atomic_load_explicit(&b->nr_free, memory_order_relaxed);

	return a_free * (int)slab_nr_objects(b) < b_free * (int)slab_nr_objects(a);
}

/*
 * The fullest of the first few: what is taken from it leaves the emptier ones to come free. Only of slabs with few
 * objects, where a whole slab is not far from empty and pages are dear.
 */
static struct slab *partial_choose(struct kmem_cache *c)
{
	struct slab *best = container_of(c->partial.first, struct slab, node), *s;
	struct list_node *n = best->node.next;
	int i;

	if (c->migratetype == MIGRATE_UNMOVABLE)
		return best;
	for (i = 1; n && i < NR_CHOICES; i++, n = n->next) {
		s = container_of(n, struct slab, node);
		if (slab_is_fuller(s, best))
			best = s;
	}
	return best;
}

static void take_from(struct kmem_cache *c, struct slab *s, unsigned max, struct taken *t)
{
	take_bits(s, max, t);
	if (!slab_has_free(s)) {
		partial_del(c, s, SLAB_FULL);
		if (slab_has_free(s)) /* given back meanwhile: see 3 in slab.h */
			partial_add(c, s, true);
	}
}

static bool take_from_partial(struct kmem_cache *c, unsigned max, struct taken *t)
{
	struct slab *s;

	lock_take(&c->lock, RANK_CACHE);
	if (unlikely(!c->partial.first && c->typed) && (s = typed_take_back(c)))
		partial_add(c, s, false);
	if (!c->partial.first) {
		lock_drop(&c->lock, RANK_CACHE);
		return false;
	}
	take_from(c, partial_choose(c), max, t);
	lock_drop(&c->lock, RANK_CACHE);
	return true;
}

/* The lowest bits of a word that are set without a gap; n of them, from `first` on. The word is not 0. */
static unsigned lowest_row(uint64_t word, unsigned *first)
{
	uint64_t rest;

	*first = (unsigned)__builtin_ctzll(word);
	rest = ~(word >> *first);
	return rest ? (unsigned)__builtin_ctzll(rest) : 64;
}

/* Fills out[] from its end, so that the lowest address comes last. Objects of a new slab stand in a row. */
static void put_pointers(const struct kmem_cache *c, const struct taken *t, void **out)
{
	void **slot = out + t->n;
	unsigned w, first, n;

	for (w = 0; w < t->nr_words; w++) {
		uint64_t mask = t->mask[w];

		for (; mask; mask &= mask + (1ull << first)) { /* carries beyond the row */
			uintptr_t at;

			n = lowest_row(mask, &first);
			for (at = t->base + (w * 64u + first) * (uintptr_t)c->size; n; n--, at += c->size)
				*--slot = (void *)at;
		}
	}
}

void *slab_take_fuller(struct kmem_cache *c, const struct slab *than)
{
	struct slab *best = NULL;
	struct list_node *n;
	void *obj = NULL;
	struct taken t;
	int i;

	lock_take(&c->lock, RANK_CACHE);
	for (i = 0, n = c->partial.first; n && i < NR_FULLER_CHOICES; i++, n = n->next) {
		struct slab *s = container_of(n, struct slab, node);

		if (s != than && slab_is_fuller(s, best ? best : than))
			best = s;
	}
	if (best)
		take_from(c, best, 1, &t);
	lock_drop(&c->lock, RANK_CACHE);
	if (!best)
		return NULL;
	shared_add(&c->nr_out, t.n);
	put_pointers(c, &t, &obj);
	return obj;
}

static bool add_new_slab(struct kmem_cache *c, unsigned pages_flags)
{
	struct slab *s = slab_create(c, pages_flags);

	if (!s)
		return false;
	lock_take(&c->lock, RANK_CACHE);
	count_slab(c, s, 1);
	partial_add(c, s, false);
	lock_drop(&c->lock, RANK_CACHE);
	return true;
}

unsigned slab_take(struct kmem_cache *c, void **out, unsigned n, unsigned pages_flags)
{
	unsigned done = 0;
	struct taken t;

	if (unlikely(is_pcp_cache(c->class)))
		return pcp_take(c, out, n, pages_flags);
	while (done < n) {
		if (!take_from_partial(c, n - done, &t)) {
			if (done || !add_new_slab(c, pages_flags))
				break;
			continue;
		}
		put_pointers(c, &t, out + done);
		done += t.n;
	}
	shared_add(&c->nr_out, done);
	return done;
}

#define MAX_KEPT_PAGES 8

/* --- giving back ---------------------------------------------------------------- */

/* The last partial slab stays if it is small: the next refill would make a new one. */
static bool slab_is_kept(const struct kmem_cache *c, const struct slab *s)
{
	return !typed_is_dying(c) && c->partial.first == c->partial.last && slab_nr_pages(s) <= MAX_KEPT_PAGES;
}

void slab_retire(struct kmem_cache *c, struct slab *s, struct list *dead)
{
	if (unlikely(c->typed != NULL))
		atomic_fetch_add(&c->typed->nr_retiring, 1); /* first: see is_home() in typed.c */
	count_slab(c, s, -1);
	list_add(dead, &s->node);
}

void slabs_destroy(struct kmem_cache *c, struct list *dead)
{
	struct list_node *n, *next;

	for (n = dead->first; n; n = next) {
		next = n->next;
		slab_destroy(container_of(n, struct slab, node));
		if (unlikely(c->typed != NULL))
			atomic_fetch_sub(&c->typed->nr_retiring, 1);
	}
}

/* A slab that is wholly free leaves: its pages go when the lock is dropped or, of a type-stable cache, after a grace period. */
static void slab_leave(struct kmem_cache *c, struct slab *s, struct list *dead)
{
	partial_del(c, s, SLAB_DEAD);
	if (unlikely(typed_is_stable(c)))
		typed_defer(c, s);
	else
		slab_retire(c, s, dead);
}

static void slabs_gone(struct kmem_cache *c, struct list *dead)
{
	slabs_destroy(c, dead);
	if (unlikely(typed_is_stable(c)))
		typed_poll(c);
}

void slab_settle(struct kmem_cache *c, struct slab *s)
{
	struct list dead = {0};

	lock_take(&c->lock, RANK_CACHE);
	if (atomic_load(&s->state) == slab_state(c, SLAB_FULL) && slab_has_free(s))
		partial_add(c, s, true);
	if (atomic_load(&s->state) == slab_state(c, SLAB_PARTIAL) &&
	    (unsigned)atomic_load(&s->nr_free) == slab_nr_objects(s) && !slab_is_kept(c, s))
		slab_leave(c, s, &dead);
	lock_drop(&c->lock, RANK_CACHE);
	slabs_gone(c, &dead);
}

size_t cache_free_bytes(struct kmem_cache *c)
{
	size_t nr_objects = READ_ONCE(c->nr_objects);
	size_t nr_out = atomic_load_explicit(&c->nr_out, memory_order_relaxed);

	return nr_objects > nr_out ? (nr_objects - nr_out) * c->size : 0;
}

unsigned slab_nr_taken(const struct slab *s)
{
	int nr_free = atomic_load_explicit(&s->nr_free, memory_order_relaxed);

	return nr_free < (int)slab_nr_objects(s) ? slab_nr_objects(s) - (unsigned)nr_free : 0;
}

bool slab_is_sparse(const struct slab *s)
{
	const struct kmem_cache *c = slab_cache(s);

	return (uint64_t)slab_nr_taken(s) * READ_ONCE(c->nr_objects) <
	       (uint64_t)slab_nr_objects(s) * atomic_load_explicit(&c->nr_out, memory_order_relaxed);
}

enum object_fault slab_check_object(struct slab *s, uintptr_t addr)
{
	return object_find(s, slab_cache(s), addr);
}

/* --- shrinking ----------------------------------------------------- */

void cache_shrink(struct kmem_cache *c)
{
	struct list_node *n, *next;
	struct list dead = {0};

	lock_take(&c->lock, RANK_CACHE);
	for (n = c->partial.first; n; n = next) {
		struct slab *s = container_of(n, struct slab, node);

		next = n->next;
		if ((unsigned)atomic_load(&s->nr_free) != slab_nr_objects(s))
			continue;
		slab_leave(c, s, &dead);
	}
	lock_drop(&c->lock, RANK_CACHE);
	slabs_gone(c, &dead);
}

unsigned cache_find_written(struct kmem_cache *c, void *out[MAX_WRITTEN])
{
	struct list_node *node;
	unsigned n = 0;

	lock_take(&c->lock, RANK_CACHE);
	for (node = c->partial.first; node; node = node->next)
		n = slab_find_written(container_of(node, struct slab, node), out, n, MAX_WRITTEN);
	lock_drop(&c->lock, RANK_CACHE);
	return n;
}

/* It is the last partial slab, and so the first: see slab_is_kept(). */
void cache_shrink_kept(struct kmem_cache *c)
{
	struct list dead = {0};
	struct slab *s = NULL;

	lock_take(&c->lock, RANK_CACHE);
	if (c->partial.first)
		s = container_of(c->partial.first, struct slab, node);
	if (s && (unsigned)atomic_load(&s->nr_free) == slab_nr_objects(s)) {
		slab_leave(c, s, &dead);
	}
	lock_drop(&c->lock, RANK_CACHE);
	slabs_gone(c, &dead);
}
