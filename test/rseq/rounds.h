/* SPDX-License-Identifier: MIT */
/* What step.c and its tracee, rounds.c, know of each other. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include <stdbool.h>
#include <stdint.h>

/* In the tracee's memory; each round begins with an int3 whose rax is its address, and whose rdx is this: */
#define ROUND_MARK 0x726f756e64u

struct talk {
	uint64_t field;		 /* out: of struct rseq, that is the index; 0 where the library does not go by rseq */
	uint64_t rests;		 /* in: the round pauses, so that what rests is taken home, and trims */
	uint64_t handler_mallocs; /* in: the signal's handler takes an object, and frees one, of the size at work */
	uint64_t interrupted_at; /* out: where the last signal found the program */
};

/* Never returns: rounds without end, each checked against what it should have left. Without membarrier(2), if so asked. */
void rounds(bool refuses_barrier) __attribute__((noreturn));

#endif
