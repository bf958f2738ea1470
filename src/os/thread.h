/* SPDX-License-Identifier: MIT */
/*
 * What bslab keeps per thread: 72 bytes of static thread-local storage, so
 * that dlopen() of the library finds room.
 *
 * rseq_cs and index look like those of a struct rseq to the sequences of
 * arch/percpu.h when rseq is not in use: see RSEQ_CS and RSEQ_MM_CID there.
 */
#ifndef BSLAB_THREAD_H
#define BSLAB_THREAD_H

#include "arch/percpu.h"

struct buddy;
struct handle_thread;

enum thread_life {
	THREAD_UNKNOWN, /* holds nothing that must be given back */
	THREAD_HOOKED,	/* pthread's destructor will run */
	THREAD_ENDED,	/* it has run: the thread's last calls leave nothing behind */
};

struct thread_state {
	uint64_t rseq_cs; /* written by the sequences, never read */
	struct buddy *buddy; /* this thread's page source, NULL until it needs one */
	uint32_t index;	     /* slot of a cache per thread; 0: none */
	uint8_t exit_hooked; /* enum thread_life */
	uint8_t nr_kept_frees; /* of runs that their CPU keeps; every KEPT_LOOK_FREES'th is not: slab/kept.h */
	uint16_t nr_page_events; /* counted to look at the clock now and then */
	const void *grown;	 /* where realloc() moved a block to last because it grew; only compared */
	int64_t sample_near;	 /* epoch, and bytes to go until the profile's next sample; profile/sampler.h */
	uint64_t sample_far;	 /* those of them that are far away */
	const void *shrinking;	 /* the program's shrinker that this thread is within: its calls ask no others */
	uint32_t nr_locks; /* held, or about to be taken, and changes that are like one; read by a signal handler of this thread */
	uint16_t guarded_left; /* allocations to go until one is guarded; guarded/count.h; 0: none was drawn yet */
	bool fork_alone;       /* the fork that this thread is in takes no locks */
	bool in_profile;       /* a sample is being taken: what is allocated meanwhile is not sampled */
	struct handle_thread *handles; /* free handles with their objects; NULL until it needs one */
};

_Static_assert(offsetof(struct thread_state, index) - offsetof(struct thread_state, rseq_cs) ==
		   RSEQ_MM_CID - RSEQ_CS,
	       "thread_state must look like a struct rseq");

extern __thread struct thread_state thread_state __attribute__((tls_model("initial-exec")));

/* What hot->rseq_offset must be for the sequences to use thread_state. */
intptr_t thread_state_rseq_offset(void);

#endif
