/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "has_shadow.h"
#include "os/os.h"
#include "os/place.h"

#define LOW_END ((uintptr_t)4 << 30)

Test(place, low_ranges)
{
	char *p = os_reserve_low(64 * MIB, 64 * MIB), *q;

	cr_assert(p);
	cr_assert_eq((uintptr_t)p % (64 * MIB), 0);
	cr_assert_leq((uintptr_t)p + 64 * MIB, LOW_END);
	q = os_reserve_low(64 * MIB, 64 * MIB);
	cr_assert(q && (q + 64 * MIB <= p || p + 64 * MIB <= q));
	cr_assert_eq(os_commit(p, 4096), 0);
	*p = 1;
	os_unmap(p, 64 * MIB);
	cr_assert_eq(os_reserve_low(64 * MIB, 64 * MIB), p, "from the top down: the same again");
}

/* Sanitizers have taken some of it. */
Test(place, low_ranges_end)
{
	size_t n = 0;

	while (os_reserve_low(256 * MIB, 256 * MIB))
		n++;
	cr_assert(n > 0 && n < 16);
	cr_assert_null(os_reserve_low(4 * GIB, 2 * MIB));
	while (os_reserve_low(2 * MIB, 2 * MIB))
		;
}

Test(place, no_addresses_at_all)
{
	struct rlimit none = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY}, before;
	void *p;

	getrlimit(RLIMIT_AS, &before);
	none.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_AS, &none);
	p = os_reserve_low(2 * MIB, 2 * MIB);
	setrlimit(RLIMIT_AS, &before);
	cr_assert_null(p);
}

/* The machine may have one node, and a kernel without them answers nothing. */
Test(place, nodes)
{
	char *p = os_map(1 * MIB);
	int ret = os_prefer_node(p, 1 * MIB, os_node());

	cr_assert(ret == 0 || ret == -ENOSYS || ret == -EPERM, "%d", ret);
	cr_assert_eq(os_prefer_node(p, 1 * MIB, MAX_NODE_ID + 1), -EINVAL);
	cr_assert_lt(os_prefer_node(p, 1 * MIB, MAX_NODE_ID), 0);
	memset(p, 1, 512 * KIB);
	cr_assert(os_is_on_node(p, 1 * MIB, os_node()));
	if (ret == 0)
		cr_assert_not(os_is_on_node(p, 1 * MIB, MAX_NODE_ID));
	cr_assert(os_is_on_node(p + 512 * KIB, 512 * KIB, MAX_NODE_ID), "of what is not resident nothing is known");
}

/* 16 TiB of huge pages: no pool has them. */
Test(place, huge_pages_that_are_not_there)
{
	size_t size = 16 * GIB * KIB;
	char *p = HAS_SHADOW ? NULL : os_reserve(size, PAGEBLOCK_SIZE, 0);
	void *there;

	if (HAS_SHADOW)
		cr_skip("a sanitizer has not so many addresses");
	cr_assert_not_null(p);
	cr_assert_eq(os_back_huge(p, size), -ENOMEM);
	there = mmap(p + PAGEBLOCK_SIZE, PAGEBLOCK_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	cr_assert(there == MAP_FAILED && errno == EEXIST, "the range is still reserved");
	cr_assert_null(os_map_huge(size, PAGEBLOCK_SIZE));
}

/* --- a mapping that is moved to a place: as huge pages are, with small ones ------------------------------- */

#define MOVED (2 * PAGEBLOCK_SIZE)

static bool stands(char *p)
{
	void *there = mmap(p, MOVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (there == MAP_FAILED)
		return errno == EEXIST;
	munmap(there, MOVED);
	return false;
}

/* No mapping merges with it. */
static void *map_alone(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

Test(place, moved_over)
{
	char *place = os_reserve(MOVED, PAGEBLOCK_SIZE, 0), *from = map_alone(MOVED);
	bool is_lost = true;

	from[0] = 1;
	cr_assert_eq(os_move_over(from, place, MOVED, &is_lost), 0);
	cr_assert(!is_lost && place[0] == 1);
	from = map_alone(MOVED);
	os_unmap(from, MOVED);
	cr_assert_eq(os_seal(place, MOVED), 0);
	cr_assert_eq(os_move_over(from, place, MOVED, &is_lost), -EFAULT, "there is nothing to be moved");
	cr_assert(!is_lost && stands(place), "what the kernel had taken away is reserved anew");
	os_unmap(place, MOVED);
	cr_assert_eq(mmap(place + PAGEBLOCK_SIZE, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
		     place + PAGEBLOCK_SIZE);
	cr_assert_eq(os_move_over((void *)1, place, MOVED, &is_lost), -EINVAL);
	cr_assert(is_lost, "another's mapping is there");
	cr_assert_eq(mmap(place, MOVED, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), place);
	cr_assert_eq(os_move_over((void *)1, place, MOVED, &is_lost), -EINVAL);
	cr_assert(is_lost, "of the same size");
	os_unmap(place, MOVED);
}

/* As many mappings as the process may have, but for those in alone[]. */
#define NR_ALONE 12
#define MANY ((size_t)8 << 30)

static bool fill_mappings(void *alone[NR_ALONE])
{
	char *p = os_reserve(MANY, PAGEBLOCK_SIZE, 0);
	size_t at;
	int i;

	for (i = 0; i < NR_ALONE; i++)
		alone[i] = map_alone(4096);
	for (at = 4096; p && at < MANY && mprotect(p + at, 4096, PROT_READ) == 0; at += 8192)
		;
	while (p && at < MANY && map_alone(4096))
		;
	return p && at < MANY;
}

/* The kernel refuses the move before it has taken anything away. */
Test(place, near_the_limit_of_mappings)
{
	char *place = HAS_SHADOW ? NULL : os_reserve(MOVED, PAGEBLOCK_SIZE, 0), *from;
	int nr_refused = 0, nr_lost = 0, nr_gone = 0, ret = -1;
	void *alone[NR_ALONE];
	bool is_full, is_lost;

	if (HAS_SHADOW)
		cr_skip("a sanitizer has not so many addresses, and maps some itself");
	is_full = fill_mappings(alone);
	for (int i = 0; i < NR_ALONE && ret; i++) {
		os_unmap(alone[i], 4096);
		from = map_alone(MOVED);
		if (!from)
			continue;
		ret = os_move_over(from, place, MOVED, &is_lost);
		nr_refused += ret == -ENOMEM;
		nr_lost += is_lost;
		nr_gone += !stands(place);
	}
	for (int i = 0; i < NR_ALONE; i++)
		os_unmap(alone[i], 4096); /* room for the test's own */
	if (!is_full)
		cr_skip("a process may have millions of mappings");
	cr_assert_gt(nr_refused, 3);
	cr_assert_eq(ret, 0);
	cr_assert_eq(nr_lost, 0);
	cr_assert_eq(nr_gone, 0);
}

/* A kernel without nodes answers no. */
Test(place, node_policy)
{
	unsigned long node0 = 1;

	cr_assert_not(os_has_node_policy());
	if (syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64) == 0)
		cr_assert(os_has_node_policy());
}
