/* SPDX-License-Identifier: MIT */
/* Pools in a file by their public calls: more than there are addresses, a file that is shortened, threads. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "bslab/highmem.h"
#include "malloc/internal.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "stay.h"

#define BLOCK (2 * MIB)

static int file(void)
{
	int fd = memfd_create("highmem", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static bslab_handle_t get(struct bslab_highmem *m, size_t size)
{
	bslab_handle_t h = 0;

	cr_assert_eq(bslab_highmem_alloc(m, size, &h), 0, "%s", strerror(errno));
	return h;
}

TestSuite(highmem, .init = stay);

Test(highmem, create_says_why_not)
{
	int fd = file(), closed = dup(fd), readable = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct {
		const char *name;
		int fd;
		uint64_t size;
		size_t window;
		int error;
	} bad[] = {
	    {NULL, fd, BLOCK, BLOCK, EINVAL}, {"", fd, BLOCK, BLOCK, EINVAL},	 {"a", fd, BLOCK - 1, BLOCK, EINVAL},
	    {"a", fd, BLOCK, 4096, EINVAL},   {"a", fd, 1ull << 54, BLOCK, EINVAL}, {"a", closed, BLOCK, BLOCK, EBADF},
	    {"a", readable, BLOCK, BLOCK, EACCES},
	};

	close(closed);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		cr_assert_null(bslab_highmem_create(bad[i].name, bad[i].fd, bad[i].size, bad[i].window), "%u", i);
		cr_assert_eq(errno, bad[i].error, "%u: %d", i, errno);
	}
	bslab_highmem_destroy(NULL);
}

/* 1 GiB of objects through a window of 8 MiB, where 300 MiB of addresses more than there are now may be had. */
static void more_than_addresses(void)
{
	enum { NR = 1 << 14, SIZE = 1 << 16 };
	static bslab_handle_t h[NR];
	struct bslab_highmem *m;
	struct rlimit limit;
	struct bslab_highmem_info info;
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned i;

	if (!f || fscanf(f, "%zu", &pages) != 1)
		_exit(1);
	fclose(f);
	limit.rlim_cur = limit.rlim_max = pages * 4096 + 300 * MIB;
	if (setrlimit(RLIMIT_AS, &limit))
		_exit(2);
	if (mmap(NULL, GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
		_exit(3);
	m = bslab_highmem_create("many", file(), 2 * GIB, 8 * MIB);
	for (i = 0; i < NR; i++) {
		uint64_t *p;

		if (bslab_highmem_alloc(m, SIZE, &h[i]) || !(p = bslab_highmem_map(m, h[i])))
			_exit(4);
		p[0] = p[SIZE / 8 - 1] = h[i];
		bslab_highmem_unmap(m, h[i]);
	}
	for (i = 0; i < NR; i++) {
		unsigned at = i * 7919 % NR;
		const uint64_t *p = bslab_highmem_map(m, h[at]);

		if (p[0] != h[at] || p[SIZE / 8 - 1] != h[at])
			_exit(5);
		bslab_highmem_unmap(m, h[at]);
	}
	bslab_highmem_info(m, &info);
	if (info.nr_objects != NR || info.object_bytes != GIB || info.file_bytes != GIB || info.window_bytes != 8 * MIB ||
	    info.nr_misses < 512 || info.nr_hits + info.nr_misses != 2 * NR || strcmp(info.name, "many"))
		_exit(6);
	bslab_highmem_destroy(m);
	_exit(0);
}

Test(highmem, more_than_addresses)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		more_than_addresses();
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
}

static void on_bus(int unused)
{
	(void)unused;
	_exit(7);
}

/* As the header says; and what is not touched does no harm. */
Test(highmem, a_shortened_file)
{
	int fd = file(), status;
	struct bslab_highmem *m = bslab_highmem_create("cut", fd, BLOCK, BLOCK);
	bslab_handle_t h = get(m, 100);
	volatile char *p = bslab_highmem_map(m, h);
	pid_t pid;

	*p = 1;
	cr_assert_eq(ftruncate(fd, 0), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGBUS, on_bus);
		*p = 2;
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 7 << 8);
	bslab_highmem_unmap(m, h);
	bslab_highmem_free(m, h);
	bslab_highmem_destroy(m);
}

