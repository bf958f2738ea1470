/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "fake_os.h"
#include "os/options.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "os/place.h"

struct fake_os fake = {.page_size = 4096, .nr_cpus = 64, .address_space_limit = SIZE_MAX, .low_size = 4 * GIB, .huge_size = 2 * MIB};

/* Held by each call that looks at the page table: floors above hold different locks when they come here. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static void unlock_table(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static pthread_mutex_t *lock_table(void)
{
	pthread_mutex_lock(&table_lock);
	return &table_lock;
}

#define WITH_TABLE pthread_mutex_t *held __attribute__((cleanup(unlock_table), unused)) = lock_table()

static char *window;
static uint8_t *table; /* enum fake_state of each page */
static bool *locked;   /* of each page */
static bool *is_small; /* of each page: os_no_huge_pages() */
static struct {
	unsigned kinds;
	size_t n;
	bool forever;
} failure;

static void breach(const char *call, const void *addr, size_t size)
{
	fprintf(stderr, "fake_os: %s(%p, %zu) breaks the contract of os.h\n", call, addr, size);
	abort();
}

static void window_open(void)
{
	const size_t align = (size_t)1 << 31; /* a section, so that tests know in which one an address is */
	char *p;

	if (window)
		return;
	p = mmap(NULL, FAKE_PAGES * BSLAB_PAGE_SIZE + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	table = mmap(NULL, FAKE_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	locked = mmap(NULL, FAKE_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	is_small = mmap(NULL, FAKE_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || table == MAP_FAILED || locked == MAP_FAILED || is_small == MAP_FAILED) {
		perror("fake_os: mmap");
		abort();
	}
	window = (char *)align_up((uintptr_t)p, align);
}

/* The floors below boot find the defaults, as after boot. */
#pragma weak bslab_options
#pragma weak bslab_option_defaults

static void __attribute__((constructor)) set_options(void)
{
	if (&bslab_option_defaults)
		bslab_options = bslab_option_defaults;
}

void fake_fail_at(unsigned kinds, size_t n, bool forever)
{
	failure.kinds = kinds;
	failure.n = n;
	failure.forever = forever;
}

static bool fails(enum fake_call call)
{
	fake.nr_calls[call]++;
	if (!failure.n || !(failure.kinds & 1u << call))
		return false;
	if (failure.n > 1) {
		failure.n--;
		return false;
	}
	if (!failure.forever)
		failure.n = 0;
	fake.nr_failed++;
	return true;
}

/* --- the page table ------------------------------------------------------------------ */

static size_t page_of(const char *call, const void *addr, size_t size)
{
	size_t offset;

	window_open();
	offset = (size_t)((uintptr_t)addr - (uintptr_t)window);
	if (offset % BSLAB_PAGE_SIZE || size % BSLAB_PAGE_SIZE || !size || offset >= FAKE_PAGES * BSLAB_PAGE_SIZE ||
	    size > FAKE_PAGES * BSLAB_PAGE_SIZE - offset)
		breach(call, addr, size);
	return offset / BSLAB_PAGE_SIZE;
}

static void expect(const char *call, const void *addr, size_t size, bool (*allowed)(uint8_t state))
{
	size_t first = page_of(call, addr, size), i;

	for (i = first; i < first + size / BSLAB_PAGE_SIZE; i++)
		if (!allowed(table[i]))
			breach(call, addr, size);
}

static bool is_mapped(uint8_t state)
{
	return state != FAKE_FREE;
}

static bool is_usable(uint8_t state)
{
	return state == FAKE_COMMITTED;
}

static bool is_committed(uint8_t state)
{
	return state == FAKE_COMMITTED || state == FAKE_GUARDED || state == FAKE_CLOSED;
}

static void set_range(void *addr, size_t size, enum fake_state state)
{
	int prot = state == FAKE_COMMITTED ? PROT_READ | PROT_WRITE : PROT_NONE;

	if (mprotect(addr, size, prot) != 0)
		abort();
	memset(table + page_of("set", addr, size), (int)state, size / BSLAB_PAGE_SIZE);
}

/* Those of its pages that are in one state. */
static void turn_range(void *addr, size_t size, enum fake_state from, enum fake_state to)
{
	char *p;

	for (p = addr; p < (char *)addr + size; p += BSLAB_PAGE_SIZE)
		if (table[page_of("turn", p, BSLAB_PAGE_SIZE)] == from)
			set_range(p, BSLAB_PAGE_SIZE, to);
}

/* Forgets the pages: what comes next at these addresses reads as zero. */
static void drop_range(void *addr, size_t size)
{
	if (mmap(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != addr)
		abort();
	memset(table + page_of("drop", addr, size), FAKE_FREE, size / BSLAB_PAGE_SIZE);
	memset(locked + page_of("drop", addr, size), 0, size / BSLAB_PAGE_SIZE);
	memset(is_small + page_of("drop", addr, size), 0, size / BSLAB_PAGE_SIZE);
}

static bool range_is_free(size_t first, size_t n)
{
	size_t i;

	if (first + n > FAKE_PAGES)
		return false;
	for (i = first; i < first + n; i++)
		if (table[i] != FAKE_FREE)
			return false;
	return true;
}

/* First fit; a page is left free behind each range, so that ranges never touch by chance. */
static void *find_range(size_t size, size_t align, uintptr_t hint)
{
	size_t n = size / BSLAB_PAGE_SIZE, step = align / BSLAB_PAGE_SIZE, i;
	uintptr_t start;

	window_open();
	start = (uintptr_t)window;
	if (hint >= start && hint % align == 0 && range_is_free((hint - start) / BSLAB_PAGE_SIZE, n))
		return (void *)hint;
	for (i = 0; i + n <= FAKE_PAGES; i += step)
		if (table[i] == FAKE_FREE && range_is_free(i, n + 1))
			return window + i * BSLAB_PAGE_SIZE;
	return NULL;
}

uintptr_t fake_window(void)
{
	window_open();
	return (uintptr_t)window;
}

enum fake_state fake_page(const void *addr)
{
	return table[page_of("fake_page", (void *)align_down((uintptr_t)addr, BSLAB_PAGE_SIZE), BSLAB_PAGE_SIZE)];
}

bool fake_is_small(const void *addr)
{
	return is_small[page_of("fake_is_small", (void *)align_down((uintptr_t)addr, BSLAB_PAGE_SIZE), BSLAB_PAGE_SIZE)];
}

bool fake_is_locked(const void *addr)
{
	return locked[page_of("fake_is_locked", (void *)align_down((uintptr_t)addr, BSLAB_PAGE_SIZE), BSLAB_PAGE_SIZE)];
}

size_t fake_count(enum fake_state state)
{
	size_t i, n = 0;

	window_open();
	for (i = 0; i < FAKE_PAGES; i++)
		n += table[i] == state;
	return n;
}

size_t fake_mappings(void)
{
	size_t i, n = 0;

	window_open();
	for (i = 0; i < FAKE_PAGES; i++)
		n += table[i] != FAKE_FREE && (!i || table[i] != table[i - 1]);
	return n;
}

/* --- os.h: address space --------------------------------------------------------------- */

void *os_reserve(size_t size, size_t align, uintptr_t hint)
{
	WITH_TABLE;
	void *p;

	if (fails(FAKE_RESERVE))
		return NULL;
	p = find_range(size, align, hint);
	if (p)
		set_range(p, size, FAKE_RESERVED);
	return p;
}

/* The window stands where it stands: what is low is counted only. */
void *os_reserve_low(size_t size, size_t align)
{
	void *p;

	fake.nr_low_tries++;
	if (size > fake.low_size)
		return NULL;
	p = os_reserve(size, align, 0);
	if (p)
		fake.low_size -= size;
	return p;
}

int os_back_huge(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_back_huge", addr, size, is_mapped);
	if (fails(FAKE_BACK_HUGE))
		return -ENOMEM;
	drop_range(addr, size);
	if (fails(FAKE_LOSE_HUGE)) {
		set_range(addr, size, FAKE_FREE);
		return -EEXIST;
	}
	set_range(addr, size, FAKE_COMMITTED);
	return 0;
}

void *os_map_huge(size_t size, size_t page_size)
{
	WITH_TABLE;
	void *p;

	if (fails(FAKE_BACK_HUGE) || page_size > fake.huge_size)
		return NULL;
	p = find_range(size, page_size, 0);
	if (p)
		set_range(p, size, FAKE_COMMITTED);
	return p;
}

int os_commit(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_commit", addr, size, is_mapped);
	if (fails(FAKE_COMMIT))
		return -ENOMEM;
	turn_range(addr, size, FAKE_RESERVED, FAKE_COMMITTED);
	turn_range(addr, size, FAKE_CLOSED, FAKE_COMMITTED);
	return 0;
}

void *os_map_accounted(size_t size)
{
	return os_map(size);
}

void *os_map(size_t size)
{
	WITH_TABLE;
	void *p;

	if (fails(FAKE_MAP))
		return NULL;
	p = find_range(align_up(size, fake.page_size), fake.page_size, 0);
	if (p)
		set_range(p, align_up(size, fake.page_size), FAKE_COMMITTED);
	if (fake.mapped)
		fake.mapped();
	return p;
}

int os_unmap(void *addr, size_t size)
{
	WITH_TABLE;
	size = align_up(size, BSLAB_PAGE_SIZE);
	expect("os_unmap", addr, size, is_mapped);
	if (fails(FAKE_UNMAP))
		return -ENOMEM;
	drop_range(addr, size);
	return 0;
}

static void *move_range(void *addr, size_t size, void *target)
{
	if (mremap(addr, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, target) != target)
		abort();
	memset(table + page_of("move", target, size), FAKE_COMMITTED, size / BSLAB_PAGE_SIZE);
	drop_range(addr, size);
	return target;
}

void *os_remap(void *addr, size_t old_size, size_t new_size)
{
	WITH_TABLE;
	size_t first = page_of("os_remap", addr, old_size), old_pages = old_size / BSLAB_PAGE_SIZE;
	char *p = addr;

	expect("os_remap", addr, old_size, is_usable);
	if (fails(FAKE_REMAP))
		return NULL;
	if (new_size > old_size) {
		if (!range_is_free(first + old_pages, (new_size - old_size) / BSLAB_PAGE_SIZE)) {
			p = find_range(new_size, fake.page_size, 0);
			if (!p)
				return NULL;
			move_range(addr, old_size, p);
		}
		set_range(p + old_size, new_size - old_size, FAKE_COMMITTED);
	} else if (new_size < old_size) {
		drop_range(p + new_size, old_size - new_size);
	}
	return p;
}

void *os_move_pages(void *addr, size_t size)
{
	WITH_TABLE;
	void *p;

	expect("os_move_pages", addr, size, is_usable);
	if (fails(FAKE_MOVE))
		return NULL;
	p = find_range(size, BSLAB_PAGE_SIZE, 0);
	if (!p)
		return NULL;
	move_range(addr, size, p);
	set_range(addr, size, FAKE_COMMITTED);
	return p;
}

/* --- os.h: pages ------------------------------------------------------------------------- */

int os_purge(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_purge", addr, size, is_committed);
	if ((uintptr_t)addr % fake.page_size || size % fake.page_size)
		breach("os_purge", addr, size);
	if (fails(FAKE_PURGE))
		return -EPERM;
	if (memchr(locked + page_of("os_purge", addr, size), true, size / BSLAB_PAGE_SIZE))
		return -EINVAL;
	return madvise(addr, size, MADV_DONTNEED) == 0 ? 0 : -errno;
}

unsigned os_purge_ranges(const struct os_range *ranges, unsigned n)
{
	unsigned done = 0;

	while (done < n && os_purge(ranges[done].addr, ranges[done].size) == 0)
		done++;
	return done;
}

int os_populate(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_populate", addr, size, is_usable);
	return !fails(FAKE_POPULATE) ? 0 : fake.populate_error ? fake.populate_error : -EPERM;
}

static int lock_range(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_lock", addr, size, is_usable);
	if (fails(FAKE_LOCK))
		return -ENOMEM;
	memset(locked + page_of("os_lock", addr, size), true, size / BSLAB_PAGE_SIZE);
	return 0;
}

int os_lock(void *addr, size_t size)
{
	int ret = lock_range(addr, size);

	if (fake.has_locked)
		fake.has_locked();
	return ret;
}

int os_unlock(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_unlock", addr, size, is_usable);
	memset(locked + page_of("os_unlock", addr, size), false, size / BSLAB_PAGE_SIZE);
	return 0;
}

int os_guard(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_guard", addr, size, is_committed);
	if (fails(FAKE_GUARD))
		return -ENOMEM;
	set_range(addr, size, FAKE_GUARDED);
	return 0;
}

int os_unguard(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_unguard", addr, size, is_committed);
	if (fails(FAKE_UNGUARD))
		return -ENOMEM;
	set_range(addr, size, FAKE_COMMITTED);
	return 0;
}

bool os_count_resident(const void *addr, size_t size, size_t *nr_resident)
{
	WITH_TABLE;
	expect("os_count_resident", addr, size, is_committed);
	*nr_resident = fake.nr_resident;
	return fake.nr_resident != SIZE_MAX;
}

int os_guard_light(void *addr, size_t size)
{
	if (os_guard(addr, size) != 0)
		return -EINVAL;
	return madvise(addr, size, MADV_DONTNEED) == 0 ? 0 : -errno;
}

int os_guard_hard(void *addr, size_t size)
{
	int ret = os_guard(addr, size);

	if (!ret)
		set_range(addr, size, FAKE_CLOSED);
	return ret;
}

int os_open_guard(void *addr, size_t size, enum guard_kind kind)
{
	WITH_TABLE;
	expect("os_open_guard", addr, size, is_committed);
	if (fails(FAKE_UNGUARD))
		return -ENOMEM;
	turn_range(addr, size, kind == GUARD_LIGHT ? FAKE_GUARDED : FAKE_CLOSED, FAKE_COMMITTED);
	return 0;
}

int os_seal(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_seal", addr, size, is_mapped);
	if (fails(FAKE_MAP))
		return -ENOMEM;
	drop_range(addr, size);
	set_range(addr, size, FAKE_RESERVED);
	return 0;
}

int os_map_file(void *addr, size_t size, int fd, uint64_t offset)
{
	WITH_TABLE;
	void *from;

	expect("os_map_file", addr, size, is_mapped);
	if (fails(FAKE_FILE))
		return -ENOMEM;
	from = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (from == MAP_FAILED)
		return -errno;
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, addr) != addr)
		abort();
	set_range(addr, size, FAKE_COMMITTED);
	return 0;
}

int os_file_reserve(int fd, uint64_t offset, uint64_t size)
{
	WITH_TABLE;
	if (fails(FAKE_FILE)) /* as ext4 does */
		return fallocate(fd, 0, (off_t)offset, (off_t)size / 2) ? -errno : -ENOSPC;
	return fallocate(fd, 0, (off_t)offset, (off_t)size) ? -errno : 0;
}

void os_file_punch(int fd, uint64_t offset, uint64_t size)
{
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
}

bool os_populate_huge(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_populate_huge", addr, size, is_committed);
	return !fails(FAKE_POPULATE_HUGE);
}

void os_split_huge(void *addr, size_t size)
{
	WITH_TABLE;
	expect("os_split_huge", addr, size, is_committed);
	fake.nr_splits++;
}

void os_no_huge_pages(void *addr, size_t size)
{
	WITH_TABLE;
	size = align_up(size, BSLAB_PAGE_SIZE);
	expect("os_no_huge_pages", addr, size, is_mapped);
	memset(is_small + page_of("os_no_huge_pages", addr, size), true, size / BSLAB_PAGE_SIZE);
}

void os_name(void *addr, size_t size, const char *name)
{
	WITH_TABLE;
	(void)name;
	expect("os_name", addr, align_up(size, BSLAB_PAGE_SIZE), is_mapped);
}

/* --- os.h: the process --------------------------------------------------------------------- */

size_t os_page_size(void)
{
	return fake.page_size;
}

unsigned os_nr_cpus(void)
{
	return fake.nr_cpus;
}

unsigned os_nr_cpus_allowed(void)
{
	return fake.nr_cpus;
}

size_t os_memory_size(void)
{
	return fake.memory_size ? fake.memory_size : SIZE_MAX;
}

size_t os_address_space_limit(void)
{
	return fake.address_space_limit;
}

const char *os_env(const char *name)
{
	return fake.env ? fake.env : getenv(name);
}

bool os_has_barrier(void)
{
	WITH_TABLE;

	return !fails(FAKE_BARRIER) && syscall(SYS_membarrier, 1 << 4, 0, 0) == 0;
}

int os_barrier(void)
{
	WITH_TABLE;

	return fails(FAKE_BARRIER) ? -EPERM : syscall(SYS_membarrier, 1 << 3, 0, 0) == 0 ? 0 : -errno;
}

int os_barrier_rseq(void)
{
	WITH_TABLE;
	static bool registered;

	if (fake.at_barrier)
		fake.at_barrier();
	if (fails(FAKE_BARRIER))
		return fake.barrier_error ? -fake.barrier_error : -EPERM;
	if (!registered && syscall(SYS_membarrier, 1 << 8, 0, 0) != 0)
		return -errno;
	registered = true;
	return syscall(SYS_membarrier, 1 << 7, 0, 0) == 0 ? 0 : -errno;
}

void os_prepare_barrier_rseq(void)
{
}

int os_cpu(void)
{
	if (fake.cpu)
		return fake.cpu - 1;
	return sched_getcpu();
}

bool os_has_node_policy(void)
{
	return fake.has_policy;
}

unsigned os_node(void)
{
	if (fake.node_asked)
		fake.node_asked();
	return fake.node;
}

int os_prefer_node(void *addr, size_t size, unsigned node)
{
	WITH_TABLE;
	(void)node;
	expect("os_prefer_node", addr, size, is_mapped);
	fake.nr_prefers++;
	return -ENOSYS;
}

bool os_is_on_node(void *addr, size_t size, unsigned node)
{
	WITH_TABLE;
	(void)node;
	expect("os_is_on_node", addr, size, is_committed);
	if (!fake.nr_elsewhere)
		return true;
	fake.nr_elsewhere--;
	return false;
}

size_t os_rseq_feature_size(void)
{
	return getauxval(27); /* AT_RSEQ_FEATURE_SIZE */
}

bool os_is_single_threaded(void)
{
	return false;
}

uint64_t os_coarse_clock_ms(void)
{
	struct timespec now;

	__atomic_fetch_add(&fake.nr_coarse_looks, 1, __ATOMIC_RELAXED);
	if (fake.clock_ms)
		return fake.clock_ms;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t os_wall_clock_ns(void)
{
	return os_coarse_clock_ms() * 1000000;
}

uint64_t os_clock_ns(void)
{
	return fake.clock_ns;
}

uint64_t os_counter(void)
{
	return fake.counter;
}

uint64_t os_counter_span(uint64_t since, uint64_t now)
{
	return now < since ? UINT64_MAX : now - since;
}

size_t os_data_limit(void)
{
	return fake.data_limit ? fake.data_limit : SIZE_MAX;
}

uint64_t os_clock_us(void)
{
	return __atomic_add_fetch(&fake.clock_us, fake.step_us, __ATOMIC_RELAXED);
}

uint64_t os_random_seed(void)
{
	return 1;
}

uint64_t os_random(void)
{
	static uint64_t last = 1;

	return last = last * 0x5851f42d4c957f2dull + 1;
}

bool os_is_readable(uintptr_t addr)
{
	return addr >= BSLAB_PAGE_SIZE;
}

bool os_exe_path(char *path, size_t size)
{
	return snprintf(path, size, "/fake/exe") > 0;
}

int os_open_new(const char *path)
{
	return os_open_append(path);
}

void os_futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void os_futex_wake(_Atomic uint32_t *word, int nr_waiters)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr_waiters, NULL, NULL, 0);
}

void os_yield(void)
{
	sched_yield();
}

void os_sleep_ms(unsigned ms)
{
	usleep(ms * 1000);
}

unsigned os_pid(void)
{
	return (unsigned)getpid();
}

int os_open_append(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

	return fd < 0 ? -errno : fd;
}

void os_close(int fd)
{
	close(fd);
}

unsigned os_thread_id(void)
{
	return (unsigned)syscall(SYS_gettid);
}

int os_write(int fd, const char *text, size_t len)
{
	size_t have = strlen(fake.text);

	if (!fake.capture) {
		if (write(fd, text, len) < 0)
			abort();
		return 0;
	}
	if (len > sizeof fake.text - 1 - have)
		len = sizeof fake.text - 1 - have;
	memcpy(fake.text + have, text, len);
	fake.text[have + len] = '\0';
	return 0;
}

void os_hold_write_signals(struct held_signals *h)
{
	*h = (struct held_signals){0};
}

void os_release_write_signals(const struct held_signals *h)
{
	(void)h;
}

void os_hold_signals(struct held_signals *h)
{
	*h = (struct held_signals){0};
}

void os_release_signals(const struct held_signals *h)
{
	(void)h;
}

bool os_read_file(const char *path, char *text, size_t size)
{
	const struct fake_file *f;

	if (fake.file_asked)
		fake.file_asked();
	for (f = fake.files; f && f->path; f++)
		if (strcmp(f->path, path) == 0) {
			snprintf(text, size, "%s", f->text);
			return true;
		}
	return false;
}
