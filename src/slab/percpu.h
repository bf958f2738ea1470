/* SPDX-License-Identifier: MIT */
/*
 * This CPU's sheaves (Linux: struct slub_percpu_sheaves).
 *
 * 1. An area holds the top of the current sheaf of each class. bslab_hot.area[]
 *    leads to it by the index that arch/percpu.h describes. Entries begin as a
 *    shared area of sentinels, always empty and always full, which is never
 *    written: whoever meets it comes to the slow path, which makes an area.
 *
 * 2. The index, chosen once at boot:
 *      mm_cid   rseq, the kernel's compact concurrency id (Linux 6.3). A process
 *               of one thread uses one area, on whatever CPU it runs.
 *      cpu_id   rseq, the CPU number, shifted by one: the fast paths read the
 *               field of mm_cid, find area 0, which stays empty here, and the
 *               slow path goes by cpu_id.
 *      thread   no rseq: the thread's own slot, 0 until it has one.
 *
 * 3. A slow path first detaches the sheaf, by swapping the top for the shared
 *    sentinels, and from then on owns it. It installs another one only over the
 *    sentinels; if a second thread of this CPU was faster, its sheaf goes to the
 *    barn. A sheaf is thus at any time with one CPU, one thread or one barn.
 *
 * 4. Areas of other CPUs are emptied by replacing the area's pointer and waiting
 *    until every sequence that may have loaded it has been restarted
 *    (membarrier, PRIVATE_EXPEDITED_RSEQ). A cache per thread can be emptied
 *    only by its thread, or after it ended.
 *
 * 5. What rests goes home. Now and then a slow path looks over its CPU's area and
 *    the barns: a sheaf whose top stands where it stood REAP_MS before, and a
 *    barn without a visit since, are emptied (Linux: cache_reap(), mm/slab.c).
 *    So a class that was hot once does not hold its pages for good. Areas of CPUs
 *    that ran next to no slow path for a second, and hold 32 KiB, which one freed run
 *    is, are emptied by whoever looks, as in 4. All areas and barns are, once, when
 *    less than a quarter is out of what was, at two looks, and when three of four
 *    threads have ended: of what they still hold each object may be the last of
 *    its slab.
 *
 * 6. Strays. What a CPU frees and has no sheaf for, another has allocated, as a
 *    rule, and may have its neighbours in the cache line: it goes home to its
 *    slab. Were it handed out here again, the two CPUs would write to one line
 *    (Berger et al., ASPLOS 2000: passive false sharing). A CPU that goes on so
 *    gets a sheaf with its MAX_STRAYS'th of the class.
 */
#ifndef BSLAB_PERCPU_H
#define BSLAB_PERCPU_H

#include "arch/arch.h"
#include "os/options.h"
#include "os/thread.h"
#include "slab/sheaf.h"

struct percpu_area {
	void **top[NR_CACHES];
	struct percpu_cell run; /* the page run freed last: slab/kept.h */
	uint16_t seen[NR_CACHES]; /* bits of the top at the last look for sheaves that rest */
	uint64_t looked_at_ms;
	uint32_t nr_visits; /* of slow paths, since the last look at the clock */
	uint32_t look_interval; /* in visits */
	uint8_t nr_strays[NR_CACHES]; /* see 6; since the last that got a sheaf */
	struct barn_visits visits[NR_CACHES];
	struct percpu_area *next_orphan, *next; /* next: of all */
	struct thread_state *drainer; /* the thread that is emptying it, and has it on a list of its own; under percpu.lock, as is */
	unsigned slot; /* it was detached from */
};

/*
 * In the hardened mode an area is longer: behind the struct stand as many tops more, of the sheaves on which freed
 * objects are pushed; what rests of those goes to the quarantine. So the sequences reach them as classes from here on.
 */
#define FREED_TOPS (sizeof(struct percpu_area) / sizeof(void **))
#define FREED_SEEN (FREED_TOPS + NR_CLASSES) /* what seen[] is of top[] */

/* The cell that its sequences work on, and its value as one more class. */
#define KEPT_RUN offsetof(struct percpu_area, run)
#define KEPT_VALUE (offsetof(struct percpu_area, run.value) / sizeof(void **))

static inline void ***area_top(struct percpu_area *a, unsigned index)
{
	return (void ***)a + index;
}

/* The shared area of 1. The tops of freed objects behind it are used, and so touched, in the hardened mode only. */
struct none {
	struct percpu_area area;
	void **freed[NR_CLASSES], **freed_seen[NR_CLASSES];
};
extern struct none none reader_root(none_area);
#define none_area none.area

struct percpu {
	struct lock lock; /* RANK_THREAD: everything but mode, reach and counters */
	enum index_mode mode; /* INDEX_AUTO before boot */
	enum index_mode reach; /* as mode; INDEX_THREAD from when the kernel refused to let others empty an area */
	struct percpu_area *all;     /* by next; but the shared one */
	struct percpu_area *orphans; /* areas with objects and without an index */
	struct percpu_area *spare;   /* the same without objects */
	struct percpu_area *limbo;   /* detached, and sequences may still be at work in them */
	unsigned nr_slots;	     /* entries of bslab_hot.area[] in use, from 0 */
	uint32_t next_slot, nr_free_slots;
	uint32_t *free_slots;
	_Atomic uint64_t nr_sheaf_reaps, nr_barn_reaps, nr_drains; /* relaxed, as struct percpu_info has them */
};
extern struct percpu percpu reader_root(percpu);

/* Chooses the index mode; after this the slow paths work. */
void percpu_boot(void);
/* Behind it, once: what drains need of the kernel, while that takes nothing. A system call. */
void percpu_prepare_drains(void);
static inline enum index_mode percpu_mode(void)
{
	return READ_ONCE(percpu.mode);
}

