/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "os/place.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch/arch.h"
#include "os/os.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define SYS(nr, a, b, c, d, e, f)                                                                  \
	arch_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

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
