/* SPDX-License-Identifier: MIT */
/*
 * Restartable sequences on the per-CPU sheaf tops: what each arch implements.
 *
 * 1. The index of this CPU's area is the word at `index_offset` in the struct
 *    rseq found at thread pointer + hot->rseq_offset: mm_cid (24) or cpu_id (4).
 *    Where rseq is not in use, rseq_offset leads to a look-alike in our own
 *    thread-local storage, whose "mm_cid" is the thread's own slot: the very
 *    same instructions then work on a cache per thread.
 *
 * 2. A sheaf is an array of pointers between two odd words, its sentinels;
 *    area->top[class] points one past the topmost object:
 *
 *        | lo sentinel | obj | obj | ... | free slot | ... | hi sentinel |
 *                                    ^ top
 *
 *    top[-1] odd: empty. top[0] odd: full. Objects are even, stale slots hold
 *    stale objects, so both tests are one bit of a word that is needed anyway.
 *
 * 3. The sequences, with their one committing store each:
 *
 *    percpu_pop(class):            percpu_push(class, obj):
 *      area = hot->area[index]       area = hot->area[index]
 *      top = area->top[class]        top = area->top[class]
 *      obj = top[-1]                 if (top[0] & 1) return false
 *      if (obj & 1) return NULL      if (top[-1] == obj) return false   (freed twice in a row)
 *      area->top[class] = top - 1    top[0] = obj                       (not visible before the commit)
 *      return obj                    area->top[class] = top + 1         // final store
 *
 *    percpu_cmpxchg(class, old, new, none):
 *      area = hot->area[index]
 *      if (area == none) return false      (the area of sentinels that all CPUs share is never written)
 *      if (area->top[class] != old) return false
 *      area->top[class] = new              // final store
 *      return true
 *
 *    percpu_take(cell, key):        percpu_put(cell, key, value):      (the area of sentinels has a key, of nothing)
 *      area = hot->area[index]       area = hot->area[index]
 *      if (cell.key != key)          if (cell.key != 0) return false
 *        return NULL                 cell.value = value               (not visible while there is no key)
 *      value = cell.value            cell.key = key                   // final store
 *      cell.key = 0  // final store  return true
 *      return value
 *
 * 4. A thread that is preempted, migrated or gets a signal between the first
 *    load of the index and the final store is resumed at the abort handler,
 *    which takes the way of failure (tools/testing/selftests/rseq in Linux;
 *    rseq(2) of librseq). Before the final store nothing is visible: top[0] is
 *    a slot above the top. So each of them may fail for no reason but bad
 *    luck. Callers try a few times (a cell, once) and then do without: a debugger that steps
 *    through a sequence makes it fail each time, and must not hang it.
 *
 * 5. Homes. percpu_push_home() does what percpu_push() does. Where it saves an instruction (x86-64) the descriptor of such
 *    a sequence is copied at boot into the struct that its caller has the address of anyway, so that this very address is what
 *    tells the kernel of the sequence. There is one of them for each number of enum hot_home, in the only function that
 *    has it.
 */
#ifndef BSLAB_ARCH_PERCPU_H
#define BSLAB_ARCH_PERCPU_H

#include "base/hot.h"

struct percpu_area; /* slab/percpu.h: begins with top[], and has a cell */

/*
 * One thing that a CPU keeps, and what it is asked for by. They are two words so that what is put, which is what the next
 * take returns, waits for nothing that is looked up by it: the key is only compared.
 */
struct percpu_cell {
	void *value;   /* where there is a key; never NULL */
	uintptr_t key; /* 0: there is nothing */
};

/* Offsets in the kernel's struct rseq (include/uapi/linux/rseq.h). */
#define RSEQ_CPU_ID 4
#define RSEQ_CS 8
#define RSEQ_NODE_ID 20 /* where there is mm_cid */
#define RSEQ_MM_CID 24

/* CPU n has area n + 1 where the index is cpu_id: slab/percpu.h says why. */
#define AREAS_OFFSET(index_offset)                                                                 \
	(offsetof(struct hot, area) + ((index_offset) == RSEQ_CPU_ID ? sizeof(struct percpu_area *) : 0))
#define RSEQ_OFFSET(index_offset)                                                                  \
	((index_offset) == RSEQ_CPU_ID ? bslab_hot.rseq_offset_cpu : bslab_hot.rseq_offset)

#endif
