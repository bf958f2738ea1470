/* SPDX-License-Identifier: MIT */
/*
 * In a library whose sequences are disturbed between any two of their instructions: under any program, of as many
 * threads as it likes, as test/stress/stress.c.
 *
 * A sequence that has counted bslab_fire down to 0 gets SIGILL, in the midst. Where rseq is in use, the kernel has led it to its
 * abort handler by then, and that must be so; where it is not, or the sequence is not at work in this mode, it goes on. The
 * handler moves the thread to another CPU, or lets others run, or sees to it that others wait where they are, inside
 * their sequences, so that they are preempted there; and draws the number of the next one.
 *
 * At the end a line says what was done; it is an error if that is nothing.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "os/bug.h"
#include "slab/percpu.h"

/* The signature before abort handlers, the instruction that traps, and where a signal's context has the pc. */
#if defined(__x86_64__)
#define SIGNATURE 0x53053053u
#define TRAP ((uint16_t)0x0b0f)
#define PC_OF(context) (&(context)->uc_mcontext.gregs[REG_RIP])
typedef greg_t pc_type;
#elif defined(__aarch64__)
#define SIGNATURE 0xd428bc00u
#define TRAP ((uint32_t)0)
#define PC_OF(context) (&(context)->uc_mcontext.pc)
typedef unsigned long long pc_type;
#endif
#define MAX_STEPS 500 /* until the next one */
#define MAX_SPINS 50000

__attribute__((visibility("hidden"))) _Atomic int bslab_fire, bslab_fire_spin;
static _Atomic unsigned nr_draws, nr_aborted, nr_went_on, nr_moved;
static cpu_set_t cpus;

static unsigned draw(void)
{
	uint64_t x = (atomic_fetch_add(&nr_draws, 1) + 1) * 0x9e3779b97f4a7c15u;

	return (unsigned)((x ^ x >> 29) * 0xbf58476d1ce4e5b9u >> 33);
}

static void move_to(unsigned which)
{
	cpu_set_t one;
	int cpu;

	CPU_ZERO(&one);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus) && which-- == 0)
			CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof one, CPU_COUNT(&one) ? &one : &cpus) == 0)
		atomic_fetch_add(&nr_moved, 1);
}

static void on_fire(int sig, siginfo_t *info, void *context)
{
	pc_type *pc = PC_OF((ucontext_t *)context);
	__typeof__(TRAP) trap;

	(void)sig;
	(void)info;
	memcpy(&trap, (void *)*pc, sizeof trap);
	if (((uint32_t *)*pc)[-1] == SIGNATURE) {
		atomic_fetch_add(&nr_aborted, 1);
	} else if (trap == TRAP && percpu_mode() != INDEX_MM_CID) {
		*pc += sizeof trap;
		atomic_fetch_add(&nr_went_on, 1);
	} else {
		bug_abort("fire: a sequence at %p was interrupted, and not aborted", (void *)*pc);
	}
	switch (draw() % 8) {
	case 0:
	case 1:
		move_to(draw() % (unsigned)(CPU_COUNT(&cpus) + 1)); /* one beyond the last: all of them */
		break;
	case 2:
		sched_yield();
		break;
	case 3:
		nanosleep(&(struct timespec){0, draw() % 200000}, NULL);
		break;
	case 4:
		atomic_store(&bslab_fire_spin, (int)(draw() % MAX_SPINS));
		break;
	}
	atomic_store(&bslab_fire, (int)(1 + draw() % MAX_STEPS));
}

static __attribute__((constructor)) void start(void)
{
	struct sigaction action = {.sa_sigaction = on_fire, .sa_flags = SA_SIGINFO | SA_RESTART};

	if (sched_getaffinity(0, sizeof cpus, &cpus) || sigaction(SIGILL, &action, NULL))
		bug_abort("fire: cannot start");
	atomic_store(&bslab_fire, MAX_STEPS);
}

static void finish(void) __attribute__((destructor));
static void finish(void)
{
	bug_say("fire: %s: %u sequences aborted, %u went on, %u moves", index_mode_name(percpu_mode()), nr_aborted, nr_went_on, nr_moved);
	if (!(percpu_mode() == INDEX_THREAD ? nr_went_on : nr_aborted))
		bug_abort("fire: nothing was disturbed");
}
