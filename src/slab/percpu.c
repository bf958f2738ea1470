/* SPDX-License-Identifier: MIT */
#include "slab/percpu.h"

#include <errno.h>
#include <string.h>

#include "base/probe.h"
#include "boot/boot.h"
#include "large/large.h"
#include "os/bug.h"
#include "os/os.h"
#include "page/runs.h"
#include "slab/kept.h"
#include "slab/quarantine.h"
#include "slab/typed.h"

/* glibc 2.35 and later; weak, so that older and other libcs load us and get the fallback. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

void *const none_words[2] = {(void *)1, (void *)1};

struct none none reader_root(none_area);
_Static_assert(offsetof(struct percpu_area, top) == 0 && offsetof(struct none, freed) == sizeof(struct percpu_area),
	       "area_top()");

struct percpu percpu reader_root(percpu);

/* Objects of typed caches do not wait when they are freed: slab/hardened.h. */
static bool has_freed_tops(unsigned cache)
{
	return bslab_options.hardened && cache < NR_CLASSES;
}

/* --- the sequences of the mode --------------------------------------------------------- */

static void *pop(unsigned class)
{
	return percpu_mode() == INDEX_CPU_ID ? percpu_pop(class, RSEQ_CPU_ID) : percpu_pop(class, RSEQ_MM_CID);
}

static bool push(unsigned class, void *obj)
{
	return percpu_mode() == INDEX_CPU_ID ? percpu_push(class, obj, RSEQ_CPU_ID)
					   : percpu_push(class, obj, RSEQ_MM_CID);
}

bool percpu_swap_top(unsigned class, void **old, void **new)
{
	return percpu_mode() == INDEX_CPU_ID ? percpu_cmpxchg(class, old, new, &none_area, RSEQ_CPU_ID)
					   : percpu_cmpxchg(class, old, new, &none_area, RSEQ_MM_CID);
}

/* --- choosing a mode --------------------------------------------------------------------- */

static bool rseq_is_registered(void)
{
	const volatile uint32_t *rseq;
	int cpu;

	if (!&__rseq_size || !&__rseq_offset || __rseq_size == 0)
		return false;
	rseq = (const volatile uint32_t *)(arch_thread_pointer() + (uintptr_t)__rseq_offset);
	/* Kept up to date? Between the reads this thread may move once, hardly three times. */
	for (int i = 0; i < 3; i++) {
		cpu = os_cpu();
		if (cpu >= 0 && rseq[RSEQ_CPU_ID / 4] == (uint32_t)cpu)
			return true;
	}
	return false;
}

static bool mm_cid_is_kept(unsigned nr_slots)
{
	uint32_t cid;

	if (os_rseq_feature_size() < RSEQ_MM_CID + sizeof cid)
		return false;
	cid = *(const volatile uint32_t *)(arch_thread_pointer() + (uintptr_t)__rseq_offset + RSEQ_MM_CID);
	return cid < nr_slots;
}

static enum index_mode choose_mode(unsigned nr_slots)
{
	enum index_mode want = bslab_options.index;

	if (want == INDEX_THREAD || !rseq_is_registered())
		return INDEX_THREAD;
	if (want != INDEX_CPU_ID && mm_cid_is_kept(nr_slots))
		return INDEX_MM_CID;
	return INDEX_CPU_ID;
}

static void area_init(struct percpu_area *a, unsigned nr_caches)
{
	unsigned class;

	for (class = 0; class < nr_caches; class++)
		a->top[class] = NONE_TOP;
	for (class = 0; bslab_options.hardened && class < NR_CLASSES; class++)
		*area_top(a, FREED_TOPS + class) = NONE_TOP;
}