/* The limit of a file's size stands for a full disk. */
Test(highmem, a_full_disk_is_an_error)
{
	struct rlimit limit = {4 * BLOCK, RLIM_INFINITY};
	struct bslab_highmem *m = bslab_highmem_create("full", file(), 16 * BLOCK, BLOCK);
	bslab_handle_t h[4], more;
	unsigned i;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (i = 0; i < 4; i++) {
		h[i] = get(m, BLOCK);
		memset(bslab_highmem_map(m, h[i]), 1, BLOCK);
		bslab_highmem_unmap(m, h[i]);
	}
	errno = 0;
	cr_assert_eq(bslab_highmem_alloc(m, BLOCK, &more), -1);
	cr_assert_eq(errno, EFBIG);
	errno = 0;
	cr_assert_eq(bslab_highmem_alloc(m, BLOCK + 1, &more), -1);
	cr_assert_eq(errno, EINVAL);
	bslab_highmem_free(m, h[2]);
	h[2] = get(m, BLOCK);
	cr_assert_eq(bslab_highmem_size(m, h[2]), BLOCK);
	cr_assert(bslab_highmem_map(m, h[2]));
	errno = 0;
	cr_assert_null(bslab_highmem_map(m, h[0]));
	cr_assert_eq(errno, EAGAIN);
	bslab_highmem_destroy(m);
}

static long nr_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* A file of 32 TiB that is hardly used costs what is used: of its table, 128 MiB, a page. Its window is 16 GiB. */
Test(highmem, large_and_empty)
{
	struct bslab_highmem *m = bslab_highmem_create("large", file(), 1ull << 45, 1ull << 40);
	struct bslab_highmem_info info;
	long before = nr_faults();

	cr_assert(m, "%s", strerror(errno));
	bslab_highmem_info(m, &info);
	cr_assert_eq(info.window_bytes, 16 * GIB);
	bslab_highmem_free(m, get(m, 100));
	bslab_highmem_destroy(m);
	cr_assert_lt(nr_faults() - before, 1000);
}

/* What stands in the window is mapped again where no addresses are left for another 2 MiB. */
static void no_more_addresses(void)
{
	struct bslab_highmem *m = bslab_highmem_create("tight", file(), 64 * MIB, 8 * MIB);
	bslab_handle_t h[6], *p;
	size_t pages = 0;
	struct rlimit limit;
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned i, round;

	for (i = 0; i < 6; i++) {
		h[i] = get(m, BLOCK);
		*(p = bslab_highmem_map(m, h[i])) = h[i];
		bslab_highmem_unmap(m, h[i]);
	}
	if (!f || fscanf(f, "%zu", &pages) != 1)
		_exit(1);
	fclose(f);
	limit.rlim_cur = limit.rlim_max = pages * 4096 + MIB;
	if (setrlimit(RLIMIT_AS, &limit))
		_exit(2);
	for (round = 0; round < 3; round++)
		for (i = 0; i < 6; i++) {
			p = bslab_highmem_map(m, h[i]);
			if (!p || *p != h[i])
				_exit(3);
			bslab_highmem_unmap(m, h[i]);
		}
	_exit(0);
}

Test(highmem, no_more_addresses)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		no_more_addresses();
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
}

/* Takes all that the hard limit allows, and frees some of it, which caches keep. */
static void use_up_memory(void)
{
	enum { NR = 1 << 14 };
	static void *p[NR];
	static unsigned n;
	unsigned i;

	while (n < NR && (p[n] = bslab_malloc(4096)))
		n++;
	cr_assert(n > 100 && n < NR);
	for (i = 0; i < 100; i++)
		bslab_free(p[--n]);
}

/* Each call asks caches for memory before it fails for want of it. */
Test(highmem, a_hard_limit_reclaims)
{
	struct bslab_highmem *m = bslab_highmem_create("limited", file(), 4 * BLOCK, BLOCK), *other;
	bslab_handle_t h;

	bslab_set_limits(0, 24 * MIB);
	use_up_memory();
	cr_assert_eq(bslab_highmem_alloc(m, 64, &h), 0);
	use_up_memory();
	cr_assert(bslab_highmem_map(m, h));
	bslab_highmem_unmap(m, h);
	use_up_memory();
	other = bslab_highmem_create("more", file(), 4 * BLOCK, BLOCK);
	cr_assert(other);
	bslab_highmem_destroy(other);
	bslab_highmem_destroy(m);
}

