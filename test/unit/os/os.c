/* SPDX-License-Identifier: MIT */
/* The real calls, each against what os.h promises. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alone.h"
#include "os/os.h"

static bool reads_as_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

Test(os, reserve_is_aligned)
{
	for (size_t size = 2 * MIB; size <= GIB; size *= 2) {
		char *p = os_reserve(size, size, 0);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % size, 0, "%zu", size);
		cr_assert_eq(os_unmap(p, size), 0);
	}
}

Test(os, reserve_takes_a_free_hint)
{
	char *p = os_reserve(64 * MIB, 2 * MIB, 0);
	uintptr_t hint = (uintptr_t)p + 32 * MIB;

	os_unmap(p, 64 * MIB);
	cr_assert_eq((uintptr_t)os_reserve(32 * MIB, 2 * MIB, hint), hint);
}

Test(os, reserved_memory_traps, .signal = SIGSEGV)
{
	*(volatile char *)os_reserve(2 * MIB, 2 * MIB, 0) = 1;
}

/* Two places that show the same part of a file; room in it, and none any more. */
Test(os, parts_of_files)
{
	int fd = memfd_create("part", MFD_CLOEXEC);
	char *p = os_reserve(4 * MIB, 2 * MIB, 0);
	struct stat st;

	cr_assert_eq(os_file_reserve(fd, 2 * MIB, 2 * MIB), 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq((size_t)st.st_size, 4 * MIB);
	cr_assert_eq(os_map_file(p, 2 * MIB, fd, 2 * MIB), 0);
	cr_assert_eq(os_map_file(p + 2 * MIB, 2 * MIB, fd, 2 * MIB), 0);
	p[5] = 1;
	cr_assert_eq(p[2 * MIB + 5], 1);
	os_file_punch(fd, 2 * MIB, 2 * MIB);
	cr_assert_eq(p[5], 0);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq((size_t)st.st_size, 4 * MIB);
	cr_assert_lt((size_t)st.st_blocks * 512, 2 * MIB, "no more than was touched since");
	close(fd);
	cr_assert_eq(os_map_file(p, 2 * MIB, fd, 0), -EBADF);
	cr_assert_eq(os_file_reserve(fd, 0, 1), -EBADF);
	os_file_punch(fd, 0, 1);
}

static bool is_mapped(void *p, size_t size)
{
	return mmap(p, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST;
}

/* A file may say no as late as it is mapped (NFS: ESTALE); a socket does. */
Test(os, a_file_that_cannot_be_mapped_takes_nothing_away)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fd = memfd_create("part", MFD_CLOEXEC);
	char *p = os_reserve(4 * MIB, 2 * MIB, 0);

	cr_assert_eq(ftruncate(fd, 2 * MIB), 0);
	cr_assert_eq(os_map_file(p, 2 * MIB, fd, 0), 0);
	p[5] = 1;
	cr_assert_eq(os_map_file(p, 2 * MIB, s, 0), -ENODEV);
	cr_assert_eq(p[5], 1);
	cr_assert_eq(os_map_file(p + 2 * MIB, 2 * MIB, s, 0), -ENODEV);
	cr_assert(is_mapped(p + 2 * MIB, 2 * MIB), "still reserved");
	cr_assert_eq(os_map_file(p + 1, 2 * MIB, fd, 0), -EINVAL, "not moved there");
	cr_assert_eq(p[5], 1);
	close(s);
	close(fd);
}

/* RLIMIT_AS at so many bytes more than there are now. */
static bool limit_addresses(size_t more)
{
	char text[200];
	struct rlimit limit;

	if (!os_read_file("/proc/self/statm", text, sizeof text))
		return false;
	limit.rlim_cur = limit.rlim_max = strtoul(text, NULL, 10) * os_page_size() + more;
	return setrlimit(RLIMIT_AS, &limit) == 0;
}

/* There is no room for one more elsewhere, but the place itself. */
Test(os, a_part_of_a_file_where_no_addresses_are_left)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fd = memfd_create("part", MFD_CLOEXEC);
	char *p = os_reserve(2 * MIB, 2 * MIB, 0);

	cr_assert_eq(ftruncate(fd, 4 * MIB), 0);
	cr_assert(limit_addresses(MIB));
	cr_assert_eq(os_map_file(p, 2 * MIB, fd, 0), 0);
	p[5] = 1;
	cr_assert_eq(os_map_file(p, 2 * MIB, fd, 2 * MIB), 0);
	cr_assert_eq(p[5], 0);
	cr_assert_eq(os_map_file(p, 2 * MIB, fd, 0), 0);
	cr_assert_eq(p[5], 1);
	/* What stood there is gone when the file says no; the addresses are not. */
	cr_assert_eq(os_map_file(p, 2 * MIB, s, 0), -ENODEV);
	cr_assert(is_mapped(p, 2 * MIB));
	close(s);
	close(fd);
}

