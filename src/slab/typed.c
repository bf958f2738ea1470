/* SPDX-License-Identifier: MIT */
#include "slab/typed.h"

#include <string.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "os/os.h"
#include "page/zone.h"
#include "slab/percpu.h"
#include "slab/poison.h"
#include "slab/sheaf.h"

/* --- caches come and go -------------------------------------------------------- */

void typed_copy_name(char to[CACHE_NAME_SIZE], const char *from)
{
	size_t i;

	memset(to, 0, CACHE_NAME_SIZE);
	for (i = 0; i < CACHE_NAME_SIZE - 1 && from[i]; i++)
		to[i] = from[i] <= ' ' || from[i] > '~' || from[i] == '"' || from[i] == '\\' ? '_' : from[i];
}

static bool may_share(const struct typed_args *a)
{
	return !a->flags && !a->ctor;
}

static struct kmem_cache *find_shared(size_t size)
{
	unsigned n;

	for (n = NR_CLASSES; n < caches_end(); n++) {
		struct kmem_cache *c = cache_if_used(n);

		if (c && c->size == size && !c->typed->flags && !c->typed->ctor && !c->typed->is_dying)
			return c;
	}
	return NULL;
}

/* The struct of a number that nobody has; a new one in place of NULL. */
static struct kmem_cache *find_number(unsigned *number)
{
	struct kmem_cache *c;
	unsigned n;

	for (n = NR_CLASSES; n < NR_CACHES && cache_if_used(n); n++)
		;
	*number = n;
	if (n == NR_CACHES)
		return NULL;
	c = caches[n];
	if (c)
		return c;
	c = boot_alloc(sizeof *c, _Alignof(struct kmem_cache));
	if (c)
		c->typed = boot_alloc(sizeof *c->typed, 8);
	return c && c->typed ? c : NULL;
}

static struct kmem_cache *create_locked(const struct typed_args *a, bool *is_full)
{
	struct kmem_cache *c = may_share(a) ? find_shared(a->size) : NULL;
	unsigned number;

	if (c) {
		c->typed->nr_users++;
		return c;
	}
	c = find_number(&number);
	*is_full = number == NR_CACHES;
	if (!c)
		return NULL;
	*c->typed = (struct typed){.object_size = a->object_size, .flags = a->flags, .ctor = a->ctor, .nr_users = 1};
	typed_copy_name(c->typed->name, a->name);
	percpu_add_cache(number);
	cache_setup(c, number, a->size);
	__atomic_store_n(&caches[number], c, __ATOMIC_RELEASE);
	caches_raise_end(number + 1);
	return c;
}

/* Nobody can touch it any more but to find it empty: objects are counted out last, slabs are retiring until they are gone. */
static bool is_home(struct kmem_cache *c)
{
	return !READ_ONCE(c->nr_objects) && !atomic_load(&c->nr_out) && !atomic_load(&c->typed->nr_retiring);
}

/* Those that die and have nothing left give their numbers back. */
static void bury_dead(void)
{
	unsigned n;

	for (n = NR_CLASSES; n < caches_end(); n++) {
		struct kmem_cache *c = cache_if_used(n);

		if (!c || !typed_is_dying(c))
			continue;
		barn_drain(c);
		typed_shrink(c);
		lock_take(&caches_lock, RANK_CACHE);
		if (c->typed->is_dying && is_home(c)) { /* not in another life by now */
			c->typed->is_dying = false;
			WRITE_ONCE(c->size, 0);
		}
		lock_drop(&caches_lock, RANK_CACHE);
	}
}

struct kmem_cache *typed_create(const struct typed_args *a, bool *is_full)
{
	struct kmem_cache *c;

	*is_full = false;
	bury_dead();
	lock_take(&caches_lock, RANK_CACHE);
	c = create_locked(a, is_full);
	lock_drop(&caches_lock, RANK_CACHE);
	return c;
}

static bool drop_user(struct kmem_cache *c)
{
	bool last;

	lock_take(&caches_lock, RANK_CACHE);
	last = --c->typed->nr_users == 0;
	WRITE_ONCE(c->typed->is_dying, last);
	lock_drop(&caches_lock, RANK_CACHE);
	return last;
}

static void raise_from_dying(struct kmem_cache *c)
{
	lock_take(&caches_lock, RANK_CACHE);
	c->typed->nr_users = 1;
	WRITE_ONCE(c->typed->is_dying, false);
	lock_drop(&caches_lock, RANK_CACHE);
}

size_t typed_release(struct kmem_cache *c)
{
	size_t nr_live;

	if (!drop_user(c))
		return 0;
	percpu_drain();
	nr_live = typed_nr_live(c);
	if (nr_live)
		raise_from_dying(c);
	else
		bury_dead();
	return nr_live;
}

