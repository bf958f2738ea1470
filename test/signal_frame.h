/* SPDX-License-Identifier: MIT */
/*
 * A signal's stack with so much room left, and no more. What the kernel puts there is measured: AT_MINSIGSTKSZ counts
 * registers that most threads never use (AMX: 8 KiB).
 */
#ifndef BSLAB_TEST_SIGNAL_FRAME_H
#define BSLAB_TEST_SIGNAL_FRAME_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>

static volatile uintptr_t signal_frame_start;

static void signal_frame_note(int sig)
{
	(void)sig;
	signal_frame_start = (uintptr_t)__builtin_frame_address(0);
}

/* This thread's alternate stack from now on, below which a page traps. Changes SIGUSR1's handler for a moment. */
static bool signal_stack(size_t room)
{
	size_t max = room + getauxval(AT_MINSIGSTKSZ);
	char *map = mmap(NULL, 4096 + max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = {.ss_sp = map + 4096, .ss_size = max};
	struct sigaction note = {.sa_handler = signal_frame_note, .sa_flags = SA_ONSTACK}, old;

	if (map == MAP_FAILED || mprotect(map, 4096, PROT_NONE) || sigaltstack(&stack, NULL))
		return false;
	sigaction(SIGUSR1, &note, &old);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	stack.ss_size = room + (((uintptr_t)map + 4096 + max - signal_frame_start + 15) & ~(uintptr_t)15);
	return stack.ss_size <= max && !sigaltstack(&stack, NULL);
}

#endif
