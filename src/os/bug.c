/* SPDX-License-Identifier: MIT */
#include "os/bug.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"

static _Atomic bool caller_faults_warn; /* false: abort */

struct writer {
	char *buf;
	size_t size, len;
};

static void put_char(struct writer *w, char c)
{
	if (w->len + 1 < w->size)
		w->buf[w->len++] = c;
}

static void put_text(struct writer *w, const char *text)
{
	while (*text)
		put_char(w, *text++);
}

static void put_number(struct writer *w, uint64_t n, unsigned base)
{
	char digits[20];
	int i = 0;

	do {
		digits[i++] = "0123456789abcdef"[n % base];
	} while (n /= base);
	while (i)
		put_char(w, digits[--i]);
}

static void put_argument(struct writer *w, char kind, va_list *args)
{
	switch (kind) {
	case 'p':
		put_text(w, "0x");
		put_number(w, (uintptr_t)va_arg(*args, void *), 16);
		break;
	case 's':
		put_text(w, va_arg(*args, const char *));
		break;
	case 'u':
		put_number(w, va_arg(*args, unsigned), 10);
		break;
	case 'x':
		put_number(w, va_arg(*args, unsigned), 16);
		break;
	case 'z':
		put_number(w, va_arg(*args, size_t), 10);
		break;
	default:
		put_char(w, kind);
	}
}

/* What stands from start on gets as wide as width, with spaces before it or behind. */
static void pad(struct writer *w, size_t start, size_t width, bool left)
{
	size_t end = w->len, nr_spaces;

	for (; width > end - start; width--)
		put_char(w, ' ');
	nr_spaces = w->len - end;
	if (!left && nr_spaces) {
		memmove(w->buf + start + nr_spaces, w->buf + start, end - start);
		memset(w->buf + start, ' ', nr_spaces);
	}
}

/* The conversion behind a '%'; returns its last character. */
static const char *put_conversion(struct writer *w, const char *format, va_list *args)
{
	size_t start = w->len, width = 0;
	bool left = *format == '-' && format[1];

	format += left;
	for (; *format >= '0' && *format <= '9' && format[1]; format++)
		width = 10 * width + (size_t)(*format - '0');
	put_argument(w, *format, args);
	pad(w, start, width, left);
	return format;
}

size_t bug_format_args(char *buf, size_t size, const char *format, va_list *args)
{
	struct writer w = {buf, size, 0};

	for (; *format; format++) {
		if (*format == '%' && format[1])
			format = put_conversion(&w, format + 1, args);
		else
			put_char(&w, *format);
	}
	if (size)
		buf[w.len] = '\0';
	return w.len;
}

size_t bug_format(char *buf, size_t size, const char *format, ...)
{
	va_list args;
	size_t len;

	va_start(args, format);
	len = bug_format_args(buf, size, format, &args);
	va_end(args);
	return len;
}

/* One write() a line, so that lines of several threads do not mix. */
static void say_list(const char *format, va_list *args)
{
	char line[256] = "bslab: ";
	size_t len = 7;

	len += bug_format_args(line + len, sizeof line - len - 1, format, args);
	line[len++] = '\n';
	os_write(2, line, len);
}

void bug_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_list(format, &args);
	va_end(args);
}

void bug_abort(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_list(format, &args);
	va_end(args);
	abort();
}

void bug_caller(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_list(format, &args);
	va_end(args);
	bug_end();
}

void bug_end(void)
{
	if (!atomic_load_explicit(&caller_faults_warn, memory_order_relaxed))
		abort();
}

void bug_set_fatal(bool fatal)
{
	atomic_store_explicit(&caller_faults_warn, !fatal, memory_order_relaxed);
}
