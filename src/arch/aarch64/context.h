/* SPDX-License-Identifier: MIT */
#ifndef BSLAB_ARCH_AARCH64_CONTEXT_H
#define BSLAB_ARCH_AARCH64_CONTEXT_H

static inline void arch_context_caller(const void *context, uintptr_t *pc, uintptr_t *fp, uintptr_t *sp)
{
	const ucontext_t *c = context;

	*pc = c->uc_mcontext.pc;
	*fp = c->uc_mcontext.regs[29];
	*sp = c->uc_mcontext.sp;
}

#endif
