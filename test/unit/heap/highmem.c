/* SPDX-License-Identifier: MIT */
/* Pools in a file, which is a real one; its calls fail at will. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_os.h"
#include "boot/boot.h"
#include "heap/highmem.h"
#include "heap/pool.h"
#include "page/limit.h"

#define BLOCK HIGHMEM_BLOCK

static int fd;

static void setup(void)
{
	fd = memfd_create("highmem", MFD_CLOEXEC);
	cr_assert_geq(fd, 0);
}

TestSuite(highmem, .init = setup);

static struct bslab_highmem *create(unsigned nr_blocks, unsigned nr_slots)
{
	int error = 1;
	struct bslab_highmem *h = highmem_create("test", fd, nr_blocks * (uint64_t)BLOCK, nr_slots * BLOCK, &error);

	cr_assert(h);
	cr_assert_eq(error, 0);
	return h;
}

static uint64_t get(struct bslab_highmem *h, size_t size)
{
	uint64_t handle = 0;
	int error;

	cr_assert_eq(highmem_alloc(h, size, &handle, &error), HIGHMEM_GOOD);
	cr_assert_eq(error, 0, "%zu: %d", size, error);
	cr_assert(handle);
	return handle;
}

static int error_of_alloc(struct bslab_highmem *h, size_t size)
{
	uint64_t handle;
	int error;

	cr_assert_eq(highmem_alloc(h, size, &handle, &error), HIGHMEM_GOOD);
	return error;
}

static void *map(struct bslab_highmem *h, uint64_t handle)
{
	void *p;
	int error = 1;

	cr_assert_eq(highmem_map(h, handle, &p, &error), HIGHMEM_GOOD);
	cr_assert(p, "error %d", error);
	cr_assert_eq(error, 0);
	return p;
}

static int error_of_map(struct bslab_highmem *h, uint64_t handle)
{
	void *p;
	int error = 0;

	cr_assert_eq(highmem_map(h, handle, &p, &error), HIGHMEM_GOOD);
	cr_assert_null(p);
	return error;
}

static void unmap(struct bslab_highmem *h, uint64_t handle)
{
	cr_assert_eq(highmem_unmap(h, handle), HIGHMEM_GOOD);
}

static void put(struct bslab_highmem *h, uint64_t handle)
{
	cr_assert_eq(highmem_free(h, handle), HIGHMEM_GOOD);
}

static struct highmem_info info_of(struct bslab_highmem *h)
{
	struct highmem_info info;

	highmem_snapshot(h, &info);
	return info;
}

static size_t size_of(struct bslab_highmem *h, uint64_t handle)
{
	size_t size = 0;

	cr_assert_eq(highmem_size(h, handle, &size), HIGHMEM_GOOD);
	return size;
}

static uint64_t file_bytes(void)
{
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static const size_t sizes[] = {0, 1, 64, 65, 100, 1000, 4096, 5000, 32 * KIB, 32 * KIB + 1,
			       50000, 100000, MIB / 2, 700000, MIB, MIB + 1, 2 * MIB};
#define NR_SIZES (sizeof sizes / sizeof *sizes)

Test(highmem, every_size)
{
	struct bslab_highmem *h = create(64, 3);
	uint64_t handle[NR_SIZES][3];
	unsigned i, k;

	for (i = 0; i < NR_SIZES; i++)
		for (k = 0; k < 3; k++) {
			char *p;

			handle[i][k] = get(h, sizes[i]);
			cr_assert_geq(size_of(h, handle[i][k]), sizes[i]);
			p = map(h, handle[i][k]);
			cr_assert_eq((uintptr_t)p % 16, 0);
			memset(p, (int)(i * 3 + k), size_of(h, handle[i][k]));
			unmap(h, handle[i][k]);
		}
	for (i = 0; i < NR_SIZES; i++)
		for (k = 0; k < 3; k++) {
			const char *p = map(h, handle[i][k]);
			size_t size = size_of(h, handle[i][k]);

			cr_assert(p[0] == (int)(i * 3 + k) && memcmp(p, p + 1, size - 1) == 0, "%zu", sizes[i]);
			unmap(h, handle[i][k]);
		}
	cr_assert_gt(info_of(h).nr_misses, 20);
	for (i = 0; i < NR_SIZES; i++)
		for (k = 0; k < 3; k++)
			put(h, handle[i][k]);
	cr_assert_eq(info_of(h).nr_objects, 0);
	cr_assert_eq(info_of(h).object_bytes, 0);
	cr_assert_eq(info_of(h).file_bytes, BLOCK, "one block is kept");
	cr_assert(highmem_destroy(h));
}

/* Waste: below 1/8 up to 32 KiB; above, what is left when 2 MiB are divided. */
Test(highmem, sizes_fit)
{
	struct bslab_highmem *h = create(1, 1);

	for (size_t size = 1; size <= BLOCK; size += size / 7 + 1) {
		uint64_t handle = get(h, size);
		size_t have = size_of(h, handle);

		cr_assert_geq(have, size);
		if (size > SMALL_MAX)
			cr_assert_eq(BLOCK / have, BLOCK / align_up(size, 16));
		else if (size >= 128)
			cr_assert_leq(have, size + size / 8 + 16);
		put(h, handle);
	}
	cr_assert(highmem_destroy(h));
}

