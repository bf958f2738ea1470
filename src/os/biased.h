/* SPDX-License-Identifier: MIT */
/*
 * A lock that one thread enters and leaves by plain stores, for what is mostly used by one thread (Kawachiya, Koseki and Onodera
 * 2002, "Lock Reservation"; Dice, Moir and Scherer 2003, "Quickly Reacquirable Locks").
 *
 * 1. A bias is a word that has its thread's pointer while the thread is outside, and INSIDE while it is within:
 *
 *        enter:  word[i] == self?   word[i] = INSIDE   l->bias == i?        leave:  word[i] = self
 *
 *    Who takes the bias away changes l->bias, has the kernel order each thread's stores before its loads (membarrier), and waits
 *    while the word says INSIDE. Of the two either the thread that enters sees l->bias changed, and turns back, or the other sees
 *    INSIDE (Dekker; Dice, Huang and Yang 2001, "Asymmetric Dekker synchronization").
 *
 * 2. All else comes under the ordinary lock: longer sections, other threads, and each change of l->bias. The bias's own thread sets
 *    INSIDE in its longer sections, too, so that a signal handler of it finds the lock held, in either kind.
 *
 *      l->bias    brief sections                                         longer sections
 *      ---------  -----------------------------------------------------  -------------------------------------------------
 *      0          its thread's: biased_enter()                           its thread's; others move the bias first, or
 *      1, 2, ...  its thread's, in some more instructions: biased_try()  suspend it
 *      UNBIASED   any thread's, by the ordinary lock: biased_try()       any thread's; the first of all gets the first bias
 *
 * 3. Who comes for longer takes the bias with him, until NR_BIASES were given; then the lock is unbiased for good. Each time it is
 *    another word, for a thread that was stopped behind its look at the old one may write INSIDE there at any time. Who only looks
 *    (biased_visit(), fork) gives it back to the same thread, and so may give back the same word.
 *
 * 4. A thread that has ended leaves its bias behind. A later one with the same pointer has it then: it finds the word outside.
 *
 * 5. Where the kernel has no membarrier no bias is given. Where it refuses one later (a filter of system calls), time does the same:
 *    a store waits in its CPU's buffer for microseconds, and not across an interrupt (Morrison and Afek 2014, "Temporally Bounding
 *    TSO"). That is waited for once in a lock's life: it is unbiased from then on, as all are that are made later.
 *
 * Invariants: under the ordinary lock, once biased_take() or biased_visit() returns, nobody else is within; l->bias is this
 * thread's, with its word INSIDE, or UNBIASED. l->suspended is UNBIASED but in a visit or a fork.
 */
#ifndef BSLAB_BIASED_H
#define BSLAB_BIASED_H

#include "arch/arch.h"
#include "os/lock.h"

#define NR_BIASES 5
#define UNBIASED NR_BIASES

#define BIAS_INSIDE 1 /* instead of the thread's pointer, which is a multiple of 8 */
#define BIAS_NOBODY 2 /* word[UNBIASED], always */

struct biased_lock {
	struct lock lock;
	_Atomic uint32_t bias; /* stored under lock */
	uint32_t suspended;    /* a bias; under lock */
	uint32_t nr_given;     /* more than NR_BIASES: there will be none. Under lock */
	_Atomic uintptr_t word[NR_BIASES + 1];
};

/* A system call the first time. */
void biased_init(struct biased_lock *l);

/* The end of both is biased_drop(). */
void biased_take(struct biased_lock *l, enum lock_rank rank);
/* A visit would take milliseconds: it is another thread's, and membarrier was refused. A guess, without the lock. */
bool biased_is_far(struct biased_lock *l);
/* The bias stays whose it was. */
void biased_visit(struct biased_lock *l, enum lock_rank rank);
void biased_drop(struct biased_lock *l, enum lock_rank rank);

/*
 * All of a kind at once, outside the ranks: each is taken, and then, where one of them said so, the barrier is had once and each is
 * waited for.
 */
bool biased_fork_take(struct biased_lock *l);
void biased_barrier(void);
void biased_fork_wait(struct biased_lock *l);
void biased_fork_done(struct biased_lock *l, bool child);

/* --- sections of some instructions, within which no other lock is taken. These are not counted, as no report wants the lock. ----- */

/* False where bias i is not the lock's, or not this thread's, or the thread is within. */
static force_inline bool bias_enter(struct biased_lock *l, uint32_t i, enum lock_rank rank)
{
	if (unlikely(atomic_load_explicit(&l->word[i], memory_order_relaxed) != arch_thread_pointer()))
		return false;
	atomic_store_explicit(&l->word[i], BIAS_INSIDE, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(atomic_load_explicit(&l->bias, memory_order_acquire) != i)) {
		atomic_store_explicit(&l->word[i], arch_thread_pointer(), memory_order_release);
		return false;
	}
	lock_rank_push(rank);
	return true;
}

static force_inline void bias_leave(struct biased_lock *l, uint32_t i, enum lock_rank rank)
{
	lock_rank_pop(rank);
	atomic_store_explicit(&l->word[i], arch_thread_pointer(), memory_order_release);
}

/* The first bias's thread. Others, and where it is false: biased_try(). */
static force_inline bool biased_enter(struct biased_lock *l, enum lock_rank rank)
{
	return likely(bias_enter(l, 0, rank));
}

static force_inline void biased_leave(struct biased_lock *l, enum lock_rank rank)
{
	bias_leave(l, 0, rank);
}

/* What to give to biased_try_end(), or -1 where somebody has the lock, or another thread a bias. */
int biased_try(struct biased_lock *l, enum lock_rank rank);
void biased_try_end(struct biased_lock *l, int held, enum lock_rank rank);

#endif
