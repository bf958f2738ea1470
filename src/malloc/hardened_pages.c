/* SPDX-License-Identifier: MIT */
#include "malloc/hardened_pages.h"

#include <string.h>

#include "malloc/hardened.h"
#include "malloc/yard.h"
#include "os/options.h"
#include "os/os.h"
#include "page/guard.h"
#include "page/runs.h"
#include "slab/hardened.h"

/* --- where freed runs and mappings wait ---------------------------------------------------------- */

#define MAX_WIPED_RUNS 64
#define MAX_CLOSED_RUNS 256
#define MAX_WIPED_BYTES (2 * MIB)
/* Of addresses, in the regions. */
#define MAX_RUN_BYTES (64 * MIB)
/* Each holds a mapping of the kernel's. */
#define MAX_MAPPINGS 128
#define MAX_MAPPING_BYTES (64 * GIB)

static struct grave wiped_graves[MAX_WIPED_RUNS], run_graves[MAX_CLOSED_RUNS], mapping_graves[MAX_MAPPINGS];
static struct yard wiped, runs, mappings;

/* --- page runs ----------------------------------------------------------------------------------------- */

unsigned hardened_pages_for(size_t size)
{
	return (unsigned)((size + BLOCK_WORD + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT);
}

/* They wait no more; the yard does not call release() for these. */
static void count_out(unsigned n)
{
	guard_count_waiting(-(ptrdiff_t)n, n <= MAX_WIPED_PAGES);
}

/* NULL after a report, too. */
static void *wiped_reuse(unsigned n, size_t align)
{
	struct grave g;

	if (!yard_take(&wiped, (size_t)n << PAGE_SHIFT, align, &g))
		return NULL;
	count_out(n);
	if (unlikely(!block_is_clean(g.addr, run_end((void *)g.addr, n)))) {
		report_write_after_free((void *)g.addr);
		return NULL;
	}
	return (void *)g.addr;
}

/* Its guards still stand, so two system calls are saved. But what traps is to trap for long. */
static void *closed_reuse(unsigned n, size_t align)
{
	struct grave g;

	if (!yard_is_half_full(&runs) || !yard_take(&runs, (size_t)n << PAGE_SHIFT, align, &g))
		return NULL;
	count_out(n);
	if (guard_reopen((void *)g.addr, n))
		return (void *)g.addr;
	guard_free_pages((void *)g.addr, n);
	return NULL;
}

/* One that waits, of exactly so many pages, and reads as zero; NULL when there is none. */
static void *run_reuse(unsigned n, size_t align)
{
	return n <= MAX_WIPED_PAGES ? wiped_reuse(n, align) : closed_reuse(n, align);
}

static void *run_make(unsigned n, unsigned align_order, unsigned flags)
{
	bool zeroed;
	char *p;

	p = guard_alloc_pages(n, align_order, MIGRATE_MOVABLE, flags, &zeroed);
	if (!p)
		return NULL;
	if (!zeroed)
		memset(p, 0, (size_t)n << PAGE_SHIFT);
	return p;
}

void *hardened_run_alloc(size_t size, size_t align, unsigned flags)
{
	unsigned n = hardened_pages_for(size);
	void *p = run_reuse(n, align);
	bool is_new = !p;

	if (is_new)
		p = run_make(n, align > BSLAB_PAGE_SIZE ? ilog2(align) - PAGE_SHIFT : 0, flags);
	if (!p)
		return NULL;
	change_begin();
	run_describe(p, is_new ? 1 : n, n);
	block_seal_clean((uintptr_t)p, size, run_end(p, n));
	change_end();
	return p;
}

static void run_release(const struct grave *g)
{
	unsigned n = (unsigned)(g->size >> PAGE_SHIFT);

	count_out(n);
	map_set(g->addr, 0); /* nothing that has to be clean: it may be kept, and serve again */
	guard_free_pages((void *)g->addr, n);
}

static void wiped_release(const struct grave *g)
{
	if (likely(block_is_clean(g->addr, g->addr + g->size))) {
		run_release(g);
	} else {
		count_out((unsigned)(g->size >> PAGE_SHIFT));
		report_write_after_free((void *)g->addr);
	}
}

void hardened_run_free(void *ptr, unsigned n)
{
	struct grave g = {.addr = (uintptr_t)ptr, .size = (size_t)n << PAGE_SHIFT, .is_bare = !guard_has_before(ptr, n)};

	change_begin();
	map_set((uintptr_t)ptr, desc_of_number(n, PAGE_RUN_HOT));
	if (n <= MAX_WIPED_PAGES)
		block_wipe((uintptr_t)ptr, run_end(ptr, n));
	change_end();
	guard_count_waiting(n, n <= MAX_WIPED_PAGES);
	if (n <= MAX_WIPED_PAGES) {
		yard_put(&wiped, g);
	} else if (guard_close(ptr, n)) {
		yard_put(&runs, g);
	} else {
		run_release(&g);
	}
}

static void wiped_look(const struct grave *g)
{
	if (!block_is_clean(g->addr, g->addr + g->size))
		report_write_after_free((void *)g->addr);
}

void hardened_runs_check_last(void)
{
	yard_look(&wiped, wiped_look);
}

/* --- mappings ------------------------------------------------------------------------------------------ */

/* p: a mapping of size and a word, or NULL. */
static void *mapping_seal(void *p, size_t size)
{
	const struct vm_area *a = p ? large_of(map_lookup((uintptr_t)p)) : NULL;

	if (a)
		block_seal_clean(a->addr, size, a->addr + a->size);
	return p;
}

void *hardened_mapping_alloc(size_t size, size_t align)
{
	bool zeroed;
	void *p;

	change_begin();
	p = mapping_seal(large_alloc(size + BLOCK_WORD, align, &zeroed), size);
	change_end();
	return p;
}

void *hardened_map(size_t size)
{
	bool zeroed;
	void *p;

	change_begin();
	p = mapping_seal(large_map(size + BLOCK_WORD, BSLAB_PAGE_SIZE, LARGE_GUARD, &zeroed), size);
	change_end();
	return p;
}

static void mapping_release(const struct grave *g)
{
	map_set(g->block, 0);
	os_unmap((void *)g->addr, g->size);
}

void hardened_mapping_free(struct vm_area *a)
{
	struct grave g = {.block = a->addr};
	bool is_sealed;

	change_begin();
	is_sealed = large_free_sealed(a, &g.addr, &g.size);
	change_end();
	if (is_sealed) {
		map_set(g.block, desc_of_number(0, PAGE_RUN_HOT));
		yard_put(&mappings, g);
	}
}

/* --- process life ----------------------------------------------------------------------------------------------- */

void hardened_pages_start(void)
{
	size_t limit = os_address_space_limit();

	bslab_options.large_size = 0; /* each large block a mapping of its own */
	yard_setup(&wiped, wiped_graves, MAX_WIPED_RUNS, MAX_WIPED_BYTES, wiped_release);
	yard_setup(&runs, run_graves, MAX_CLOSED_RUNS, MAX_RUN_BYTES, run_release);
	yard_setup(&mappings, mapping_graves, MAX_MAPPINGS, min_size(MAX_MAPPING_BYTES, limit / 16), mapping_release);
}

void hardened_pages_drain(void)
{
	yard_drain(&wiped);
	yard_drain(&runs);
	yard_drain(&mappings);
}

void hardened_pages_fork_prepare(void)
{
	yard_fork_prepare(&wiped);
	yard_fork_prepare(&runs);
	yard_fork_prepare(&mappings);
}

void hardened_pages_fork_done(bool child)
{
	yard_fork_done(&mappings, child);
	yard_fork_done(&runs, child);
	yard_fork_done(&wiped, child);
}
