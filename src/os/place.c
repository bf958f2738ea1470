/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "os/place.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "os/os.h"
#include "os/syscall.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

#define LOW_END ((uintptr_t)1 << 32)

static bool is_error(long ret)
{
	return ret < 0 && ret > -4096;
}

/* There, or not at all: -EEXIST where something stands. Before Linux 4.17 an address is a hint only. */
static long map_at(uintptr_t addr, size_t size, int prot)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	long ret = SYS(SYS_mmap, addr, size, prot, flags, -1, 0);

	if (is_error(ret) || (uintptr_t)ret == addr)
		return ret;
	os_unmap((void *)ret, size);
	return -EEXIST;
}

void *os_reserve_low(size_t size, size_t align)
{
	uintptr_t addr;
	long ret;

	if (size > LOW_END - align)
		return NULL;
	for (addr = align_down(LOW_END - size, align); addr; addr -= align) {
		ret = map_at(addr, size, PROT_NONE);
		if (!is_error(ret))
			return (void *)ret;
		if (ret != -EEXIST)
			return NULL;
	}
	return NULL;
}

unsigned os_node(void)
{
	unsigned node;

	return SYS(SYS_getcpu, NULL, &node, NULL, 0, 0, 0) == 0 ? node : 0;
}

#define LONG_BITS (8 * sizeof(long))

int os_prefer_node(void *addr, size_t size, unsigned node)
{
	unsigned long mask[(MAX_NODE_ID + 1) / LONG_BITS] = {0};

	if (node > MAX_NODE_ID)
		return -EINVAL;
	mask[node / LONG_BITS] = 1ul << (node % LONG_BITS);
	/* The kernel takes a bit less than it is told. */
	return (int)SYS(SYS_mbind, addr, size, MPOL_PREFERRED, mask, MAX_NODE_ID + 2, 0);
}

bool os_has_node_policy(void)
{
	int mode = MPOL_DEFAULT;

	return SYS(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0, 0) == 0 && mode != MPOL_DEFAULT;
}

#define PAGES_AT_ONCE 64

bool os_is_on_node(void *addr, size_t size, unsigned node)
{
	char *page = addr, *end = page + size;
	void *pages[PAGES_AT_ONCE];
	int status[PAGES_AT_ONCE];
	size_t n, i;

	while (page < end) {
		for (n = 0; n < PAGES_AT_ONCE && page < end; n++, page += os_page_size())
			pages[n] = page;
		if (SYS(SYS_move_pages, 0, n, pages, NULL, status, 0) != 0)
			return true;
		for (i = 0; i < n; i++)
			if (status[i] >= 0 && (unsigned)status[i] != node)
				return false;
	}
	return true;
}

/* Without MAP_NORESERVE: the pool's pages are set aside for the mapping. */
static long map_huge(void *addr, size_t size, size_t page_size, int flags)
{
	flags |= MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)(ilog2(page_size) << MAP_HUGE_SHIFT);
	return SYS(SYS_mmap, addr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* Mapped, and without access: so is what nobody has touched. A kernel before 5.14 knows the former alone. */
static bool is_reserved(uintptr_t addr, size_t size)
{
	unsigned char pages[PAGEBLOCK_PAGES];
	uintptr_t end = addr + size;

	for (; addr < end; addr += PAGEBLOCK_SIZE)
		if (SYS(SYS_mincore, addr, PAGEBLOCK_SIZE, pages, 0, 0, 0) != 0 ||
		    SYS(SYS_madvise, addr, os_page_size(), MADV_POPULATE_READ, 0, 0, 0) != -EINVAL)
			return false;
	return true;
}

/*
 * Near vm.max_map_count the kernel refuses a move before it has taken anything away. Else it has: what it left is reserved anew,
 * unless somebody was there first. Nobody but who reserves whole pageblocks at that moment would be taken for us.
 */
static bool is_still_ours(uintptr_t addr, size_t size)
{
	long ret = map_at(addr, size, PROT_NONE);

	return !is_error(ret) || (ret == -EEXIST && is_reserved(addr, size));
}

int os_move_over(void *from, void *to, size_t size, bool *is_lost)
{
	long ret = SYS(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to, 0);

	*is_lost = false;
	if (ret == (long)to)
		return 0;
	os_unmap(from, size);
	*is_lost = !is_still_ours((uintptr_t)to, size);
	return (int)ret;
}

/* Linux before 5.16 does not move huge pages, and has taken away what stood at the place by the time it says so: once. */
static _Atomic bool cannot_move;

/*
 * Made elsewhere, and moved over the range: mmap() that puts huge pages there at once takes away what stands there before it
 * looks whether the pool has some.
 */
int os_back_huge(void *addr, size_t size)
{
	bool is_lost;
	long from;
	int ret;

	if (atomic_load_explicit(&cannot_move, memory_order_relaxed))
		return -ENOMEM;
	from = map_huge(NULL, size, PAGEBLOCK_SIZE, 0);
	if (is_error(from))
		return -ENOMEM;
	ret = os_move_over((void *)from, addr, size, &is_lost);
	if (ret && ret != -ENOMEM)
		atomic_store_explicit(&cannot_move, true, memory_order_relaxed);
	return is_lost ? -EEXIST : ret ? -ENOMEM : 0;
}

void *os_map_huge(size_t size, size_t page_size)
{
	long ret = map_huge(NULL, size, page_size, 0);

	return is_error(ret) ? NULL : (void *)ret;
}
