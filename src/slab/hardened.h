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
 *    two keys drawn at start, exclusive-or, twice, how many bytes of pad there are:
 *    so the size that was asked for is known. Its first byte is odd, as PAD is: a
 *    zero written one byte too far is seen.
 *
 *        word             block is
 *        ---------------  --------------------------------------------------
 *        0                an object that never left its slab; all of it is zero
 *        number ^ pad     in use
 *        number ^ FREED   free; all of it but the word reads as zero
 *        number ^ MOVING  on its way from one to the other, or to another size
 *        anything else    written over from before it, or after its free
 *
 *    An object that leaves its slab gets its word before its bit says so. So a
 *    word of 0 where the bit says taken was written over, like any other.
 *
 * 3. An object is wiped when it is freed, and looked at for zeros when it is
 *    handed out, or when its slab goes. So what is written after a free is
 *    found, what is read after it, or before anything was written, is zero, and
 *    calloc need not clear.
 *
 * 4. Words are written by whoever owns the block. The owner of the block behind
 *    looks at the 32 bits that never change, since what is written before that
 *    block damages them, the last byte first. Hence atomic, relaxed.
 *
 * 5. MOVING is for a signal handler that calls exit(), where all blocks are looked
 *    at: what it interrupted is neither whole nor clean. The fences keep the
 *    compiler from moving the bytes out from between the two words.
 *
 * 6. The number is a product of 128 bits folded to 64. One word, whose address is
 *    known, is one equation for two keys of 64 bits; a few words are enough to solve
 *    them. It is to stop what overflows by chance, or blindly, not who reads at will.
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
/* More than any block of up to 64 KiB has. A longer one may have as much where the machine's pages are that large. */
#define PAD_FREED 0xffffull
#define PAD_MOVING 0xfffeull
#define MAX_PAD (PAD_MOVING - 1)
#define PAD 0xb5b5b5b5b5b5b5b5ull

/* Drawn at boot. */
struct hardened_keys {
	uint64_t mask, factor; /* any; odd */
};
extern struct hardened_keys hardened_keys __attribute__((visibility("hidden")));

void hardened_boot(void);

enum block_state {
	BLOCK_USED,
	BLOCK_FREED,
	BLOCK_UNUSED,  /* its word is 0 */
	BLOCK_DAMAGED, /* what is behind its bytes was written */
};

typedef _Atomic uint64_t block_word_t;

static force_inline block_word_t *block_word(uintptr_t end)
{
	return (block_word_t *)(end - BLOCK_WORD);
}

/* Always in a number: neither its first byte nor its last is 0, the end of a string, which is written beside blocks most. */
#define NUMBER_ENDS (1ull << 63 | 1)

/* The number of a word's address. */
static force_inline uint64_t block_number(const block_word_t *word)
{
	unsigned __int128 x = (unsigned __int128)((uintptr_t)word ^ hardened_keys.mask) * hardened_keys.factor;

	return ((uint64_t)x ^ (uint64_t)(x >> 64)) | NUMBER_ENDS;
}

