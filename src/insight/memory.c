/* SPDX-License-Identifier: MIT */
#include "insight/memory.h"

#include <stdarg.h>
#include <stdio.h>

bool memory_fail(struct memory *m, const char *format, ...)
{
	va_list args;

	if (!m->fault[0]) {
		va_start(args, format);
		vsnprintf(m->fault, sizeof m->fault, format, args);
		va_end(args);
	}
	return false;
}

void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text >= 127)
			*text = '?';
}

void memory_close(struct memory *m)
{
	if (m)
		m->source->close(m);
}
