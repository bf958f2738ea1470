/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "guarded/fault.h"

#include <errno.h>
#include <signal.h>

#include "arch/context.h"
#include "guarded/report.h"
#include "os/os.h"

static struct sigaction old;

static bool is_function(const struct sigaction *a)
{
	return (a->sa_flags & SA_SIGINFO) || a->sa_handler != SIG_DFL;
}

/* As it was before: the instruction faults again and ends the process. What was sent by a call has to be sent again. */
static void end_by_default(int signal, const siginfo_t *info)
{
	struct sigaction end = {.sa_handler = SIG_DFL};

	sigaction(signal, &end, NULL);
	if (info->si_code <= 0)
		raise(signal);
}

/* In the surroundings that it asked for. The return from this handler puts the mask back. */
static void call_old(int signal, siginfo_t *info, void *context)
{
	struct sigaction was = old;
	sigset_t own;

	sigemptyset(&own);
	sigaddset(&own, signal);
	if (was.sa_flags & SA_RESETHAND)
		old = (struct sigaction){.sa_handler = SIG_DFL};
	pthread_sigmask(SIG_BLOCK, &was.sa_mask, NULL);
	if (was.sa_flags & SA_NODEFER && !sigismember(&was.sa_mask, signal))
		pthread_sigmask(SIG_UNBLOCK, &own, NULL);
	if (was.sa_flags & SA_SIGINFO)
		was.sa_sigaction(signal, info, context);
	else
		was.sa_handler(signal);
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
	if (is_function(&old))
		call_old(signal, info, context);
	else
		end_by_default(signal, info);
}

/* The alternate stack, if that is where we are, below here. The thread's own grows. */
static size_t stack_left(const ucontext_t *c)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), start = (uintptr_t)c->uc_stack.ss_sp;

	return here - start < c->uc_stack.ss_size ? here - start : SIZE_MAX;
}

/* Threads may fault together: one speaks at a time, and nobody ends the process meanwhile. */
enum { SILENT, SPEAKING, SAID };

static _Atomic int speech;

/* It takes milliseconds. In the child of a fork nobody may be there to end it. */
#define MAX_WAIT_MS 5000

/* False when it did not end. (Once it has, the next one may have begun.) */
static bool wait_for_speech(void)
{
	uint64_t start = os_coarse_clock_ms();

	while (atomic_load(&speech) == SPEAKING) {
		if (os_coarse_clock_ms() >= start + MAX_WAIT_MS)
			return false;
		os_yield();
	}
	return true;
}

/* The first is enough, unless a handler may go on from it. */
static bool may_speak(void)
{
	int silent = SILENT;

	while (!atomic_compare_exchange_strong(&speech, &silent, SPEAKING)) {
		if (silent == SAID || !wait_for_speech())
			return false;
		silent = SILENT;
	}
	return true;
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	struct guarded_slot *s = info->si_code > 0 ? guarded_pool_find((uintptr_t)info->si_addr) : NULL;
	int saved = errno;
	struct caller by;
	uintptr_t sp;

	if (s && may_speak()) {
		arch_context_caller(context, &by.pc, &by.fp, &sp);
		report_access(s, (uintptr_t)info->si_addr, &by, sp, stack_left(context));
		atomic_store(&speech, is_function(&old) ? SILENT : SAID);
	} else {
		wait_for_speech();
	}
	errno = saved;
	pass_on(signal, info, context);
}

/* A signal that is ignored stays so, also for the programs that this one executes: a handler would be SIG_DFL there. */
void fault_handle(void)
{
	struct sigaction new = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&new.sa_mask);
	if (sigaction(SIGSEGV, NULL, &old) != 0 || (!(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_IGN))
		return;
	sigaction(SIGSEGV, &new, NULL);
}