/* And where nothing is to be had, it says so. */
Test(highmem, a_hard_limit_refuses)
{
	struct bslab_highmem *m = bslab_highmem_create("limited", file(), 4 * BLOCK, BLOCK);
	bslab_handle_t h = get(m, 64), more;

	bslab_set_limits(0, 4096);
	errno = 0;
	cr_assert_null(bslab_highmem_map(m, h));
	cr_assert_eq(errno, ENOMEM);
	errno = 0;
	cr_assert_null(bslab_highmem_create("more", file(), 4 * BLOCK, BLOCK));
	cr_assert_eq(errno, ENOMEM);
	bslab_set_limits(0, 0);
	m = bslab_highmem_create("fresh", file(), 4 * BLOCK, BLOCK);
	bslab_set_limits(0, 4096);
	errno = 0;
	cr_assert_eq(bslab_highmem_alloc(m, 64, &more), -1);
	cr_assert_eq(errno, ENOMEM);
}

static size_t nr_reclaims(void)
{
	return atomic_load(&counts.nr_reclaims);
}

/* A soft limit is near: who takes a page for a table has it noticed, and the next call reclaims, whichever it is. */
Test(highmem, a_soft_limit_reclaims)
{
	struct bslab_highmem *m;
	bslab_handle_t h[2];
	size_t before = nr_reclaims();
	unsigned i;

	bslab_set_limits(4096, 0);
	m = bslab_highmem_create("first", file(), 4 * BLOCK, 2 * BLOCK);
	cr_assert_eq(nr_reclaims(), before);
	cr_assert(bslab_highmem_create("second", file(), 4 * BLOCK, BLOCK));
	cr_assert_eq(nr_reclaims(), before + 1);
	bslab_set_limits(4096, 0);
	h[0] = get(m, BLOCK);
	h[1] = get(m, BLOCK);
	cr_assert_eq(nr_reclaims(), before + 2);
	bslab_set_limits(4096, 0);
	for (i = 0; i < 2; i++)
		cr_assert(bslab_highmem_map(m, h[i]));
	cr_assert_eq(nr_reclaims(), before + 3);
}

/* Takes all mappings that the process may have, but for some. */
static void use_up_mappings(unsigned nr_left)
{
	enum { SIZE = 4096, NR = 1 << 18 };
	char *p = mmap(NULL, (size_t)NR * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at = p + SIZE;

	for (; at < p + (size_t)NR * SIZE && mprotect(at, SIZE, PROT_READ) == 0; at += 2 * SIZE)
		;
	if (at == p + SIZE || at >= p + (size_t)NR * SIZE)
		_exit(0); /* there is no such limit here */
	for (at -= 2 * SIZE; nr_left > 1; nr_left -= 2, at -= 2 * SIZE)
		mprotect(at, SIZE, PROT_NONE);
}

/* At the end of its mappings the process still maps each object, in a window of more slots than it has mappings left. */
static void more_than_mappings(void)
{
	enum { NR = 101 };
	struct bslab_highmem *m = bslab_highmem_create("maps", file(), 256 * BLOCK, 128 * BLOCK);
	bslab_handle_t h[NR];
	unsigned i, round;

	for (i = 0; i < NR; i++)
		h[i] = get(m, BLOCK);
	use_up_mappings(40);
	for (round = 0; round < 5; round++)
		for (i = 0; i < NR; i++) {
			bslab_handle_t at = h[(i + round) * 7 % NR], *p = bslab_highmem_map(m, at); /* in no order: a mapping each */

			if (!p)
				_exit(errno == ENOMEM ? 1 : 2);
			if (round && *p != at)
				_exit(3);
			*p = at;
			bslab_highmem_unmap(m, at);
		}
	_exit(0);
}

Test(highmem, more_than_mappings)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		more_than_mappings();
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%#x", (unsigned)status);
}

