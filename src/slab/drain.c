/* SPDX-License-Identifier: MIT */
/* Areas are emptied: all of them, or those of idle CPUs, or that of a thread that ends. */
#include <errno.h>

#include "base/probe.h"
#include "os/os.h"
#include "slab/area.h"
#include "slab/kept.h"
#include "slab/quarantine.h"

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
		if (s) /* who is short of memory empties the quarantine, too */
			quarantine_put(cache_of(class), s);
	}
}

/* A CPU that ran next to none of our slow paths for so long gives up its sheaves. */
#define IDLE_MS 1000

/* Nobody looked at the clock here, after some visits of slow paths, for IDLE_MS before `now`. One never looked at begins to count. */
static bool area_is_idle(struct percpu_area *a, uint64_t now)
{
	uint64_t looked_at = READ_ONCE(a->looked_at_ms);

	if (!looked_at)
		WRITE_ONCE(a->looked_at_ms, now);
	return looked_at && ms_since(looked_at, now) > IDLE_MS;
}

/* Under percpu.lock: to a list of this thread's, which a fork's child does not see. */
static void take_to_drain(struct percpu_area **list, struct percpu_area *a)
{
	area_keep(list, a);
	a->drainer = &thread_state;
}

/* All of one list. */
static void take_all(struct percpu_area **list, struct percpu_area **from)
{
	struct percpu_area *a;

	while ((a = *from)) {
		WRITE_ONCE(*from, a->next_orphan);
		take_to_drain(list, a);
	}
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
			take_to_drain(&taken, a);
		}
	}
	take_all(&taken, &percpu.limbo);
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
		a->drainer = NULL;
		if (area_load(a->slot) == &none_area)
			area_store(a->slot, a);
		else
			area_keep(&percpu.limbo, a);
	}
	lock_drop(&percpu.lock, RANK_THREAD);
}

/* The sheaf, or NULL. */
static struct sheaf *detach_own(unsigned index)
{
	struct percpu_area *a = area_load(percpu_slot());
	void **top = a ? READ_ONCE(*area_top(a, index)) : NULL;

	return top && top != NONE_TOP && percpu_swap_top(index, top, NONE_TOP) ? sheaf_of_top(top) : NULL;
}

static void drain_own_class(unsigned class)
{
	struct sheaf *s = detach_own(class);

	if (s)
		sheaf_empty(caches[class], s);
	s = unlikely(has_freed_tops(class)) ? detach_own(FREED_TOPS + class) : NULL;
	if (unlikely(s != NULL))
		quarantine_put(caches[class], s);
}

static void drain_own(void)
{
	unsigned class;

	PROBE(cpu_drain, percpu_slot(), false);
	for (class = 1; class < caches_end(); class++)
		drain_own_class(class);
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
	struct percpu_area *list = NULL;

	lock_take(&percpu.lock, RANK_THREAD);
	take_all(&list, &percpu.orphans);
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
void drain_idle(uint64_t now)
{
	if (percpu_reach() == INDEX_THREAD || !any_is_idle(now))
		return;
	drain_begin(&area_drains);
	areas_drain(now);
	drain_end(&area_drains);
}

static void drain(bool only_own)
{
	if (bslab_options.check)
		return;
	atomic_fetch_add_explicit(&percpu.nr_drains, 1, memory_order_relaxed);
	drain_begin(&area_drains);
	if (only_own || !areas_drain(0))
		drain_own();
	drain_orphans();
	drain_end(&area_drains);
}

void percpu_drain(void)
{
	drain(percpu.mode == INDEX_THREAD);
}

static bool others_have_areas(void)
{
	unsigned slot, own = percpu_slot();

	for (slot = 0; slot < READ_ONCE(percpu.nr_slots); slot++) {
		const struct percpu_area *a = area_load(slot);

		if (slot != own && a && a != &none_area)
			return true;
	}
	return false;
}

void drain_fallen(void)
{
	drain(percpu_reach() == INDEX_THREAD || !others_have_areas());
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
