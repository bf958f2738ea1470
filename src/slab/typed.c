/* SPDX-License-Identifier: MIT */
#include "slab/typed.h"

#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "os/os.h"
#include "page/zone.h"
#include "slab/percpu.h"
#include "slab/poison.h"
#include "slab/sheaf.h"

static unsigned nr_released; /* caches: under caches_lock, read without */

/* --- caches come and go -------------------------------------------------------- */

static struct slab *pop_slab(struct list *l)
{
	struct list_node *n = l->first;

	if (!n)
		return NULL;
	list_del(l, n);
	return container_of(n, struct slab, node);
}

static void collect(struct kmem_cache *c, struct list *from, struct list *dead)
{
	struct slab *s;

	while ((s = pop_slab(from)))
		slab_retire(c, s, dead);
}

static void collect_all(struct kmem_cache *c, struct list *dead)
{
	collect(c, &c->typed->deferred, dead);
	collect(c, &c->typed->waiting, dead);
}

void typed_copy_name(char to[CACHE_NAME_SIZE], const char *from)
{
	size_t i;

	memset(to, 0, CACHE_NAME_SIZE);
	for (i = 0; i < CACHE_NAME_SIZE - 1 && from[i]; i++)
		to[i] = from[i] <= ' ' || from[i] > '~' || from[i] == '"' || from[i] == '\\' ? '_' : from[i];
}

static bool may_share(const struct typed_args *a)
{
	return !a->flags && !a->ctor && !a->pages_flags;
}

/* One that is used, or that may be used again: of shared ones nobody asked what is live. */
static bool is_shareable(const struct typed *t)
{
	return !t->flags && !t->ctor && !t->pages_flags && (!t->is_dying || (t->is_released && t->was_shared));
}

static struct kmem_cache *find_shared(size_t size)
{
	unsigned n;

	for (n = FIRST_TYPED; n < caches_end(); n++) {
		struct kmem_cache *c = cache_if_used(n);

		if (c && c->size == size && is_shareable(c->typed))
			return c;
	}
	return NULL;
}

/* malloc's caches are bslab-8, bslab-16 ... in reports; objects that have handles are in handle-8 ... and handle-run. */
static bool name_is_reserved(const char *name)
{
	const char *size = !strncmp(name, "bslab-", 6) ? name + 6 : !strncmp(name, "handle-", 7) ? name + 7 : "";

	return !strcmp(name, "handle-run") || (*size && !size[strspn(size, "0123456789")]);
}

static bool name_is_taken(const char *name)
{
	unsigned n;

	if (name_is_reserved(name))
		return true;
	for (n = FIRST_TYPED; n < caches_end(); n++) {
		struct kmem_cache *c = cache_if_used(n);

		if (c && !strcmp(c->typed->name, name))
			return true;
	}
	return false;
}

/* Reports tell caches apart by their names: the second of a name has -2 behind it, and so on. */
static void set_name(struct typed *t, const char *name)
{
	char suffix[12];
	size_t len, keep;
	unsigned k;

	typed_copy_name(t->name, name);
	keep = strlen(t->name);
	for (k = 2; name_is_taken(t->name); k++) {
		len = bug_format(suffix, sizeof suffix, "-%u", k);
		keep = min_size(keep, CACHE_NAME_SIZE - 1 - len);
		memcpy(t->name + keep, suffix, len + 1);
	}
}

/* The struct of a number that nobody has; a new one in place of NULL. */
static struct kmem_cache *find_number(unsigned *number)
{
	struct kmem_cache *c;
	unsigned n;

	for (n = FIRST_TYPED; n < NR_CACHES && cache_if_used(n); n++)
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

/* Under caches_lock. */
static void add_user(struct kmem_cache *c)
{
	struct typed *t = c->typed;

	lock_take(&c->lock, RANK_CACHE);
	t->was_shared |= t->nr_users++ > 0;
	WRITE_ONCE(nr_released, nr_released - t->is_released);
	WRITE_ONCE(t->is_dying, false);
	WRITE_ONCE(t->is_released, false);
	lock_drop(&c->lock, RANK_CACHE);
}

static struct cache_counts counts_of(const struct kmem_cache *c)
{
	const struct barn *b = &c->barn;

