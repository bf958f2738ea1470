/* SPDX-License-Identifier: MIT */
/* x86-64 sequences; arch/percpu.h specifies them. */
#ifndef BSLAB_ARCH_X86_64_PERCPU_H
#define BSLAB_ARCH_X86_64_PERCPU_H

#include "arch/inject.h"
#include "arch/percpu.h"

#define ARCH_RETURN_BELOW_CFA 8 /* the call instruction pushes it */
#define ARCH_DWARF_SP 7
#define ARCH_DWARF_NR 17
#define ARCH_DWARF_KEPT 0xf048u /* rbx 3, rbp 6, r12 to r15 */

static force_inline uintptr_t arch_registers(uintptr_t reg[ARCH_DWARF_NR])
{
	uintptr_t pc;

	__asm__ volatile("mov %%rbx, 3 * 8(%1)\n\t"
			 "mov %%rbp, 6 * 8(%1)\n\t"
			 "mov %%rsp, 7 * 8(%1)\n\t"
			 "mov %%r12, 12 * 8(%1)\n\t"
			 "mov %%r13, 13 * 8(%1)\n\t"
			 "mov %%r14, 14 * 8(%1)\n\t"
			 "mov %%r15, 15 * 8(%1)\n"
			 "1:\tlea 1b(%%rip), %0"
			 : "=&r"(pc)
			 : "r"(reg)
			 : "memory");
	return pc;
}