/* The whole block is used, each object once. */
Test(highmem, a_block_is_filled)
{
	struct bslab_highmem *h = create(1, 1);
	static uint64_t handle[BLOCK / 64];
	size_t n, i;

	for (n = 0; n < BLOCK / 64; n++) {
		handle[n] = get(h, 64);
		memcpy(map(h, handle[n]), &handle[n], 8);
		unmap(h, handle[n]);
	}
	cr_assert_eq(error_of_alloc(h, 64), -ENOSPC);
	cr_assert_eq(error_of_alloc(h, 5000), -ENOSPC);
	for (i = 0; i < n; i++) {
		cr_assert_eq(*(uint64_t *)map(h, handle[i]), handle[i]);
		unmap(h, handle[i]);
	}
	put(h, handle[777]);
	cr_assert_eq(get(h, 50), handle[777], "the only one that is free");
	for (i = 0; i < n; i++)
		put(h, handle[i]);
	put(h, get(h, 5000)); /* the block that was kept gives way */
	cr_assert(highmem_destroy(h));
}

/* What was freed comes again, all of it and once each. */
Test(highmem, objects_come_again)
{
	struct bslab_highmem *h = create(2, 1);
	uint64_t handle[130], again[130];
	unsigned i, k;

	for (i = 0; i < 130; i++)
		handle[i] = get(h, 1000);
	for (i = 0; i < 129; i++)
		put(h, handle[i]);
	for (i = 0; i < 129; i++) {
		unsigned nr_same = 0;

		again[i] = get(h, 1000);
		for (k = 0; k < 129; k++)
			nr_same += again[i] == handle[k];
		for (k = 0; k < i; k++)
			cr_assert_neq(again[i], again[k]);
		cr_assert_eq(nr_same, 1, "%u", i);
	}
	cr_assert(highmem_destroy(h));
}

Test(highmem, a_block_that_comes_free_is_given_back)
{
	struct bslab_highmem *h = create(16, 2);
	uint64_t handle[10];
	unsigned i;

	for (i = 0; i < 10; i++) {
		handle[i] = get(h, 2 * MIB);
		memset(map(h, handle[i]), 1, 2 * MIB);
		unmap(h, handle[i]);
	}
	cr_assert_eq(file_bytes(), 20 * MIB);
	cr_assert_eq(info_of(h).file_bytes, 20 * MIB);
	for (i = 0; i < 9; i++)
		put(h, handle[i]);
	cr_assert_eq(file_bytes(), 4 * MIB, "one is kept");
	cr_assert_eq(info_of(h).file_bytes, 4 * MIB);
	handle[0] = get(h, MIB);
	cr_assert_leq(file_bytes(), 6 * MIB);
	cr_assert_eq(*(char *)map(h, handle[9]), 1);
	unmap(h, handle[9]);
	cr_assert(highmem_destroy(h));
	cr_assert_leq(file_bytes(), 6 * MIB, "the file stays");
}

