/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "os/lock.h"

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
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif
#define MEMBARRIER_PRIVATE_EXPEDITED_RSEQ (1 << 7)
#define MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_RSEQ (1 << 8)

#define SYS(nr, a, b, c, d, e, f)                                                                  \
	arch_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

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

/* By one call: how many of the first ranges. */
static unsigned purge_at_once(const struct os_range *ranges, unsigned n)
{
	long ret = SYS(SYS_process_madvise, PIDFD_SELF_THREAD, ranges, n, MADV_DONTNEED, 0, 0);
	unsigned done = 0;

	while (done < n && ret >= (long)ranges[done].size)
		ret -= (long)ranges[done++].size;
	return done;
}

/*
 * Whatever the call refuses, the old one decides: that range may be locked, or the call unknown (before 6.15), for other
 * processes only (before 6.13), or filtered. Where the old one does what the new one refused, nobody asks again. A kernel
 * that does not tell the size of rseq's features is older (before 6.3), or valgrind, which complains of calls that it does not know.
 */
unsigned os_purge_ranges(const struct os_range *ranges, unsigned n)
{
	static bool is_refused; /* atomic */
	bool try = n > 1 && !READ_ONCE(is_refused) && os_rseq_feature_size();
	unsigned done = try ? purge_at_once(ranges, n) : 0, at_once = done;

	while (done < n && os_purge(ranges[done].addr, ranges[done].size) == 0)
		done++;
	if (try && done > at_once)
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

	return finds(&known, markers_work) ? advise(addr, size, MADV_GUARD_INSTALL) : -EINVAL;
}

