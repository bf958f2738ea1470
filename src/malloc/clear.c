/* SPDX-License-Identifier: MIT */
#include "malloc/clear.h"

#include <string.h>

#include "os/os.h"

/* The most that one question covers; what is resident is decided on for each such piece. */
#define PIECE_SIZE PAGEBLOCK_SIZE
#define MAX_SKIP 16u

/* Blocks that are written without a question, and how many the next time. Hints: threads may miss each other's. */
static uint32_t nr_skip, next_skip = 1;

static bool asks(void)
{
	uint32_t n = READ_ONCE(nr_skip);

	if (n)
		WRITE_ONCE(nr_skip, n - 1);
	return n == 0;
}

static void note(bool was_sparse)
{
	uint32_t n = READ_ONCE(next_skip);

	WRITE_ONCE(nr_skip, was_sparse ? 0 : n);
	WRITE_ONCE(next_skip, was_sparse ? 1 : n < MAX_SKIP ? 2 * n : MAX_SKIP);
}

/* Of whole pages of the machine; true where they were given back, and so are zero. */
static bool clear_sparse(void *start, size_t size)
{
	size_t nr_resident;

	if (!os_count_resident(start, size, &nr_resident) || nr_resident > size / os_page_size() / 2)
		return false;
	return os_purge(start, size) == 0;
}

static void clear_pages(char *start, char *end)
{
	bool any = false;

	for (; start < end; start += min_size(PIECE_SIZE, (size_t)(end - start))) {
		size_t size = min_size(PIECE_SIZE, (size_t)(end - start));

		if (clear_sparse(start, size))
			any = true;
		else
			memset(start, 0, size);
	}
	note(any);
}

void block_clear(void *block, size_t size)
{
	char *p = block, *end = p + size, *first, *last;

	if (size < MIN_KERNEL_CLEAR || !asks()) {
		memset(p, 0, size);
		return;
	}
	first = (char *)align_up((uintptr_t)p, os_page_size());
	last = (char *)align_down((uintptr_t)end, os_page_size());
	memset(p, 0, (size_t)(first - p));
	clear_pages(first, last);
	memset(last, 0, (size_t)(end - last));
}
