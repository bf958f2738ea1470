/* SPDX-License-Identifier: MIT */
/*
 * Blocks of the hardened mode: what stands behind them, and how it is checked.
 *
 * 1. A block is a slab's object, a run or a mapping. It has eight bytes more
 *    than were asked for: its last eight are its word. What is between the bytes
 *    asked for and the word is pad.
 *
 *        start             start + size         end - 8    end
 *        | the user's bytes | PAD PAD ... PAD   | word     |
 *
 * 2. The word is a number that nobody can know, made of the word's address and a
 *    key drawn at start, exclusive-or, twice, how many bytes of pad there are: so
 *    the size that was asked for is known. Its first byte is odd, as PAD is: a
 *    zero written one byte too far is seen.
 *
 *        word            block is
 *        --------------  ------------------------------------------
 *        0               never handed out; all of it reads as zero
 *        number ^ pad    in use
 *        number ^ FREED  free; all of it but the word reads as zero
 *        anything else   written over from before it, or after its free
 *
 * 3. An object is wiped when it is freed, and looked at for zeros when it is
 *    handed out, or when its slab goes. So what is written after a free is
 *    found, what is read after it, or before anything was written, is zero, and
 *    calloc need not clear.
 *
 * 4. Words are written by whoever owns the block. The owner of the block behind
 *    looks at the 32 bits that never change, since what is written before that
 *    block damages them, the last byte first. Hence atomic, relaxed.
 */
#ifndef BSLAB_HARDENED_H
#define BSLAB_HARDENED_H

#include "base/base.h"

#define BLOCK_WORD sizeof(uint64_t)
#define PAD_SHIFT 24
#define PAD_BITS 16
/* Twice, so that no part of a word is anybody's to change alone. */
#define PAD_IN_WORD(pad) ((uint64_t)(pad) << PAD_SHIFT | (uint64_t)(pad) << (PAD_SHIFT + PAD_BITS))
#define PAD_MASK PAD_IN_WORD(0xffffull)
#define PAD_FREED 0xffffull /* more than any block has: a page, or the largest step of classes and an alignment */
#define PAD 0xb5b5b5b5b5b5b5b5ull

/* Drawn at boot; 0 before, and in any other mode. */
extern uint64_t hardened_key __attribute__((visibility("hidden")));

void hardened_boot(void);

enum block_state {
	BLOCK_USED,
	BLOCK_FREED,
	BLOCK_UNUSED,  /* never handed out */
	BLOCK_DAMAGED, /* what is behind its bytes was written */
};

typedef _Atomic uint64_t block_word_t;

static force_inline block_word_t *block_word(uintptr_t end)
{
	return (block_word_t *)(end - BLOCK_WORD);
}

/* The number of a word's address. */
static force_inline uint64_t block_number(const block_word_t *word)
{
	uint64_t x = ((uintptr_t)word ^ hardened_key) * 0x9e3779b97f4a7c15ull;

	return (x ^ x >> 29) | 1;
}

