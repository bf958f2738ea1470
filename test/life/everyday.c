/* SPDX-License-Identifier: MIT */
/*
 * What a small process does with malloc: blocks of all sizes that come, grow and go, in one thread; with an argument, only
 * a few small ones. test/everyday.py counts what of the library it runs.
 */
#include <stdlib.h>
#include <string.h>

#define NR_BLOCKS 4096
#define ROUNDS 3
#define MAX_SIZE (16U << 20)

static void *blocks[NR_BLOCKS];

static void *used(void *p, size_t size)
{
	if (!p)
		abort();
	return memset(p, 1, size);
}

static void few_blocks(void)
{
	for (size_t i = 0; i < 200; i++)
		blocks[i] = used(i % 3 ? malloc(8 + i) : calloc(1, 8 + i), 8 + i);
	for (size_t i = 0; i < 200; i++)
		free(realloc(blocks[i], 300));
}

static void many_blocks(void)
{
	for (size_t i = 0; i < NR_BLOCKS; i++) {
		size_t size = i % 64 ? 8 + i % 1000 : 1000 + i * 16;

		blocks[i] = used(i % 3 ? malloc(size) : calloc(1, size), size);
	}
	for (size_t i = 0; i < NR_BLOCKS; i += 2)
		free(blocks[i]);
	for (size_t i = 1; i < NR_BLOCKS; i += 2)
		blocks[i] = used(realloc(blocks[i], i % 64 == 1 ? i * 32 : 50), 50);
	for (size_t i = 1; i < NR_BLOCKS; i += 2)
		free(blocks[i]);
}

static void blocks_of_pages(void)
{
	for (size_t size = 16; size < MAX_SIZE; size *= 2) {
		void *p = used(malloc(size), size);

		free(realloc(p, size + size / 2));
		free(used(calloc(1, size), size));
	}
	free(used(aligned_alloc(64, 1024), 1024));
}

int main(int argc, char **argv)
{
	(void)argv;
	few_blocks();
	if (argc > 1)
		return 0;
	for (int i = 0; i < ROUNDS; i++)
		many_blocks();
	blocks_of_pages();
	return 0;
}