void percpu_boot(void)
{
	unsigned nr_cpus = os_nr_cpus(), i;

	WRITE_ONCE(percpu.mode, choose_mode(nr_cpus));
	bslab_hot.rseq_offset = thread_state_rseq_offset();
	percpu.next_slot = 1;
	percpu.nr_slots = 1;
	if (percpu.mode == INDEX_MM_CID)
		bslab_hot.rseq_offset = __rseq_offset;
	if (percpu.mode == INDEX_CPU_ID)
		bslab_hot.rseq_offset_cpu = __rseq_offset;
	if (percpu.mode != INDEX_THREAD)
		percpu.nr_slots = (unsigned)min_size(nr_cpus, NR_CPU_SLOTS) + 1;
	area_init(&none_area, FIRST_TYPED);
	none_area.run.key = UINTPTR_MAX; /* no run's, so nothing is put here */
	for (i = 0; i < percpu.nr_slots; i++)
		bslab_hot.area[i] = &none_area;
	__atomic_store_n(&percpu.reach, percpu.mode, __ATOMIC_RELEASE); /* last: threads that come meanwhile go by it */
}

void percpu_add_cache(unsigned number)
{
	WRITE_ONCE(none_area.top[number], NONE_TOP); /* areas have it from the start, but this one in .bss is touched by all processes */
}

/* --- areas --------------------------------------------------------------------------------- */

static struct percpu_area *area_load(unsigned slot)
{
	return __atomic_load_n(&bslab_hot.area[slot], __ATOMIC_ACQUIRE);
}

static void area_store(unsigned slot, struct percpu_area *a)
{
	__atomic_store_n(&bslab_hot.area[slot], a, __ATOMIC_RELEASE);
}

/* Of this CPU, or thread; NULL when it has none. */
static struct percpu_area *own_area(void)
{
	struct percpu_area *a = area_load(percpu_slot());

	return a == &none_area ? NULL : a;
}

static struct percpu_area *area_get(void)
{
	struct percpu_area **list = percpu.orphans ? &percpu.orphans : &percpu.spare, *a = *list;

	if (a) {
		WRITE_ONCE(*list, a->next_orphan);
		a->looked_at_ms = 0;
		memset(a->visits, 0, sizeof a->visits);
		memset(a->nr_strays, 0, sizeof a->nr_strays);
		return a;
	}
	a = boot_alloc(bslab_options.hardened ? sizeof none : sizeof *a, 64);
	if (a)
		area_init(a, NR_CACHES);
	return a;
}

static void area_keep(struct percpu_area **list, struct percpu_area *a)
{
	a->next_orphan = *list;
	WRITE_ONCE(*list, a);
}

/* Thread mode: a slot for this thread, 0 when all are taken. */
static unsigned slot_get(void)
{
	if (percpu.nr_free_slots)
		return percpu.free_slots[--percpu.nr_free_slots];
	if (!percpu.free_slots)
		percpu.free_slots = boot_alloc(NR_CPU_SLOTS * sizeof *percpu.free_slots, 64);
	return percpu.free_slots && percpu.next_slot < NR_CPU_SLOTS ? percpu.next_slot++ : 0;
}

/* Gives this CPU, or thread, an area. False when it has to do without. */
static bool area_create(void)
{
	unsigned slot;

	/* A thread that has ended would take a slot for good. */
	if (bslab_options.check || (percpu.mode == INDEX_THREAD && thread_state.exit_hooked == THREAD_ENDED))
		return false;
	lock_take(&percpu.lock, RANK_THREAD);
	slot = percpu.mode == INDEX_THREAD ? (thread_state.index ? thread_state.index : slot_get()) : percpu_slot();
	if (slot >= percpu.nr_slots)
		WRITE_ONCE(percpu.nr_slots, slot + 1);
	if (!(percpu.mode == INDEX_THREAD && !slot) && (!area_load(slot) || area_load(slot) == &none_area)) {
		struct percpu_area *a = area_get();

		if (a) {
			area_store(slot, a);
		} else if (percpu.mode == INDEX_THREAD) {
			percpu.free_slots[percpu.nr_free_slots++] = slot;
			slot = 0;
		}
	}
	if (percpu.mode == INDEX_THREAD)
		thread_state.index = slot;
	lock_drop(&percpu.lock, RANK_THREAD);
	return area_load(slot) != &none_area;
}

/* A sheaf of the class out of an orphaned area: what fork left behind. */
static struct sheaf *orphan_sheaf(unsigned class)
{
	struct percpu_area *a;
	struct sheaf *s = NULL;

