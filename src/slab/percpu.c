/* SPDX-License-Identifier: MIT */
#include "slab/percpu.h"

#include "os/bug.h"
#include "slab/area.h"
#include "slab/quarantine.h"

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

/*
 * Looked at again: the first look may have been at another CPU's sheaf, whose thread has stored a new top, and where weakly ordered
 * CPUs show what stood below it before.
 */
static cold_path bool is_on_top(unsigned class, void **top, const void *obj)
{
	if (percpu_current_top(class) != top)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	return READ_ONCE(top[-1]) == obj;
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
		if (below == obj && is_on_top(c->class, top, obj)) {
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
