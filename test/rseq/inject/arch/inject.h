/* SPDX-License-Identifier: MIT */
/*
 * Stands before src/arch/inject.h in the library that fire.c disturbs. bslab_fire_spin: how long the next thread waits
 * here (x86-64). bslab_fire: how many of these are passed until one raises SIGILL. The flags must be dead where it stands.
 */
#ifndef BSLAB_INJECT_H
#define BSLAB_INJECT_H

#if defined(__x86_64__)
#define RSEQ_INJECT                                                                                \
	"7: lock decl bslab_fire_spin(%%rip)\n\t"                                                  \
	"jg 7b\n\t"                                                                                \
	"lock decl bslab_fire(%%rip)\n\t"                                                          \
	"jnz 8f\n\t"                                                                               \
	"ud2\n\t"                                                                                  \
	"8:\n\t"
#define RSEQ_INJECT_CLOBBERS
#elif defined(__aarch64__)
/* Not atomic: two threads may get it for one, or count one less. */
#define RSEQ_INJECT                                                                                \
	"adrp x16, bslab_fire\n\t"                                                                 \
	"add x16, x16, :lo12:bslab_fire\n\t"                                                       \
	"ldr w17, [x16]\n\t"                                                                       \
	"subs w17, w17, #1\n\t"                                                                    \
	"str w17, [x16]\n\t"                                                                       \
	"b.gt 8f\n\t"                                                                              \
	".inst 0\n\t" /* udf */                                                                    \
	"8:\n\t"
#define RSEQ_INJECT_CLOBBERS , "x16", "x17"
#endif

#endif