static void more_than_may_be_locked(char *p, int fd)
{
	struct rlimit limit = {MIB, MIB};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || (geteuid() == 0 && setresuid(65534, 65534, 65534)))
		_exit(2);
	if (syscall(SYS_mlockall, MCL_FUTURE)) /* sanitizers' mlockall() does nothing */
		_exit(3);
	_exit(os_map_file(p, 2 * MIB, fd, 0) == -ENOMEM && is_mapped(p, 2 * MIB) ? 0 : 1);
}

/* The kernel's EAGAIN is no "later": nobody is to try again for ever. */
Test(os, a_part_of_a_file_beyond_what_may_be_locked)
{
	int fd = memfd_create("part", MFD_CLOEXEC), status;
	char *p = os_reserve(2 * MIB, 2 * MIB, 0);
	pid_t pid;

	cr_assert_eq(ftruncate(fd, 2 * MIB), 0);
	pid = fork();
	if (pid == 0)
		more_than_may_be_locked(p, fd);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
	close(fd);
}

Test(os, commit_makes_usable)
{
	char *p = os_reserve(4 * MIB, 2 * MIB, 0);

	cr_assert_eq(os_commit(p, 2 * MIB), 0);
	cr_assert(reads_as_zero(p, 2 * MIB));
	memset(p, 1, 2 * MIB);
	cr_assert_eq(os_purge(p + 4096, MIB), 0);
	cr_assert(reads_as_zero(p + 4096, MIB));
	cr_assert_eq(p[0], 1);
	cr_assert_eq(p[4096 + MIB], 1);
}

/* Locked memory is not given back: it is where a call of several ranges stops. */
Test(os, the_counter_goes_on)
{
	uint64_t since = os_counter(), span;

	usleep(2000);
	span = os_counter_span(since, os_counter());
	cr_assert_geq(span, 2000000, "%lu", span);
	cr_assert_lt(span, UINT64_MAX);
	cr_assert_eq(os_counter_span(5, 4), UINT64_MAX, "it went back");
}

Test(os, purges_ranges_up_to_a_refusal)
{
	enum { N = 8, LOCKED = 5 };
	char *p = os_reserve(4 * MIB, 2 * MIB, 0);
	struct os_range ranges[N];

	cr_assert_eq(os_commit(p, 2 * MIB), 0);
	for (int i = 0; i < N; i++)
		ranges[i] = (struct os_range){p + i * 8 * 4096, (size_t)(1 + i % 3) * 4096};
	errno = 77;
	for (int round = 0; round < 3; round++) { /* a refusal is not remembered as the call's */
		memset(p, 1, 2 * MIB);
		cr_assert_eq(os_purge_ranges(ranges, N), N);
		for (int i = 0; i < N; i++) {
			char *range = ranges[i].addr;

			cr_assert(reads_as_zero(range, ranges[i].size));
			cr_assert_eq(range[ranges[i].size], 1, "behind range %d", i);
			memset(range, 1, ranges[i].size);
		}
		cr_assert_eq(os_purge_ranges(ranges, 0), 0);
		cr_assert_eq(os_purge_ranges(ranges, 1), 1);
		if (os_lock(ranges[LOCKED].addr, 4096) != 0) /* not mlock(), which sanitizers make nothing of */
			continue;
		memset(p, 1, 2 * MIB);
		cr_assert_eq(os_purge_ranges(ranges, N), LOCKED);
		for (int i = 0; i < N; i++)
			cr_assert_eq(*(char *)ranges[i].addr, i >= LOCKED, "range %d", i);
		os_unlock(ranges[LOCKED].addr, 4096);
	}
	cr_assert_eq(errno, 77);
}

