/* SPDX-License-Identifier: MIT */
/*
 * Everything that bslab asks of the kernel and of libc's start-up data.
 *
 * The calls are raw: they return 0 or a pointer on success, a negative errno
 * or NULL on failure, and never touch errno, so free() keeps it by construction.
 * memory.c is the first two parts, os.c the rest; test/fake_os.c stands for both in the unit tests.
 */
#ifndef BSLAB_OS_H
#define BSLAB_OS_H

#include "base/base.h"

/* --- address space ------------------------------------------------------ */

/*
 * Reserves size bytes, a multiple of align, at an address that is a multiple of align (a power of two),
 * near hint if that is free. Nothing may be touched before os_commit().
 */
void *os_reserve(size_t size, size_t align, uintptr_t hint);
/* Makes a part of a reservation usable; -ENOMEM where overcommit_memory=2 or a limit refuses. */
int os_commit(void *addr, size_t size);
/* A usable zeroed mapping of its own. NULL when refused. */
void *os_map(size_t size);
/* The same for what will be resident as a whole: NULL where the machine has not so much (vm.overcommit_memory). */
void *os_map_accounted(size_t size);
int os_unmap(void *addr, size_t size);
/* Grows or shrinks a whole mapping, moving it if it must. NULL when refused: the old one is then as it was. */
void *os_remap(void *addr, size_t old_size, size_t new_size);
/*
 * Moves pages to a place of the kernel's choice and leaves zero pages behind (MREMAP_DONTUNMAP). NULL when refused, and where
 * those could not be purged later.
 */
void *os_move_pages(void *addr, size_t size);

/*
 * Puts a part of a file, as it is and as it is written by others, in the place of what is mapped there. 0, or a negative errno,
 * which is never -EAGAIN; then what was there still is, or, where the kernel had no memory, a reservation. It takes so many
 * addresses, and a mapping, more for a moment, where they are to be had.
 */
int os_map_file(void *addr, size_t size, int fd, uint64_t offset);
/* Room for a part of a file, which grows where it has to (fallocate). 0, or a negative errno. */
int os_file_reserve(int fd, uint64_t offset, uint64_t size);
/* Gives such room back; the part reads as zero, and the file is as long as it was. Best effort. A refused reserve may keep some. */
void os_file_punch(int fd, uint64_t offset, uint64_t size);

/* --- pages -------------------------------------------------------------- */

/* Gives the pages back: they read as zero afterwards. */
int os_purge(void *addr, size_t size);
/*
 * The same of several ranges, in order up to the first that is refused: how many were purged. From Linux 6.15 on one call gives
 * them all back (process_madvise(2) of the process itself), and from 6.16 on the other CPUs flush their TLBs once; else each takes its
 * own.
 */
struct os_range {
	void *addr;
	size_t size;
};
unsigned os_purge_ranges(const struct os_range *ranges, unsigned n);
/*
 * How many pages of a range of at most a pageblock are resident; false when the kernel does not say. A hint: pages that
 * were swapped out do not count, and are not zero.
 */
bool os_count_resident(const void *addr, size_t size, size_t *nr_resident);
/* Faults the pages in at once, writable. */
int os_populate(void *addr, size_t size);
/* Keeps the pages resident (mlock); -EPERM or -ENOMEM beyond RLIMIT_MEMLOCK. */
int os_lock(void *addr, size_t size);
int os_unlock(void *addr, size_t size);
/* Makes a page trap when touched, within its mapping (MADV_GUARD_INSTALL) or, on older kernels, by mprotect. */
int os_guard(void *addr, size_t size);
int os_unguard(void *addr, size_t size);
/*
 * One way or the other, for whoever keeps which it was: what the one did the other does not undo. Markers
 * (MADV_GUARD_INSTALL) split no mapping, and contents are lost. They are tried out before they are trusted.
 */
enum guard_kind { GUARD_NONE, GUARD_LIGHT, GUARD_HARD };
int os_guard_light(void *addr, size_t size);
int os_guard_hard(void *addr, size_t size);
int os_open_guard(void *addr, size_t size, enum guard_kind kind);
/* Puts a mapping that traps, and holds no memory, in the place of what is there. */
int os_seal(void *addr, size_t size);
/*
 * Makes a range that was never touched resident by one huge page. False, and nothing is resident, where the kernel has none.
 * The advice is that of os_no_huge_pages() afterwards.
 */
bool os_populate_huge(void *addr, size_t size);
/*
 * Call before a part of a huge page is given back, or the kernel keeps all of it until memory is short. Best effort: MADV_FREE
 * splits a huge page of which it gets a part (Linux: madvise_free_huge_pmd()).
 */
void os_split_huge(void *addr, size_t size);
void os_no_huge_pages(void *addr, size_t size);
/* Shown as [anon:name] in /proc/PID/maps where the kernel has it. */
void os_name(void *addr, size_t size, const char *name);

