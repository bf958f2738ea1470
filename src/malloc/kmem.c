/* SPDX-License-Identifier: MIT */
/*
 * Typed caches for programs; bslab/kmem.h documents each call, slab/typed.h how they are made.
 *
 * The fast paths are malloc's and free's, with the number of the cache in place of a size's class: a pop, and a push
 * once the page's descriptor has the tag that the cache expects. A cache whose objects are looked at one by one has the
 * number 0 there, whose sheaf is always empty and always full: all its calls come to the slow paths by themselves.
 */
#include "bslab/kmem.h"

#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "malloc/fast.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/options.h"
#include "page/buddy.h"
#include "slab/percpu.h"
#include "slab/poison.h"
#include "slab/sheaf.h"
#include "slab/typed.h"

#define RED_ZONE_BYTES 8

#define SAME(a, b) ((unsigned)(a) == (unsigned)(b))
_Static_assert(SAME(BSLAB_CACHE_NO_MERGE, TYPED_NO_MERGE) && SAME(BSLAB_CACHE_POISON, TYPED_POISON) &&
		       SAME(BSLAB_CACHE_RED_ZONE, TYPED_RED_ZONE) && SAME(BSLAB_CACHE_TYPE_STABLE, TYPED_STABLE),
	       "the flags are the slab floor's");

struct bslab_cache {
	void *pooled;	/* once it was destroyed, and until it is another's, the rest stays: see NO_TAG */
	uint16_t tag;	/* of its pages' descriptors */
	uint8_t number; /* of its sheaves; 0: none */
	bool has_ctor;
	size_t object_size;
	struct kmem_cache *cache; /* NULL: destroyed */
	char name[CACHE_NAME_SIZE];
};

/* Of a handle whose cache was destroyed: no slab has it, so that each call comes to a slow path, which tells. */
#define NO_TAG 0

static struct boot_pool handles;

/* --- making one ------------------------------------------------------------------------------- */

#define ALL_FLAGS (BSLAB_CACHE_HWALIGN | BSLAB_CACHE_NO_MERGE | BSLAB_CACHE_POISON | BSLAB_CACHE_RED_ZONE | BSLAB_CACHE_TYPE_STABLE)

static bool is_possible(const char *name, size_t size, size_t align, unsigned flags, void (*ctor)(void *))
{
	if (!name || !*name || !size || size > SMALL_MAX || (align && !is_power_of_2(align)) || align > BSLAB_PAGE_SIZE)
		return false;
	if (flags & ~(unsigned)ALL_FLAGS)
		return false;
	return !(flags & BSLAB_CACHE_POISON && (ctor || flags & BSLAB_CACHE_TYPE_STABLE));
}

/* Linux: calculate_alignment(). Small objects share a cache line as many as fit. */
static size_t alignment_for(size_t size, size_t align, unsigned flags)
{
	size_t line = CACHE_LINE;

	if (flags & BSLAB_CACHE_HWALIGN) {
		while (size <= line / 2)
			line /= 2;
		align = max_size(align, line);
	}
	if (!align)
		align = size >= 16 && size % 16 == 0 ? 16 : 8;
	return max_size(align, 8);
}

/*
 * malloc's caches. A size that is a multiple of a power of two has a class whose size is one as well (unit/slab/sizes shows
 * it), so objects are as aligned as they are to be.
 */

/* Whose objects are as large as these. */
static struct kmem_cache *find_merged(const struct typed_args *a)
{
	return a->flags || a->ctor || class_size(size_class(a->size)) != a->size ? NULL : cache_of(size_class(a->size));
}

/* With room for the objects: where there are no numbers left, and nothing else is asked for. */
static struct kmem_cache *find_roomy(const struct typed_args *a)
{
	return cache_of(size_class(a->size));
}

static void handle_setup(struct bslab_cache *h, struct kmem_cache *c, const struct typed_args *a)
{
	*h = (struct bslab_cache){.object_size = a->object_size, .cache = c, .has_ctor = a->ctor != NULL};
	h->tag = (uint16_t)desc_tag(c->class);
	h->number = a->flags & TYPED_CHECKED ? 0 : c->class;
	typed_copy_name(h->name, a->name);
}

/* is_plain: objects may stand among malloc's. */
static struct bslab_cache *create(const struct typed_args *a, bool is_plain)
{
	struct bslab_cache *h = boot_pool_get(&handles, sizeof *h, 8);
	struct kmem_cache *c = h ? find_merged(a) : NULL;
	bool is_full = false;

	if (h && !c)
		c = typed_create(a, &is_full);
	if (h && !c && is_full && is_plain)
		c = find_roomy(a);
	if (!c) {
		if (h)
			boot_pool_put(&handles, h);
		errno = is_full && !is_plain ? ENOSPC : ENOMEM;
		return NULL;
	}
	handle_setup(h, c, a);
	return h;
}

