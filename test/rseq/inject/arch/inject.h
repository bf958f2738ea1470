/* SPDX-License-Identifier: MIT */
/*
 * Stands before src/arch/inject.h in the library that fire.c disturbs. bslab_fire_spin: how long the next thread waits
 * here. bslab_fire: how many of these are passed until one raises SIGILL. The flags must be dead where it stands.
 */
#ifndef BSLAB_INJECT_H
#define BSLAB_INJECT_H

#define RSEQ_INJECT                                                                                \
	"7: lock decl bslab_fire_spin(%%rip)\n\t"                                                  \
	"jg 7b\n\t"                                                                                \
	"lock decl bslab_fire(%%rip)\n\t"                                                          \
	"jnz 8f\n\t"                                                                               \
	"ud2\n\t"                                                                                  \
	"8:\n\t"

#endif