	if (likely(!READ_ONCE(percpu.orphans)))
		return NULL;
	lock_take(&percpu.lock, RANK_THREAD);
	for (a = percpu.orphans; a && !s; a = a->next_orphan) {
		s = sheaf_of_top(a->top[class]);
		a->top[class] = NONE_TOP;
	}
	lock_drop(&percpu.lock, RANK_THREAD);
	return s;
}

/* A run out of one, or NULL: no CPU would look at it. One at a time, since pages are freed past the lock. */
static void *orphan_run(size_t *nr_pages)
{
	struct percpu_area *a;
	void *run = NULL;

	if (likely(!READ_ONCE(percpu.orphans)))
		return NULL;
	lock_take(&percpu.lock, RANK_THREAD);
	for (a = percpu.orphans; a && !run; a = a->next_orphan)
		run = kept_detach(a, nr_pages);
	lock_drop(&percpu.lock, RANK_THREAD);
	return run;
}

/* --- what rests goes home --------------------------------------------------------------------- */

#define REAP_MS 40
/* A CPU that ran next to none of our slow paths for so long gives up its sheaves. */
#define IDLE_MS 1000
/* Visits of slow paths between two looks at the clock, perhaps a system call: more, up to the most, when it was early. */
#define MIN_REAP_VISITS 16
#define MAX_REAP_VISITS 256

static void sheaf_empty(struct kmem_cache *c, struct sheaf *s)
{
	slab_give(c, s->slot, s->nr);
	s->nr = 0;
	barn_put(c, s);
}

/* Tops are even, multiples of eight: a sheaf that moved by a multiple of 512 KiB looks as if it rested. */
static uint16_t top_bits(void **top)
{
	return (uint16_t)((uintptr_t)top >> 3);
}

static void reap_sheaf(struct kmem_cache *c, void **top)
{
	drain_begin(cache_drains(c));
	if (percpu_swap_top(c->class, top, NONE_TOP)) {
		struct sheaf *s = sheaf_of_top(top);

		atomic_fetch_add_explicit(&percpu.nr_sheaf_reaps, 1, memory_order_relaxed);
		PROBE(sheaf_reap, c->size, s->nr);
		sheaf_empty(c, s);
	}
	drain_end(cache_drains(c));
}

static void reap_freed(struct percpu_area *a, struct kmem_cache *c)
{
	unsigned index = FREED_TOPS + c->class;
	void ***seen = area_top(a, FREED_SEEN + c->class), **top = READ_ONCE(*area_top(a, index));
	bool rests = top == READ_ONCE(*seen) && top != NONE_TOP && percpu_swap_top(index, top, NONE_TOP);

	WRITE_ONCE(*seen, top);
	if (!rests)
		return;
	atomic_fetch_add_explicit(&percpu.nr_sheaf_reaps, 1, memory_order_relaxed);
	quarantine_put(c, sheaf_of_top(top));
}

/* Of the CPU's area or, if this thread moves meanwhile, of nobody's: tops are compared when they are swapped. */
static void reap(struct percpu_area *a, uint64_t now)
{
	size_t nr_pages;
	unsigned class;
	void *run;

	for (class = 1; class < caches_end(); class++) {
		struct kmem_cache *c = cache_if_used(class);
		void **top = READ_ONCE(a->top[class]);
		bool rests = top_bits(top) == READ_ONCE(a->seen[class]);

		if (!c)
			continue;
		if (rests && top != NONE_TOP)
			reap_sheaf(c, top);
		WRITE_ONCE(a->seen[class], top_bits(top));
		if (unlikely(has_freed_tops(class)))
			reap_freed(a, c);
		if (barn_has_rested(c, now, REAP_MS)) {
			atomic_fetch_add_explicit(&percpu.nr_barn_reaps, 1, memory_order_relaxed);
			barn_drain(c);
			cache_shrink_kept(c);
		}
		if (unlikely(c->typed != NULL))
			typed_tend(c);
	}
	typed_bury();
	kept_reap(a);
	while (unlikely((run = orphan_run(&nr_pages)) != NULL))
		kept_send_home(run, nr_pages);
	runs_reap(now);
	large_reap(now);
}

