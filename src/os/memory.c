/* SPDX-License-Identifier: MIT */
/* The address space and its pages: the first two parts of os.h. */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "os/syscall.h"

/* Newer than Debian 12's headers, or than the oldest libc that we build on. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PIDFD_SELF_THREAD
#define PIDFD_SELF_THREAD (-10000)
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static void *map_result(long ret)
{
	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

static void *map_anon(uintptr_t hint, size_t size, int prot)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	return map_result(SYS(SYS_mmap, hint, size, prot, flags, -1, 0));
}

void *os_reserve(size_t size, size_t align, uintptr_t hint)
{
	char *p = map_anon(hint, size, PROT_NONE);
	size_t head, room;

	if (!p || align_down((uintptr_t)p, align) == (uintptr_t)p)
		return p;
	/* Not aligned: reserve enough to hold an aligned part and trim both ends. */
	os_unmap(p, size);
	room = size + align - os_page_size();
	p = map_anon(0, room, PROT_NONE);
	if (!p)
		return NULL;
	head = align_up((uintptr_t)p, align) - (uintptr_t)p;
	if (head)
		os_unmap(p, head);
	if (room > head + size)
		os_unmap(p + head + size, room - head - size);
	return p + head;
}

int os_commit(void *addr, size_t size)
{
	return (int)SYS(SYS_mprotect, addr, size, PROT_READ | PROT_WRITE, 0, 0, 0);
}

void *os_map(size_t size)
{
	return map_anon(0, size, PROT_READ | PROT_WRITE);
}

