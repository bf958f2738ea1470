/* SPDX-License-Identifier: MIT */
/*
 * Where a frame's caller is, by the frame's entry in the unwind tables (.eh_frame: DWARF 5, 6.4, and the Linux Standard
 * Base): as much of it as says whether libgcc may take that step.
 *
 * libgcc has no way to be asked. It steps to the caller, and where the tables have nothing for the address there it
 * reads the code that stands at it, to see whether it is a signal's trampoline. At the end of a stack that was made by
 * hand the address may be anything, and the read a fault.
 *
 * Of an entry's rules only two count: that of the canonical frame address, and that of the return address. Understood is
 * what compilers and libc say of these; at anything else the stack ends.
 */
#ifndef BSLAB_CFI_H
#define BSLAB_CFI_H

#include "base/base.h"

struct cfi_frame {
	const void *fde; /* its entry */
	uintptr_t start; /* where the entry's code begins */
	uintptr_t pc;	 /* an address in the instruction that it is at: one below a return address */
	/* Its registers, and the memory of its stack; false where that cannot be had. */
	bool (*get_register)(void *arg, unsigned number, uintptr_t *value);
	bool (*read)(void *arg, uintptr_t addr, uintptr_t *value);
	void *arg;
};

struct cfi_caller {
	uintptr_t cfa;	     /* its stack pointer */
	uintptr_t ip;	     /* where it goes on */
	bool is_interrupted; /* by a signal: ip is no return address */
};

/* False where the stack ends, or the entry says what is not understood here. */
bool cfi_caller(const struct cfi_frame *f, struct cfi_caller *caller);

#endif