/* Its room in the file serves any kind: a disk that is full otherwise has it, and no call of the file system is needed. */
Test(highmem, the_block_that_is_kept_serves_another_kind)
{
	struct bslab_highmem *h = create(8, 2);
	uint64_t a = get(h, 2 * MIB), b = get(h, 2 * MIB);

	memset(map(h, a), 1, 2 * MIB);
	unmap(h, a);
	map(h, b);
	put(h, a);
	fake_fail_at(1u << FAKE_FILE, 1, true);
	a = get(h, 100);
	fake_fail_at(FAKE_ALL, 0, false);
	cr_assert_eq(info_of(h).file_bytes, 4 * MIB);
	memset(map(h, a), 2, 100);
	unmap(h, a);
	unmap(h, b);
	put(h, a);
	put(h, b);
	cr_assert_eq(info_of(h).file_bytes, BLOCK);
	cr_assert(highmem_destroy(h));
}

/* --- the window --------------------------------------------------------------------------------------------------------- */

static unsigned nr_in_window(struct bslab_highmem *h, const uint64_t *handle, unsigned nr)
{
	uint64_t before = info_of(h).nr_hits;

	for (unsigned i = 0; i < nr; i++) {
		map(h, handle[i]);
		unmap(h, handle[i]);
	}
	return (unsigned)(info_of(h).nr_hits - before);
}

static void get_and_show(struct bslab_highmem *h, uint64_t *handle, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		handle[i] = get(h, 2 * MIB);
	cr_assert_eq(nr_in_window(h, handle, nr), 0);
}

Test(highmem, a_full_window)
{
	struct bslab_highmem *h = create(8, 2);
	uint64_t a = get(h, 2 * MIB), b = get(h, 2 * MIB), c = get(h, 2 * MIB);
	void *p = map(h, a);

	map(h, b);
	cr_assert_eq(error_of_map(h, c), -EAGAIN);
	cr_assert_eq(map(h, a), p, "maps nest");
	unmap(h, a);
	cr_assert_eq(error_of_map(h, c), -EAGAIN);
	unmap(h, a);
	cr_assert_eq(map(h, c), p, "in its place");
	cr_assert_eq(error_of_map(h, a), -EAGAIN);
	cr_assert_eq(info_of(h).nr_maps, 2);
	unmap(h, b);
	unmap(h, c);
	cr_assert_eq(info_of(h).nr_maps, 0);
	cr_assert(highmem_destroy(h));
}

/* A map that finds no slot looks at none, and forgets nothing of what was used. */
Test(highmem, a_full_window_is_known)
{
	struct bslab_highmem *h = create(8, 3);
	uint64_t handle[4], second = get(h, 100);
	unsigned i;

	get_and_show(h, handle, 3);
	handle[3] = get(h, 2 * MIB);
	cr_assert_eq(h->nr_busy, 0);
	for (i = 0; i < 3; i++)
		map(h, handle[i]);
	map(h, handle[0]);
	cr_assert_eq(h->nr_busy, 3);
	for (i = 0; i < 3; i++)
		cr_assert(h->slot[i].was_used);
	cr_assert_eq(error_of_map(h, handle[3]), -EAGAIN);
	for (i = 0; i < 3; i++)
		cr_assert(h->slot[i].was_used);
	unmap(h, handle[0]);
	cr_assert_eq(h->nr_busy, 3);
	unmap(h, handle[0]);
	cr_assert_eq(h->nr_busy, 2);
	map(h, second);
	cr_assert_eq(h->nr_busy, 3);
	unmap(h, second);
	unmap(h, handle[1]);
	unmap(h, handle[2]);
	cr_assert_eq(h->nr_busy, 0);
	cr_assert(highmem_destroy(h));
}

Test(highmem, what_is_used_stays_in_the_window)
{
	struct bslab_highmem *h = create(16, 3);
	uint64_t hot = get(h, 2 * MIB), other[10];
	unsigned i, round;

	for (i = 0; i < 10; i++)
		other[i] = get(h, 2 * MIB);
	map(h, hot);
	unmap(h, hot);
	for (round = 0; round < 100; round++) {
		uint64_t before = info_of(h).nr_misses;

		map(h, hot);
		unmap(h, hot);
		if (round > 2)
			cr_assert_eq(info_of(h).nr_misses, before);
		map(h, other[round % 10]);
		unmap(h, other[round % 10]);
	}
	cr_assert_gt(info_of(h).nr_hits, 90);
	cr_assert(highmem_destroy(h));
}

