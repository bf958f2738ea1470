/* SPDX-License-Identifier: MIT */
#include "slab/percpu.h"

#include "boot/boot.h"
#include "os/bug.h"
#include "os/os.h"
#include "slab/sheaf.h"

/* glibc 2.35 and later; weak, so that older and other libcs load us and get the fallback. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* Both sentinels of a sheaf without slots. */
static void *const none_words[2] = {(void *)1, (void *)1};
#define NONE_TOP ((void **)&none_words[1]) /* never written: it is full */

static struct percpu_area none_area;

static struct {
	struct lock lock; /* RANK_THREAD: everything but mode */
	enum index_mode mode;
	struct percpu_area *orphans; /* areas with objects and without an index */
	struct percpu_area *spare;   /* the same without objects */
	struct percpu_area *limbo;   /* detached, and sequences may still be at work in them */
	unsigned nr_slots;	     /* entries of bslab_hot.area[] in use, from 0 */
	uint32_t next_slot, nr_free_slots;
	uint32_t *free_slots;
} percpu;

enum index_mode percpu_mode(void)
{
	return percpu.mode;
}

/* --- the sequences of the mode --------------------------------------------------------- */

static void *pop(unsigned class)
{
	return percpu.mode == INDEX_CPU_ID ? percpu_pop(class, RSEQ_CPU_ID) : percpu_pop(class, RSEQ_MM_CID);
}

static bool push(unsigned class, void *obj)
{
	return percpu.mode == INDEX_CPU_ID ? percpu_push(class, obj, RSEQ_CPU_ID)
					   : percpu_push(class, obj, RSEQ_MM_CID);
}

static bool swap_top(unsigned class, void **old, void **new)
{
	return percpu.mode == INDEX_CPU_ID ? percpu_cmpxchg(class, old, new, &none_area, RSEQ_CPU_ID)
					   : percpu_cmpxchg(class, old, new, &none_area, RSEQ_MM_CID);
}

