/* SPDX-License-Identifier: MIT */
/*
 * Static probes (USDT) for gdb, bpftrace, perf and SystemTap: a nop in the code, and a note in the file that tells where
 * it is and where its arguments are. docs/outside.md lists them; a test compares the list with the notes.
 *
 * Only on slow paths, and only of what is at hand: arguments are computed whether somebody looks or not. A probe goes by
 * the name of the counter in vmstat that counts the same, where there is one.
 */
#ifndef BSLAB_PROBE_H
#define BSLAB_PROBE_H

#ifdef BSLAB_PROBES /* CMake: there is a <sys/sdt.h> */

#define SDT_USE_VARIADIC
/* Registers and constants: not every tracer can follow an operand in memory, and none a thread-local one. */
#define STAP_SDT_ARG_CONSTRAINT nr
#include <sys/sdt.h>

#define PROBE(name, ...) STAP_PROBEV(bslab, name, __VA_ARGS__)

#else

static inline void probe_nothing(int unused, ...)
{
	(void)unused;
}

#define PROBE(name, ...)                                \
	do {                                            \
		if (0)                                  \
			probe_nothing(0, __VA_ARGS__);  \
	} while (0)

#endif

#endif
