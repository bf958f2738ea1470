/* SPDX-License-Identifier: MIT */
/*
 * calloc() is zero where a block stood that realloc() moved away (MREMAP_DONTUNMAP), and another one since whose memory
 * went back. Emulators may take what such a move leaves behind for unmapped, and purge nothing of it.
 */
#include <malloc.h>
#include <stdint.h>

#include "life.h"

#define SIZE (3 << 20)
#define NR_ROUNDS 8

static unsigned char *made_of(unsigned char byte, unsigned char *p)
{
	EXPECT(p);
	return memset(p, byte, SIZE);
}

int main(void)
{
	for (int round = 1; round <= NR_ROUNDS; round++) {
		unsigned char *before = made_of(1, malloc(SIZE)), *moved, *zeros;
		uintptr_t stood = (uintptr_t)before;

		made_of(2, malloc(SIZE)); /* so that it cannot grow where it stands */
		moved = realloc(before, (size_t)round * 40 << 20);
		EXPECT(moved && moved[0] == 1 && moved[SIZE - 1] == 1);
		before = made_of(3, malloc(SIZE));
		if (round == 1)
			EXPECT((uintptr_t)before == stood); /* else this tests nothing */
		free(before);
		malloc_trim(0);
		zeros = calloc(1, SIZE);
		EXPECT(zeros);
		for (size_t i = 0; i < SIZE; i++)
			EXPECT(!zeros[i]);
		free(moved);
	}
	return 0;
}
