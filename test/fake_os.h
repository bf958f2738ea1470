/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for src/os/os.c and memory.c under the unit tests.
 *
 * 1. Address space is a window of FAKE_PAGES pages. A page table of its own says what each page is: FREE, RESERVED,
 *    COMMITTED, GUARDED, CLOSED. Memory behind it is real, so that the floors above may write to it.
 * 2. A call that breaks the contract of os.h (commits what is not reserved, purges what is not committed, unmaps what
 *    is not mapped) ends the process with a line that says so.
 * 3. fake_fail_at(kinds, n) lets the n-th of the next calls of those kinds fail, once or from then on.
 * 4. What the process asks of its surroundings (CPUs, limits, environment, page size) is what `fake` says.
 */
#ifndef BSLAB_FAKE_OS_H
#define BSLAB_FAKE_OS_H

#include "base/base.h"

#define FAKE_PAGES ((size_t)1 << 22) /* 16 GiB */

enum fake_call {
	FAKE_RESERVE,
	FAKE_COMMIT,
	FAKE_MAP,
	FAKE_BACK_HUGE,
	FAKE_LOSE_HUGE, /* os_back_huge() leaves nothing there */
	FAKE_UNMAP,
	FAKE_REMAP,
	FAKE_MOVE,
	FAKE_PURGE,
	FAKE_POPULATE,
	FAKE_POPULATE_HUGE,
	FAKE_GUARD,
	FAKE_UNGUARD,
	FAKE_BARRIER,
	FAKE_LOCK,
	FAKE_FILE, /* os_map_file(), and os_file_reserve(), which keeps half of it; the file is a real one */
	NR_FAKE_CALLS
};
#define FAKE_ALL ((1u << NR_FAKE_CALLS) - 1)

/* GUARDED: by markers; CLOSED: by mprotect. What undoes the one leaves the other as it is. */
enum fake_state { FAKE_FREE, FAKE_RESERVED, FAKE_COMMITTED, FAKE_GUARDED, FAKE_CLOSED };

struct fake_file {
	const char *path, *text;
};

struct fake_os {
	size_t page_size;
	unsigned nr_cpus;
	size_t address_space_limit;
	size_t memory_size;	/* 0: SIZE_MAX */
	unsigned node;		/* of the CPU that calls */
	bool has_policy;	/* os_has_node_policy() */
	void (*node_asked)(void); /* called by os_node() */
	void (*has_locked)(void); /* called by os_lock() when it is done */
	void (*mapped)(void);	/* called by os_map() when it is done */
	void (*at_barrier)(void); /* called by os_barrier_rseq() */
	void (*file_asked)(void); /* called by os_read_file() */
	size_t nr_prefers;	/* calls of os_prefer_node() */
	size_t nr_elsewhere;	/* so many times os_is_on_node() says no */
	int cpu;		/* 0: that of the machine; else 1 more than os_cpu() says */
	size_t huge_size;	/* of the largest pages that os_map_huge() has */
	size_t nr_low_tries;	/* calls of os_reserve_low() */
	size_t low_size;	/* what os_reserve_low() has left */
	const char *env;	/* value of BSLAB_CONF */
	size_t nr_coarse_looks; /* calls of os_coarse_clock_ms() */
	int barrier_error;	/* of a membarrier that fails; 0: EPERM */
	uint64_t clock_ms;	/* 0: that of the machine */
	uint64_t clock_ns;	/* what os_clock_ns() says */
	uint64_t counter;	/* the same of os_counter() */
	size_t data_limit;	/* 0: none */
	uint64_t clock_us, step_us; /* os_clock_us() goes on by a step at each call */
	const struct fake_file *files; /* what os_read_file() finds; the last has no path */
	size_t nr_resident;	/* what os_count_resident() says; SIZE_MAX: nothing */
	size_t nr_splits;	/* calls of os_split_huge() */
	int populate_error;	/* what os_populate() fails with; 0: -EPERM */
	bool capture;		/* os_write() goes to text[] */
	size_t nr_calls[NR_FAKE_CALLS];
	size_t nr_failed;
	char text[4096];
};
extern struct fake_os fake;

/* The n-th call (1 is the next) of the kinds in the mask fails; with forever, all later ones too. n = 0: none fails. */
void fake_fail_at(unsigned kinds, size_t n, bool forever);
/* Where the window begins. */
uintptr_t fake_window(void);
/* What a page is. */
enum fake_state fake_page(const void *addr);
/* Whether os_no_huge_pages() was called for it. */
bool fake_is_small(const void *addr);
/* Whether os_lock() was called for it, and nothing has undone that. Then os_purge() refuses it, as the kernel does. */
bool fake_is_locked(const void *addr);
/* How many pages of the window are in a state. */
size_t fake_count(enum fake_state state);
/* Neighbouring pages of one state, counted: what /proc/self/maps would have for lines. */
size_t fake_mappings(void);

#endif
