/* SPDX-License-Identifier: MIT */
/* aarch64 sequences; arch/percpu.h specifies them. */
#ifndef BSLAB_ARCH_AARCH64_PERCPU_H
#define BSLAB_ARCH_AARCH64_PERCPU_H

#include "arch/inject.h"
#include "arch/percpu.h"

#define ARCH_RETURN_BELOW_CFA 0
#define ARCH_DWARF_SP 31
#define ARCH_DWARF_NR 32
#define ARCH_DWARF_KEPT 0x7ff80000u /* x19 to x30, the last of which is the return address */

static force_inline uintptr_t arch_registers(uintptr_t reg[ARCH_DWARF_NR])
{
	uintptr_t pc;

	__asm__ volatile("stp x19, x20, [%1, #152]\n\t"
			 "stp x21, x22, [%1, #168]\n\t"
			 "stp x23, x24, [%1, #184]\n\t"
			 "stp x25, x26, [%1, #200]\n\t"
			 "stp x27, x28, [%1, #216]\n\t"
			 "stp x29, x30, [%1, #232]\n\t"
			 "mov %0, sp\n\t"
			 "str %0, [%1, #248]\n\t"
			 "adr %0, ."
			 : "=&r"(pc)
			 : "r"(reg)
			 : "memory");
	return pc;
}

static force_inline uintptr_t arch_thread_pointer(void)
{
	uintptr_t tp;

	__asm__("mrs %0, tpidr_el0" : "=r"(tp));
	return tp;
}

/* The word at an offset from it, as it is now: the kernel may change it at any time. */
static force_inline uint32_t arch_thread_word(uintptr_t offset)
{
	return *(const volatile uint32_t *)(arch_thread_pointer() + offset);
}

static force_inline void cpu_relax(void)
{
	__asm__ volatile("yield" ::: "memory");
}

static force_inline void add_local(_Atomic uint64_t *word, int64_t n)
{
	atomic_fetch_add_explicit(word, (uint64_t)n, memory_order_relaxed);
}

static force_inline void add_local16(_Atomic int16_t *word, int16_t n)
{
	atomic_fetch_add_explicit(word, n, memory_order_relaxed);
}

static force_inline void or_local(_Atomic uint64_t *word, uint64_t mask)
{
	atomic_fetch_or_explicit(word, mask, memory_order_relaxed);
}

static force_inline void and_local(_Atomic uint64_t *word, uint64_t mask)
{
	atomic_fetch_and_explicit(word, mask, memory_order_relaxed);
}

/*
 * Labels as on x86-64. The signature is "brk #0x45e0". tbnz reaches 32 KiB, far enough within a function; were the
 * compiler to move a label's code to another section, the linker would say so.
 */
#define RSEQ_DESCRIPTOR(failed)                                                                            \
	".pushsection .data.rel.ro.rseq_cs, \"aw\"\n\t"                                              \
	".balign 32\n\t"                                                                           \
	"3: .long 0, 0\n\t"                                                                        \
	".quad 1f, 2f - 1f, 4f\n\t"                                                                \
	".popsection\n\t"                                                                          \
	".pushsection .text.rseq_abort, \"ax\"\n\t"                                                \
	".inst 0xd428bc00\n\t"                                                                     \
	"4: b %l[" #failed "]\n\t"                                                                              \
	".popsection\n\t"
#define RSEQ_ENTER                                                                                 \
	"adrp %[tmp], 3b\n\t"                                                                   \
	"add %[tmp], %[tmp], :lo12:3b\n\t"                                                         \
	"str %[tmp], [%[rseq], %[cs]]\n\t"                                                         \
	"1: " RSEQ_INJECT                                                                          \
	"ldr %w[tmp], [%[rseq], %[index]]\n\t"                                                     \
	RSEQ_INJECT                                                                                \
	"ldr %[area], [%[areas], %[tmp], lsl 3]\n\t"                                               \
	RSEQ_INJECT
#define RSEQ_BASE_INPUTS                                                                           \
	[areas] "r"((char *)&bslab_hot + AREAS_OFFSET(index_offset)), [rseq] "r"(arch_thread_pointer() + RSEQ_OFFSET(index_offset)),    \
	    [cs] "i"(RSEQ_CS), [index] "i"(index_offset)
#define RSEQ_INPUTS RSEQ_BASE_INPUTS, [class] "r"((size_t) class)
#define RSEQ_CELL_INPUTS                                                                           \
	RSEQ_BASE_INPUTS, [key] "r"(key), [value_at] "i"(cell + offsetof(struct percpu_cell, value)),  \
	    [key_at] "i"(cell + offsetof(struct percpu_cell, key))