/* --- the process -------------------------------------------------------- */

size_t os_page_size(void);
/* An upper bound of CPU numbers and concurrency ids in this process. */
unsigned os_nr_cpus(void);
/* How many CPUs this process may run on, at least 1. */
unsigned os_nr_cpus_allowed(void);
/* RLIMIT_AS in bytes, SIZE_MAX when unlimited. */
size_t os_address_space_limit(void);
/* RLIMIT_DATA, which private mappings count towards; the same. */
size_t os_data_limit(void);
/* The machine's memory and swap together, in bytes; SIZE_MAX where that cannot be told. */
size_t os_memory_size(void);
/* The start of a file as a string; false when it cannot be read. */
bool os_read_file(const char *path, char *text, size_t size);
/* The value of an environment variable, NULL when unset or in a set-uid program; works before libc is ready. */
const char *os_env(const char *name);
/* Whether os_barrier() is to be had. Registers where the process has one thread: with more, that takes milliseconds. */
bool os_has_barrier(void);
/* Rounds of membarrier: registers unless that is done. 0 when every thread's stores before are seen, and its loads behind are yet to come. */
int os_barrier(void);
/* The same. 0 when every thread's running restartable sequence has been restarted. */
int os_barrier_rseq(void);
/* Registers for it now where the process has one thread. Later the first round would take milliseconds (the kernel's synchronize_rcu()). */
void os_prepare_barrier_rseq(void);
/* The CPU this thread runs on by getcpu(2), or -1. */
int os_cpu(void);
/* As libc knows it: threads that were made behind its back do not count. False where it does not say. */
bool os_is_single_threaded(void);
/* The kernel's rseq feature size (AT_RSEQ_FEATURE_SIZE), 0 before Linux 6.3. */
size_t os_rseq_feature_size(void);
uint64_t os_coarse_clock_ms(void);
/*
 * From a time of it to another: 0 where the first was read later, by another thread. A clock that went back by a minute was set (a child in
 * a time namespace): then all that was is long ago.
 */
static inline uint64_t ms_since(uint64_t then, uint64_t now)
{
	int64_t ms = (int64_t)(now - then);

	return ms >= 0 ? (uint64_t)ms : ms > -60000 ? 0 : UINT32_MAX;
}
/* Microseconds, for spans. */
uint64_t os_clock_us(void);
/* The same in nanoseconds; 0 where a filter refuses the clock. */
uint64_t os_clock_ns(void);
/*
 * A look at a counter of the CPU's, and what lies between two looks: nanoseconds, rounded up, perhaps to several times as many. No
 * library puts another clock in its place.
 */
uint64_t os_counter(void);
uint64_t os_counter_span(uint64_t since, uint64_t now);
/* Nanoseconds since 1970. */
uint64_t os_wall_clock_ns(void);
/* A number that differs from process to process (AT_RANDOM). */
uint64_t os_random_seed(void);
/* A number that nobody can know (getrandom), or, while the kernel has none, can hardly know. */
uint64_t os_random(void);
/* Whether the eight bytes at an address can be read: a system call that changes nothing. */
bool os_is_readable(uintptr_t addr);
/* The path of the program's file as a string; false when it is not known. */
bool os_exe_path(char *path, size_t size);
unsigned os_pid(void);
/* Of the calling thread, as gettid() has it. */
unsigned os_thread_id(void);

/* --- threads waiting ---------------------------------------------------- */

void os_futex_wait(_Atomic uint32_t *word, uint32_t value);
void os_futex_wake(_Atomic uint32_t *word, int nr_waiters);
void os_yield(void);
void os_sleep_ms(unsigned ms);

/* --- messages ----------------------------------------------------------- */

/*
 * All of it. 0, or a negative errno: what could be written before is. Where a descriptor that does not block is full it
 * waits for room, each time a second at most.
 */
int os_write(int fd, const char *text, size_t len);
/*
 * Between the two, a write of this thread that fails raises no signal: SIGPIPE and SIGXFSZ are blocked, and taken where
 * none was pending before. For what nobody in the program asked for.
 */
struct held_signals {
	uint64_t mask, pending; /* of the thread before */
	bool is_held;
};
void os_hold_write_signals(struct held_signals *h);
void os_release_write_signals(const struct held_signals *h);
/* Between the two, no signal handler runs in this thread; a fault ends the process. */
void os_hold_signals(struct held_signals *h);
void os_release_signals(const struct held_signals *h);
/* A file that is written at its end, made if there is none; a descriptor, or a negative errno. */
int os_open_append(const char *path);
/* A file that is made, or emptied; as above. */
int os_open_new(const char *path);
void os_close(int fd);

#endif