static void set_filter(struct sock_filter *filter, unsigned short nr)
{
	struct sock_fprog program = {nr, filter};

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		cr_skip("no filters of system calls");
}

/* From here on: each test is a process. */
static void refuse(unsigned call)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	set_filter(filter, sizeof filter / sizeof *filter);
}

enum { PROCESS_MADVISE = 440 };

/* Of three ranges. */
static void refuse_three(unsigned error)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROCESS_MADVISE, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	set_filter(filter, sizeof filter / sizeof *filter);
}

static char *set_ranges(struct os_range *ranges, unsigned n)
{
	char *p = os_reserve(4 * MIB, 2 * MIB, 0);

	cr_assert_eq(os_commit(p, 2 * MIB), 0);
	for (unsigned i = 0; i < n; i++)
		ranges[i] = (struct os_range){p + i * 8192, 4096};
	if (!os_rseq_feature_size() || syscall(PROCESS_MADVISE, -10000 /* PIDFD_SELF_THREAD */, ranges, 2, MADV_DONTNEED, 0) != 8192)
		cr_skip("a kernel before 6.15");
	memset(p, 1, 2 * MIB);
	return p;
}

/* What was refused for want of memory is asked for again; what a filter refuses, or the kernel does not know, is not. */
static void refuse_once(unsigned error, unsigned nr_later)
{
	struct os_range ranges[3];

	set_ranges(ranges, 3);
	refuse_three(error);
	cr_assert_eq(os_purge_ranges(ranges, 3), 3, "by madvise");
	refuse(SYS_madvise);
	cr_assert_eq(os_purge_ranges(ranges, 2), nr_later);
}

Test(os, purges_ranges_by_one_call_again)
{
	refuse_once(ENOMEM, 2);
}

Test(os, purges_ranges_one_by_one_where_it_is_refused)
{
	refuse_once(EPERM, 0);
}

/* Where the kernel gives several ranges back by one call, that is the one taken: without madvise it still can. */
Test(os, purges_ranges_by_one_call)
{
	struct os_range ranges[2];
	char *p = set_ranges(ranges, 2);

	refuse(SYS_madvise);
	cr_assert_eq(os_purge(p + 4096, 4096), -EPERM);
	cr_assert_eq(os_purge_ranges(ranges, 1), 0, "of one range by madvise");
	cr_assert_eq(os_purge_ranges(ranges, 2), 2);
	cr_assert(reads_as_zero(p, 4096) && reads_as_zero(p + 8192, 4096));
	cr_assert_eq(p[4096], 1);
}

Test(os, refusals_leave_errno_alone)
{
	errno = 77;
	cr_assert_null(os_map((size_t)1 << 62));
	cr_assert_null(os_reserve((size_t)1 << 60, 2 * MIB, 0));
	cr_assert_lt(os_commit((void *)4096, 4096), 0);
	cr_assert_lt(os_purge((void *)1, 4096), 0);
	cr_assert_eq(errno, 77);
}

/* By whoever asks first; alone it is there at once. */
static void has_barrier_alone(void)
{
	cr_assert(os_has_barrier());
	cr_assert_eq(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), 0);
}

Test(os, barriers)
{
	run_alone(has_barrier_alone);
	cr_assert(os_has_barrier());
	cr_assert_eq(os_barrier(), 0);
	cr_assert_eq(os_barrier(), 0);
	cr_assert_eq(os_barrier_rseq(), 0);
}

Test(os, more_than_the_machine_has_is_refused)
{
	char mode[4] = "", *p = os_map_accounted(4096);

	cr_assert_not_null(p);
	p[4095] = 1;
	if (!os_read_file("/proc/sys/vm/overcommit_memory", mode, sizeof mode) || mode[0] != '0')
		return; /* another answer is right there */
	cr_assert_null(os_map_accounted((size_t)1 << 45));
}

Test(os, memory_size)
{
	size_t pages = (size_t)sysconf(_SC_PHYS_PAGES);

	cr_assert_geq(os_memory_size(), pages * (size_t)sysconf(_SC_PAGESIZE));
	cr_assert_lt(os_memory_size(), SIZE_MAX);
	refuse(SYS_sysinfo);
	cr_assert_eq(os_memory_size(), SIZE_MAX);
}

