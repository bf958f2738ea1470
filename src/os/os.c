/* SPDX-License-Identifier: MIT */
/* The process: the rest of os.h. */
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
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "os/lock.h"
#include "os/syscall.h"

/* Newer than Debian 12's headers, or than the oldest libc that we build on. */
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif
#define MEMBARRIER_PRIVATE_EXPEDITED_RSEQ (1 << 7)
#define MEMBARRIER_REGISTER_PRIVATE_EXPEDITED_RSEQ (1 << 8)

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

size_t os_memory_size(void)
{
	struct sysinfo info;
	size_t nr, size;

	if (SYS(SYS_sysinfo, &info, 0, 0, 0, 0, 0) != 0 || __builtin_add_overflow(info.totalram, info.totalswap, &nr) ||
	    __builtin_mul_overflow(nr, info.mem_unit, &size))
		return SIZE_MAX;
	return size;
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
	struct timespec left = {.tv_sec = 1}; /* of a second without room */

	while (len) {
		long n = SYS(SYS_write, fd, text, len, 0, 0, 0);

		if (n == -EINTR || (n == -EAGAIN && wait_for_room(fd, &left)))
			continue;
		if (n <= 0)
			return n ? (int)n : -EIO;
		text += n;
		len -= (size_t)n;
		left = (struct timespec){.tv_sec = 1};
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
	/* But for what the thread itself causes: the kernel ends who blocks them. A sandbox answers system calls by SIGSYS. */
	uint64_t set = ~(SIGNAL_BIT(SIGSYS) | SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP));

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