/* With on_error=warn the calls do nothing. */
Test(highmem, misuse_goes_on)
{
	struct bslab_highmem *m = bslab_highmem_create("bad", file(), 4 * BLOCK, BLOCK);
	struct bslab_highmem_info info;
	bslab_handle_t h = get(m, 100), more;

	bug_set_fatal(false);
	errno = 0;
	cr_assert_null(bslab_highmem_map(m, 5));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_eq(bslab_highmem_size(m, 5), 0);
	cr_assert_eq(errno, EINVAL);
	bslab_highmem_unmap(m, h);
	bslab_highmem_free(m, 5);
	cr_assert(bslab_highmem_map(m, h));
	bslab_highmem_free(m, h);
	bslab_highmem_info(m, &info);
	cr_assert_eq(info.nr_objects, 1);
	cr_assert_eq(info.nr_maps, 1);
	bslab_highmem_unmap(m, h);
	bslab_highmem_free(m, h);
	bslab_highmem_free(m, h);
	bslab_highmem_destroy(m);
	bslab_highmem_destroy(m);
	errno = 0;
	cr_assert_eq(bslab_highmem_alloc(m, 1, &more), -1);
	cr_assert_eq(errno, EINVAL);
	bslab_highmem_info(m, &info);
}

static bool report_was_written(void)
{
	return !atomic_exchange(&report_is_due, true);
}

/* A signal that comes while the lock is held leaves the report to the call. */
Test(highmem, each_call_writes_a_report_that_is_due)
{
	struct bslab_highmem *m = bslab_highmem_create("due", file(), 4 * BLOCK, BLOCK);
	struct bslab_highmem_info info;
	bslab_handle_t h;

	atomic_store(&report_is_due, true);
	h = get(m, 100);
	cr_assert(report_was_written(), "alloc");
	cr_assert(bslab_highmem_map(m, h));
	cr_assert(report_was_written(), "map");
	cr_assert_geq(bslab_highmem_size(m, h), 100);
	cr_assert(report_was_written(), "size");
	bslab_highmem_unmap(m, h);
	cr_assert(report_was_written(), "unmap");
	bslab_highmem_info(m, &info);
	cr_assert(report_was_written(), "info");
	bslab_highmem_free(m, h);
	cr_assert(report_was_written(), "free");
	bslab_highmem_destroy(m);
	cr_assert(report_was_written(), "destroy");
}

/* --- threads ------------------------------------------------------------------------------------------------------------- */

static struct bslab_highmem *shared;

/* More threads than slots: a map that finds none is tried again. */
static void *user(void *arg)
{
	enum { NR = 64 };
	bslab_handle_t h[NR] = {0};
	unsigned seed = (unsigned)(uintptr_t)arg, i;

	for (i = 0; i < 20000; i++) {
		unsigned at = (unsigned)rand_r(&seed) % NR;
		uint64_t *p;

		if (!h[at]) {
			h[at] = get(shared, 100 + (size_t)rand_r(&seed) % 60000);
			while (!(p = bslab_highmem_map(shared, h[at])))
				sched_yield();
			*p = h[at] ^ (uintptr_t)arg;
			bslab_highmem_unmap(shared, h[at]);
			continue;
		}
		while (!(p = bslab_highmem_map(shared, h[at])))
			sched_yield();
		cr_assert_eq(*p, h[at] ^ (uintptr_t)arg);
		bslab_highmem_unmap(shared, h[at]);
		if (rand_r(&seed) % 2) {
			bslab_highmem_free(shared, h[at]);
			h[at] = 0;
		}
	}
	for (i = 0; i < NR; i++)
		if (h[i])
			bslab_highmem_free(shared, h[i]);
	return NULL;
}

Test(highmem, threads)
{
	pthread_t t[4];
	struct bslab_highmem_info info;

	roam();
	shared = bslab_highmem_create("shared", file(), 256 * BLOCK, 2 * BLOCK);
	for (uintptr_t i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, user, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	bslab_highmem_info(shared, &info);
	cr_assert_eq(info.nr_objects, 0);
	cr_assert_eq(info.nr_maps, 0);
	cr_assert_eq(info.file_bytes, BLOCK);
	bslab_highmem_destroy(shared);
}

/* A child may go on with it where the parent does not. */
Test(highmem, in_a_child)
{
	struct bslab_highmem *m = bslab_highmem_create("child", file(), 4 * BLOCK, BLOCK);
	bslab_handle_t h = get(m, 100);
	pid_t pid;
	int status;

	*(bslab_handle_t *)bslab_highmem_map(m, h) = h;
	bslab_highmem_unmap(m, h);
	pid = fork();
	if (pid == 0) {
		bool good = *(bslab_handle_t *)bslab_highmem_map(m, h) == h;

		bslab_highmem_unmap(m, h);
		bslab_highmem_free(m, h);
		bslab_highmem_destroy(m);
		_exit(!good);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	bslab_highmem_destroy(m);
}