struct bslab_cache *bslab_cache_create(const char *name, size_t size, size_t align, unsigned flags, void (*ctor)(void *obj))
{
	struct typed_args a = {name, size, size, flags & ~(unsigned)BSLAB_CACHE_HWALIGN, ctor, 0};

	if (!is_possible(name, size, align, flags, ctor)) {
		errno = EINVAL;
		return NULL;
	}
	process_boot();
	if (!bslab_options.merge || bslab_options.hardened) /* hardened: malloc's objects have a word of their own */
		a.flags |= TYPED_NO_MERGE;
	align = alignment_for(size, align, flags);
	a.size = align_up(size + (flags & BSLAB_CACHE_RED_ZONE ? RED_ZONE_BYTES : 0), align);
	if (a.size > SMALL_MAX) {
		errno = EINVAL;
		return NULL;
	}
	return create(&a, !bslab_options.hardened && !(flags & ~(unsigned)BSLAB_CACHE_HWALIGN) && !ctor);
}

/* --- slow paths ---------------------------------------------------------------------------------- */

/* The cache, or NULL after a report. */
static struct kmem_cache *cache_in_use(struct bslab_cache *h, const char *what)
{
	if (!h->cache)
		bug_caller("%s: the cache '%s' was destroyed", what, h->name);
	return h->cache;
}

/* Of a cache with sheaves or without: up to n. */
static unsigned take(struct bslab_cache *h, struct kmem_cache *c, void **out, unsigned n, unsigned pages_flags)
{
	unsigned done = 0;

	while (!h->number && done < n && (out[done] = percpu_alloc_uncached(c, pages_flags)))
		poison_take(c, out[done++]);
	while (h->number && done < n && (out[done] = percpu_alloc_slow(c, pages_flags))) {
		done++; /* and the sheaf has more by now */
		done += percpu_pop_bulk(c, out + done, n - done);
	}
	return done;
}

static unsigned alloc_many(struct bslab_cache *h, struct kmem_cache *c, void **out, unsigned n)
{
	unsigned done, round;

	reclaim_if_due();
	done = take(h, c, out, n, 0);
	for (round = 0; unlikely(done < n) && reclaim_more(round, (size_t)(n - done) * c->size); round++)
		done += take(h, c, out + done, n - done, PAGES_HIGHATOMIC);
	process_hook_thread();
	reports_poll();
	if (unlikely(done < n))
		errno = ENOMEM;
	return done;
}

static cold_path void *cache_alloc_slow(struct bslab_cache *h)
{
	struct kmem_cache *c = cache_in_use(h, "bslab_cache_alloc");
	void *obj;

	if (!c) {
		errno = EINVAL;
		return NULL;
	}
	return alloc_many(h, c, &obj, 1) ? obj : NULL;
}

static void report_foreign(struct bslab_cache *h, void *obj)
{
	page_desc_t d = map_lookup((uintptr_t)obj);
	struct slab *s = slab_of(d);

	if (desc_cache(d) == h->cache->class)
		bug_caller("invalid bslab_cache_free of %p: inside an object of cache '%s' at %p", obj, h->name,
			   (void *)slab_object_base(s, (uintptr_t)obj));
	else if (desc_cache(d) >= NR_CLASSES)
		bug_caller("invalid bslab_cache_free of %p: an object of cache '%s', not of '%s'", obj,
			   typed_name(slab_cache(s)), h->name);
	else
		bug_caller("invalid bslab_cache_free of %p: not an object of cache '%s'", obj, h->name);
}

/* False after a report. */
static bool is_live_object(struct bslab_cache *h, void *obj)
{
	page_desc_t d = map_lookup((uintptr_t)obj);
	enum object_fault fault = OBJECT_INTERIOR;

	if (desc_cache(d) == h->cache->class)
		fault = slab_check_object(slab_of(d), (uintptr_t)obj);
	if (fault == OBJECT_FREE)
		bug_caller("double free of %p: an object of cache '%s'", obj, h->name);
	else if (fault == OBJECT_INTERIOR)
		report_foreign(h, obj);
	return fault == OBJECT_GOOD;
}

static cold_path void cache_free_slow(struct bslab_cache *h, void *obj)
{
	struct kmem_cache *c;

	if (!obj)
		return;
	c = cache_in_use(h, "bslab_cache_free");
	if (!c || !is_live_object(h, obj))
		return;
	if (h->number) {
		percpu_free_slow(c, obj);
	} else {
		poison_give(c, obj);
		percpu_free_uncached(c, obj);
	}
	process_hook_thread();
	reports_poll();
}

/* --- calls ------------------------------------------------------------------------------------------ */

static force_inline bool is_of(const struct bslab_cache *h, const void *obj)
{
	const uint16_t *tag = map_tag((uintptr_t)obj);

	return likely(tag != NULL) && likely(__atomic_load_n(tag, __ATOMIC_RELAXED) == h->tag);
}

void *bslab_cache_alloc(struct bslab_cache *cache)
{
	void *obj = percpu_pop(cache->number, RSEQ_MM_CID);

	return likely(obj != NULL) ? obj : cache_alloc_slow(cache);
}