void typed_construct(const struct kmem_cache *c, void *pages, unsigned nr_objects)
{
	const struct typed *t = c->typed;
	unsigned i;

	for (i = 0; i < nr_objects; i++) {
		char *obj = (char *)pages + (size_t)i * c->size;

		if (t->flags & TYPED_CHECKED)
			poison_set_free(c, obj);
		if (t->ctor)
			t->ctor(obj);
	}
}

/* --- what is live ----------------------------------------------------------------- */

static size_t count_live(struct kmem_cache *c)
{
	size_t nr_out, nr_cached;

	barn_drain(c);
	nr_out = atomic_load_explicit(&c->nr_out, memory_order_relaxed);
	nr_cached = percpu_nr_cached(c->class);
	return nr_out > nr_cached ? nr_out - nr_cached : 0;
}

/* While others drain, some objects are in their hands. They hold no lock that we have; but each may be one after the other. */
#define MAX_WAITS 10000

size_t typed_nr_live(struct kmem_cache *c)
{
	size_t nr_live;
	bool busy;
	int i;

	for (i = 0; i < MAX_WAITS; i++) {
		busy = atomic_load(&nr_drains_running);
		nr_live = count_live(c);
		if (!nr_live || !(busy || atomic_load(&nr_drains_running)))
			break;
		os_yield();
	}
	return nr_live;
}

static unsigned list_slab(struct slab *s, uintptr_t *addr, unsigned max)
{
	unsigned i, n = 0;

	for (i = 0; i < slab_nr_objects(s) && n < max; i++)
		if (!(atomic_load(&s->free[i / 64]) >> (i % 64) & 1))
			addr[n++] = s->base + (uintptr_t)i * s->cache->size;
	return n;
}

unsigned typed_list_live(struct kmem_cache *c, uintptr_t *addr, unsigned max)
{
	struct zone_walk walk = {0};
	struct pageblock *b;
	unsigned i, n = 0;

	while (n < max && (b = zone_walk_next(&walk)))
		for (i = 0; i < PAGEBLOCK_PAGES && n < max; i++) {
			uintptr_t page = pageblock_address(b) + ((uintptr_t)i << PAGE_SHIFT);
			page_desc_t d = map_lookup(page);
			struct slab *s = desc_pointer(d);

			if (desc_cache(d) == c->class && s->base == page)
				n += list_slab(s, addr + n, max - n);
		}
	return n;
}

/* --- type-stable caches --------------------------------------------------------------- */

void typed_set_grace(struct kmem_cache *c, struct grace grace)
{
	lock_take(&c->lock, RANK_CACHE);
	c->typed->grace = grace;
	lock_drop(&c->lock, RANK_CACHE);
}

void typed_defer(struct kmem_cache *c, struct slab *s)
{
	bslab_assert(lock_is_held(&c->lock));
	list_add_tail(&c->typed->deferred, &s->node);
}

static struct slab *pop_slab(struct list *l)
{
	struct list_node *n = l->first;

	if (!n)
		return NULL;
	list_del(l, n);
	return container_of(n, struct slab, node);
}

struct slab *typed_take_back(struct kmem_cache *c)
{
	struct slab *s = pop_slab(&c->typed->deferred);

	bslab_assert(lock_is_held(&c->lock));
	return s ? s : pop_slab(&c->typed->waiting);
}

/* Under the cache's lock, which is dropped meanwhile: the program is asked. */
static bool grace_is_over(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	bool over;

	if (!t->waiting.first || !t->grace.passed)
		return false;
	lock_drop(&c->lock, RANK_CACHE);
	over = t->grace.passed(t->which);
	lock_take(&c->lock, RANK_CACHE);
	return over;
}

static void grace_begin(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	uint64_t which;

	if (t->waiting.first || !t->deferred.first || !t->grace.begin)
		return;
	t->waiting = t->deferred;
	t->deferred = (struct list){0};
	lock_drop(&c->lock, RANK_CACHE);
	which = t->grace.begin();
	lock_take(&c->lock, RANK_CACHE);
	t->which = which;
}

static void collect(struct kmem_cache *c, struct list *from, struct list *dead)
{
	struct slab *s;

	while ((s = pop_slab(from)))
		slab_retire(c, s, dead);
}

void typed_poll(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	struct list dead = {0};

	lock_take(&c->lock, RANK_CACHE);
	if (!t->is_polling) {
		t->is_polling = true; /* one at a time: the lock is dropped between */
		if (grace_is_over(c))
			collect(c, &t->waiting, &dead);
		grace_begin(c);
		t->is_polling = false;
	}
	lock_drop(&c->lock, RANK_CACHE);
	slabs_destroy(c, &dead);
}

void typed_shrink(struct kmem_cache *c)
{
	struct list dead = {0};

	cache_shrink(c);
	if (!typed_is_stable(c))
		return;
	lock_take(&c->lock, RANK_CACHE);
	if (!c->typed->grace.begin) {
		collect(c, &c->typed->deferred, &dead);
		collect(c, &c->typed->waiting, &dead);
	}
	lock_drop(&c->lock, RANK_CACHE);
	slabs_destroy(c, &dead);
}