static force_inline void *percpu_pop(unsigned class, const int index_offset)
{
	uintptr_t tmp, area, top;
	void *obj;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(empty) RSEQ_ENTER
		     "ldr %[top], [%[area], %[class], lsl 3]\n\t" RSEQ_INJECT
		     "ldr %[obj], [%[top], -8]!\n\t" RSEQ_INJECT
		     "tbnz %[obj], 0, %l[empty]\n\t" RSEQ_INJECT
		     "str %[top], [%[area], %[class], lsl 3]\n\t"
		     "2:"
		     : [tmp] "=&r"(tmp), [area] "=&r"(area), [top] "=&r"(top), [obj] "=&r"(obj)
		     : RSEQ_INPUTS
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : empty);
	if (!obj)
		__builtin_unreachable(); /* so that callers test once */
	return obj;
empty:
	/* gcc 12 may take an output's register for unset on the label's path, and then drops what stands there. */
	__asm__ volatile("" : "=r"(obj) : "0"(NULL));
	return obj;
}

static force_inline bool percpu_push(unsigned class, void *obj, const int index_offset)
{
	uintptr_t tmp, area, top;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(full) RSEQ_ENTER
		     "ldr %[top], [%[area], %[class], lsl 3]\n\t" RSEQ_INJECT
		     "ldr %[tmp], [%[top]]\n\t" RSEQ_INJECT
		     "tbnz %[tmp], 0, %l[full]\n\t" RSEQ_INJECT
		     "ldr %[tmp], [%[top], -8]\n\t" RSEQ_INJECT
		     "cmp %[tmp], %[obj]\n\t"
		     "b.eq %l[full]\n\t" RSEQ_INJECT
		     "str %[obj], [%[top]], 8\n\t" RSEQ_INJECT
		     "str %[top], [%[area], %[class], lsl 3]\n\t"
		     "2:"
		     : [tmp] "=&r"(tmp), [area] "=&r"(area), [top] "=&r"(top)
		     : RSEQ_INPUTS, [obj] "r"(obj)
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : full);
	return true;
full:
	return false;
}

static force_inline const struct hot *hot_by_home(const unsigned home)
{
	(void)home;
	return &bslab_hot;
}

static force_inline bool percpu_push_home(const struct hot *hot, unsigned class, void *obj, const unsigned home)
{
	(void)hot;
	(void)home;
	return percpu_push(class, obj, RSEQ_MM_CID);
}

static force_inline bool percpu_cmpxchg(unsigned class, void **old, void **new,
					   struct percpu_area *none, const int index_offset)
{
	uintptr_t tmp, area;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(differs) RSEQ_ENTER
		     "cmp %[area], %[none]\n\t"
		     "b.eq %l[differs]\n\t" RSEQ_INJECT
		     "ldr %[tmp], [%[area], %[class], lsl 3]\n\t" RSEQ_INJECT
		     "cmp %[tmp], %[old]\n\t"
		     "b.ne %l[differs]\n\t" RSEQ_INJECT
		     "str %[new], [%[area], %[class], lsl 3]\n\t"
		     "2:"
		     : [tmp] "=&r"(tmp), [area] "=&r"(area)
		     : RSEQ_INPUTS, [old] "r"(old), [new] "r"(new), [none] "r"(none)
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : differs);
	return true;
differs:
	return false;
}

static force_inline void *percpu_take(const size_t cell, uintptr_t key, const int index_offset)
{
	uintptr_t tmp, area;
	void *value;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(differs) RSEQ_ENTER
		     "ldr %[tmp], [%[area], %[key_at]]\n\t" RSEQ_INJECT
		     "cmp %[tmp], %[key]\n\t"
		     "b.ne %l[differs]\n\t" RSEQ_INJECT
		     "ldr %[value], [%[area], %[value_at]]\n\t" RSEQ_INJECT
		     "str xzr, [%[area], %[key_at]]\n\t"
		     "2:"
		     : [tmp] "=&r"(tmp), [area] "=&r"(area), [value] "=&r"(value)
		     : RSEQ_CELL_INPUTS
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : differs);
	if (!value)
		__builtin_unreachable();
	return value;
differs:
	__asm__ volatile("" : "=r"(value) : "0"(NULL)); /* as in percpu_pop() */
	return value;
}

static force_inline bool percpu_put(const size_t cell, uintptr_t key, void *value, const int index_offset)
{
	uintptr_t tmp, area;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(taken) RSEQ_ENTER
		     "ldr %[tmp], [%[area], %[key_at]]\n\t" RSEQ_INJECT
		     "cbnz %[tmp], %l[taken]\n\t" RSEQ_INJECT
		     "str %[value], [%[area], %[value_at]]\n\t" RSEQ_INJECT
		     "str %[key], [%[area], %[key_at]]\n\t"
		     "2:"
		     : [tmp] "=&r"(tmp), [area] "=&r"(area)
		     : RSEQ_CELL_INPUTS, [value] "r"(value)
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : taken);
	return true;
taken:
	return false;
}

#undef RSEQ_DESCRIPTOR
#undef RSEQ_ENTER
#undef RSEQ_BASE_INPUTS
#undef RSEQ_INPUTS
#undef RSEQ_CELL_INPUTS

#endif
