/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "fake_os.h"
#include "slab/hardened.h"

static unsigned char block[512] __attribute__((aligned(64)));
#define START ((uintptr_t)block)

static void setup(void)
{
	hardened_boot();
}

TestSuite(hardened, .init = setup);

static enum block_state state(size_t room, size_t *size)
{
	return block_check(START, START + room, size);
}

/* All sizes of all rooms of up to 512 bytes, each way of sealing. */
Test(hardened, knows_what_was_asked_for)
{
	size_t room, size, n;

	for (room = MIN_BLOCK; room <= sizeof block; room += 16)
		for (size = 0; size <= room - BLOCK_WORD; size++) {
			memset(block, 0, sizeof block);
			block_seal_clean(START, size, START + room);
			cr_assert_eq(state(room, &n), BLOCK_USED, "room %zu size %zu", room, size);
			cr_assert_eq(n, size);
			memset(block, 'u', size);
			cr_assert_eq(state(room, &n), BLOCK_USED);
			block_seal(START, size / 2, START + room);
			cr_assert_eq(state(room, &n), BLOCK_USED);
			cr_assert_eq(n, size / 2);
			for (n = 0; n < size / 2; n++)
				cr_assert_eq(block[n], 'u');
		}
}

/* Each byte behind the user's, whatever it is changed to. */
Test(hardened, sees_each_byte_behind)
{
	size_t room, size, n, at;

	for (room = MIN_BLOCK; room <= 256; room += 16)
		for (size = 0; size <= room - BLOCK_WORD; size += 5) {
			memset(block, 0, sizeof block);
			block_seal_clean(START, size, START + room);
			for (at = size; at < room; at++) {
				unsigned char old = block[at];

				block[at] = (unsigned char)(old + 1);
				cr_assert_eq(state(room, &n), BLOCK_DAMAGED, "room %zu size %zu byte %zu", room, size, at);
				block[at] = old;
			}
			block[size] = 0;
			cr_assert_eq(state(room, &n), BLOCK_DAMAGED, "a zero behind %zu of %zu", size, room);
		}
}

Test(hardened, sees_each_byte_written_after_the_free)
{
	size_t room, at, n;

	for (room = MIN_BLOCK; room <= sizeof block; room += 16) {
		memset(block, 0, sizeof block);
		cr_assert(object_is_clean(START, START + room), "never left its slab");
		cr_assert_eq(state(room, &n), BLOCK_UNUSED);
		object_leaves(START + room);
		cr_assert_eq(state(room, &n), BLOCK_FREED);
		cr_assert(block_is_clean(START, START + room));
		block_seal_clean(START, room / 2, START + room);
		cr_assert_not(block_is_clean(START, START + room));
		memset(block, 'u', room / 2);
		block_wipe(START, START + room);
		cr_assert_eq(state(room, &n), BLOCK_FREED);
		cr_assert(block_is_clean(START, START + room), "room %zu", room);
		for (at = 0; at < room; at++) {
			block[at] ^= 0x10;
			cr_assert_not(block_is_clean(START, START + room), "room %zu byte %zu", room, at);
			block[at] ^= 0x10;
		}
	}
}

/* By the last byte of the word before it, and the first. */
Test(hardened, the_word_before_a_block_is_anyones)
{
	block_word_t *word = block_word(START + 64);

	memset(block, 0, sizeof block);
	cr_assert_not(block_word_is_whole(word), "whoever asks has to look at the bitmap");
	object_leaves(START + 64);
	cr_assert(block_word_is_whole(word));
	block_begin(START + 64, block_end_number(START + 64));
	cr_assert(block_word_is_whole(word));
	cr_assert(block_is_moving(START + 64));
	block_seal_clean(START, 10, START + 64);
	cr_assert(block_word_is_whole(word));
	block_wipe(START, START + 64);
	cr_assert(block_word_is_whole(word));
	block[63] ^= 1;
	cr_assert_not(block_word_is_whole(word));
	block[63] ^= 1;
	block[56] ^= 1;
	cr_assert_not(block_word_is_whole(word));
}

/* Neither key is without effect. */
Test(hardened, numbers_differ_by_key_and_address)
{
	const block_word_t *a = block_word(START + 64), *b = block_word(START + 128);
	uint64_t of_a = block_number(a), of_b = block_number(b);

	cr_assert_neq(of_a, of_b);
	hardened_keys.factor += 2;
	cr_assert_neq(block_number(a) - of_a, block_number(b) - of_b);
	of_a = block_number(a);
	hardened_keys.mask ^= 1ull << 40;
	cr_assert_neq(block_number(a), of_a);
}

/* Of each length: each pointer is there once, and in its window. */
Test(hardened, a_shuffle_keeps_all)
{
	unsigned n, i, nr_moved = 0;
	void *p[64];

	for (n = 0; n <= 64; n++) {
		uint64_t seen = 0;

		for (i = 0; i < n; i++)
			p[i] = (void *)(uintptr_t)(i + 1);
		shuffle(p, n);
		for (i = 0; i < n; i++) {
			cr_assert_eq(((uintptr_t)p[i] - 1) / SHUFFLE_WINDOW, i / SHUFFLE_WINDOW);
			seen |= 1ull << ((uintptr_t)p[i] - 1);
			nr_moved += (uintptr_t)p[i] != i + 1;
		}
		cr_assert_eq(seen, n == 64 ? ~0ull : (1ull << n) - 1);
	}
	cr_assert_gt(nr_moved, 64 * 64 / 4);
}

/* Each place of a window is drawn for each pointer, about as often: 2,000 times each, give or take 5 times its deviation. */
Test(hardened, a_shuffle_prefers_no_place)
{
	unsigned nr[SHUFFLE_WINDOW][SHUFFLE_WINDOW] = {0}, round, i, k;
	void *p[SHUFFLE_WINDOW];

	for (round = 0; round < 2000 * SHUFFLE_WINDOW; round++) {
		for (i = 0; i < SHUFFLE_WINDOW; i++)
			p[i] = (void *)(uintptr_t)i;
		shuffle(p, SHUFFLE_WINDOW);
		for (i = 0; i < SHUFFLE_WINDOW; i++)
			nr[i][(uintptr_t)p[i]]++;
	}
	for (i = 0; i < SHUFFLE_WINDOW; i++)
		for (k = 0; k < SHUFFLE_WINDOW; k++)
			cr_assert(nr[i][k] > 1775 && nr[i][k] < 2225, "%u at %u: %u times", k, i, nr[i][k]);
}