void *bslab_cache_zalloc(struct bslab_cache *cache)
{
	void *obj;

	if (unlikely(cache->has_ctor)) {
		bug_caller("bslab_cache_zalloc: objects of cache '%s' are constructed", cache->name);
		errno = EINVAL;
		return NULL;
	}
	obj = bslab_cache_alloc(cache);
	return likely(obj != NULL) ? memset(obj, 0, cache->object_size) : NULL;
}

void bslab_cache_free(struct bslab_cache *cache, void *obj)
{
	if (likely(is_of(cache, obj)) && likely(percpu_push(cache->number, obj, RSEQ_MM_CID)))
		return;
	cache_free_slow(cache, obj);
}

/* What the slab floor counts in 32 bits at a time. */
#define MAX_BULK (1u << 30)

size_t bslab_cache_alloc_bulk(struct bslab_cache *cache, size_t nr, void **objs)
{
	struct kmem_cache *c = cache_in_use(cache, "bslab_cache_alloc_bulk");
	size_t done = 0;
	unsigned n, got;

	if (!c) {
		errno = EINVAL;
		return 0;
	}
	for (; done < nr; done += got) {
		n = (unsigned)min_size(nr - done, MAX_BULK);
		got = cache->number ? percpu_pop_bulk(c, objs + done, n) : 0;
		if (got < n)
			got += alloc_many(cache, c, objs + done + got, n - got);
		if (got < n) {
			bslab_cache_free_bulk(cache, done + got, objs);
			errno = ENOMEM;
			return 0;
		}
	}
	return nr;
}

void bslab_cache_free_bulk(struct bslab_cache *cache, size_t nr, void *const *objs)
{
	size_t done = 0;

	while (done < nr) {
		if (cache->number)
			done += percpu_push_bulk(cache->cache, objs + done, (unsigned)min_size(nr - done, MAX_BULK));
		if (done < nr) /* no more room, or no object of the cache */
			cache_free_slow(cache, objs[done++]);
	}
	process_hook_thread();
	reports_poll();
}

void bslab_cache_shrink(struct bslab_cache *cache)
{
	struct kmem_cache *c = cache_in_use(cache, "bslab_cache_shrink");

	if (!c)
		return;
	percpu_drain();
	barn_drain(c);
	if (c->typed)
		typed_shrink(c);
	else
		cache_shrink(c);
	reports_poll();
}

#define MAX_LISTED 6

static void report_live(struct bslab_cache *h, size_t nr_live)
{
	uintptr_t addr[MAX_LISTED];
	char text[MAX_LISTED * 20];
	unsigned n = typed_list_live(h->cache, addr, MAX_LISTED), i;
	size_t len = 0;

	text[0] = '\0';
	for (i = 0; i < n; i++)
		len += bug_format(text + len, sizeof text - len, " %p", (void *)addr[i]);
	bug_say("bslab_cache_destroy: objects of cache '%s' are live, %z in all:%s%s", h->name, nr_live, text,
		nr_live > n ? " ..." : "");
}

size_t bslab_cache_destroy(struct bslab_cache *cache)
{
	struct kmem_cache *c = cache ? cache_in_use(cache, "bslab_cache_destroy") : NULL;
	size_t nr_live;

	if (!c)
		return 0;
	nr_live = c->typed ? typed_release(c) : 0;
	if (nr_live) {
		report_live(cache, nr_live);
	} else {
		cache->tag = NO_TAG;
		cache->number = 0;
		cache->cache = NULL;
		boot_pool_put(&handles, cache);
	}
	reports_poll();
	return nr_live;
}

void bslab_cache_set_grace(struct bslab_cache *cache, uint64_t (*begin)(void), bool (*passed)(uint64_t which))
{
	struct kmem_cache *c = cache_in_use(cache, "bslab_cache_set_grace");

	if (!c)
		return;
	if (!typed_is_stable(c) || !begin != !passed)
		bug_caller("bslab_cache_set_grace: cache '%s' is not type-stable, or a function is missing", cache->name);
	else
		typed_set_grace(c, (struct grace){begin, passed});
}

void bslab_cache_info(struct bslab_cache *cache, struct bslab_cache_info *info)
{
	struct kmem_cache *c = cache_in_use(cache, "bslab_cache_info");
	struct cache_info now;
	size_t nr_free;

	*info = (struct bslab_cache_info){.name = cache->name, .object_size = cache->object_size};
	if (!c || !cache_snapshot(c->class, &now))
		return;
	nr_free = now.nr_free + now.nr_barn_objects + percpu_nr_cached(c->class);
	info->size = now.size;
	info->merged = !c->typed || c->typed->nr_users > 1 || c->typed->was_shared;
	info->nr_live = now.nr_objects > nr_free ? now.nr_objects - nr_free : 0;
	info->nr_objects = now.nr_objects;
	info->nr_pages = now.nr_pages;
	reports_poll();
}