/* No block goes out of the window for another while there is a slot without one, wherever the hand is. */
Test(highmem, an_empty_slot_comes_first)
{
	struct bslab_highmem *h = create(8, 3);
	uint64_t handle[4];

	get_and_show(h, handle, 3);
	put(h, handle[2]);
	put(h, handle[1]); /* the third slot is empty, and the hand is at the first */
	handle[1] = get(h, 2 * MIB);
	handle[2] = get(h, 2 * MIB);
	map(h, handle[2]);
	unmap(h, handle[2]);
	cr_assert_eq(nr_in_window(h, handle, 1), 1);
	cr_assert(highmem_destroy(h));
}

/* The slot of a block that is gone is nobody's: another block that gets the header is not taken for it. */
Test(highmem, a_block_that_goes_leaves_its_slot)
{
	struct bslab_highmem *h = create(8, 2);
	uint64_t handle[4];
	unsigned i;

	get_and_show(h, handle, 2);
	put(h, handle[0]);
	put(h, handle[1]); /* the first gives way */
	for (i = 0; i < 4; i++) {
		handle[i] = get(h, 2 * MIB);
		*(uint64_t *)map(h, handle[i]) = handle[i];
		unmap(h, handle[i]);
	}
	for (i = 0; i < 4; i++) {
		cr_assert_eq(*(uint64_t *)map(h, handle[i]), handle[i]);
		unmap(h, handle[i]);
		cr_assert_leq(h->nr_shown, h->nr_slots);
		for (unsigned k = 0; k < h->nr_slots; k++)
			cr_assert(!h->slot[k].block || h->slot[k].block->slot == k + 1);
	}
	cr_assert(highmem_destroy(h));
}

/* What nothing is mapped in goes all at once, becomes one reservation, and the map is tried again. */
Test(highmem, a_refused_mapping_empties_the_window)
{
	struct bslab_highmem *h = create(8, 4);
	uint64_t handle[5];
	char *p;

	get_and_show(h, handle, 4);
	handle[4] = get(h, 2 * MIB);
	p = map(h, handle[1]);
	*p = 17;
	fake_fail_at(1u << FAKE_FILE, 1, false);
	map(h, handle[4]);
	cr_assert_eq(fake_count(FAKE_RESERVED) * BSLAB_PAGE_SIZE, 4 * MIB);
	cr_assert_eq(fake_page(p), FAKE_COMMITTED);
	cr_assert_eq(*p, 17);
	unmap(h, handle[1]);
	unmap(h, handle[4]);
	cr_assert_eq(nr_in_window(h, handle, 5), 1, "handle[1]; the last went for the fourth");
	/* What cannot be reserved again stays mapped, and is nobody's. */
	handle[0] = get(h, 2 * MIB);
	fake_fail_at(1u << FAKE_FILE | 1u << FAKE_MAP, 1, true);
	cr_assert_eq(error_of_map(h, handle[0]), -ENOMEM);
	fake_fail_at(FAKE_ALL, 0, false);
	p = map(h, handle[1]);
	cr_assert_eq(*p, 17);
	unmap(h, handle[1]);
	cr_assert(highmem_destroy(h));
}

Test(highmem, no_more_slots_than_blocks)
{
	struct bslab_highmem *h = create(4, 8);

	cr_assert_eq(info_of(h).window_bytes, 4 * BLOCK);
	cr_assert(highmem_destroy(h));
}

/* --- misuse --------------------------------------------------------------------------------------------------------------- */

Test(highmem, misuse)
{
	struct bslab_highmem *h = create(8, 2), *other = create(8, 2);
	uint64_t a = get(h, 3000), b = get(h, 3000);
	void *p;
	size_t size;
	int error;

	cr_assert_eq(highmem_unmap(h, a), HIGHMEM_UNMAPPED);
	cr_assert_eq(highmem_free(other, a), HIGHMEM_FOREIGN);
	cr_assert_eq(highmem_map(h, 0, &p, &error), HIGHMEM_FOREIGN);
	cr_assert_null(p);
	cr_assert_eq(highmem_size(h, a | 0xff, &size), HIGHMEM_FOREIGN, "a block behind the last");
	cr_assert_eq(highmem_size(h, a + 1, &size), HIGHMEM_FREE);
	cr_assert_eq(highmem_size(h, a | 0x7fffull << 32, &size), HIGHMEM_FREE, "an object behind the last");
	put(h, a);
	cr_assert_eq(highmem_free(h, a), HIGHMEM_FREE);
	cr_assert_eq(highmem_map(h, a, &p, &error), HIGHMEM_FREE);
	map(h, b);
	cr_assert_eq(highmem_free(h, b), HIGHMEM_MAPPED);
	unmap(h, b);
	put(h, b);
	cr_assert(highmem_destroy(other));
	cr_assert_not(highmem_destroy(other));
	cr_assert_eq(highmem_alloc(other, 1, &a, &error), HIGHMEM_DESTROYED);
	cr_assert_eq(highmem_free(other, b), HIGHMEM_DESTROYED);
	cr_assert(highmem_destroy(h));
}

