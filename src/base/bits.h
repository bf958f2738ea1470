/* SPDX-License-Identifier: MIT */
/* Bitmaps of 64-bit words, bit i of which is bit i % 64 of word i / 64 (Linux: lib/bitmap.c, lib/find_bit.c). */
#ifndef BSLAB_BITS_H
#define BSLAB_BITS_H

#include <stdbool.h>
#include <stdint.h>

/* The bits of word w that belong to [from, end). */
static inline uint64_t bits_mask(unsigned w, unsigned from, unsigned end)
{
	unsigned low = from > w * 64 ? from - w * 64 : 0, high = end < w * 64 + 64 ? end - w * 64 : 64;
	uint64_t mask = high == 64 ? ~0ull : (1ull << high) - 1;

	return mask & ~0ull << low;
}

static inline void bits_change(uint64_t *bits, unsigned from, unsigned n, bool set)
{
	unsigned end = from + n, w;

	for (w = from / 64; w * 64 < end; w++) {
		if (set)
			bits[w] |= bits_mask(w, from, end);
		else
			bits[w] &= ~bits_mask(w, from, end);
	}
}

static inline bool bit_is_set(const uint64_t *bits, unsigned i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

/* The first index >= from whose bit is `set`, or end. */
static inline unsigned bits_next(const uint64_t *bits, unsigned from, unsigned end, bool set)
{
	while (from < end) {
		uint64_t word = (set ? bits[from / 64] : ~bits[from / 64]) >> (from % 64);

		if (word) {
			from += (unsigned)__builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from | 63) + 1;
	}
	return end;
}

/* The next row of set bits from *end on: [*from, *end). */
static inline bool bits_next_row(const uint64_t *bits, unsigned nr, unsigned *from, unsigned *end)
{
	*from = bits_next(bits, *end, nr, true);
	*end = bits_next(bits, *from, nr, false);
	return *from < nr;
}

/* Where the set bits begin that end before `end`: `end` if there are none. */
static inline unsigned bits_row_start(const uint64_t *bits, unsigned end)
{
	while (end) {
		unsigned w = (end - 1) / 64;
		uint64_t clear = ~bits[w] & bits_mask(w, 0, end);

		if (clear)
			return w * 64 + 64 - (unsigned)__builtin_clzll(clear);
		end = w * 64;
	}
	return 0;
}

#endif