static void drain_idle(uint64_t now);

/* False when it was too early. */
static bool look(struct percpu_area *a)
{
	uint64_t now = os_coarse_clock_ms();

	if ((int64_t)(now - READ_ONCE(a->looked_at_ms)) < REAP_MS)
		return false;
	WRITE_ONCE(a->looked_at_ms, now);
	reap(a, now);
	drain_idle(now);
	return true;
}

void percpu_look(void)
{
	struct percpu_area *a = own_area();

	if (a)
		look(a);
}

/* Other threads of this CPU may do the same at the same time; counts and times need not be exact. */
static void reap_if_due(void)
{
	struct percpu_area *a = own_area();
	uint32_t nr_visits, interval;

	if (!a)
		return;
	nr_visits = READ_ONCE(a->nr_visits) + 1;
	interval = READ_ONCE(a->look_interval);
	WRITE_ONCE(a->nr_visits, nr_visits);
	if (likely(nr_visits < MIN_REAP_VISITS || nr_visits < interval))
		return;
	WRITE_ONCE(a->nr_visits, 0);
	WRITE_ONCE(a->look_interval, look(a) ? MIN_REAP_VISITS : (uint32_t)min_size(2 * nr_visits, MAX_REAP_VISITS));
}

/* --- slow paths ------------------------------------------------------------------------------ */

static void install(struct kmem_cache *c, struct sheaf *s)
{
	atomic_thread_fence(memory_order_release); /* reports read sheaves of other CPUs */
	if (!percpu_swap_top(c->class, NONE_TOP, sheaf_top(s, s->nr)))
		barn_put(c, s);
}

void **percpu_current_top(unsigned index)
{
	struct percpu_area *a = area_load(percpu_slot());

	if (a == &none_area || !a) {
		if (!area_create())
			return NULL;
		a = area_load(percpu_slot());
	}
	return READ_ONCE(*area_top(a, index));
}

static struct barn_visits *own_visits(unsigned class)
{
	struct percpu_area *a = own_area();

	return a ? &a->visits[class] : NULL;
}

/* After so many sequences were interrupted, the next one would be too: somebody is stepping through them. */
#define MAX_TRIES 8

void *percpu_alloc_uncached(struct kmem_cache *c, unsigned pages_flags)
{
	void *obj = NULL;

	atomic_fetch_add_explicit(&c->nr_uncached_allocs, slab_take(c, &obj, 1, pages_flags), memory_order_relaxed);
	return obj;
}

void percpu_free_uncached(struct kmem_cache *c, void *obj)
{
	atomic_fetch_add_explicit(&c->nr_uncached_frees, 1, memory_order_relaxed);
	slab_give(c, &obj, 1);
}

/* `s` was empty when this CPU's top was read; rarely, it holds something by now. */
static void *alloc_from_new_sheaf(struct kmem_cache *c, struct sheaf *s, unsigned pages_flags)
{
	struct sheaf *orphan;
	void *obj;

	if (!s || !s->nr) {
		orphan = orphan_sheaf(c->class);
		if (orphan && s)
			barn_put(c, s);
		if (orphan)
			s = orphan;
	}
	if (!s || !s->nr)
		s = barn_exchange_empty(c, s, own_visits(c->class), pages_flags);
	if (!s)
		return NULL;
	obj = s->slot[--s->nr];
	install(c, s);
	reap_if_due();
	return obj;
}

void *percpu_alloc_slow(struct kmem_cache *c, unsigned pages_flags)
{
	int i;

	for (i = 0; i < MAX_TRIES; i++) {
		void **top = percpu_current_top(c->class);
		void *obj;

		if (!top)
			break;
		if ((uintptr_t)top[-1] & 1) {
			if (top == NONE_TOP)
				return alloc_from_new_sheaf(c, NULL, pages_flags);
			if (percpu_swap_top(c->class, top, NONE_TOP))
				return alloc_from_new_sheaf(c, sheaf_of_top(top), pages_flags);
		}
		obj = pop(c->class);
		if (obj)
			return obj;
	}
	return percpu_alloc_uncached(c, pages_flags);
}

