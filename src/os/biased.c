/* SPDX-License-Identifier: MIT */
#include "os/biased.h"

#include "os/os.h"

/* Of a brief section: its thread is past it in some nanoseconds, unless it was stopped. */
#define NR_SPINS 100
/* In the barrier's place: thousands of times as long as a store takes to be seen. */
#define BARRIER_MS 10

static _Atomic signed char answer; /* 0: not asked yet; -1: no, or no more */

static void set_answer(bool yes)
{
	atomic_store_explicit(&answer, yes ? 1 : -1, memory_order_relaxed);
}

/* Asks once. */
static bool has_barrier(void)
{
	if (!atomic_load_explicit(&answer, memory_order_relaxed))
		set_answer(os_has_barrier());
	return atomic_load_explicit(&answer, memory_order_relaxed) > 0;
}

static uint32_t nr_given_at_first(void)
{
	return has_barrier() ? 0 : NR_BIASES + 1;
}

void biased_init(struct biased_lock *l)
{
	*l = (struct biased_lock){.bias = UNBIASED, .suspended = UNBIASED, .nr_given = nr_given_at_first(), .word[UNBIASED] = BIAS_NOBODY};
}

/* Nobody has a bias, or is about to look for one. */
static void begin_anew(struct biased_lock *l)
{
	unsigned i;

	for (i = 0; i < NR_BIASES; i++)
		atomic_store_explicit(&l->word[i], 0, memory_order_relaxed);
	l->nr_given = nr_given_at_first();
}

static uint32_t bias_of(struct biased_lock *l)
{
	return atomic_load_explicit(&l->bias, memory_order_relaxed);
}

static void set_bias(struct biased_lock *l, uint32_t i)
{
	atomic_store_explicit(&l->bias, i, memory_order_release);
}

static void enter_longer(struct biased_lock *l)
{
	atomic_store_explicit(&l->word[bias_of(l)], BIAS_INSIDE, memory_order_relaxed);
}

static bool is_mine(struct biased_lock *l)
{
	return atomic_load_explicit(&l->word[bias_of(l)], memory_order_relaxed) == arch_thread_pointer();
}

/* A sleep may be refused, too, or end early for a signal. */
static void wait_for_stores(void)
{
	uint64_t end = os_clock_us() + BARRIER_MS * 1000;

	while ((int64_t)(end - os_clock_us()) > 0)
		os_sleep_ms(BARRIER_MS);
}

void biased_barrier(void)
{
	if (os_barrier() == 0)
		return;
	set_answer(false);
	wait_for_stores();
}

bool biased_is_far(struct biased_lock *l)
{
	return !has_barrier() && bias_of(l) != UNBIASED && !is_mine(l);
}

/* After the barrier. Its thread looks for no waiter: it is waited for once in the life of a bias, or for a visit. */
static void wait_outside(struct biased_lock *l, uint32_t i)
{
	int n;

	for (n = 0; atomic_load_explicit(&l->word[i], memory_order_acquire) == BIAS_INSIDE; n++)
		if (n < NR_SPINS)
			cpu_relax();
		else
			os_sleep_ms(1);
}

/* For good: without the barrier each other bias would cost those milliseconds once more. */
static void give_up(struct biased_lock *l)
{
	l->nr_given = NR_BIASES + 1;
	set_bias(l, UNBIASED);
}

/* The next bias is this thread's, which has the lock; of the old one, if there is, nobody is within any more. */
static out_of_line void move(struct biased_lock *l)
{
	uint32_t old = bias_of(l), next = l->nr_given++;

	set_bias(l, next);
	if (next != UNBIASED)
		enter_longer(l);
	if (old == UNBIASED)
		return;
	biased_barrier();
	wait_outside(l, old);
	if (!has_barrier())
		give_up(l);
}

static bool suspend(struct biased_lock *l)
{
	l->suspended = bias_of(l);
	set_bias(l, UNBIASED);
	return l->suspended != UNBIASED;
}

static void resume(struct biased_lock *l)
{
	if (has_barrier())
		set_bias(l, l->suspended);
	else
		give_up(l);
	l->suspended = UNBIASED;
}

void biased_take(struct biased_lock *l, enum lock_rank rank)
{
	lock_take(&l->lock, rank);
	if (likely(is_mine(l)))
		enter_longer(l);
	else if (l->nr_given <= NR_BIASES)
		move(l);
}

void biased_visit(struct biased_lock *l, enum lock_rank rank)
{
	lock_take(&l->lock, rank);
	if (is_mine(l)) {
		enter_longer(l);
	} else if (suspend(l)) {
		biased_barrier();
		wait_outside(l, l->suspended);
	}
}

void biased_drop(struct biased_lock *l, enum lock_rank rank)
{
	uint32_t i = bias_of(l);

	if (i != UNBIASED)
		atomic_store_explicit(&l->word[i], arch_thread_pointer(), memory_order_release);
	else if (l->suspended != UNBIASED)
		resume(l);
	lock_drop(&l->lock, rank);
}

int biased_try(struct biased_lock *l, enum lock_rank rank)
{
	uint32_t i = bias_of(l);

	if (i != UNBIASED)
		return bias_enter(l, i, rank) ? (int)i : -1;
	if (!lock_try(&l->lock))
		return -1;
	if (bias_of(l) != UNBIASED) {
		lock_drop_nested(&l->lock);
		return -1;
	}
	lock_rank_push(rank);
	return UNBIASED;
}

void biased_try_end(struct biased_lock *l, int held, enum lock_rank rank)
{
	if (held != UNBIASED) {
		bias_leave(l, (uint32_t)held, rank);
		return;
	}
	lock_rank_pop(rank);
	lock_drop_nested(&l->lock);
}

bool biased_fork_take(struct biased_lock *l)
{
	lock_take_nested(&l->lock);
	return !is_mine(l) && suspend(l);
}

void biased_fork_wait(struct biased_lock *l)
{
	wait_outside(l, l->suspended);
}

/* In the child no other thread is stopped anywhere: the words may be used again, but not while they have this thread's pointer. */
void biased_fork_done(struct biased_lock *l, bool child)
{
	if (!child) {
		if (l->suspended != UNBIASED)
			resume(l);
		lock_drop_nested(&l->lock);
		return;
	}
	l->suspended = UNBIASED;
	if (bias_of(l) == UNBIASED)
		begin_anew(l);
	lock_reset(&l->lock);
}