void *os_move_pages(void *addr, size_t size)
{
	static _Atomic int known = UNKNOWN;

	return finds(&known, moved_from_can_be_purged) ? map_result(move_pages(addr, size)) : NULL;
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

size_t os_page_size(void)
{
	static _Atomic size_t size;
	size_t s = atomic_load_explicit(&size, memory_order_relaxed);

	if (!s) {
		s = getauxval(AT_PAGESZ);
		atomic_store_explicit(&size, s, memory_order_relaxed);
	}
	return s;
}

unsigned os_nr_cpus(void)
{
	/* The kernel returns how many bytes its CPU mask has: it is sized by the CPUs that are possible. */
	unsigned long mask[NR_CPU_SLOTS / (8 * sizeof(long))];
	long bytes = SYS(SYS_sched_getaffinity, 0, sizeof mask, mask, 0, 0, 0);

	return bytes > 0 ? (unsigned)bytes * 8 : NR_CPU_SLOTS;
}

unsigned os_nr_cpus_allowed(void)
{
	unsigned long mask[NR_CPU_SLOTS / (8 * sizeof(long))];
	long bytes = SYS(SYS_sched_getaffinity, 0, sizeof mask, mask, 0, 0, 0), i;
	unsigned n = 0;

	for (i = 0; i < bytes / (long)sizeof(long); i++)
		n += (unsigned)__builtin_popcountl(mask[i]);
	return n ? n : 1;
}

static size_t limit_of(int resource)
{
	struct rlimit limit;

	if (SYS(SYS_prlimit64, 0, resource, NULL, &limit, 0, 0) != 0)
		return SIZE_MAX;
	return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : (size_t)limit.rlim_cur;
}

size_t os_address_space_limit(void)
{
	return limit_of(RLIMIT_AS);
}

size_t os_data_limit(void)
{
	return limit_of(RLIMIT_DATA);
}

/* Set by the dynamic loader before anything else: points at argc. NULL-tested, since a static program may lack it. */
extern void *__libc_stack_end __attribute__((weak));

static char **process_environment(void)
{
	char **p;

	if (environ)
		return environ;
	if (!&__libc_stack_end || !__libc_stack_end)
		return NULL;
	p = (char **)__libc_stack_end;
	return p + 1 + *(long *)p + 1; /* argc, argv[argc], NULL */
}

const char *os_env(const char *name)
{
	char **env = process_environment();
	size_t i;

	if (!env || getauxval(AT_SECURE))
		return NULL;
	for (; *env; env++) {
		for (i = 0; name[i] && (*env)[i] == name[i]; i++)
			;
		if (!name[i] && (*env)[i] == '=')
			return *env + i + 1;
	}
	return NULL;
}

static int barrier(int command, int registration)
{
	long ret = SYS(SYS_membarrier, command, 0, 0, 0, 0, 0);

	if (ret == -EPERM) { /* not registered yet */
		ret = SYS(SYS_membarrier, registration, 0, 0, 0, 0, 0);
		if (ret == 0)
			ret = SYS(SYS_membarrier, command, 0, 0, 0, 0, 0);
	}
	return (int)ret;
}

bool os_has_barrier(void)
{
	long commands;

	if (os_is_single_threaded())
		return SYS(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0) == 0;
	commands = SYS(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0, 0, 0, 0);
	return commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED;
}

int os_barrier(void)
{
	return barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

int os_barrier_rseq(void)
{
	return barrier(MEMBARRIER_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_RSEQ);
}

void os_prepare_barrier_rseq(void)
{
	if (os_is_single_threaded())
		SYS(SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0, 0, 0, 0);
}

int os_cpu(void)
{
	unsigned cpu;

	return SYS(SYS_getcpu, &cpu, NULL, NULL, 0, 0, 0) == 0 ? (int)cpu : -1;
}

size_t os_rseq_feature_size(void)
{
	int saved = errno; /* getauxval() sets it where the kernel tells nothing */
	size_t size = getauxval(AT_RSEQ_FEATURE_SIZE);

	errno = saved;
	return size;
}

bool os_read_file(const char *path, char *text, size_t size)
{
	long fd = SYS(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, 0, 0), n;

	if (fd < 0)
		return false;
	n = SYS(SYS_read, fd, text, size - 1, 0, 0, 0);
	SYS(SYS_close, fd, 0, 0, 0, 0, 0);
	if (n < 0)
		return false;
	text[n] = '\0';
	return true;
}

bool os_is_single_threaded(void)
{
	return lock_is_alone();
}

uint64_t os_coarse_clock_ms(void)
{
	struct timespec now = {0};
	int saved = errno;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* libc's: without a system call where the kernel offers that */
	errno = saved;
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t os_clock_ns(void)
{
	struct timespec now = {0};
	int saved = errno;

	clock_gettime(CLOCK_MONOTONIC, &now);
	errno = saved;
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t os_clock_us(void)
{
	return os_clock_ns() / 1000;
}

uint64_t os_counter(void)
{
	return arch_counter();
}

uint64_t os_counter_span(uint64_t since, uint64_t now)
{
	return arch_counter_span(since, now);
}

uint64_t os_wall_clock_ns(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t os_random_seed(void)
{
	const uint64_t *random = (const uint64_t *)getauxval(AT_RANDOM);
	uint64_t seed;

	if (!random)
		return os_wall_clock_ns();
	__builtin_memcpy(&seed, random, sizeof seed);
	return seed;
}

/*
 * Early at boot, or where the call is refused. The loader's random bytes are the canary of stacks and the key of jmp_buf as
 * well: folded, so that whoever gets to know the one does not know the other.
 */
static uint64_t random_fallback(void)
{
	const uint64_t *random = (const uint64_t *)getauxval(AT_RANDOM);
	uint64_t bits[2] = {os_clock_us(), os_pid()};
	unsigned __int128 x;

	if (random)
		__builtin_memcpy(bits, random, sizeof bits);
	x = (unsigned __int128)(bits[0] ^ os_wall_clock_ns()) * (bits[1] ^ (uintptr_t)bits << 16 ^ 1);
	return (uint64_t)x ^ (uint64_t)(x >> 64);
}

uint64_t os_random(void)
{
	uint64_t number;

	if (SYS(SYS_getrandom, &number, sizeof number, GRND_NONBLOCK, 0, 0, 0) == sizeof number)
		return number;
	return random_fallback();
}

/*
 * rt_sigprocmask(2) reads the new mask, if there is one, before it looks at what to do with it: EFAULT where it cannot be
 * read, EINVAL for a way that does not exist (abseil's AddressIsReadable() asks so).
 */
bool os_is_readable(uintptr_t addr)
{
	return addr && SYS(SYS_rt_sigprocmask, ~0, addr, NULL, 8, 0, 0) != -EFAULT;
}

bool os_exe_path(char *path, size_t size)
{
	long n = SYS(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, size - 1, 0, 0);

	if (n <= 0)
		return false;
	path[n] = '\0';
	return true;
}

void os_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	SYS(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void os_futex_wake(_Atomic uint32_t *word, int nr_waiters)
{
	SYS(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr_waiters, NULL, NULL, 0);
}

void os_yield(void)
{
	SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

void os_sleep_ms(unsigned ms)
{
	struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	SYS(SYS_nanosleep, &span, 0, 0, 0, 0, 0);
}

unsigned os_pid(void)
{
	return (unsigned)SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

unsigned os_thread_id(void)
{
	return (unsigned)SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/* Linux takes from `left` what was waited for. */
static bool wait_for_room(int fd, struct timespec *left)
{
	struct pollfd poll = {.fd = fd, .events = POLLOUT};
	long n;

	do
		n = SYS(SYS_ppoll, &poll, 1, left, NULL, 0, 0);
	while (n == -EINTR);
	return n > 0;
}

int os_write(int fd, const char *text, size_t len)
{
	struct timespec left = {.tv_sec = 1};

	while (len) {
		long n = SYS(SYS_write, fd, text, len, 0, 0, 0);

		if (n == -EINTR || (n == -EAGAIN && wait_for_room(fd, &left)))
			continue;
		if (n <= 0)
			return n ? (int)n : -EIO;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

#define SIGNAL_BIT(signal) ((uint64_t)1 << ((signal)-1))
#define WRITE_SIGNALS (SIGNAL_BIT(SIGPIPE) | SIGNAL_BIT(SIGXFSZ))

void os_hold_write_signals(struct held_signals *h)
{
	uint64_t set = WRITE_SIGNALS;

	h->is_held = SYS(SYS_rt_sigprocmask, SIG_BLOCK, &set, &h->mask, sizeof set, 0, 0) == 0;
	if (SYS(SYS_rt_sigpending, &h->pending, sizeof h->pending, 0, 0, 0, 0) != 0)
		h->pending = WRITE_SIGNALS; /* not known: none is taken */
}

void os_release_write_signals(const struct held_signals *h)
{
	uint64_t set = WRITE_SIGNALS & ~h->pending;
	struct timespec now = {0};

	if (!h->is_held)
		return;
	while (SYS(SYS_rt_sigtimedwait, &set, NULL, &now, sizeof set, 0, 0) > 0)
		;
	os_release_signals(h);
}

void os_hold_signals(struct held_signals *h)
{
	uint64_t set = ~(uint64_t)0;

	h->is_held = SYS(SYS_rt_sigprocmask, SIG_BLOCK, &set, &h->mask, sizeof set, 0, 0) == 0;
}

void os_release_signals(const struct held_signals *h)
{
	if (h->is_held)
		SYS(SYS_rt_sigprocmask, SIG_SETMASK, &h->mask, NULL, sizeof h->mask, 0, 0);
}

int os_open_append(const char *path)
{
	return (int)SYS(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666, 0, 0);
}

int os_open_new(const char *path)
{
	return (int)SYS(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666, 0, 0);
}

void os_close(int fd)
{
	SYS(SYS_close, fd, 0, 0, 0, 0, 0);
}
