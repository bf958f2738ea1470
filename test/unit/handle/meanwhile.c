/* SPDX-License-Identifier: MIT */
/*
 * What others do between two steps of a move. They come where the linker leads calls through here (--wrap), which are made without
 * a lock, and at the first read of a page that traps.
 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_os.h"
#include "handle/compact.h"
#include "handle/get.h"
#include "handle/handle.h"
#include "handle/move.h"
#include "os/options.h"
#include "page/compactable.h"

/* Each is called once, but the last. */
static void (*at_slab_made)(void), (*at_pages_freed)(void), (*at_read)(void), (*at_putback)(void);

static void call(void (**what)(void))
{
	void (*f)(void) = *what;

	*what = NULL;
	if (f)
		f();
}

void *__real_pages_alloc_compactable(unsigned nr_pages, bool may_grow);
void *__wrap_pages_alloc_compactable(unsigned nr_pages, bool may_grow);
void __real_pages_free(void *p, unsigned nr_pages);
void __wrap_pages_free(void *p, unsigned nr_pages);

void *__wrap_pages_alloc_compactable(unsigned nr_pages, bool may_grow)
{
	void *p = __real_pages_alloc_compactable(nr_pages, may_grow);

	if (!may_grow)
		call(&at_slab_made);
	return p;
}

void __wrap_pages_free(void *p, unsigned nr_pages)
{
	__real_pages_free(p, nr_pages);
	call(&at_pages_freed);
}

bool __real_compactable_putback(struct pageblock *blk);
bool __wrap_compactable_putback(struct pageblock *blk);

bool __wrap_compactable_putback(struct pageblock *blk)
{
	bool is_there = __real_compactable_putback(blk);

	if (at_putback)
		at_putback();
	return is_there;
}

/* The page that traps until it is read. */
static char *closed;

static void on_read(int unused, siginfo_t *info, void *context)
{
	(void)unused, (void)context;
	if (align_down((uintptr_t)info->si_addr, BSLAB_PAGE_SIZE) != (uintptr_t)closed || !at_read)
		_exit(3);
	mprotect(closed, BSLAB_PAGE_SIZE, PROT_READ | PROT_WRITE);
	call(&at_read);
}

static void close_page(uintptr_t addr, void (*what)(void))
{
	struct sigaction sa = {.sa_sigaction = on_read, .sa_flags = SA_SIGINFO | SA_NODEFER};

	closed = (char *)addr;
	at_read = what;
	sigaction(SIGSEGV, &sa, NULL);
	cr_assert_eq(mprotect(closed, BSLAB_PAGE_SIZE, PROT_NONE), 0);
}

static void setup(void)
{
	bslab_options.region_size = 64 * MIB;
	bslab_options.dirty_size = MIB;
	fake.nr_cpus = 2;
}

TestSuite(meanwhile, .init = setup);

static uintptr_t where(uint64_t h)
{
	void *p = handle_map(h);

	handle_unmap(h);
	return (uintptr_t)p;
}

static uint64_t h[200];
static struct handle_slab *source;
static uintptr_t base;

static unsigned number_of(uint64_t handle)
{
	return source->cache->size ? (unsigned)((where(handle) - base) / source->cache->size) : 0;
}

/* Isolates the slab that h[at] stands in. */
static void isolate(unsigned at)
{
	source = handle_slab_of(map_lookup(where(h[at])));
	base = source->base;
	cr_assert(handle_slab_isolate(source, base));
}

/* Nothing is left, and the counts of the cache say so. */
static void check_empty(const struct handle_cache *c)
{
	cr_assert_eq(objects_bytes(), 0);
	cr_assert_eq(c->nr_taken, 0);
	handle_caches_shrink();
	cr_assert_eq(c->nr_slabs, 0);
	cr_assert_eq(c->nr_empty, 0);
	cr_assert_eq(c->nr_slab_pages, 0);
	cr_assert_eq(c->nr_partial, 0);
	cr_assert_eq(compactable_nr_pages(), 0);
}

static void put_all(unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		if (h[i])
			put(h[i]);
	handles_drain();
}

