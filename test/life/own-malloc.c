/* SPDX-License-Identifier: MIT */
/*
 * A program with a malloc of its own, of which it defines what glibc's manual asks for: malloc, free, calloc and realloc. What else
 * allocates for it must do so by these, whatever is preloaded.
 */
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "life.h"

struct head {
	size_t size, mark;
};
#define MARK 0x6d696e6521u

static char pool[16 << 20] __attribute__((aligned(16)));
static size_t used;
static unsigned nr_reallocs;

void *malloc(size_t size)
{
	struct head *h = (struct head *)(pool + used);

	if (size > sizeof pool - used - sizeof *h - 16)
		return NULL;
	used += sizeof *h + ((size + 15) & ~(size_t)15);
	*h = (struct head){size, MARK};
	return h + 1;
}

static int is_mine(const void *p)
{
	return (const char *)p > pool && (const char *)p < pool + sizeof pool && ((const struct head *)p - 1)->mark == MARK;
}

void free(void *p)
{
	if (p && !is_mine(p))
		_exit(3);
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size); /* nothing is used twice */
}

void *realloc(void *p, size_t size)
{
	void *q = malloc(size);

	nr_reallocs++;
	if (q && p)
		memcpy(q, p, ((struct head *)p - 1)->size < size ? ((struct head *)p - 1)->size : size);
	return q;
}

/* libc's headers say that it does not call back. */
static void *(*volatile resize)(void *, size_t, size_t) = reallocarray;

/* As ThreadSanitizer's programs have one, too, which may not be called before they have begun. */
static int has_begun;

static __attribute__((constructor)) void begin(void)
{
	has_begun = 1;
}

int __cxa_atexit(void (*f)(void *), void *arg, void *dso)
{
	(void)f, (void)arg, (void)dso;
	if (!has_begun)
		_exit(4);
	return 0;
}

int main(void)
{
	char *p = resize(NULL, 10, 10);

	EXPECT(is_mine(p) && nr_reallocs == 1);
	memset(p, 7, 100);
	p = resize(p, 10, 20);
	EXPECT(is_mine(p) && nr_reallocs == 2 && p[99] == 7);
	errno = 0;
	EXPECT(!resize(p, SIZE_MAX / 2, 3) && errno == ENOMEM && nr_reallocs == 2);
	free(p);
	free(strdup("text"));
	return 0;
}
