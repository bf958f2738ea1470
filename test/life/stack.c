/* SPDX-License-Identifier: MIT */
/*
 * How much of the stack malloc and free take at most, on one of their own as coroutines have: some have 8 KiB. The heap grows beyond 32 MiB,
 * where the cgroup's limits are looked at, is freed in full, and what is free is given back.
 */
#include <malloc.h>
#include <ucontext.h>

#include "life.h"

/* Seen: 3.5 KiB. An unoptimised build takes more. */
enum { MAX_DEPTH = 5120, SIZE = 64 << 10, NR = 60000, FILL = 0x5a };

static unsigned char stack[SIZE] __attribute__((aligned(64)));
static ucontext_t here, there;
static void *p[NR];

static void use(void)
{
	for (int i = 0; i < NR; i++) {
		p[i] = i % 1000 ? malloc(1000) : calloc(1, 100000);
		EXPECT(p[i]);
	}
	for (int i = 0; i < NR; i += 7)
		EXPECT((p[i] = realloc(p[i], 3000)));
	malloc_trim(0);
	for (int i = 0; i < NR; i++)
		free(p[i]);
	malloc_trim(0);
}

static size_t depth(void)
{
	size_t n = 0;

	while (n < SIZE && stack[n] == FILL)
		n++;
	return SIZE - n;
}

int main(void)
{
	memset(stack, FILL, SIZE);
	EXPECT(getcontext(&there) == 0);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = SIZE;
	there.uc_link = &here;
	makecontext(&there, use, 0);
	EXPECT(swapcontext(&here, &there) == 0);
	printf("%zu bytes of stack\n", depth());
	EXPECT(depth() <= MAX_DEPTH);
	return 0;
}