void *os_map_accounted(size_t size)
{
	return map_result(SYS(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

int os_unmap(void *addr, size_t size)
{
	return (int)SYS(SYS_munmap, addr, size, 0, 0, 0, 0);
}

void *os_remap(void *addr, size_t old_size, size_t new_size)
{
	return map_result(SYS(SYS_mremap, addr, old_size, new_size, MREMAP_MAYMOVE, 0, 0));
}

static int advise(void *addr, size_t size, int advice)
{
	return (int)SYS(SYS_madvise, addr, size, advice, 0, 0, 0);
}

int os_purge(void *addr, size_t size)
{
	return advise(addr, size, MADV_DONTNEED);
}

_Static_assert(sizeof(struct os_range) == sizeof(struct iovec) && offsetof(struct os_range, size) == offsetof(struct iovec, iov_len),
	       "the kernel reads them as such");

/* By one call: how many of the first ranges. What it answered may be an error. */
static unsigned purge_at_once(const struct os_range *ranges, unsigned n, long *answer)
{
	long ret = *answer = SYS(SYS_process_madvise, PIDFD_SELF_THREAD, ranges, n, MADV_DONTNEED, 0, 0);
	unsigned done = 0;

	while (done < n && ret >= (long)ranges[done].size)
		ret -= (long)ranges[done++].size;
	return done;
}

/*
 * Whatever the call refuses, the old one decides: that range may be locked, or the call unknown (before 6.15), for other
 * processes only (before 6.13), or filtered. Where the old one does what the new one refused, nobody asks again, unless it
 * was short of memory then, or had done a part. A kernel that does not tell the size of rseq's features is older (before 6.3), or
 * valgrind, which complains of calls that it does not know.
 */
unsigned os_purge_ranges(const struct os_range *ranges, unsigned n)
{
	static bool is_refused; /* atomic */
	bool try = n > 1 && !READ_ONCE(is_refused) && os_rseq_feature_size();
	long answer = 1;
	unsigned done = try ? purge_at_once(ranges, n, &answer) : 0;

	while (done < n && os_purge(ranges[done].addr, ranges[done].size) == 0)
		done++;
	if (unlikely(answer <= 0) && answer != -ENOMEM && answer != -EAGAIN && done)
		WRITE_ONCE(is_refused, true);
	return done;
}

bool os_count_resident(const void *addr, size_t size, size_t *nr_resident)
{
	unsigned char pages[PAGEBLOCK_PAGES];
	size_t i, n = 0, nr_pages = size / os_page_size();

	if (nr_pages > sizeof pages || SYS(SYS_mincore, addr, size, pages, 0, 0, 0) != 0)
		return false;
	for (i = 0; i < nr_pages; i++)
		n += pages[i] & 1;
	*nr_resident = n;
	return true;
}

int os_populate(void *addr, size_t size)
{
	return advise(addr, size, MADV_POPULATE_WRITE);
}

int os_lock(void *addr, size_t size)
{
	return (int)SYS(SYS_mlock, addr, size, 0, 0, 0, 0);
}

int os_unlock(void *addr, size_t size)
{
	return (int)SYS(SYS_munlock, addr, size, 0, 0, 0, 0);
}

int os_guard_hard(void *addr, size_t size)
{
	return (int)SYS(SYS_mprotect, addr, size, PROT_NONE, 0, 0, 0);
}

int os_guard(void *addr, size_t size)
{
	return advise(addr, size, MADV_GUARD_INSTALL) == 0 ? 0 : os_guard_hard(addr, size);
}

int os_unguard(void *addr, size_t size)
{
	/* Both: the guard may have been set by mprotect although the kernel knows the other way (locked memory). */
	int ret = advise(addr, size, MADV_GUARD_REMOVE);

	return ret && ret != -EINVAL ? ret : os_commit(addr, size);
}

enum answer { UNKNOWN, NO, YES };

/*
 * Emulators say yes to advice that they do not know: a page that was guarded has to read as zero afterwards. Locked memory
 * refuses markers, and lets them be removed: nothing is known then, nor is it without memory.
 */
static enum answer markers_work(void)
{
	size_t size = os_page_size();
	volatile char *page = os_map(size);
	enum answer answer = UNKNOWN;

	if (!page)
		return UNKNOWN;
	*page = 1;
	if (advise((void *)page, size, MADV_GUARD_INSTALL) == 0)
		answer = advise((void *)page, size, MADV_GUARD_REMOVE) == 0 && *page == 0 ? YES : NO;
	else if (advise((void *)page, size, MADV_GUARD_REMOVE) != 0)
		answer = NO;
	os_unmap((void *)page, size);
	return answer;
}

static long move_pages(void *addr, size_t size)
{
	return SYS(SYS_mremap, addr, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, 0);
}

/* qemu-user takes what stays behind for unmapped: it says that it purged it, and leaves it as it is. */
static enum answer moved_from_can_be_purged(void)
{
	size_t size = os_page_size();
	volatile char *page = os_map(size);
	enum answer answer;
	long moved;

	if (!page)
		return UNKNOWN;
	*page = 1;
	moved = move_pages((void *)page, size);
	if (map_result(moved)) {
		*page = 1;
		answer = advise((void *)page, size, MADV_DONTNEED) == 0 && *page ? NO : YES;
		os_unmap((void *)moved, size);
	} else {
		answer = moved == -ENOMEM ? UNKNOWN : NO; /* Linux before 5.7, a filter */
	}
	os_unmap((void *)page, size);
	return answer;
}

/* What was found out first counts. */
static bool finds(_Atomic int *known, enum answer (*find_out)(void))
{
	int k = atomic_load_explicit(known, memory_order_relaxed), unknown = UNKNOWN;

	if (unlikely(k == UNKNOWN)) {
		k = find_out();
		if (k != UNKNOWN && !atomic_compare_exchange_strong(known, &unknown, k))
			k = unknown;
	}
	return k == YES;
}

int os_guard_light(void *addr, size_t size)
{
	static _Atomic int known = UNKNOWN;

	return finds(&known, markers_work) ? advise(addr, size, MADV_GUARD_INSTALL) : -ENOSYS;
}

/* Advice that is refused to such mappings; of others it costs a huge page that the page is part of, which the move splits too. */
static bool is_locked(void *addr)
{
	return advise(addr, os_page_size(), MADV_COLD) == -EINVAL;
}

/* Out of a mapping that the program has locked nothing is moved: the kernel would unlock all that stays (MREMAP_DONTUNMAP). */
void *os_move_pages(void *addr, size_t size)
{
	static _Atomic int known = UNKNOWN;

	return finds(&known, moved_from_can_be_purged) && !is_locked(addr) ? map_result(move_pages(addr, size)) : NULL;
}

int os_open_guard(void *addr, size_t size, enum guard_kind kind)
{
	switch (kind) {
	case GUARD_LIGHT:
		return advise(addr, size, MADV_GUARD_REMOVE);
	case GUARD_HARD:
		return os_commit(addr, size);
	default:
		return 0;
	}
}

int os_seal(void *addr, size_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
	long ret = SYS(SYS_mmap, addr, size, PROT_NONE, flags, -1, 0);

	return ret == (long)addr ? 0 : (int)ret;
}

/* EAGAIN is RLIMIT_MEMLOCK's (mlockall(MCL_FUTURE)): no memory that may be had, and nothing that passes by itself. */
static long map_part(void *addr, size_t size, int flags, int fd, uint64_t offset)
{
	long ret = SYS(SYS_mmap, addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, offset);

	return ret == -EAGAIN ? -ENOMEM : ret;
}

/*
 * Made elsewhere, and moved over the range: mmap() with MAP_FIXED takes away what stands there before the file says no. A move
 * is refused before that, but where the kernel has no memory for itself: a hole that it left then is closed. Where there are no
 * addresses for it elsewhere it is made in place after all.
 */
int os_map_file(void *addr, size_t size, int fd, uint64_t offset)
{
	int closing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	long from = map_part(NULL, size, 0, fd, offset), ret;

	if (!map_result(from) && from != -ENOMEM)
		return (int)from;
	if (map_result(from))
		ret = SYS(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, addr, 0);
	else
		ret = map_part(addr, size, MAP_FIXED, fd, offset);
	if (ret == (long)addr)
		return 0;
	if (map_result(from))
		os_unmap((void *)from, size);
	SYS(SYS_mmap, addr, size, PROT_NONE, closing, -1, 0);
	return (int)ret;
}

int os_file_reserve(int fd, uint64_t offset, uint64_t size)
{
	long ret;

	do
		ret = SYS(SYS_fallocate, fd, 0, offset, size, 0, 0);
	while (ret == -EINTR);
	return (int)ret;
}

void os_file_punch(int fd, uint64_t offset, uint64_t size)
{
	SYS(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size, 0, 0);
}

void os_no_huge_pages(void *addr, size_t size)
{
	advise(addr, size, MADV_NOHUGEPAGE);
}

bool os_populate_huge(void *addr, size_t size)
{
	size_t page = os_page_size();
	unsigned char last = 0;

	if (advise(addr, size, MADV_HUGEPAGE))
		return false;
	*(volatile char *)addr = 0;
	os_no_huge_pages(addr, size);
	if (SYS(SYS_mincore, (char *)addr + size - page, page, &last, 0, 0, 0) == 0 && last & 1)
		return true;
	os_purge(addr, size); /* one small page is resident, or several */
	return false;
}

void os_split_huge(void *addr, size_t size)
{
	advise(addr, size, MADV_FREE);
}

void os_name(void *addr, size_t size, const char *name)
{
	SYS(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, size, name, 0);
}