/* See 6 in percpu.h. */
#define MAX_STRAYS 16

/* Threads of this CPU may count at the same time: it need not be exact. */
static bool is_stray(unsigned class)
{
	struct percpu_area *a = own_area();
	unsigned n;

	if (!a)
		return true;
	n = READ_ONCE(a->nr_strays[class]) + 1u;
	WRITE_ONCE(a->nr_strays[class], (uint8_t)(n % MAX_STRAYS));
	return n < MAX_STRAYS;
}

/* `s` was full when this CPU's top was read; rarely, its memory has by now begun another life. */
static void free_into_new_sheaf(struct kmem_cache *c, struct sheaf *s, void *obj)
{
	if (!s || s->nr == s->capacity)
		s = barn_exchange_full(c, s, own_visits(c->class));

	if (!s) {
		percpu_free_uncached(c, obj);
		return;
	}
	s->slot[s->nr++] = obj;
	install(c, s);
	reap_if_due();
}

void percpu_free_slow(struct kmem_cache *c, void *obj)
{
	int i;

	for (i = 0; i < MAX_TRIES; i++) {
		void **top = percpu_current_top(c->class), *below;

		if (!top)
			break;
		/* Read before push() writes above the top: the object is ours, so only a second free can have put it there. */
		below = READ_ONCE(top[-1]);
		if (push(c->class, obj))
			return;
		if (below == obj) {
			bug_caller("double free of %p", obj);
			return;
		}
		if ((uintptr_t)top[0] & 1) {
			if (top == NONE_TOP) {
				if (is_stray(c->class)) {
					percpu_free_uncached(c, obj);
					reap_if_due();
				} else {
					free_into_new_sheaf(c, NULL, obj);
				}
				return;
			}
			if (percpu_swap_top(c->class, top, NONE_TOP)) {
				free_into_new_sheaf(c, sheaf_of_top(top), obj);
				return;
			}
		}
	}
	percpu_free_uncached(c, obj);
}

static void quarantine_install(struct kmem_cache *c, struct sheaf *s)
{
	atomic_thread_fence(memory_order_release);
	if (!percpu_swap_top(FREED_TOPS + c->class, NONE_TOP, sheaf_top(s, s->nr)))
		quarantine_put(c, s);
}

/* `s` was full when this CPU's top was read, as in free_into_new_sheaf(). */
static void delay_in_new_sheaf(struct kmem_cache *c, struct sheaf *s, void *obj)
{
	if (s && s->nr == s->capacity) {
		quarantine_put(c, s);
		s = NULL;
	}
	if (!s)
		s = barn_get_empty(c, own_visits(c->class));
	if (!s) {
		percpu_free_uncached(c, obj);
		return;
	}
	s->slot[s->nr++] = obj;
	quarantine_install(c, s);
	reap_if_due();
}

void percpu_free_delayed(struct kmem_cache *c, void *obj)
{
	unsigned index = FREED_TOPS + c->class;
	int i;

	for (i = 0; i < MAX_TRIES; i++) {
		void **top = percpu_current_top(index);

		if (!top)
			break;
		if (push(index, obj))
			return;
		if ((uintptr_t)READ_ONCE(top[0]) & 1 && (top == NONE_TOP || percpu_swap_top(index, top, NONE_TOP))) {
			delay_in_new_sheaf(c, top == NONE_TOP ? NULL : sheaf_of_top(top), obj);
			return;
		}
	}
	percpu_free_uncached(c, obj);
}

/* --- emptying ---------------------------------------------------------------------------------- */

static void area_empty(struct percpu_area *a)
{
	unsigned class;

	for (class = 1; class < caches_end(); class++) {
		struct sheaf *s = sheaf_of_top(a->top[class]);

		WRITE_ONCE(a->top[class], NONE_TOP); /* reports read it */
		if (s)
			sheaf_empty(caches[class], s);
	}
	kept_empty(a);
	for (class = 1; has_freed_tops(class); class++) {
		void ***top = area_top(a, FREED_TOPS + class);
		struct sheaf *s = sheaf_of_top(*top);

		*top = NONE_TOP;
		if (s)
			sheaf_empty(cache_of(class), s);
	}
}