/* A handle names its pool, however many there were before. */
Test(highmem, live_pools_have_ids_of_their_own)
{
	struct bslab_highmem *first = create(1, 1), *h[NR_HIGHMEM_IDS - 1];
	uint64_t a = get(first, 100), b;
	unsigned i;
	int error;

	for (i = 0; i < 2 * NR_HIGHMEM_IDS; i++) {
		h[0] = create(1, 1);
		b = get(h[0], 100);
		cr_assert_neq(a, b);
		cr_assert_eq(highmem_free(h[0], a), HIGHMEM_FOREIGN);
		cr_assert(highmem_destroy(h[0]));
	}
	for (i = 0; i < NR_HIGHMEM_IDS - 1; i++)
		h[i] = create(1, 1);
	cr_assert_null(highmem_create("x", fd, BLOCK, BLOCK, &error));
	cr_assert_eq(error, -EMFILE);
	cr_assert(highmem_destroy(h[100]));
	cr_assert_null(highmem_create("x", -1, BLOCK, BLOCK, &error));
	cr_assert_eq(error, -EBADF);
	h[100] = create(1, 1);
	cr_assert_eq(highmem_free(h[100], a), HIGHMEM_FOREIGN);
}

/* Each object has its own maps, whatever others of its block have. */
Test(highmem, maps_are_of_objects)
{
	struct bslab_highmem *h = create(8, 2);
	uint64_t a = get(h, 3000), b = get(h, 3000), last = get(h, 2 * MIB);

	map(h, a);
	cr_assert_eq(highmem_unmap(h, b), HIGHMEM_UNMAPPED);
	cr_assert_eq(highmem_free(h, a), HIGHMEM_MAPPED);
	put(h, b);
	unmap(h, a);
	cr_assert_eq(highmem_unmap(h, a), HIGHMEM_UNMAPPED);
	put(h, a);
	/* What comes into the slot then starts from none. */
	a = get(h, 64);
	map(h, a);
	cr_assert_eq(highmem_unmap(h, last), HIGHMEM_UNMAPPED);
	map(h, last);
	cr_assert_eq(highmem_free(h, last), HIGHMEM_MAPPED);
	cr_assert_eq(info_of(h).nr_maps, 2);
	unmap(h, last);
	cr_assert_eq(highmem_unmap(h, last), HIGHMEM_UNMAPPED);
	unmap(h, a);
	cr_assert_eq(info_of(h).nr_maps, 0);
	cr_assert(highmem_destroy(h));
}

Test(highmem, as_many_maps_as_are_counted)
{
	struct bslab_highmem *h = create(8, 1);
	uint64_t a = get(h, 3000), b = get(h, 3000);
	unsigned i;

	for (i = 0; i < UINT16_MAX; i++)
		map(h, a);
	cr_assert_eq(error_of_map(h, a), -EAGAIN);
	map(h, b);
	unmap(h, b);
	for (i = 0; i < UINT16_MAX; i++)
		unmap(h, a);
	cr_assert_eq(highmem_unmap(h, a), HIGHMEM_UNMAPPED);
	cr_assert(highmem_destroy(h));
}

/* --- no memory, no room --------------------------------------------------------------------------------------------------- */

Test(highmem, each_call_fails)
{
	unsigned n;
	int error;

	for (n = 1; n < 4; n++) {
		fake_fail_at(1u << FAKE_RESERVE | 1u << FAKE_MAP | 1u << FAKE_FILE, n, false);
		error = 0;
		cr_assert_null(highmem_create("x", fd, 8 * BLOCK, BLOCK, &error), "%u", n);
		cr_assert_eq(error, -ENOMEM);
	}
	fake_fail_at(FAKE_ALL, 0, false);
	cr_assert_null(highmem_create("x", -1, 8 * BLOCK, BLOCK, &error));
	cr_assert_eq(error, -EBADF);
	cr_assert_eq(fake_count(FAKE_RESERVED) + fake_count(FAKE_COMMITTED), 0, "all of it was given back");
}