Test(os, remap_keeps_contents)
{
	char *p = os_map(16 * 4096), *q;

	memset(p, 7, 16 * 4096);
	q = os_remap(p, 16 * 4096, 64 * 4096);
	cr_assert_not_null(q);
	for (size_t i = 0; i < 16 * 4096; i++)
		cr_assert_eq(q[i], 7);
	cr_assert(reads_as_zero(q + 16 * 4096, 48 * 4096));
	q = os_remap(q, 64 * 4096, 4096);
	cr_assert_not_null(q);
	cr_assert_eq(q[4095], 7);
}

Test(os, moved_pages_leave_zeros)
{
	char *p = os_map(16 * 4096), *q;

	memset(p, 7, 16 * 4096);
	q = os_move_pages(p, 16 * 4096);
	if (!q)
		cr_skip("no MREMAP_DONTUNMAP here");
	cr_assert(reads_as_zero(p, 16 * 4096));
	cr_assert_eq(q[0], 7);
	cr_assert_eq(q[16 * 4096 - 1], 7);
	p[0] = 1; /* still mapped */
	cr_assert_eq(os_purge(p, 16 * 4096), 0);
	cr_assert(reads_as_zero(p, 16 * 4096));
}

Test(os, guard_traps, .signal = SIGSEGV)
{
	char *p = os_map(2 * 4096);

	cr_assert_eq(os_guard(p + 4096, 4096), 0);
	*(volatile char *)p = 1;
	*(volatile char *)(p + 4096) = 1;
}

Test(os, unguard_makes_usable)
{
	char *p = os_map(4096);

	cr_assert_eq(os_guard(p, 4096), 0);
	cr_assert_eq(os_unguard(p, 4096), 0);
	*(volatile char *)p = 1;
}

Test(os, what_is_readable)
{
	char *p = os_map(2 * 4096);

	os_unmap(p + 4096, 4096);
	cr_assert(os_is_readable((uintptr_t)p));
	cr_assert(os_is_readable((uintptr_t)p + 4096 - 8));
	cr_assert_not(os_is_readable((uintptr_t)p + 4096));
	cr_assert_not(os_is_readable(0));
	cr_assert_not(os_is_readable(UINTPTR_MAX - 7));
	cr_assert_not(os_is_readable((uintptr_t)1 << 63));
}

Test(os, limit_is_seen)
{
	struct rlimit limit;

#ifdef __SANITIZE_ADDRESS__
	cr_skip("AddressSanitizer needs more");
#endif
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = limit.rlim_max = 8 * GIB;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		cr_skip("no smaller limit allowed");
	cr_assert_eq(os_address_space_limit(), 8 * GIB);
}

Test(os, environment)
{
	setenv("BSLAB_TEST", "value", 1);
	cr_assert_str_eq(os_env("BSLAB_TEST"), "value");
	cr_assert_null(os_env("BSLAB_TES"));
	cr_assert_null(os_env("BSLAB_TEST2"));
	setenv("BSLAB_TEST", "", 1);
	cr_assert_str_eq(os_env("BSLAB_TEST"), "");
}

Test(os, processors)
{
	cr_assert_geq(os_nr_cpus_allowed(), 1);
	cr_assert_geq(os_nr_cpus(), os_nr_cpus_allowed());
	cr_assert_eq(os_page_size(), (size_t)sysconf(_SC_PAGESIZE));
	cr_assert_lt(os_cpu(), (int)os_nr_cpus());
}

Test(os, clock_goes_forward)
{
	uint64_t before = os_coarse_clock_ms();

	usleep(20000);
	cr_assert_gt(os_coarse_clock_ms(), before);
}

