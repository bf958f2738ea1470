/* SPDX-License-Identifier: MIT */
/*
 * From a frame to its caller, by the frame's entry in the unwind tables: call frame information (DWARF 5, 6.4).
 *
 * Nothing is read but the tables, and the stack by a function that may refuse. What compilers and libc say of registers
 * is understood; at anything else the stack ends: at the stubs that linkers write for calls of libraries
 * (.plt), should a signal come in just there, and at frames of SVE's size.
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

/* How a register of the caller's is found. For the CFA, the caller's stack pointer: CFI_REGISTER or CFI_EXPRESSION. */
struct cfi_rule {
	enum {
		CFI_SAME, /* as it is; nothing was said of it */
		CFI_UNDEFINED,
		CFI_REGISTER, /* another one and an offset */
		CFI_MEMORY,   /* what stands at an offset from the CFA */
		CFI_OFFSET,   /* the CFA and an offset */
		CFI_ADDRESS,  /* what stands where an expression leads */
		CFI_EXPRESSION,
	} kind : 8;
	uint8_t reg;
	int32_t offset; /* of an expression: where it is, from the entry's own instructions on */
};

/* What an entry says of one address. */
struct cfi_row {
	struct cfi_rule cfa, reg[ARCH_DWARF_NR];
	uint64_t said; /* mask of registers with rules */
	const uint8_t *base;
	unsigned ra_column;
	bool is_signal_frame;
};

/* False where the entry says what is not understood here. */
bool cfi_row(const struct eh_entry *e, uintptr_t pc, struct cfi_row *row);

/* Reads an aligned word of the stack; false where there is none. */
typedef bool cfi_read_fn(void *arg, uintptr_t addr, uintptr_t *value);

/* The frame becomes its caller's. False where the stack ends. */
bool cfi_step(struct cfi_frame *f, const struct cfi_row *row, cfi_read_fn *read, void *arg);

#endif