/* --- the new slab ------------------------------------------------------------------------------------------------------- */

static void free_last(void)
{
	put(h[16]);
	h[16] = 0;
}

static void take_and_give(void)
{
	put(get(8192));
	handles_drain();
}

/* The object is freed, so the compaction takes it from the thread, and its slab goes: others have the lock, and the new slab. */
Test(meanwhile, others_use_up_the_new_slab)
{
	struct handle_cache *c;
	unsigned i;

	for (i = 0; i < 24; i++) /* slabs of eight */
		h[i] = get(8192);
	for (i = 17; i < 24; i++) {
		put(h[i]);
		h[i] = 0;
	}
	handles_drain();
	isolate(16);
	c = source->cache;
	cr_assert_eq(source->nr_taken, 1);
	cr_assert_eq(c->nr_partial, 0);
	i = number_of(h[16]);
	at_slab_made = free_last;
	at_pages_freed = take_and_give;
	cr_assert_eq(handle_object_move(source, base, i), MOVE_NOTHING);
	cr_assert(!at_slab_made && !at_pages_freed);
	cr_assert_eq(c->nr_slabs, 2);
	cr_assert_eq(c->nr_empty, 0);
	put_all(24);
	check_empty(c);
}

static void free_first(void)
{
	put(h[0]);
	h[0] = 0;
	handles_drain();
}

/* The new slab is not needed any more, and goes. */
Test(meanwhile, freed_while_a_place_is_sought)
{
	static const size_t sizes[] = {100000, 8192};
	unsigned i;

	for (i = 0; i < 2; i++) {
		h[0] = get(sizes[i]);
		h[1] = get(100);
		handles_drain();
		isolate(0);
		at_slab_made = free_first;
		cr_assert_eq(handle_object_move(source, base, number_of(h[0])), MOVE_NOTHING);
		put_all(2);
		check_empty(source->cache);
	}
}

/* --- the copy ------------------------------------------------------------------------------------------------------------ */

/* The slab of an object that is being copied is nobody else's, though it has no objects. */
static void free_copied(void)
{
	free_first();
	handle_caches_shrink();
	cr_assert_eq(source->base, base);
	cr_assert_eq(handle_slab_of(map_lookup((uintptr_t)closed)), source);
	cr_assert_eq(source->nr_taken, 0);
}

Test(meanwhile, freed_while_it_is_copied)
{
	static const size_t sizes[] = {100000, 4096};
	unsigned i;

	for (i = 0; i < 2; i++) {
		unsigned at;

		h[0] = get(sizes[i]);
		handles_drain();
		isolate(0);
		at = number_of(h[0]);
		close_page(where(h[0]), free_copied);
		cr_assert_eq(handle_object_move(source, base, at), MOVE_VOID);
		cr_assert_null(at_read);
		cr_assert_not(handle_slab_of(map_lookup((uintptr_t)closed)), "freed by the mover");
		check_empty(source->cache);
	}
}

static void map_copied(void)
{
	handle_map(h[0]);
}

/* Mapped, it stays, and so does its slab, which others may empty from then on. */
Test(meanwhile, mapped_while_it_is_copied)
{
	h[0] = get(100000);
	isolate(0);
	close_page(where(h[0]), map_copied);
	cr_assert_eq(handle_object_move(source, base, 0), MOVE_VOID);
	cr_assert_eq(where(h[0]), base);
	cr_assert(source->is_isolated && !source->is_source);
	handle_unmap(h[0]);
	put_all(1);
	check_empty(source->cache);
}

/* All of a compaction: the block comes free in the end, and is counted. */
Test(meanwhile, a_block_whose_last_object_is_freed_while_it_is_copied)
{
	unsigned i;

	for (i = 0; i < 40; i++) /* two pageblocks, of which the second is the sparser */
		h[i] = get(65536);
	for (i = 1; i < 16; i++) {
		put(h[i]);
		h[i] = 0;
	}
	for (i = 16; i < 40; i++)
		if (map_pageblock(where(h[i])) == map_pageblock(where(h[0]))) {
			put(h[i]);
			h[i] = 0;
		}
	source = handle_slab_of(map_lookup(where(h[0])));
	base = source->base;
	close_page(base, free_copied);
	cr_assert_eq(handles_compact(), 1);
	cr_assert_null(at_read);
	cr_assert_eq(compact_counts.nr_released, 1);
	cr_assert_eq(compact_counts.nr_isolated, 1);
	cr_assert_eq(compact_counts.nr_moved, 0);
	put_all(40);
	check_empty(source->cache);
}