/* Nobody looked at the clock here, after some visits of slow paths, for IDLE_MS before `now`. One never looked at begins to count. */
static bool area_is_idle(struct percpu_area *a, uint64_t now)
{
	uint64_t looked_at = READ_ONCE(a->looked_at_ms);

	if (!looked_at)
		WRITE_ONCE(a->looked_at_ms, now);
	return looked_at && now > looked_at + IDLE_MS;
}

/* Detaches every area at once, or those idle at `now`; when the barrier returns, nobody works on them. */
static struct percpu_area *areas_detach(uint64_t now)
{
	struct percpu_area *taken = NULL, *a;
	unsigned slot;

	lock_take(&percpu.lock, RANK_THREAD);
	for (slot = 0; slot < percpu.nr_slots; slot++) {
		a = area_load(slot);
		if (a && a != &none_area && (!now || area_is_idle(a, now))) {
			PROBE(cpu_drain, slot, now != 0);
			area_store(slot, &none_area);
			a->slot = slot;
			a->next_orphan = taken;
			taken = a;
		}
	}
	while ((a = percpu.limbo)) {
		percpu.limbo = a->next_orphan;
		a->next_orphan = taken;
		taken = a;
	}
	lock_drop(&percpu.lock, RANK_THREAD);
	return taken;
}

/* Undoes areas_detach() without touching an area: sequences may still be at work in it. */
static void areas_reattach(struct percpu_area *list)
{
	struct percpu_area *a;

	lock_take(&percpu.lock, RANK_THREAD);
	while ((a = list)) {
		list = a->next_orphan;
		if (area_load(a->slot) == &none_area)
			area_store(a->slot, a);
		else
			area_keep(&percpu.limbo, a);
	}
	lock_drop(&percpu.lock, RANK_THREAD);
}

static void drain_own_top(unsigned class, unsigned index)
{
	struct percpu_area *a = area_load(percpu_slot());
	void **top = a ? READ_ONCE(*area_top(a, index)) : NULL;

	if (top && top != NONE_TOP && percpu_swap_top(index, top, NONE_TOP))
		sheaf_empty(caches[class], sheaf_of_top(top));
}

static void drain_own(void)
{
	unsigned class;

	PROBE(cpu_drain, percpu_slot(), false);
	for (class = 1; class < caches_end(); class++) {
		drain_own_top(class, class);
		if (unlikely(has_freed_tops(class)))
			drain_own_top(class, FREED_TOPS + class);
	}
	kept_drain_own();
}

/* Areas that nobody works on: emptied, they wait for another CPU. */
static void areas_retire(struct percpu_area *list)
{
	struct percpu_area *a;

	while ((a = list)) {
		list = a->next_orphan;
		area_empty(a);
		lock_take(&percpu.lock, RANK_THREAD);
		area_keep(&percpu.spare, a);
		lock_drop(&percpu.lock, RANK_THREAD);
	}
}

static void drain_orphans(void)
{
	struct percpu_area *list;

	lock_take(&percpu.lock, RANK_THREAD);
	list = percpu.orphans;
	WRITE_ONCE(percpu.orphans, NULL);
	lock_drop(&percpu.lock, RANK_THREAD);
	areas_retire(list);
}

/* Short of memory, the kernel may have it another time; any other error is for good. */
static bool barrier_works(void)
{
	int error = os_barrier_rseq();

	if (error && error != -ENOMEM)
		WRITE_ONCE(percpu.reach, INDEX_THREAD);
	return !error;
}

void percpu_find_reach(void)
{
	if (percpu_reach() != INDEX_THREAD)
		barrier_works();
}

/* False when it has to be left for another time. */
static bool areas_drain(uint64_t now)
{
	struct percpu_area *list;

	if (!barrier_works())
		return false;
	list = areas_detach(now);
	if (list && os_barrier_rseq() != 0) { /* it worked a moment ago: short of memory now */
		areas_reattach(list);
		return false;
	}
	areas_retire(list);
	return true;
}

