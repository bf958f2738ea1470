/* SPDX-License-Identifier: MIT */
#include "slab/area.h"

#include <string.h>

#include "boot/boot.h"
#include "os/os.h"

/* glibc 2.35 and later; weak, so that older and other libcs load us and get the fallback. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

void *const none_words[2] = {(void *)1, (void *)1};

struct none none reader_root(none_area);
_Static_assert(offsetof(struct percpu_area, top) == 0 && offsetof(struct none, freed) == sizeof(struct percpu_area),
	       "area_top()");

struct percpu percpu reader_root(percpu);

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

#ifdef RSEQ_HOMES
/* For programs without the functions above that have a home, as tests of this floor: those have the like, and not weak. */
#define HOME __attribute__((weak, visibility("hidden"))) /* not const: gcc 12 would take them for zero */
HOME struct rseq_descriptor bslab_home_0, bslab_home_1, bslab_home_2;
_Static_assert(HOME_BSLAB_FREE == 0 && HOME_FREE == 1 && HOME_DELETE == 2, "the names have the numbers");

/* Before there is a page map, without which free() does not come that far. */
static void make_homes(void)
{
	bslab_hot.home[0] = bslab_home_0;
	bslab_hot.home[1] = bslab_home_1;
	bslab_hot.home[2] = bslab_home_2;
}
#else
static void make_homes(void)
{
}
#endif

void percpu_boot(void)
{
	unsigned nr_cpus = os_nr_cpus(), i;

	make_homes();
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
	/* The first page is touched anyway: after a restore (CRIU) there may be more CPUs. */
	for (i = 0; i < max_size(percpu.nr_slots, (4096 - offsetof(struct hot, area)) / sizeof bslab_hot.area[0]); i++)
		bslab_hot.area[i] = &none_area;
	__atomic_store_n(&percpu.reach, percpu.mode, __ATOMIC_RELEASE); /* last: threads that come meanwhile go by it */
}

void percpu_prepare_drains(void)
{
	if (percpu_mode() != INDEX_THREAD)
		os_prepare_barrier_rseq();
}

void percpu_add_cache(unsigned number)
{
	WRITE_ONCE(none_area.top[number], NONE_TOP); /* areas have it from the start, but this one in .bss is touched by all processes */
}

/* --- areas --------------------------------------------------------------------------------- */

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
	if (a) {
		area_init(a, NR_CACHES);
		a->next = percpu.all;
		percpu.all = a;
	}
	return a;
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

bool area_create(void)
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

/* Of these classes no orphan has a sheaf, and only a fork makes orphans. Stored under percpu.lock, read without. */
static bool orphans_lack[NR_CACHES];

struct sheaf *orphan_sheaf(unsigned class)
{
	struct percpu_area *a;
	struct sheaf *s = NULL;

	if (likely(!READ_ONCE(percpu.orphans)) || READ_ONCE(orphans_lack[class]))
		return NULL;
	lock_take(&percpu.lock, RANK_THREAD);
	for (a = percpu.orphans; a && !s; a = a->next_orphan) {
		s = sheaf_of_top(a->top[class]);
		a->top[class] = NONE_TOP;
	}
	if (!s)
		WRITE_ONCE(orphans_lack[class], true);
	lock_drop(&percpu.lock, RANK_THREAD);
	return s;
}

/* --- fork ---------------------------------------------------------------------------------- */

void percpu_fork_prepare(void)
{
	lock_take_nested(&percpu.lock);
}

/*
 * In the child: the areas of the parent's other CPUs and threads wait, whole, for someone who needs their objects; and
 * those that another thread was about to empty, but for what it had taken from them. What this thread is emptying, a handler of
 * the program's has forked amid that, it goes on with in both.
 */
void percpu_fork_done(bool child)
{
	struct percpu_area *drained;
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
	for (drained = percpu.all; drained; drained = drained->next)
		if (drained->drainer && drained->drainer != &thread_state)
			area_keep(&percpu.orphans, drained);
	if (percpu.orphans)
		memset(orphans_lack, 0, sizeof orphans_lack);
	lock_reset(&percpu.lock);
}
