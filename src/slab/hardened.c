/* SPDX-License-Identifier: MIT */
#include "slab/hardened.h"

#include <string.h>

#include "os/bug.h"
#include "os/os.h"

struct hardened_keys hardened_keys;

const uint8_t short_pad_masks[2 * SHORT_PAD] = {[SHORT_PAD ... 2 * SHORT_PAD - 1] = 0xff};

/* Orders are drawn from one sequence for all threads (Steele, Lea and Flood 2014, SplitMix64). */
#define WEYL 0x9e3779b97f4a7c15ull
static _Atomic uint64_t sequence; /* relaxed */

void hardened_boot(void)
{
	hardened_keys = (struct hardened_keys){os_random(), os_random() | 1};
	atomic_store_explicit(&sequence, os_random(), memory_order_relaxed);
}

bool long_block_is_zero(uintptr_t start, uintptr_t end)
{
	const block_part_t *p = block_part(start, 0), *last = block_part_before(end, 0);
	block_part_t bits = {0}, more = {0};
	unsigned i;

	for (; last - p >= 8; p += 8)
#pragma GCC unroll 4
		for (i = 0; i < 8; i += 2) {
			bits |= p[i];
			more |= p[i + 1];
		}
	for (; p < last; p++)
		bits |= *p;
	bits |= more;
	return !(bits[0] | bits[1] | *block_last(end));
}

/* Each is the one before it. */
bool long_pad_is_whole(const uint64_t *first, const uint64_t *end)
{
	return *first == PAD && memcmp(first, first + 1, (size_t)(end - first - 1) * sizeof *first) == 0;
}

bool object_is_clean(uintptr_t start, uintptr_t end)
{
	return block_word_load(block_word(end)) ? block_is_clean(start, end) : block_is_zero(start, end);
}

void report_write_after_free(void *p)
{
	bug_caller("write after free of %p", p);
}

static uint64_t random_number(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/*
 * Fisher and Yates. x is a fraction of 2^64: of its product with n the whole part is the place that is drawn, and what is
 * left is the next fraction. 8! is below 2^16, so 48 bits are over at the end.
 */
_Static_assert(SHUFFLE_WINDOW <= 8, "the bits of one number");

static void shuffle_window(void **p, unsigned n, uint64_t x)
{
	for (; n > 1; n--) {
		unsigned __int128 product = (unsigned __int128)x * n;
		unsigned i = (unsigned)(product >> 64);
		void *swapped = p[n - 1];

		p[n - 1] = p[i];
		p[i] = swapped;
		x = (uint64_t)product;
	}
}

void shuffle(void **p, unsigned n)
{
	unsigned nr_windows = (n + SHUFFLE_WINDOW - 1) / SHUFFLE_WINDOW;
	uint64_t x = atomic_fetch_add_explicit(&sequence, nr_windows * WEYL, memory_order_relaxed);

	for (; n > SHUFFLE_WINDOW; n -= SHUFFLE_WINDOW, p += SHUFFLE_WINDOW, x += WEYL)
		shuffle_window(p, SHUFFLE_WINDOW, random_number(x));
	shuffle_window(p, n, random_number(x));
}