static force_inline uint64_t block_word_load(const block_word_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static force_inline void block_word_store(block_word_t *word, uint64_t pad)
{
	atomic_store_explicit(word, block_number(word) ^ PAD_IN_WORD(pad), memory_order_relaxed);
}

/* What a word says, in the bits of PAD_MASK; other bits are set when it was written over. Of one that is not 0. */
static force_inline uint64_t block_word_decode(const block_word_t *word, uint64_t w)
{
	return w ^ block_number(word);
}

/* The word of a block that may be anyone's: false when it was written over. */
static force_inline bool block_word_is_whole(const block_word_t *word)
{
	uint64_t w = block_word_load(word);

	return likely(!(block_word_decode(word, w) & ~PAD_MASK)) || !w;
}

/* Where size bytes at start end: the words that hold pad, and the bits of the first that it takes. */
struct pad {
	uint64_t *first, *end;
	uint64_t mask;
};

static force_inline struct pad block_pad(uintptr_t start, size_t size, uintptr_t end)
{
	uintptr_t at = start + size;

	return (struct pad){(uint64_t *)align_down(at, 8), (uint64_t *)(end - BLOCK_WORD), ~0ull << (at % 8 * 8)};
}

/*
 * Short pads, of which most are: the three words before the block's word are always there, and which of their bits are
 * pad is loaded, not branched on. (Sizes are mixed, so a branch on them would be guessed wrong.)
 */
#define SHORT_PAD (3 * BLOCK_WORD)
#define MIN_BLOCK (SHORT_PAD + BLOCK_WORD)

/* SHORT_PAD bytes that are 0, then as many that are not. */
extern const uint8_t short_pad_masks[2 * SHORT_PAD] __attribute__((visibility("hidden")));

/* Bits of the i-th word, of the three, for so many bytes of pad. */
static force_inline uint64_t short_pad_mask(size_t pad, unsigned i)
{
	uint64_t mask;

	__builtin_memcpy(&mask, short_pad_masks + pad + i * BLOCK_WORD, sizeof mask);
	return mask;
}

static force_inline void pad_fill(uintptr_t start, size_t size, uintptr_t end)
{
	struct pad p = block_pad(start, size, end);
	uint64_t *w = p.first;

	if (w >= p.end)
		return;
	*w = (*w & ~p.mask) | (PAD & p.mask);
	while (++w < p.end)
		*w = PAD;
}

/* Marks size bytes of the block as its user's. */
static force_inline void block_seal(uintptr_t start, size_t size, uintptr_t end)
{
	pad_fill(start, size, end);
	block_word_store(block_word(end), end - BLOCK_WORD - start - size);
}

/* The same for a block of which all but the word is zero. */
static force_inline void block_seal_clean(uintptr_t start, size_t size, uintptr_t end)
{
	size_t pad = end - BLOCK_WORD - start - size;
	uint64_t *word = (uint64_t *)(end - BLOCK_WORD);

	if (likely(pad <= SHORT_PAD)) {
		word[-3] = PAD & short_pad_mask(pad, 0);
		word[-2] = PAD & short_pad_mask(pad, 1);
		word[-1] = PAD & short_pad_mask(pad, 2);
	} else {
		pad_fill(start, size, end);
	}
	block_word_store(block_word(end), pad);
}

static force_inline bool pad_is_whole(uintptr_t start, size_t size, uintptr_t end)
{
	size_t pad = end - BLOCK_WORD - start - size;
	const uint64_t *word = (const uint64_t *)(end - BLOCK_WORD), *w;
	struct pad p;

	if (likely(pad <= SHORT_PAD))
		return !(((word[-3] ^ PAD) & short_pad_mask(pad, 0)) | ((word[-2] ^ PAD) & short_pad_mask(pad, 1)) |
			 ((word[-1] ^ PAD) & short_pad_mask(pad, 2)));
	p = block_pad(start, size, end);
	w = p.first;
	if ((*w ^ PAD) & p.mask)
		return false;
	while (++w < p.end)
		if (*w != PAD)
			return false;
	return true;
}

/* What a block is; *size is what was asked for if it is USED, or DAMAGED and that can still be told, else SIZE_MAX. */
static force_inline enum block_state block_check(uintptr_t start, uintptr_t end, size_t *size)
{
	block_word_t *word = block_word(end);
	uint64_t w = block_word_load(word), said = block_word_decode(word, w), pad = said >> PAD_SHIFT & ((1u << PAD_BITS) - 1);

	*size = SIZE_MAX;
	if (unlikely(said != PAD_IN_WORD(pad)))
		return w ? BLOCK_DAMAGED : BLOCK_UNUSED;
	if (unlikely(pad > end - BLOCK_WORD - start))
		return pad == PAD_FREED ? BLOCK_FREED : BLOCK_DAMAGED;
	*size = end - BLOCK_WORD - start - pad;
	return likely(pad_is_whole(start, *size, end)) ? BLOCK_USED : BLOCK_DAMAGED;
}

/* Sixteen bytes at any multiple of eight. */
typedef uint64_t block_part_t __attribute__((vector_size(16), aligned(8), may_alias));
#define PART sizeof(block_part_t)

/* Up to this, the same parts are looked at and wiped for each size, the last of them more than once: no branch. */
#define SHORT_BLOCK (8 * PART)

static force_inline block_part_t *block_part(uintptr_t start, size_t i, size_t last)
{
	return (block_part_t *)(start + min_size(i * PART, last));
}

/* Frees it: all but its word reads as zero. */
static force_inline void block_wipe(uintptr_t start, uintptr_t end)
{
	size_t last = end - PART - start;
	unsigned i;

	if (likely(last <= SHORT_BLOCK - PART))
#pragma GCC unroll 8
		for (i = 0; i < SHORT_BLOCK / PART; i++)
			*block_part(start, i, last) = (block_part_t){0};
	else
		__builtin_memset((void *)start, 0, end - BLOCK_WORD - start); /* not the word: others read it */
	block_word_store(block_word(end), PAD_FREED);
}

/* The same question for a longer one. */
bool long_block_is_zero(uintptr_t start, uintptr_t end);

/* Whether an object that is free, or was never handed out, is as it was left. */
static force_inline bool block_is_clean(uintptr_t start, uintptr_t end)
{
	block_word_t *word = block_word(end);
	uint64_t w = block_word_load(word);
	size_t last = end - BLOCK_WORD - PART - start;
	block_part_t bits = {0};
	unsigned i;

	if (unlikely(w && w != (block_number(word) ^ PAD_IN_WORD(PAD_FREED))))
		return false;
	if (unlikely(last > SHORT_BLOCK - BLOCK_WORD - PART))
		return long_block_is_zero(start, end - BLOCK_WORD);
#pragma GCC unroll 8
	for (i = 0; i < SHORT_BLOCK / PART; i++)
		bits |= *block_part(start, i, last);
	return likely(!(bits[0] | bits[1]));
}

/* Of a block that is not clean. */
void report_write_after_free(void *p) __attribute__((cold));

/* A random order of n pointers. */
void shuffle(void **p, unsigned n);

#endif
