/* SPDX-License-Identifier: MIT */
/*
 * From a frame to its caller, by the frame's entry in the unwind tables: call frame information (DWARF 5, 6.4).
 *
 * Nothing is read but the tables, and the stack by a function that may refuse. What compilers and libc say of registers
 * is understood; at anything else the stack ends.
 */
#ifndef BSLAB_CFI_H
#define BSLAB_CFI_H

#include "arch/arch.h"
#include "profile/eh_frame.h"

struct cfi_frame {
	uintptr_t reg[ARCH_DWARF_NR];
	uint64_t known; /* mask of those registers that hold what they held in this frame */
	uintptr_t ip;	/* where it goes on */
	uintptr_t pc;	/* an address in the instruction that it is at: one below a return address */
};

/* Reads an aligned word of the stack; false where there is none. */
typedef bool cfi_read_fn(void *arg, uintptr_t addr, uintptr_t *value);

/* The frame becomes its caller's. False where the stack ends, or the entry says what is not understood here. */
bool cfi_step(struct cfi_frame *f, const struct eh_entry *e, cfi_read_fn *read, void *arg);

#endif