/* Bytes in an idle CPU's sheaves from which they are worth a system call. */
#define MIN_IDLE_BYTES (32 * KIB)

static size_t nr_below(void **top)
{
	size_t n = 0;

	while (!((uintptr_t)READ_ONCE(top[-1 - (ptrdiff_t)n]) & 1))
		n++;
	return n;
}

static size_t area_bytes(struct percpu_area *a)
{
	size_t bytes = kept_nr_pages(a) << PAGE_SHIFT;
	unsigned class;

	for (class = 1; class < caches_end(); class++) {
		bytes += nr_below(READ_ONCE(a->top[class])) * cache_size(class);
		if (unlikely(has_freed_tops(class)))
			bytes += nr_below(READ_ONCE(*area_top(a, FREED_TOPS + class))) * cache_size(class);
	}
	return bytes;
}

static bool any_is_idle(uint64_t now)
{
	unsigned slot;

	for (slot = 0; slot < READ_ONCE(percpu.nr_slots); slot++) {
		struct percpu_area *a = area_load(slot);

		if (a && a != &none_area && area_is_idle(a, now) && area_bytes(a) >= MIN_IDLE_BYTES)
			return true;
	}
	return false;
}

/* Where membarrier is refused, it is not asked again. */
static void drain_idle(uint64_t now)
{
	if (percpu_reach() == INDEX_THREAD || !any_is_idle(now))
		return;
	drain_begin(&area_drains);
	areas_drain(now);
	drain_end(&area_drains);
}

void percpu_drain(void)
{
	if (bslab_options.check)
		return;
	atomic_fetch_add_explicit(&percpu.nr_drains, 1, memory_order_relaxed);
	drain_begin(&area_drains);
	if (percpu.mode == INDEX_THREAD || !areas_drain(0))
		drain_own();
	drain_orphans();
	drain_end(&area_drains);
}

void percpu_thread_exit(void)
{
	uint32_t slot = thread_state.index;
	struct percpu_area *a;

	if (percpu.mode != INDEX_THREAD || !slot)
		return;
	a = area_load(slot);
	thread_state.index = 0;
	drain_begin(&area_drains);
	area_empty(a);
	drain_end(&area_drains);
	lock_take(&percpu.lock, RANK_THREAD);
	percpu.free_slots[percpu.nr_free_slots++] = slot; /* with its area, for the next thread */
	lock_drop(&percpu.lock, RANK_THREAD);
}

/* Another CPU's sheaf, that may be at work or on its way to another: an odd word is at its lower end in any case. */
static looks_at_others void snapshot_sheaf(void **top, unsigned *nr, unsigned *capacity)
{
	struct sheaf *s;
	unsigned n = 0;
	void *word;

	while (!((uintptr_t)(word = READ_ONCE(top[-1 - (ptrdiff_t)n])) & 1))
		n++;
	s = sheaf_of_sentinel(word);
	*capacity = s ? READ_ONCE(s->capacity) : 0;
	*nr = n < *capacity ? n : *capacity; /* its memory may have begun a smaller life */
}

static void snapshot_area(struct percpu_area *a, struct percpu_info *info, struct cpu_info *cpu)
{
	unsigned class, nr, capacity;

	info->nr_kept_pages += kept_nr_pages(a);
	for (class = 1; class < caches_end(); class++) {
		snapshot_sheaf(READ_ONCE(a->top[class]), &nr, &capacity);
		if (is_pcp_cache(class)) {
			info->nr_kept_pages += (size_t)nr << (class - PCP_CACHE);
			continue;
		}
		info->nr_cached[class] += nr;
		if (!cpu)
			continue;
		cpu->nr[class] = (uint16_t)nr;
		cpu->capacity[class] = (uint16_t)capacity;
		cpu->nr_objects += nr;
		cpu->nr_slots += capacity;
		cpu->bytes += nr * cache_size(class);
	}
	for (class = 1; bslab_options.hardened && class < NR_CLASSES; class++) {
		snapshot_sheaf(READ_ONCE(*area_top(a, FREED_TOPS + class)), &nr, &capacity);
		info->nr_cached[class] += nr;
	}
}

