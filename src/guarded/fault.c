/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "guarded/fault.h"

#include <signal.h>
#include <string.h>

#include "arch/context.h"
#include "guarded/report.h"

static struct sigaction old;

static bool is_function(const struct sigaction *a)
{
	return (a->sa_flags & SA_SIGINFO) || (a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN);
}

/* As it was before: the instruction faults again and ends the process. What was sent by a call has to be sent again. */
static void end_by_default(int signal, const siginfo_t *info)
{
	struct sigaction end = {.sa_handler = SIG_DFL};

	sigaction(signal, &end, NULL);
	if (info->si_code <= 0)
		raise(signal);
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
	if (!is_function(&old))
		end_by_default(signal, info);
	else if (old.sa_flags & SA_SIGINFO)
		old.sa_sigaction(signal, info, context);
	else
		old.sa_handler(signal);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	static _Atomic bool is_reported; /* the first is enough, and of threads that fault together one speaks */
	struct guarded_slot *s = info->si_code > 0 ? pool_find((uintptr_t)info->si_addr) : NULL;
	struct caller by;

	if (s && !atomic_exchange(&is_reported, true)) {
		arch_context_caller(context, &by.pc, &by.fp);
		report_access(s, (uintptr_t)info->si_addr, &by);
	}
	pass_on(signal, info, context);
}

void fault_handle(void)
{
	struct sigaction new = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&new.sa_mask);
	sigaction(SIGSEGV, &new, &old);
}