	return (struct cache_counts){b->nr_gets, b->nr_refills, b->nr_overs, b->nr_puts, b->nr_drains, c->nr_slab_creates,
				     c->nr_slab_destroys, c->nr_uncached_allocs, c->nr_uncached_frees};
}

/* A number's next life. It has no slabs, and its lists are empty. */
static void begin_life(struct kmem_cache *c, const struct typed_args *a)
{
	struct typed *t = c->typed;

	lock_take(&c->lock, RANK_CACHE);
	bslab_assert(!c->nr_objects && !t->deferred.first && !t->waiting.first && !t->is_polling);
	set_name(t, a->name);
	t->object_size = a->object_size;
	WRITE_ONCE(t->flags, a->flags);
	WRITE_ONCE(t->pages_flags, a->pages_flags);
	t->ctor = a->ctor;
	t->nr_users = 1;
	t->was_shared = false;
	t->grace = (struct grace){0};
	t->past = counts_of(c);
	lock_drop(&c->lock, RANK_CACHE);
}

static struct kmem_cache *create_locked(const struct typed_args *a, bool *is_full)
{
	struct kmem_cache *c = may_share(a) ? find_shared(a->size) : NULL;
	unsigned number;

	if (c) {
		add_user(c);
		return c;
	}
	c = find_number(&number);
	*is_full = number == NR_CACHES;
	if (!c)
		return NULL;
	begin_life(c, a);
	percpu_add_cache(number);
	cache_setup(c, number, a->size);
	__atomic_store_n(&caches[number], c, __ATOMIC_RELEASE);
	caches_raise_end(number + 1);
	return c;
}

/*
 * Nobody can touch it any more but to find it empty: who has counted objects out may yet look for their slab's place, under the lock, and
 * finds it dead; slabs are retiring until they are gone.
 */
static bool is_home(struct kmem_cache *c)
{
	return !READ_ONCE(c->nr_objects) && !atomic_load(&c->nr_out) && !atomic_load(&c->typed->nr_retiring);
}

/*
 * The number may be another cache's by now, or become it: then all of this is what anybody may do to a cache at any time,
 * but for what is done under the cache's lock, where it is known to be released.
 */
static void bury(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	struct list dead = {0};

	barn_drain(c);
	cache_shrink(c);
	lock_take(&c->lock, RANK_CACHE);
	if (t->is_released && !t->grace.begin)
		collect_all(c, &dead);
	lock_drop(&c->lock, RANK_CACHE);
	slabs_destroy(c, &dead);
	if (!is_home(c)) /* an object of a shared one was never freed, perhaps */
		return;
	lock_take(&caches_lock, RANK_CACHES);
	lock_take(&c->lock, RANK_CACHE);
	if (t->is_released && !t->is_polling && is_home(c)) {
		WRITE_ONCE(nr_released, nr_released - 1);
		WRITE_ONCE(t->is_dying, false);
		WRITE_ONCE(t->is_released, false);
		WRITE_ONCE(c->size, 0);
	}
	lock_drop(&c->lock, RANK_CACHE);
	lock_drop(&caches_lock, RANK_CACHES);
}

void typed_bury(void)
{
	unsigned n;

	if (likely(!READ_ONCE(nr_released)))
		return;
	for (n = FIRST_TYPED; n < caches_end(); n++) {
		struct kmem_cache *c = cache_if_used(n);

		if (c && READ_ONCE(c->typed->is_released))
			bury(c);
	}
}

struct kmem_cache *typed_create(const struct typed_args *a, bool *is_full)
{
	struct kmem_cache *c;