/* In the barns of page runs. */
static size_t barn_pages(void)
{
	struct cache_info info;
	size_t nr_pages = 0;
	unsigned order;

	for (order = 0; order <= PCP_MAX_ORDER; order++) {
		struct kmem_cache *c = cache_if_used(PCP_CACHE + order);

		info.nr_barn_objects = 0;
		if (c)
			barn_snapshot(&c->barn, &info);
		nr_pages += info.nr_barn_objects << order;
	}
	return nr_pages;
}

void percpu_snapshot(struct percpu_info *info)
{
	unsigned slot, nr_slots = READ_ONCE(percpu.nr_slots);

	memset(info, 0, offsetof(struct percpu_info, cpu));
	info->mode = percpu.mode;
	for (slot = 0; slot < nr_slots; slot++) {
		struct percpu_area *a = area_load(slot);
		struct cpu_info *cpu = NULL;

		if (!a || a == &none_area)
			continue;
		if (info->nr_areas++ < MAX_REPORT_CPUS) {
			cpu = &info->cpu[info->nr_listed++];
			*cpu = (struct cpu_info){0};
			cpu->index = percpu.mode == INDEX_CPU_ID ? slot - 1 : slot;
		}
		snapshot_area(a, info, cpu);
	}
	/* What fork left behind, and what a drain could not give back, is nobody's, but free. */
	lock_take(&percpu.lock, RANK_THREAD);
	for (struct percpu_area *a = percpu.orphans; a; a = a->next_orphan)
		snapshot_area(a, info, NULL);
	for (struct percpu_area *a = percpu.limbo; a; a = a->next_orphan)
		snapshot_area(a, info, NULL);
	lock_drop(&percpu.lock, RANK_THREAD);
	info->nr_kept_pages += barn_pages();
	quarantine_count(info->nr_cached);
	info->nr_sheaf_reaps = atomic_load_explicit(&percpu.nr_sheaf_reaps, memory_order_relaxed);
	info->nr_barn_reaps = atomic_load_explicit(&percpu.nr_barn_reaps, memory_order_relaxed);
	info->nr_drains = atomic_load_explicit(&percpu.nr_drains, memory_order_relaxed);
}

static size_t nr_in_area(struct percpu_area *a, unsigned number)
{
	unsigned nr, capacity;

	snapshot_sheaf(READ_ONCE(a->top[number]), &nr, &capacity);
	return nr;
}

size_t percpu_nr_cached(unsigned number)
{
	struct percpu_area *a;
	size_t sum = 0;
	unsigned slot;

	for (slot = 0; slot < READ_ONCE(percpu.nr_slots); slot++) {
		a = area_load(slot);
		if (a && a != &none_area)
			sum += nr_in_area(a, number);
	}
	lock_take(&percpu.lock, RANK_THREAD);
	for (a = percpu.orphans; a; a = a->next_orphan)
		sum += nr_in_area(a, number);
	for (a = percpu.limbo; a; a = a->next_orphan)
		sum += nr_in_area(a, number);
	lock_drop(&percpu.lock, RANK_THREAD);
	return sum;
}

void percpu_fork_prepare(void)
{
	lock_take_nested(&percpu.lock);
}

/* In the child: the areas of the parent's other CPUs and threads wait, whole, for someone who needs their objects. */
void percpu_fork_done(bool child)
{
	unsigned slot, own;

	if (!child) {
		lock_drop_nested(&percpu.lock);
		return;
	}
	atomic_store(&area_drains, 0);
	own = percpu.nr_slots ? percpu_slot() : 0;
	percpu.nr_free_slots = 0;
	for (slot = 0; slot < percpu.nr_slots; slot++) {
		struct percpu_area *a = area_load(slot);

		if (slot == own)
			continue;
		if (a && a != &none_area) {
			area_keep(&percpu.orphans, a);
			area_store(slot, &none_area);
		}
		if (percpu.mode == INDEX_THREAD && slot)
			percpu.free_slots[percpu.nr_free_slots++] = slot;
	}
	lock_reset(&percpu.lock);
}