/* --- churn --------------------------------------------------------------------------------------------------------------- */

static unsigned nr_kept;

/* A pageblock more, with one object in it: what fills the others goes again. */
static void make_sparse(void)
{
	enum { NR = sizeof h / sizeof *h };
	size_t before = compactable_nr_pages();
	uint64_t filler[3 * NR];
	unsigned n = 0;

	if (nr_kept == NR)
		return;
	h[nr_kept] = get(512 * KIB);
	while (compactable_nr_pages() == before) {
		cr_assert_lt(n, 3 * NR);
		filler[n++] = h[nr_kept];
		h[nr_kept] = get(512 * KIB);
	}
	nr_kept++;
	while (n)
		put(filler[--n]);
}

/* Others make a sparse pageblock for each one that is emptied: the call comes to an end. */
Test(meanwhile, others_make_pageblocks)
{
	enum { NR = 8 };
	unsigned i;

	for (i = 0; i < NR; i++)
		make_sparse();
	cr_assert_eq(compactable_nr_pages(), NR * PAGEBLOCK_PAGES);
	at_putback = make_sparse;
	cr_assert_gt(handles_compact(), 0);
	at_putback = NULL;
	cr_assert_lt(compact_counts.nr_isolated, 2 * NR);
	put_all(nr_kept);
	check_empty(handle_cache_of(RUN_CLASS));
}

/* --- a fork --------------------------------------------------------------------------------------------------------------- */

static sigjmp_buf out;

static void leave(void)
{
	siglongjmp(out, 1);
}

static void free_and_leave(void)
{
	free_copied();
	siglongjmp(out, 1);
}

/* In the child the thread that copied is not there. Whether the object was freed before or not, it is none's that it moves. */
static void fork_while_it_is_copied(void (*what)(void), unsigned nr_left)
{
	h[0] = get(100000);
	memset(handle_map(h[0]), 7, 100000);
	handle_unmap(h[0]);
	isolate(0);
	close_page(where(h[0]), what);
	if (!sigsetjmp(out, 1))
		handle_object_move(source, base, 0);
	handle_move_cancel();
	cr_assert_eq(source->cache->nr_slabs, nr_left);
	cr_assert_eq(source->cache->nr_taken, nr_left);
	if (nr_left) {
		const char *p = handle_map(h[0]);

		cr_assert_eq((uintptr_t)p, base);
		cr_assert(p[0] == 7 && memcmp(p, p + 1, 99999) == 0);
		handle_unmap(h[0]);
	}
	handle_move_cancel(); /* there is none any more */
	put_all(1);
	check_empty(source->cache);
}

Test(meanwhile, forked_while_it_is_copied)
{
	fork_while_it_is_copied(leave, 1);
	fork_while_it_is_copied(free_and_leave, 0);
}

/* --- what a thread keeps --------------------------------------------------------------------------------------------------- */

/* A place that is an old one may lead to a header which another CPU is making: it is seen without its cache. */
Test(meanwhile, an_old_place_of_a_slab_that_is_being_made)
{
	static _Alignas(64) struct handle_slab made;
	uint64_t kept = get(100);
	uint32_t index = (uint32_t)kept;
	page_desc_t before = map_lookup(where(kept));
	uintptr_t page = align_down(where(kept), BSLAB_PAGE_SIZE);

	put(kept);
	map_set_range(page, 1, desc_of_pointer(&made, PAGE_HANDLE, 0));
	handle_entry_strip(index);
	map_set_range(page, 1, before);
	cr_assert_eq(place_state(entry_at(index)->place), ENTRY_CACHED);
	handle_entry_strip(index);
	cr_assert_eq(place_state(entry_at(index)->place), ENTRY_FREE);
}