	*is_full = false;
	typed_bury();
	lock_take(&caches_lock, RANK_CACHES);
	c = create_locked(a, is_full);
	lock_drop(&caches_lock, RANK_CACHES);
	return c;
}

static bool drop_user(struct kmem_cache *c)
{
	bool last;

	lock_take(&caches_lock, RANK_CACHES);
	last = --c->typed->nr_users == 0;
	WRITE_ONCE(c->typed->is_dying, last);
	lock_drop(&caches_lock, RANK_CACHES);
	return last;
}

/* Under caches_lock and the cache's. Twice, where a grace period's function forks within a destroy. */
static void mark_released(struct typed *t)
{
	WRITE_ONCE(nr_released, nr_released + !t->is_released);
	WRITE_ONCE(t->is_released, true);
}

/* Of a dying cache, which is its destroyer's until then. */
static void release(struct kmem_cache *c)
{
	lock_take(&caches_lock, RANK_CACHES);
	lock_take(&c->lock, RANK_CACHE);
	mark_released(c->typed);
	lock_drop(&c->lock, RANK_CACHE);
	lock_drop(&caches_lock, RANK_CACHES);
}

/* In the child of a fork within its destroy it is released by now. */
static void raise_from_dying(struct kmem_cache *c)
{
	lock_take(&caches_lock, RANK_CACHES);
	add_user(c);
	lock_drop(&caches_lock, RANK_CACHES);
}

size_t typed_release(struct kmem_cache *c)
{
	size_t nr_live;

	if (!drop_user(c))
		return 0;
	percpu_drain();
	nr_live = c->typed->was_shared ? 0 : typed_nr_live(c);
	if (nr_live) {
		raise_from_dying(c);
	} else {
		release(c);
		typed_bury();
	}
	return nr_live;
}

void typed_construct(const struct kmem_cache *c, void *pages, unsigned nr_objects)
{
	const struct typed *t = c->typed;
	int saved = errno;
	unsigned i;

	for (i = 0; i < nr_objects; i++) {
		char *obj = (char *)pages + (size_t)i * c->size;

		if (t->flags & TYPED_CHECKED)
			poison_set_free(c, obj);
		if (t->ctor)
			t->ctor(obj);
	}
	errno = saved; /* the call that wanted a slab succeeds */
}

/* --- what is live ----------------------------------------------------------------- */

/* What is drained meanwhile is in neither count: see slab/sheaf.h. */
struct drains_seen {
	uint64_t areas, own;
};

static struct drains_seen drains_see(struct kmem_cache *c)
{
	return (struct drains_seen){atomic_load(&area_drains), atomic_load(&c->typed->drains)};
}

static bool drains_are(const struct drains_seen *before, struct kmem_cache *c)
{
	struct drains_seen now = drains_see(c);

	return (uint32_t)now.areas == 0 && (uint32_t)now.own == 0 && now.areas == before->areas && now.own == before->own;
}

/* *quiet: no drain came between. */
static size_t count_live(struct kmem_cache *c, bool *quiet)
{
	struct drains_seen before;
	size_t nr_out, nr_cached;

	barn_drain(c);
	before = drains_see(c);
	nr_out = atomic_load(&c->nr_out);
	nr_cached = percpu_nr_cached(c->class);
	atomic_thread_fence(memory_order_acquire);
	*quiet = drains_are(&before, c);
	return nr_out > nr_cached ? nr_out - nr_cached : 0;
}

/* A drain is some microseconds or, where its thread does not run, as long as the kernel has it wait. In all a second. */
#define NR_YIELDS 100
#define MAX_WAITS (NR_YIELDS + 1000)

size_t typed_nr_live(struct kmem_cache *c)
{
	size_t nr_live;
	bool quiet;
	int i;

	for (i = 0; i < MAX_WAITS; i++) {
		nr_live = count_live(c, &quiet);
		if (!nr_live || quiet)
			break;
		if (i < NR_YIELDS)
			os_yield();
		else
			os_sleep_ms(1);
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

static void defer_waiting(struct typed *t)
{
	struct slab *s;

	while ((s = pop_slab(&t->waiting)))
		list_add_tail(&t->deferred, &s->node);
}

/* What waits has a number that other functions do not know. */
void typed_set_grace(struct kmem_cache *c, struct grace grace)
{
	struct typed *t = c->typed;

	lock_take(&c->lock, RANK_CACHE);
	if (t->grace.begin != grace.begin || t->grace.passed != grace.passed)
		defer_waiting(t);
	t->grace = grace;
	lock_drop(&c->lock, RANK_CACHE);
}

void typed_defer(struct kmem_cache *c, struct slab *s)
{
	bslab_assert(lock_is_held(&c->lock));
	list_add_tail(&c->typed->deferred, &s->node);
}

struct slab *typed_take_back(struct kmem_cache *c)
{
	struct slab *s = pop_slab(&c->typed->deferred);

	bslab_assert(lock_is_held(&c->lock));
	return s ? s : pop_slab(&c->typed->waiting);
}

/* Under the cache's lock, which is dropped meanwhile: the program is asked, and its functions may change. */
static bool grace_is_over(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	struct grace grace = t->grace;
	uint64_t which = t->which;
	bool over;

	if (!t->waiting.first || !grace.passed)
		return false;
	lock_drop(&c->lock, RANK_CACHE);
	over = grace.passed(which);
	lock_take(&c->lock, RANK_CACHE);
	return over;
}

static void grace_begin(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	struct grace grace = t->grace;
	uint64_t which;

	if (t->waiting.first || !t->deferred.first || !grace.begin)
		return;
	t->waiting = t->deferred;
	t->deferred = (struct list){0};
	lock_drop(&c->lock, RANK_CACHE);
	which = grace.begin();
	lock_take(&c->lock, RANK_CACHE);
	t->which = which;
}

/* Before the program is asked again: where its function forks, the child counts no slab as retiring. */
static void destroy_waiting(struct kmem_cache *c)
{
	struct list dead = {0};

	collect(c, &c->typed->waiting, &dead);
	lock_drop(&c->lock, RANK_CACHE);
	slabs_destroy(c, &dead);
	lock_take(&c->lock, RANK_CACHE);
}

void typed_poll(struct kmem_cache *c)
{
	struct typed *t = c->typed;
	int saved = errno; /* a free keeps it, whatever the program's functions do */

	lock_take(&c->lock, RANK_CACHE);
	if (!t->is_polling) {
		t->is_polling = true; /* one at a time: the lock is dropped between */
		if (grace_is_over(c))
			destroy_waiting(c);
		grace_begin(c);
		t->is_polling = false;
	}
	lock_drop(&c->lock, RANK_CACHE);
	errno = saved;
}

void typed_shrink(struct kmem_cache *c)
{
	struct list dead = {0};

	cache_shrink(c);
	if (!typed_is_stable(c))
		return;
	lock_take(&c->lock, RANK_CACHE);
	if (!c->typed->grace.begin)
		collect_all(c, &dead);
	lock_drop(&c->lock, RANK_CACHE);
	slabs_destroy(c, &dead);
}

void typed_tend(struct kmem_cache *c)
{
	if (typed_is_stable(c))
		typed_poll(c);
}

/*
 * A grace period that was about to begin may not have begun here; slabs between two lists are lost. Who destroys a dying cache
 * is not here to count what is live, unless it is this thread: its number comes back when all is home.
 */
void typed_fork_child(struct kmem_cache *c)
{
	struct typed *t = c->typed;

	defer_waiting(t);
	t->is_polling = false;
	atomic_store(&t->nr_retiring, 0);
	atomic_store(&t->drains, 0);
	if (t->is_dying)
		mark_released(t);
}