Test(highmem, full_disk)
{
	struct bslab_highmem *h = create(8, 1);
	uint64_t a = get(h, 100), b = get(h, 2 * MIB);

	fake_fail_at(1u << FAKE_FILE, 1, true);
	cr_assert_eq(error_of_alloc(h, 2 * MIB), -ENOSPC);
	cr_assert_eq(file_bytes(), 4 * MIB, "what the file got is given back");
	cr_assert_eq(info_of(h).file_bytes, 4 * MIB);
	cr_assert_eq(error_of_map(h, a), -ENOMEM);
	put(h, get(h, 100));
	fake_fail_at(FAKE_ALL, 0, false);
	memset(map(h, a), 1, 100);
	unmap(h, a);
	/* A slot whose block went for one that could not be mapped is nobody's. */
	fake_fail_at(1u << FAKE_FILE, 1, true);
	cr_assert_eq(error_of_map(h, b), -ENOMEM);
	fake_fail_at(FAKE_ALL, 0, false);
	cr_assert_eq(*(char *)map(h, a), 1);
	unmap(h, a);
	cr_assert(highmem_destroy(h));
}

Test(highmem, no_memory_for_headers)
{
	struct bslab_highmem *h = create(64, 1);
	int error;

	fake_fail_at(1u << FAKE_MAP, 1, true);
	while (boot_alloc(64, 8))
		;
	cr_assert_eq(error_of_alloc(h, 64), -ENOMEM);
	cr_assert_null(highmem_create("x", fd, BLOCK, BLOCK, &error));
	cr_assert_eq(error, -ENOMEM);
	fake_fail_at(FAKE_ALL, 0, false);
	put(h, get(h, 64));
}

/* A page of numbers for 1 GiB, and of counts as objects need; limits and the report know. */
Test(highmem, tables_are_charged)
{
	struct bslab_highmem *h;
	size_t before = pools.map_bytes;
	uint64_t a;
	int error;

	h = create(2000, 2);
	cr_assert_eq(pools.map_bytes - before, 4096, "slots");
	cr_assert(fake_is_small(h->count) && fake_is_small(h->block) && fake_is_small(h->slot), "a page is a page");
	a = get(h, 64);
	cr_assert_eq(pools.map_bytes - before, 2 * 4096, "numbers");
	map(h, a);
	unmap(h, a);
	map(h, get(h, 2 * MIB));
	cr_assert_eq(pools.map_bytes - before, 19 * 4096, "counts of 32,768 objects, and of 1");
	h->nr_numbers = h->lowest = 511; /* as if so many had been used */
	get(h, 2 * MIB);
	cr_assert_eq(pools.map_bytes - before, 19 * 4096);
	limit_set(0, 4096);
	cr_assert_eq(error_of_alloc(h, 2 * MIB), -ENOMEM);
	cr_assert_null(highmem_create("x", fd, BLOCK, BLOCK, &error));
	cr_assert_eq(error, -ENOMEM);
	cr_assert_eq(pools.map_bytes - before, 19 * 4096);
	limit_set(0, 0);
	get(h, 2 * MIB);
	cr_assert_eq(pools.map_bytes - before, 20 * 4096);
	cr_assert(highmem_destroy(h));
	cr_assert_eq(pools.map_bytes, before);
	/* Counts that are refused: the block is not shown. */
	h = create(8, 1);
	a = get(h, 64);
	limit_set(0, 4096);
	cr_assert_eq(error_of_map(h, a), -ENOMEM);
	limit_set(0, 0);
	map(h, a);
	unmap(h, a);
	cr_assert(highmem_destroy(h));
	cr_assert_eq(pools.map_bytes, before);
}

/* --- fork ----------------------------------------------------------------------------------------------------------------- */

Test(highmem, fork)
{
	struct bslab_highmem *h = create(8, 2);
	uint64_t a = get(h, 100);

	for (int child = 0; child < 2; child++) {
		pool_fork_prepare();
		highmem_fork_prepare();
		cr_assert(lock_is_held(&h->lock));
		highmem_fork_done(child);
		pool_fork_done(child);
		cr_assert_not(lock_is_held(&h->lock));
		map(h, a);
		unmap(h, a);
	}
	cr_assert(highmem_destroy(h));
}
