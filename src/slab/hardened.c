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
	uintptr_t at = start;
	block_part_t bits = {0}, more = {0};

	for (; end - at >= 4 * PART; at += 4 * PART) {
		const block_part_t *p = (const block_part_t *)at;

		bits |= p[0] | p[1];
		more |= p[2] | p[3];
	}
	for (; end - at >= PART; at += PART)
		bits |= *(const block_part_t *)at;
	bits |= more | *(const block_part_t *)(end - PART);
	return !(bits[0] | bits[1]);
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

static uint64_t random_number(void)
{
	uint64_t x = atomic_fetch_add_explicit(&sequence, WEYL, memory_order_relaxed);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Fisher and Yates; the numbers of one shuffle are a xorshift of one that is drawn. */
void shuffle(void **p, unsigned n)
{
	uint64_t x = random_number() | 1;

	for (; n > 1; n--) {
		unsigned i = (unsigned)((x >> 32) * n >> 32);
		void *swapped = p[n - 1];

		p[n - 1] = p[i];
		p[i] = swapped;
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
}