static force_inline uint64_t block_word_load(const block_word_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static force_inline void block_word_store(block_word_t *word, uint64_t pad)
{
	atomic_store_explicit(word, block_number(word) ^ PAD_IN_WORD(pad), memory_order_relaxed);
}

/* The number of a block's word. A malloc and a free calculate it once, and hand it to the functions whose names end in _by. */
static force_inline uint64_t block_end_number(uintptr_t end)
{
	return block_number(block_word(end));
}

/* Before the first of its bytes changes. */
static force_inline void block_begin(uintptr_t end, uint64_t number)
{
	atomic_store_explicit(block_word(end), number ^ PAD_IN_WORD(PAD_MOVING), memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

/* Behind the last. */
static force_inline void block_end(uintptr_t end, uint64_t number, uint64_t pad)
{
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(block_word(end), number ^ PAD_IN_WORD(pad), memory_order_relaxed);
}

static force_inline bool block_is_moving(uintptr_t end)
{
	return (block_word_load(block_word(end)) ^ block_number(block_word(end))) == PAD_IN_WORD(PAD_MOVING);
}

/* The word of a block that may be anyone's: false when it was written over, or is 0. */
static force_inline bool block_word_is_whole(const block_word_t *word)
{
	return likely(!((block_word_load(word) ^ block_number(word)) & ~PAD_MASK));
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

/* Of a block of which all but the word is zero. */
static force_inline void short_pad_fill_clean(uint64_t *word, size_t pad)
{
	word[-3] = PAD & short_pad_mask(pad, 0);
	word[-2] = PAD & short_pad_mask(pad, 1);
	word[-1] = PAD & short_pad_mask(pad, 2);
}

static force_inline bool short_pad_is_whole(const uint64_t *word, size_t pad)
{
	return !(((word[-3] ^ PAD) & short_pad_mask(pad, 0)) | ((word[-2] ^ PAD) & short_pad_mask(pad, 1)) |
		 ((word[-1] ^ PAD) & short_pad_mask(pad, 2)));
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
	uint64_t number = block_end_number(end);

	block_begin(end, number);
	pad_fill(start, size, end);
	block_end(end, number, end - BLOCK_WORD - start - size);
}

/* The same for a block of which all but the word is zero. */
static force_inline void block_seal_clean_by(uintptr_t start, size_t size, uintptr_t end, uint64_t number)
{
	size_t pad = end - BLOCK_WORD - start - size;
	uint64_t *word = (uint64_t *)(end - BLOCK_WORD);

	block_begin(end, number);
	if (likely(pad <= SHORT_PAD)) {
		short_pad_fill_clean(word, pad);
	} else {
		pad_fill(start, size, end);
	}
	block_end(end, number, pad);
}

static force_inline void block_seal_clean(uintptr_t start, size_t size, uintptr_t end)
{
	block_seal_clean_by(start, size, end, block_end_number(end));
}

/* Whole words, at least one. */
bool long_pad_is_whole(const uint64_t *first, const uint64_t *end);

static force_inline bool pad_is_whole(uintptr_t start, size_t size, uintptr_t end)
{
	size_t pad = end - BLOCK_WORD - start - size;
	const uint64_t *word = (const uint64_t *)(end - BLOCK_WORD);
	struct pad p;

	if (likely(pad <= SHORT_PAD))
		return short_pad_is_whole(word, pad);
	p = block_pad(start, size, end);
	return !((*p.first ^ PAD) & p.mask) && long_pad_is_whole(p.first + 1, p.end);
}

/* What a block is; *size is what was asked for if it is USED, or DAMAGED and that can still be told, else SIZE_MAX. */
static force_inline enum block_state block_check_by(uintptr_t start, uintptr_t end, uint64_t number, size_t *size)
{
	uint64_t w = block_word_load(block_word(end)), said = w ^ number, pad = said >> PAD_SHIFT & ((1u << PAD_BITS) - 1);

	*size = SIZE_MAX;
	if (unlikely(said != PAD_IN_WORD(pad)))
		return w ? BLOCK_DAMAGED : BLOCK_UNUSED;
	if (unlikely(pad > end - BLOCK_WORD - start))
		return pad > MAX_PAD ? BLOCK_FREED : BLOCK_DAMAGED;
	*size = end - BLOCK_WORD - start - pad;
	return likely(pad_is_whole(start, *size, end)) ? BLOCK_USED : BLOCK_DAMAGED;
}

static force_inline enum block_state block_check(uintptr_t start, uintptr_t end, size_t *size)
{
	return block_check_by(start, end, block_end_number(end), size);
}

/* Sixteen bytes. Blocks are made of them: the last one's upper half is the word. */
typedef uint64_t block_part_t __attribute__((vector_size(16), may_alias));
#define PART sizeof(block_part_t)

/*
 * Up to these, the same parts are looked at and wiped for each size, some of them more than once: from the start on, and up to
 * the last. Most blocks are of the first kind; where sizes are mixed, one branch is guessed wrong at times, and not one for
 * each part. What is before the word in the last part goes by itself.
 */
#define TINY_BLOCK (4 * PART)
#define MEDIUM_BLOCK (9 * PART)
#define SHORT_BLOCK (17 * PART)

/* The i-th. */
static force_inline block_part_t *block_part(uintptr_t start, size_t i)
{
	return (block_part_t *)start + i;
}

/* The i-th before the last one. */
static force_inline block_part_t *block_part_before(uintptr_t end, size_t i)
{
	return (block_part_t *)end - 1 - i;
}

/* The second, or the last but one where that is the first. */
static force_inline block_part_t *block_part_second(uintptr_t start, uintptr_t end)
{
	return (block_part_t *)(start + min_size(PART, end - start - 2 * PART));
}

static force_inline uint64_t *block_last(uintptr_t end)
{
	return (uint64_t *)(end - BLOCK_WORD) - 1;
}

/* n parts from the start on, and n before the last, but for the outermost. */
static force_inline void block_wipe_parts(uintptr_t start, uintptr_t end, const unsigned n)
{
	unsigned i;

#pragma GCC unroll 8
	for (i = 1; i < n; i++) {
		*block_part(start, i) = (block_part_t){0};
		*block_part_before(end, i + 1) = (block_part_t){0};
	}
}

static force_inline block_part_t block_parts(uintptr_t start, uintptr_t end, const unsigned n)
{
	block_part_t bits = {0};
	unsigned i;

#pragma GCC unroll 8
	for (i = 1; i < n; i++)
		bits |= *block_part(start, i) | *block_part_before(end, i + 1);
	return bits;
}

static force_inline void short_block_wipe(uintptr_t start, uintptr_t end)
{
	*block_part(start, 0) = (block_part_t){0};
	if (end - start <= TINY_BLOCK)
		*block_part_second(start, end) = (block_part_t){0};
	else if (end - start <= MEDIUM_BLOCK)
		block_wipe_parts(start, end, 4);
	else
		block_wipe_parts(start, end, 8);
	*block_part_before(end, 1) = (block_part_t){0};
	*block_last(end) = 0;
}

static force_inline bool short_block_is_zero(uintptr_t start, uintptr_t end)
{
	block_part_t bits = *block_part(start, 0) | *block_part_before(end, 1);

	if (end - start <= TINY_BLOCK)
		bits |= *block_part_second(start, end);
	else if (end - start <= MEDIUM_BLOCK)
		bits |= block_parts(start, end, 4);
	else
		bits |= block_parts(start, end, 8);
	return likely(!(bits[0] | bits[1] | *block_last(end)));
}

/* Frees it: all but its word reads as zero. */
static force_inline void block_wipe_by(uintptr_t start, uintptr_t end, uint64_t number)
{
	block_begin(end, number);
	if (likely(end - start <= SHORT_BLOCK))
		short_block_wipe(start, end);
	else
		__builtin_memset((void *)start, 0, end - BLOCK_WORD - start); /* not the word: others read it */
	block_end(end, number, PAD_FREED);
}

static force_inline void block_wipe(uintptr_t start, uintptr_t end)
{
	block_wipe_by(start, end, block_end_number(end));
}

/* The same question for a longer one. */
bool long_block_is_zero(uintptr_t start, uintptr_t end);

/* All but the word. */
static force_inline bool block_is_zero(uintptr_t start, uintptr_t end)
{
	return likely(end - start <= SHORT_BLOCK) ? short_block_is_zero(start, end) : long_block_is_zero(start, end);
}

static force_inline bool block_says_free(uintptr_t end, uint64_t number)
{
	return likely(block_word_load(block_word(end)) == (number ^ PAD_IN_WORD(PAD_FREED)));
}

/* Whether a block that is free is as it was left. */
static force_inline bool block_is_clean_by(uintptr_t start, uintptr_t end, uint64_t number)
{
	return block_says_free(end, number) && block_is_zero(start, end);
}

static force_inline bool block_is_clean(uintptr_t start, uintptr_t end)
{
	return block_is_clean_by(start, end, block_end_number(end));
}

/* The same for an object that may never have left its slab. */
bool object_is_clean(uintptr_t start, uintptr_t end);
/* It leaves its slab: gives it its word if it has none. */
static inline void object_leaves(uintptr_t end)
{
	if (!block_word_load(block_word(end)))
		block_word_store(block_word(end), PAD_FREED);
}

/* Of a block that is not clean. */
void report_write_after_free(void *p) __attribute__((cold));

/*
 * A random order among each SHUFFLE_WINDOW of n pointers. Who walks over what he allocated goes through memory in one
 * direction this way, and it is fetched ahead of him: decisions/0018.
 */
#define SHUFFLE_WINDOW 8
void shuffle(void **p, unsigned n);

#endif