static unsigned current_slot(void)
{
	uintptr_t rseq = arch_thread_pointer() + (uintptr_t)(percpu.mode == INDEX_CPU_ID
								 ? bslab_hot.rseq_offset_cpu
								 : bslab_hot.rseq_offset);
	uintptr_t field = percpu.mode == INDEX_CPU_ID ? RSEQ_CPU_ID : RSEQ_MM_CID;

	return *(volatile uint32_t *)(rseq + field) + (percpu.mode == INDEX_CPU_ID);
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

void percpu_boot(void)
{
	unsigned nr_cpus = os_nr_cpus(), i;

	percpu.mode = choose_mode(nr_cpus);
	bslab_hot.rseq_offset = thread_state_rseq_offset();
	percpu.next_slot = 1;
	percpu.nr_slots = 1;
	if (percpu.mode == INDEX_MM_CID)
		bslab_hot.rseq_offset = __rseq_offset;
	if (percpu.mode == INDEX_CPU_ID)
		bslab_hot.rseq_offset_cpu = __rseq_offset;
	if (percpu.mode != INDEX_THREAD)
		percpu.nr_slots = (unsigned)min_size(nr_cpus, NR_CPU_SLOTS) + 1;
	for (i = 0; i < NR_CLASSES; i++)
		none_area.top[i] = NONE_TOP;
	for (i = 0; i < percpu.nr_slots; i++)
		bslab_hot.area[i] = &none_area;
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

static struct percpu_area *area_get(void)
{
	struct percpu_area **list = percpu.orphans ? &percpu.orphans : &percpu.spare, *a = *list;
	unsigned i;

	if (a) {
		WRITE_ONCE(*list, a->next_orphan);
		return a;
	}
	a = boot_alloc(sizeof *a, 64);
	for (i = 0; a && i < NR_CLASSES; i++)
		a->top[i] = NONE_TOP;
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
	slot = percpu.mode == INDEX_THREAD ? (thread_state.index ? thread_state.index : slot_get()) : current_slot();
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

/* --- what rests goes home --------------------------------------------------------------------- */

#define REAP_MS 40
/* Visits of slow paths between two looks at the clock, which is a system call: more, up to the most, when it was early. */
#define MIN_REAP_VISITS 16
#define MAX_REAP_VISITS 256

static void sheaf_empty(struct kmem_cache *c, struct sheaf *s)
{
	slab_give(c, s->slot, s->nr);
	s->nr = 0;
	barn_put(c, s);
}

/* Of the CPU's area or, if this thread moves meanwhile, of nobody's: tops are compared when they are swapped. */
static void reap(struct percpu_area *a, uint64_t now)
{
	unsigned class;

	for (class = 1; class < NR_CLASSES; class++) {
		struct kmem_cache *c = cache_if_used(class);
		void **top = __atomic_load_n(&a->top[class], __ATOMIC_RELAXED);
		bool rests = top == __atomic_load_n(&a->seen[class], __ATOMIC_RELAXED);

		if (!c)
			continue;
		if (rests && top != NONE_TOP && swap_top(class, top, NONE_TOP))
			sheaf_empty(c, sheaf_of_top(top));
		__atomic_store_n(&a->seen[class], top, __ATOMIC_RELAXED);
		if (barn_has_rested(c, now, REAP_MS)) {
			barn_drain(c);
			cache_shrink_kept(c);
		}
	}
}

/* Other threads of this CPU may do the same at the same time; counts and times need not be exact. */
static void reap_if_due(void)
{
	struct percpu_area *a = area_load(current_slot());
	uint32_t nr_visits, interval;
	uint64_t now;

	if (!a || a == &none_area)
		return;
	nr_visits = __atomic_load_n(&a->nr_visits, __ATOMIC_RELAXED) + 1;
	interval = __atomic_load_n(&a->look_interval, __ATOMIC_RELAXED);
	__atomic_store_n(&a->nr_visits, nr_visits, __ATOMIC_RELAXED);
	if (likely(nr_visits < MIN_REAP_VISITS || nr_visits < interval))
		return;
	__atomic_store_n(&a->nr_visits, 0, __ATOMIC_RELAXED);
	now = os_coarse_clock_ms();
	if (now - __atomic_load_n(&a->looked_at_ms, __ATOMIC_RELAXED) < REAP_MS) {
		__atomic_store_n(&a->look_interval, (uint32_t)min_size(2 * nr_visits, MAX_REAP_VISITS), __ATOMIC_RELAXED);
		return;
	}
	__atomic_store_n(&a->look_interval, MIN_REAP_VISITS, __ATOMIC_RELAXED);
	__atomic_store_n(&a->looked_at_ms, now, __ATOMIC_RELAXED);
	reap(a, now);
}

/* --- slow paths ------------------------------------------------------------------------------ */

static void install(struct kmem_cache *c, struct sheaf *s)
{
	atomic_thread_fence(memory_order_release); /* reports read sheaves of other CPUs */
	if (!swap_top(c->class, NONE_TOP, sheaf_top(s, s->nr)))
		barn_put(c, s);
}

/* This CPU's top of the class; NULL when it has no area and gets none. */
static void **current_top(unsigned class)
{
	struct percpu_area *a = area_load(current_slot());

	if (a == &none_area || !a) {
		if (!area_create())
			return NULL;
		a = area_load(current_slot());
	}
	return __atomic_load_n(&a->top[class], __ATOMIC_RELAXED);
}

/* After so many sequences were interrupted, the next one would be too: somebody is stepping through them. */
#define MAX_TRIES 8

static void *alloc_uncached(struct kmem_cache *c, unsigned pages_flags)
{
	void *obj = NULL;

	slab_take(c, &obj, 1, pages_flags);
	return obj;
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
		s = barn_exchange_empty(c, s, pages_flags);
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
		void **top = current_top(c->class);
		void *obj;

		if (!top)
			break;
		if ((uintptr_t)top[-1] & 1) {
			if (top == NONE_TOP)
				return alloc_from_new_sheaf(c, NULL, pages_flags);
			if (swap_top(c->class, top, NONE_TOP))
				return alloc_from_new_sheaf(c, sheaf_of_top(top), pages_flags);
		}
		obj = pop(c->class);
		if (obj)
			return obj;
	}
	return alloc_uncached(c, pages_flags);
}

/* `s` was full when this CPU's top was read; rarely, its memory has by now begun another life. */
static void free_into_new_sheaf(struct kmem_cache *c, struct sheaf *s, void *obj)
{
	if (!s || s->nr == s->capacity)
		s = barn_exchange_full(c, s);

	if (!s) {
		slab_give(c, &obj, 1);
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
		void **top = current_top(c->class), *below;

		if (!top)
			break;
		/* Read before push() writes above the top: the object is ours, so only a second free can have put it there. */
		below = __atomic_load_n(&top[-1], __ATOMIC_RELAXED);
		if (push(c->class, obj))
			return;
		if (below == obj) {
			bug_caller("double free of %p", obj);
			return;
		}
		if ((uintptr_t)top[0] & 1) {
			if (top == NONE_TOP) {
				free_into_new_sheaf(c, NULL, obj);
				return;
			}
			if (swap_top(c->class, top, NONE_TOP)) {
				free_into_new_sheaf(c, sheaf_of_top(top), obj);
				return;
			}
		}
	}
	slab_give(c, &obj, 1);
}

/* --- emptying ---------------------------------------------------------------------------------- */

static void area_empty(struct percpu_area *a)
{
	unsigned class;

	for (class = 1; class < NR_CLASSES; class++) {
		struct sheaf *s = sheaf_of_top(a->top[class]);

		a->top[class] = NONE_TOP;
		if (s)
			sheaf_empty(cache_of(class), s);
	}
}

/* Detaches every area at once; when the barrier returns, nobody works on them. */
static struct percpu_area *areas_detach(void)
{
	struct percpu_area *taken = NULL, *a;
	unsigned slot;

	lock_take(&percpu.lock, RANK_THREAD);
	for (slot = 0; slot < percpu.nr_slots; slot++) {
		a = area_load(slot);
		if (a && a != &none_area) {
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

static void drain_own(void)
{
	unsigned class;

	for (class = 1; class < NR_CLASSES; class++) {
		struct percpu_area *a = area_load(current_slot());
		void **top = a ? __atomic_load_n(&a->top[class], __ATOMIC_RELAXED) : NULL;

		if (top && top != NONE_TOP && swap_top(class, top, NONE_TOP))
			sheaf_empty(cache_of(class), sheaf_of_top(top));
	}
}

static void drain_orphans(void)
{
	struct percpu_area *a, *list;

	lock_take(&percpu.lock, RANK_THREAD);
	list = percpu.orphans;
	WRITE_ONCE(percpu.orphans, NULL);
	lock_drop(&percpu.lock, RANK_THREAD);
	while ((a = list)) {
		list = a->next_orphan;
		area_empty(a);
		lock_take(&percpu.lock, RANK_THREAD);
		area_keep(&percpu.spare, a);
		lock_drop(&percpu.lock, RANK_THREAD);
	}
}

void percpu_drain(void)
{
	struct percpu_area *list, *a;

	if (bslab_options.check)
		return;
	if (percpu.mode == INDEX_THREAD || os_barrier_rseq() != 0) {
		drain_own();
	} else {
		list = areas_detach();
		if (os_barrier_rseq() != 0) { /* it worked a moment ago: short of memory now */
			areas_reattach(list);
			return;
		}
		while ((a = list)) {
			list = a->next_orphan;
			area_empty(a);
			lock_take(&percpu.lock, RANK_THREAD);
			area_keep(&percpu.spare, a);
			lock_drop(&percpu.lock, RANK_THREAD);
		}
	}
	drain_orphans();
}

void percpu_thread_exit(void)
{
	uint32_t slot = thread_state.index;
	struct percpu_area *a;

	if (percpu.mode != INDEX_THREAD || !slot)
		return;
	a = area_load(slot);
	thread_state.index = 0;
	area_empty(a);
	lock_take(&percpu.lock, RANK_THREAD);
	percpu.free_slots[percpu.nr_free_slots++] = slot; /* with its area, for the next thread */
	lock_drop(&percpu.lock, RANK_THREAD);
}

size_t percpu_nr_cached(unsigned class, unsigned *nr_areas)
{
	size_t n = 0;
	unsigned slot;

	*nr_areas = 0;
	for (slot = 0; slot < READ_ONCE(percpu.nr_slots); slot++) {
		struct percpu_area *a = area_load(slot);
		void **top, **p;

		if (!a || a == &none_area)
			continue;
		++*nr_areas;
		top = __atomic_load_n(&a->top[class], __ATOMIC_RELAXED);
		for (p = top; !((uintptr_t)p[-1] & 1); p--)
			n++;
	}
	return n;
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
	own = percpu.nr_slots ? current_slot() : 0;
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
