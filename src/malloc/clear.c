/* SPDX-License-Identifier: MIT */
#include "malloc/clear.h"

#include <string.h>

#include "os/os.h"
#include "os/touch.h"

/* The most that one question covers; what is resident is decided on for each such piece. */
#define PIECE_SIZE PAGEBLOCK_SIZE

/*
 * A page that is given back and used again costs a fault, as much as writing 40 to 60 pages that are there. So a loop
 * gains by giving back only up to 1/40; up to 1/16 it loses no more than a factor of two or three, and writing would
 * first fault in 15 times what the program uses.
 */
#define SPARSE_SHARE 16

#define MAX_SKIP_SHIFT 4
#define SIZE_STEP (64 * KIB)

/*
 * Of blocks of one size: how many are written without a question, and how many the next time, as a power of two; which one
 * was given back last, and when. Hints: threads may miss each other's, or mix them up.
 */
static struct skip {
	uint16_t nr, shift;
	const void *block; /* NULL: none */
	uint64_t at_ns;
} skips[(PIECE_SIZE - MIN_KERNEL_CLEAR) / SIZE_STEP + 1];

/* NULL for what is larger than a piece: there the question costs next to nothing, and a wrong guess most. */
static struct skip *skip_of(size_t size)
{
	return size <= PIECE_SIZE ? &skips[(size - MIN_KERNEL_CLEAR) / SIZE_STEP] : NULL;
}

static bool asks(struct skip *s)
{
	uint16_t n = s ? READ_ONCE(s->nr) : 0;

	if (n)
		WRITE_ONCE(s->nr, (uint16_t)(n - 1));
	return n == 0;
}

/* Nobody had the block for long since it was given back. A clock that stands still says nothing. */
static bool is_untouched(struct skip *s, const void *block, size_t size)
{
	uint64_t at, now;

	if (!s || READ_ONCE(s->block) != block)
		return false;
	at = READ_ONCE(s->at_ns);
	now = os_clock_ns();
	return now > at && touched_at_most(now - at) <= size / SPARSE_SHARE;
}

static void note(struct skip *s, const void *block, bool was_sparse)
{
	uint16_t shift = READ_ONCE(s->shift);

	WRITE_ONCE(s->block, was_sparse ? block : NULL);
	if (was_sparse)
		WRITE_ONCE(s->at_ns, os_clock_ns());

	WRITE_ONCE(s->nr, (uint16_t)(was_sparse ? 0 : 1u << shift));
	WRITE_ONCE(s->shift, (uint16_t)(was_sparse ? 0 : min_size(shift + 1u, MAX_SKIP_SHIFT)));
}

/* Of whole pages of the machine; true where they were given back, and so are zero. */
static bool clear_sparse(void *start, size_t size)
{
	size_t nr_resident;

	if (!os_count_resident(start, size, &nr_resident) || nr_resident > size / os_page_size() / SPARSE_SHARE)
		return false;
	return os_purge(start, size) == 0;
}

/* True if any of it was sparse. */
static bool clear_pages(char *start, char *end)
{
	bool any = false;

	for (; start < end; start += min_size(PIECE_SIZE, (size_t)(end - start))) {
		size_t size = min_size(PIECE_SIZE, (size_t)(end - start));

		if (clear_sparse(start, size))
			any = true;
		else
			memset(start, 0, size);
	}
	return any;
}

void block_clear(void *block, size_t size)
{
	char *p = block, *end = p + size, *first, *last;
	struct skip *s = size < MIN_KERNEL_CLEAR ? NULL : skip_of(size);
	bool is_sparse, was_sparse;

	if (size < MIN_KERNEL_CLEAR || !asks(s)) {
		memset(p, 0, size);
		return;
	}
	first = (char *)align_up((uintptr_t)p, os_page_size());
	last = (char *)align_down((uintptr_t)end, os_page_size());
	memset(p, 0, (size_t)(first - p));
	is_sparse = is_untouched(s, block, size);
	was_sparse = (is_sparse && os_purge(first, (size_t)(last - first)) == 0) || clear_pages(first, last);
	memset(last, 0, (size_t)(end - last));
	if (s)
		note(s, block, was_sparse);
}
