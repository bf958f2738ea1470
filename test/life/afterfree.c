/* SPDX-License-Identifier: MIT */
/*
 * A heap of 256 MiB of small objects is freed; what stays resident is little, at once, without a thread and without another call.
 *
 *   afterfree ORDER [SIZE]    ORDER: forward, backward, random; SIZE: of all objects (64: their slabs have a page each, so that
 *                             headers are the most); else they are of 16 to 1024 bytes
 */
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "life.h"

#define BYTES ((size_t)256 << 20)
#define BOUND_KIB (10 << 10) /* 6 to 8 MiB are usual */

enum order { FORWARD, BACKWARD, RANDOM };

static uint64_t seed = 88172645463325252ull;

static uint64_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t mixed_size(void)
{
	return 16 + draw() % (draw() % 2 ? 128 : 1009);
}

static void shuffle(void **object, size_t n)
{
	while (n > 1) {
		size_t i = draw() % n--;
		void *other = object[n];

		object[n] = object[i];
		object[i] = other;
	}
}

static void free_all(void **object, size_t n, enum order order)
{
	if (order == RANDOM)
		shuffle(object, n);
	for (size_t i = 0; i < n; i++)
		free(object[order == BACKWARD ? n - 1 - i : i]);
}

/* What is resident then, in KiB above what it was before. */
static long grow_and_fall(void **object, size_t size, enum order order)
{
	long before = status_kib("VmRSS"), full, after;
	size_t bytes, n = 0;

	for (bytes = 0; bytes < BYTES; n++) {
		size_t s = size ? size : mixed_size();

		object[n] = malloc(s);
		EXPECT(object[n]);
		memset(object[n], 1, s);
		bytes += s;
	}
	full = status_kib("VmRSS");
	free_all(object, n, order);
	after = status_kib("VmRSS");
	printf("%ld KiB, then %ld\n", full - before, after - before);
	fflush(stdout);
	EXPECT(full - before > (long)(BYTES >> 10));
	return after - before;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"forward", "backward", "random"};
	size_t table = BYTES / 16 * sizeof(void *), size = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	void **object = mmap(NULL, table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int order = 0;

	EXPECT(object != MAP_FAILED && argc > 1 && (!size || size >= 16));
	while (strcmp(argv[1], names[order]) != 0)
		EXPECT(++order <= RANDOM);
	EXPECT(use_malloc());
	EXPECT(grow_and_fall(object, size, (enum order)order) < BOUND_KIB);
	return 0;
}