/* Where it is INDEX_THREAD, what a CPU keeps cannot be had by others. */
static inline enum index_mode percpu_reach(void)
{
	return __atomic_load_n(&percpu.reach, __ATOMIC_ACQUIRE);
}
/* Finds out whether it can: for who sets a limit, under which all that is free has to be had. May be a system call or three. */
void percpu_find_reach(void);

/* Both sentinels of a sheaf without slots, which is never written: it is full. */
extern void *const none_words[2] reader_root(none_words);
#define NONE_TOP ((void **)&none_words[1])

/* This CPU's index now, and its area, which may be the shared one of sentinels. */
static force_inline unsigned percpu_slot_by(const int index_offset)
{
	bool by_cpu = index_offset == RSEQ_CPU_ID;
	intptr_t rseq = by_cpu ? bslab_hot.rseq_offset_cpu : bslab_hot.rseq_offset;

	return *(volatile uint32_t *)(arch_thread_pointer() + (uintptr_t)(rseq + index_offset)) + by_cpu;
}

/* The CPU that this thread runs on, and its node, as the kernel numbers them; false where it does not tell without a call. */
static inline bool percpu_is_on(unsigned *cpu, unsigned *node)
{
	const volatile uint32_t *rseq = (const volatile uint32_t *)(arch_thread_pointer() + (uintptr_t)bslab_hot.rseq_offset);

	if (percpu_mode() != INDEX_MM_CID)
		return false;
	*cpu = rseq[RSEQ_CPU_ID / 4];
	*node = rseq[RSEQ_NODE_ID / 4];
	return true;
}

static inline unsigned percpu_slot(void)
{
	return percpu_mode() == INDEX_CPU_ID ? percpu_slot_by(RSEQ_CPU_ID) : percpu_slot_by(RSEQ_MM_CID);
}

static inline struct percpu_area *percpu_here(void)
{
	return __atomic_load_n(&bslab_hot.area[percpu_slot()], __ATOMIC_ACQUIRE);
}

/* This CPU's top of a cache; NULL when it has no area and gets none. */
void **percpu_current_top(unsigned class) __attribute__((visibility("hidden")));
/* percpu_cmpxchg() by the mode; over NONE_TOP, and to it, is how a sheaf is installed and detached. */
bool percpu_swap_top(unsigned class, void **old, void **new) __attribute__((visibility("hidden")));

/* The slow paths behind percpu_pop() and percpu_push(). */
void *percpu_alloc_slow(struct kmem_cache *c, unsigned pages_flags);
void percpu_free_slow(struct kmem_cache *c, void *obj);
/* Looks at the clock, and for what rests when it is time: see 5. For slow paths that are none of the above; holding no lock. */
void percpu_look(void);
/* Of many threads a quarter is left: see 5. */
void percpu_threads_fell(void);
/* Past the sheaves, a single object. */
void *percpu_alloc_uncached(struct kmem_cache *c, unsigned pages_flags);
void percpu_free_uncached(struct kmem_cache *c, void *obj);
/*
 * Many at once (slab/bulk.c): up to n that this CPU's sheaf has, or has room for; how many. 0 also when another thread is at
 * it. push_bulk: ends before what is not an object of the cache, by its page.
 */
unsigned percpu_pop_bulk(struct kmem_cache *c, void **out, unsigned n);
unsigned percpu_push_bulk(struct kmem_cache *c, void *const *objects, unsigned n); /* n is not 0 */
/* A sheaf that percpu_swap_top() took from under this CPU comes back, with another top perhaps. */
void percpu_reinstall(struct kmem_cache *c, void **top);

/* Before a number of a typed cache is used. */
void percpu_add_cache(unsigned number);
/* Objects of a cache in the sheaves of all CPUs, and of areas without one; racy as percpu_snapshot() is. */
size_t percpu_nr_cached(unsigned number);
/* Hardened: the one behind percpu_push(FREED_TOPS + class). */
void percpu_free_delayed(struct kmem_cache *c, void *obj);

/* CPUs, or threads, that a report lists one by one; the others are in the sums. */
#define MAX_REPORT_CPUS 128

struct cpu_info {
	unsigned index;		     /* the concurrency id, the CPU or the thread's slot */
	size_t nr_objects, nr_slots; /* in its sheaves: objects, and places for them */
	size_t bytes;		     /* of the objects */
	uint16_t nr[NR_CACHES], capacity[NR_CACHES]; /* of its sheaf of the cache; capacity 0: none */
};

/* What other CPUs have are racy reads: each sheaf's count was right at some moment, or nearly. */
struct percpu_info {
	enum index_mode mode;
	unsigned nr_areas, nr_listed; /* CPUs, or threads, with a cache; of these the ones in cpu[] */
	size_t nr_cached[NR_CACHES]; /* objects in the sheaves of all of them */
	size_t nr_kept_pages;	     /* of runs that they and the barns of such keep: in use to the buddies */
	/* Since the start: */
	uint64_t nr_sheaf_reaps, nr_barn_reaps; /* sheaves and barns emptied because they rested */
	uint64_t nr_drains;			/* of all CPUs that are in reach: trim, reclaim, 5 */
	struct cpu_info cpu[MAX_REPORT_CPUS];
};
void percpu_snapshot(struct percpu_info *info);
/* Brings the objects of all areas home that can be reached. */
void percpu_drain(void);
/* This thread ends: its cache, in thread mode, is emptied and its slot is free. */
void percpu_thread_exit(void);

void percpu_fork_prepare(void);
void percpu_fork_done(bool child);

#endif
