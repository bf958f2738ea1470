/* SPDX-License-Identifier: MIT */
/*
 * One clear line on stderr, written without allocating, and abort.
 *
 * Formats: %p pointer, %s string, %u unsigned, %z size_t, %x hexadecimal. A width pads with spaces on the left, and
 * with a '-' before it on the right: "%6z", "%-17s". Each line begins with "bslab: ".
 */
#ifndef BSLAB_BUG_H
#define BSLAB_BUG_H

#include <stdarg.h>

#include "base/base.h"

/* Writes the line to stderr. */
void bug_say(const char *format, ...);
/* Writes the line and aborts. */
void bug_abort(const char *format, ...) __attribute__((noreturn, cold));
/* The fault of a caller: aborts, or only says so where bug_set_fatal(false) was called. */
void bug_caller(const char *format, ...) __attribute__((cold));
/* The end of more than one line of such a fault, said by bug_say(): aborts or goes on as bug_caller() would. */
void bug_end(void);
void bug_set_fatal(bool fatal);
/* Formats into buf (always terminated when size > 0); returns the length that it took. */
size_t bug_format(char *buf, size_t size, const char *format, ...);
size_t bug_format_args(char *buf, size_t size, const char *format, va_list *args);

/* An invariant of bslab's own; checked in debug builds. */
#ifdef BSLAB_DEBUG
#define bslab_assert(cond)                                                                         \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			bug_abort("%s:%u: assertion failed: %s", __FILE__, (unsigned)__LINE__, #cond); \
	} while (0)
#else
#define bslab_assert(cond) ((void)sizeof(cond))
#endif

#endif