static force_inline uintptr_t arch_thread_pointer(void)
{
	uintptr_t tp;

	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

/* The word at an offset from it, as it is now: the kernel may change it at any time. */
static force_inline uint32_t arch_thread_word(uintptr_t offset)
{
	uint32_t word;

	__asm__ volatile("movl %%fs:(%1), %0" : "=r"(word) : "r"(offset));
	return word;
}

static force_inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

static force_inline void add_local(_Atomic uint64_t *word, int64_t n)
{
	__asm__ volatile("addq %1, %0" : "+m"(*word) : "er"(n) : "memory", "cc");
}

static force_inline void add_local16(_Atomic int16_t *word, int16_t n)
{
	__asm__ volatile("addw %1, %0" : "+m"(*word) : "r"(n) : "memory", "cc");
}

static force_inline void or_local(_Atomic uint64_t *word, uint64_t mask)
{
	__asm__ volatile("orq %1, %0" : "+m"(*word) : "r"(mask) : "memory", "cc");
}

static force_inline void and_local(_Atomic uint64_t *word, uint64_t mask)
{
	__asm__ volatile("andq %1, %0" : "+m"(*word) : "r"(mask) : "memory", "cc");
}

/*
 * Labels inside the templates: 1 start, 2 just past the final store, 3 the
 * descriptor (struct rseq_cs), 4 abort handler. The kernel checks
 * the four bytes before the abort handler against the signature that libc
 * registered, 0x53053053; as "ud1 0x53053053(%rip), %edi" they are a valid
 * but trapping instruction.
 */
#define RSEQ_DESCRIPTOR(failed) RSEQ_DESCRIPTOR_AT("3: ", failed)
#define RSEQ_DESCRIPTOR_AT(label, failed)                                                                  \
	".pushsection .data.rel.ro.rseq_cs, \"aw\"\n\t"                                              \
	".balign 32\n\t"                                                                           \
	label ".long 0, 0\n\t"                                                                        \
	".quad 1f, 2f - 1f, 4f\n\t"                                                                \
	".popsection\n\t"                                                                          \
	".pushsection .text.rseq_abort, \"ax\"\n\t"                                                \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                               \
	".long 0x53053053\n\t"                                                                     \
	"4: jmp %l[" #failed "]\n\t"                                                                            \
	".popsection\n\t"
#define RSEQ_ENTER                                                                                 \
	"leaq 3b(%%rip), %[tmp]\n\t"                                                            \
	"movq %[tmp], %%fs:%c[cs](%[rseq])\n\t"                                                    \
	RSEQ_START
#define RSEQ_START                                                                                 \
	"1: " RSEQ_INJECT                                                                          \
	"movl %%fs:%c[index](%[rseq]), %k[tmp]\n\t"                                                \
	RSEQ_INJECT                                                                                \
	"movq %c[areas](%[hot], %[tmp], 8), %[area]\n\t"                                           \
	RSEQ_INJECT
#define RSEQ_BASE_INPUTS                                                                           \
	[hot] "r"(&bslab_hot), [rseq] "r"(RSEQ_OFFSET(index_offset)),                                  \
	    [areas] "i"(AREAS_OFFSET(index_offset)), [cs] "i"(RSEQ_CS), [index] "i"(index_offset)
#define RSEQ_INPUTS RSEQ_BASE_INPUTS, [class] "r"((size_t) class)
#define RSEQ_CELL_INPUTS                                                                           \
	RSEQ_BASE_INPUTS, [key] "r"(key), [value_at] "i"(cell + offsetof(struct percpu_cell, value)),  \
	    [key_at] "i"(cell + offsetof(struct percpu_cell, key))

/*
 * Where the top stands is calculated first (lea): Intel's CPUs since Ice Lake forward a store to a load at no cost, but not
 * one whose address has an index. A pair of malloc and free takes a third less time for it (decision 0043).
 */
static force_inline void *percpu_pop(unsigned class, const int index_offset)
{
	uintptr_t tmp, area, top;
	void *obj;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(empty) RSEQ_ENTER
		     "leaq (%[area], %[class], 8), %[area]\n\t" RSEQ_INJECT
		     "movq (%[area]), %[top]\n\t" RSEQ_INJECT
		     "movq -8(%[top]), %[obj]\n\t" RSEQ_INJECT
		     "testb $1, %b[obj]\n\t"
		     "jne %l[empty]\n\t" RSEQ_INJECT
		     "subq $8, %[top]\n\t" RSEQ_INJECT
		     "movq %[top], (%[area])\n\t"
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

#define RSEQ_PUSH                                                                                  \
	"leaq (%[area], %[class], 8), %[area]\n\t" RSEQ_INJECT                                        \
	"movq (%[area]), %[top]\n\t" RSEQ_INJECT                                                      \
	"testb $1, (%[top])\n\t"                                                                 \
	"jne %l[full]\n\t" RSEQ_INJECT                                                                \
	"cmpq %[obj], -8(%[top])\n\t"                                                            \
	"je %l[full]\n\t" RSEQ_INJECT                                                                 \
	"movq %[obj], (%[top])\n\t" RSEQ_INJECT                                                       \
	"addq $8, %[top]\n\t" RSEQ_INJECT                                                             \
	"movq %[top], (%[area])\n\t"                                                             \
	"2:"

static force_inline bool percpu_push(unsigned class, void *obj, const int index_offset)
{
	uintptr_t tmp, area, top;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(full) RSEQ_ENTER RSEQ_PUSH
		     : [tmp] "=&r"(tmp), [area] "=&r"(area), [top] "=&r"(top)
		     : RSEQ_INPUTS, [obj] "r"(obj)
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : full);
	return true;
full:
	return false;
}

/* 5 in arch/percpu.h: bslab_hot, by way of the home, whose address the compiler is to keep in a register. */
#define RSEQ_HOMES
#define HOME_OFFSET(number) (offsetof(struct hot, home) + (number) * sizeof(struct rseq_descriptor))
static force_inline const struct hot *hot_by_home(const unsigned home)
{
	const char *at = (const char *)&bslab_hot.home[home];

	__asm__("" : "+r"(at));
	return (const struct hot *)(at - HOME_OFFSET(home));
}

static force_inline bool percpu_push_home(const struct hot *hot, unsigned class, void *obj, const unsigned home)
{
	const struct rseq_descriptor *at = &hot->home[home];
	uintptr_t tmp, area, top, rseq;

	__asm__ volatile goto(RSEQ_DESCRIPTOR_AT(".globl bslab_home_%c[home]\n\t.hidden bslab_home_%c[home]\n\tbslab_home_%c[home]: ", full)
		     "movq %c[offset](%[hot]), %[rseq]\n\t"
		     "movq %[hot], %%fs:%c[cs](%[rseq])\n\t"
		     RSEQ_START RSEQ_PUSH
		     : [tmp] "=&r"(tmp), [area] "=&r"(area), [top] "=&r"(top), [rseq] "=&r"(rseq)
		     : [hot] "r"(at), [home] "i"(home), [cs] "i"(RSEQ_CS), [index] "i"(RSEQ_MM_CID),
		       [offset] "i"(offsetof(struct hot, rseq_offset) - HOME_OFFSET(home)),
		       [areas] "i"(AREAS_OFFSET(RSEQ_MM_CID) - HOME_OFFSET(home)), [class] "r"((size_t)class), [obj] "r"(obj)
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : full);
	return true;
full:
	return false;
}

static force_inline bool percpu_cmpxchg(unsigned class, void **old, void **new,
					   struct percpu_area *none, const int index_offset)
{
	uintptr_t tmp, area;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(differs) RSEQ_ENTER
		     "cmpq %[none], %[area]\n\t"
		     "je %l[differs]\n\t" RSEQ_INJECT
		     "leaq (%[area], %[class], 8), %[area]\n\t" RSEQ_INJECT
		     "cmpq %[old], (%[area])\n\t"
		     "jne %l[differs]\n\t" RSEQ_INJECT
		     "movq %[new], (%[area])\n\t"
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
		     "cmpq %[key], %c[key_at](%[area])\n\t"
		     "jne %l[differs]\n\t" RSEQ_INJECT
		     "movq %c[value_at](%[area]), %[value]\n\t" RSEQ_INJECT
		     "movq $0, %c[key_at](%[area])\n\t"
		     "2:"
		     : [tmp] "=&r"(tmp), [area] "=&r"(area), [value] "=&r"(value)
		     : RSEQ_CELL_INPUTS
		     : "memory", "cc" RSEQ_INJECT_CLOBBERS
		     : differs);
	if (!value)
		__builtin_unreachable(); /* so that callers test once */
	return value;
differs:
	__asm__ volatile("" : "=r"(value) : "0"(NULL)); /* as in percpu_pop() */
	return value;
}

static force_inline bool percpu_put(const size_t cell, uintptr_t key, void *value, const int index_offset)
{
	uintptr_t tmp, area;

	__asm__ volatile goto(RSEQ_DESCRIPTOR(taken) RSEQ_ENTER
		     "cmpq $0, %c[key_at](%[area])\n\t"
		     "jne %l[taken]\n\t" RSEQ_INJECT
		     "movq %[value], %c[value_at](%[area])\n\t" RSEQ_INJECT
		     "movq %[key], %c[key_at](%[area])\n\t"
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
