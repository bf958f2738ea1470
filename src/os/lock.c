/* SPDX-License-Identifier: MIT */
#include "os/lock.h"

#include "arch/arch.h"
#include "os/bug.h"
#include "os/os.h"

/*
 * How long a waiter spins before it sleeps: critical sections are tens of
 * nanoseconds and a pause some ten to forty, so a holder that has not let go
 * after a hundred has been preempted.
 */
#define NR_SPINS 100

void lock_wait(struct lock *l)
{
	int i;

	for (i = 0; i < NR_SPINS; i++) {
		if (!lock_is_held(l) && lock_try(l))
			return;
		cpu_relax();
	}
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
		os_futex_wait(&l->word, 2);
}

void lock_wake(struct lock *l)
{
	os_futex_wake(&l->word, 1);
}

#ifdef BSLAB_DEBUG
/* Bit n set: this thread holds a lock of rank n. */
static __thread uint32_t held __attribute__((tls_model("initial-exec")));

void lock_rank_push(enum lock_rank rank)
{
	if (held >> rank)
		bug_abort("lock order: rank %u taken while holding ranks %x", rank, held);
	held |= 1u << rank;
}

void lock_rank_pop(enum lock_rank rank)
{
	held &= ~(1u << rank);
}
#endif