Test(os, populate_makes_resident)
{
	char *p = os_map(2 * MIB);
	unsigned char seen[2 * MIB / 4096];

	cr_assert_eq(mincore(p, 2 * MIB, seen), 0);
	cr_assert_not(seen[0] & 1);
	if (os_populate(p, MIB) == -EINVAL)
		cr_skip("no MADV_POPULATE_WRITE: Linux 5.14 has it");
	cr_assert_eq(mincore(p, 2 * MIB, seen), 0);
	for (size_t i = 0; i < MIB / 4096; i++)
		cr_assert(seen[i] & 1, "page %zu", i);
	cr_assert(reads_as_zero(p, 2 * MIB));
	cr_assert_eq(os_unmap(p, 2 * MIB), 0);
	cr_assert_eq(os_populate(p, MIB), -ENOMEM);
}

/* Where the kernel has no markers, or only says so, there is nothing to see. */
Test(os, light_guards_lose_contents)
{
	char *p = os_map(2 * 4096);

	p[0] = p[4096] = 'x';
	if (os_guard_light(p + 4096, 4096) == 0) {
		cr_assert_not(os_is_readable((uintptr_t)p + 4096));
		cr_assert_eq(os_open_guard(p + 4096, 4096, GUARD_LIGHT), 0);
		cr_assert_eq(p[4096], 0);
	}
	cr_assert_eq(p[0], 'x');
	os_unmap(p, 2 * 4096);
}

Test(os, hard_guards_come_back)
{
	char *p = os_map(4096);

	p[0] = 'x';
	cr_assert_eq(os_guard_hard(p, 4096), 0);
	cr_assert_not(os_is_readable((uintptr_t)p));
	cr_assert_eq(os_open_guard(p, 4096, GUARD_HARD), 0);
	cr_assert_eq(p[0], 'x');
	os_unmap(p, 4096);
}

/* Each test is a process of its own: here the first question comes while all memory is locked, and markers are refused. */
Test(os, a_refusal_of_light_guards_may_pass)
{
	char *p = os_map(4096);
	bool has_markers = madvise(p, 4096, 102 /* MADV_GUARD_INSTALL */) == 0;

	/* AddressSanitizer only says that it locks. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0 || madvise(os_map(4096), 4096, 102) == 0)
		cr_skip("memory cannot be locked");
	cr_assert_neq(os_guard_light(os_map(4096), 4096), 0);
	munlockall();
	cr_assert_eq(os_guard_light(os_map(4096), 4096) == 0, has_markers);
}

Test(os, sealed_ranges_trap)
{
	char *p = os_map(4096);

	p[0] = 'x';
	cr_assert_eq(os_seal(p, 4096), 0);
	cr_assert_not(os_is_readable((uintptr_t)p));
	cr_assert_eq(os_unmap(p, 4096), 0);
}

Test(os, random_numbers_differ)
{
	cr_assert_neq(os_random(), os_random());
}

/* --- writes that wait ------------------------------------------------------------------------------------------- */

static void *read_slowly(void *fd)
{
	static char page[4096];

	do
		usleep(200 * 1000);
	while (read(*(int *)fd, page, sizeof page) > 0);
	return NULL;
}

/* Longer than a second in all, but never without room for one: nor where the reader is late by most of another. */
Test(os, write_waits_for_a_slow_reader)
{
	static char text[9 * 4096];
	pthread_t reader;
	int end[2];

	cr_assert_eq(pipe2(end, O_NONBLOCK), 0);
	cr_assert_eq(fcntl(end[0], F_SETFL, 0), 0);
	cr_assert_geq(fcntl(end[1], F_SETPIPE_SZ, 4096), 0);
	cr_assert_eq(pthread_create(&reader, NULL, read_slowly, &end[0]), 0);
	cr_assert_eq(os_write(end[1], text, sizeof text), 0);
	close(end[1]);
	pthread_join(reader, NULL);
}

/* --- numbers by chance ---------------------------------------------------------------------------------------- */

/* Each time another one, of which no bit is fixed, with the kernel's help and without. */
static void expect_chance(void)
{
	uint64_t number[64], all_set = 0, all_clear = 0;

	for (int i = 0; i < 64; i++) {
		number[i] = os_random();
		all_set |= number[i];
		all_clear |= ~number[i];
		for (int j = 0; j < i; j++)
			cr_assert_neq(number[i], number[j]);
	}
	cr_assert_eq(all_set & all_clear, UINT64_MAX);
}

Test(os, numbers_by_chance)
{
	expect_chance();
	refuse(SYS_getrandom);
	expect_chance();
}
