/* SPDX-License-Identifier: MIT */
/* The includer defines _GNU_SOURCE, for the names of the registers. */
#ifndef BSLAB_ARCH_X86_64_CONTEXT_H
#define BSLAB_ARCH_X86_64_CONTEXT_H

static inline void arch_context_caller(const void *context, uintptr_t *pc, uintptr_t *fp, uintptr_t *sp)
{
	const ucontext_t *c = context;

	*pc = (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
	*fp = (uintptr_t)c->uc_mcontext.gregs[REG_RBP];
	*sp = (uintptr_t)c->uc_mcontext.gregs[REG_RSP];
}

#endif
