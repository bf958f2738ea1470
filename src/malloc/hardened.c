/* SPDX-License-Identifier: MIT */
#include "malloc/hardened.h"

#include <errno.h>
#include <string.h>

#include "heap/pool.h"
#include "large/large.h"
#include "malloc/explicit.h"
#include "malloc/fast.h"
#include "malloc/guarded.h"
#include "malloc/reports.h"
#include "malloc/yard.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "page/guard.h"
#include "page/runs.h"
#include "slab/hardened.h"
#include "slab/percpu.h"
#include "slab/quarantine.h"

/* --- what is said of a block ----------------------------------------------------------------- */

static void report_inside(void *ptr, const char *what, size_t size, uintptr_t start)
{
	bug_caller("invalid %s of %p: inside a block of %z bytes at %p", what, ptr, size, (void *)start);
}

static void report_state(void *ptr, const char *what, enum block_state state, size_t size)
{
	if (state == BLOCK_FREED && text_equal(what, "free"))
		bug_caller("double free of %p", ptr);
	else if (state != BLOCK_DAMAGED)
		bug_caller("invalid %s of %p: freed before, or never allocated", what, ptr);
	else if (size == SIZE_MAX)
		bug_caller("%s of %p: what stands behind the block was written", what, ptr);
	else
		bug_caller("%s of %p: what stands behind the block of %z bytes was written", what, ptr, size);
}

/* --- objects ------------------------------------------------------------------------------------- */

static uintptr_t object_end(const struct kmem_cache *c, const void *obj)
{
	return (uintptr_t)obj + c->size;
}

/* Hands an object out. NULL after a report: it was written since it was freed, and serves nobody any more. */
static force_inline void *object_open(const struct kmem_cache *c, void *obj, size_t size)
{
	if (unlikely(!block_is_clean((uintptr_t)obj, object_end(c, obj)))) {
		report_write_after_free(obj);
		return NULL;
	}
	block_seal_clean((uintptr_t)obj, size, object_end(c, obj));
	return obj;
}

static unsigned class_for(size_t room)
{
	return size_class(max_size(room, MIN_BLOCK));
}

static void *object_alloc(size_t size, size_t room, unsigned pages_flags)
{
	struct kmem_cache *c = cache_of(class_for(room));
	void *obj, *p = NULL;

	while (!p) {
		obj = c ? percpu_alloc_slow(c, pages_flags) : NULL;
		if (!obj)
			return NULL;
		p = object_open(c, obj, size);
	}
	return p;
}

static void *zero_alloc(unsigned pages_flags)
{
	struct kmem_cache *c = cache_of(ZERO_CLASS);
	void *obj = NULL;

	if (c)
		slab_take(c, &obj, 1, pages_flags);
	return obj;
}

static cold_path void object_is_bad(struct slab *s, void *ptr, const char *what, enum block_state state, size_t size)
{
	uintptr_t start = slab_object_base(s, (uintptr_t)ptr);

	/* Its bit says that it left the slab: it had a word. */
	if (state == BLOCK_UNUSED && slab_check_object(s, (uintptr_t)ptr) == OBJECT_GOOD)
		state = BLOCK_DAMAGED;
	if (!slab_starts_object(s, start)) { /* behind the last: there is nothing to look at */
		report_state(ptr, what, BLOCK_UNUSED, size);
	} else if (start != (uintptr_t)ptr) {
		if (s->cache->class == ZERO_CLASS ||
		    block_check(start, object_end(s->cache, (void *)start), &size) != BLOCK_USED)
			size = 0;
		report_inside(ptr, what, size, start);
	} else if (state == BLOCK_USED) {
		bug_caller("%s of %p: what stands before the block was written", what, ptr);
	} else {
		report_state(ptr, what, state, size);
	}
}

/* Before it is the word of the object before, which may be anyone's; before the first, mostly a guard page. */
static cold_path bool before_is_unused(struct slab *s, uintptr_t start)
{
	return !block_word_load(block_word(start)) && slab_check_object(s, start - s->cache->size) == OBJECT_FREE;
}

static force_inline bool before_is_whole(struct slab *s, uintptr_t start)
{
	const block_word_t *word = block_word(start);

	if (start == s->base || likely(block_word_is_whole(word)) || before_is_unused(s, start))
		return true;
	/* It may have left the slab between the two looks: the bit says so, and then the word is there. */
	return block_word_is_whole(word);
}

/* An object in use, whole behind and before: *size. Else false, after a report. */
static force_inline bool object_check(struct slab *s, void *ptr, const char *what, size_t *size)
{
	uintptr_t start = (uintptr_t)ptr;
	enum block_state state = BLOCK_UNUSED;

	*size = SIZE_MAX;
	if (likely(slab_starts_object(s, start))) {
		state = block_check(start, object_end(s->cache, ptr), size);
		if (likely(state == BLOCK_USED) && likely(before_is_whole(s, start)))
			return true;
	}
	object_is_bad(s, ptr, what, state, *size);
	return false;
}

/* No word stands in it. */
static cold_path bool zero_check(struct slab *s, void *ptr, const char *what, size_t *size)
{
	*size = 0;
	switch (slab_check_object(s, (uintptr_t)ptr)) {
	case OBJECT_GOOD:
		return true;
	case OBJECT_FREE:
		object_is_bad(s, ptr, what, BLOCK_FREED, 0);
		return false;
	default:
		object_is_bad(s, ptr, what, BLOCK_UNUSED, 0);
		return false;
	}
}

static cold_path void zero_free(struct slab *s, void *ptr)
{
	size_t size;

	if (zero_check(s, ptr, "free", &size))
		slab_give(s->cache, &ptr, 1);
}

static out_of_line void object_free_slow(struct kmem_cache *c, void *ptr)
{
	percpu_free_delayed(c, ptr);
	process_hook_thread();
	reports_poll();
}

#define ANY_SIZE SIZE_MAX

static force_inline void object_free(struct slab *s, void *ptr, size_t wanted)
{
	struct kmem_cache *c = s->cache;
	size_t size;

	if (unlikely(c->class == ZERO_CLASS)) {
		zero_free(s, ptr);
		return;
	}
	if (unlikely(!object_check(s, ptr, "free", &size)))
		return;
	if (unlikely(wanted != ANY_SIZE && wanted != size)) {
		report_size(ptr, wanted, 1, size);
		return;
	}
	block_wipe((uintptr_t)ptr, object_end(c, ptr));
	if (likely(percpu_push(FREED_TOPS + c->class, ptr, RSEQ_MM_CID)))
		return;
	object_free_slow(c, ptr);
}

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

/*
 * Between these a run's or a mapping's word and what else is said of it do not agree. A signal handler that calls exit()
 * then looks at no block, as if it had interrupted a lock (last_check.c). Nothing is reported inside: the program's
 * handler of SIGABRT might not come back.
 */
static void change_begin(void)
{
	lock_count_up();
}

static void change_end(void)
{
	lock_count_down();
}

/* --- page runs ----------------------------------------------------------------------------------------- */

static unsigned pages_for(size_t size)
{
	return (unsigned)((size + BLOCK_WORD + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT);
}

static uintptr_t run_end(const void *ptr, unsigned nr_pages)
{
	return (uintptr_t)ptr + ((uintptr_t)nr_pages << PAGE_SHIFT);
}

/* One that waits, of exactly so many pages; NULL when there is none, or after a report. */
static void *run_reuse(unsigned n, size_t align)
{
	struct grave g;

	if (n > MAX_WIPED_PAGES || !yard_take(&wiped, (size_t)n << PAGE_SHIFT, align, &g))
		return NULL;
	if (unlikely(!block_is_clean(g.addr, run_end((void *)g.addr, n)))) {
		report_write_after_free((void *)g.addr);
		return NULL;
	}
	return (void *)g.addr;
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

static void *run_alloc_hardened(size_t size, size_t align, unsigned flags)
{
	unsigned n = pages_for(size);
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
	guard_free_pages((void *)g->addr, (unsigned)(g->size >> PAGE_SHIFT));
}

static void wiped_release(const struct grave *g)
{
	if (unlikely(!block_is_clean(g->addr, g->addr + g->size)))
		report_write_after_free((void *)g->addr);
	else
		run_release(g);
}

static void run_free_hardened(void *ptr, unsigned n)
{
	struct grave g = {.addr = (uintptr_t)ptr, .size = (size_t)n << PAGE_SHIFT};

	change_begin();
	map_set((uintptr_t)ptr, desc_of_number(n, PAGE_RUN_HOT));
	if (n <= MAX_WIPED_PAGES)
		block_wipe((uintptr_t)ptr, run_end(ptr, n));
	change_end();
	if (n <= MAX_WIPED_PAGES) {
		yard_put(&wiped, g);
	} else if (guard_close(ptr, n)) {
		yard_put(&runs, g);
	} else {
		run_release(&g);
	}
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

static void *mapping_alloc_hardened(size_t size, size_t align)
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

static void mapping_free_hardened(struct vm_area *a)
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

/* --- blocks of any kind ------------------------------------------------------------------------------------ */

struct block {
	uintptr_t start, end; /* the same for one of no size */
	size_t size;
	struct slab *slab;    /* of an object */
	struct vm_area *area; /* of a mapping */
	bool is_guarded, is_reserved; /* nothing else is known then; reserved: of a NOWAIT pool or an explicit zone, as roomy as its elements are */
};

static bool block_is_whole(struct block *b, const char *what)
{
	enum block_state state = block_check(b->start, b->end, &b->size);

	if (likely(state == BLOCK_USED))
		return true;
	report_state((void *)b->start, what, state == BLOCK_UNUSED ? BLOCK_DAMAGED : state, b->size); /* it is in use: it had a word */
	return false;
}

/* The live block at ptr; false after a report. */
static bool block_find(void *ptr, const char *what, struct block *b)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct vm_area *a = large_of(d);

	*b = (struct block){.start = (uintptr_t)ptr, .end = (uintptr_t)ptr};
	if (desc_is_hardened(d)) {
		b->slab = slab_of(d);
		if (b->slab->cache->class == ZERO_CLASS)
			return zero_check(b->slab, ptr, what, &b->size);
		b->end = object_end(b->slab->cache, ptr);
		return object_check(b->slab, ptr, what, &b->size);
	}
	if (guarded_of(d)) {
		b->is_guarded = true;
		return guarded_size(d, ptr, what, &b->size);
	}
	if (desc_type(d) == PAGE_RUN && (uintptr_t)ptr % BSLAB_PAGE_SIZE == 0) {
		b->end = run_end(ptr, (unsigned)desc_number(d));
		return block_is_whole(b, what);
	}
	if (a && a->addr == (uintptr_t)ptr && !a->has_handle) {
		b->area = a;
		b->end = a->addr + a->size;
		return block_is_whole(b, what);
	}
	if (heap_of_malloc(d)) {
		b->is_reserved = true;
		b->size = explicit_size(heap_of_malloc(d), ptr, what);
		return b->size != 0;
	}
	if (is_reserved(d, ptr)) {
		b->is_reserved = true;
		b->size = pool_of(d)->size;
		return true;
	}
	report_pointer(ptr, what);
	return false;
}

bool hardened_size(void *ptr, const char *what, size_t *size)
{
	struct block b;
	bool good = block_find(ptr, what, &b);

	*size = b.size;
	return good;
}

bool hardened_size_is_right(void *ptr, size_t size, size_t align)
{
	struct block b;

	if (!block_find(ptr, "free", &b))
		return false;
	if (!is_power_of_2(align))
		report_alignment(ptr, align);
	else if ((size == b.size || (b.is_reserved && size < b.size)) && (uintptr_t)ptr % align == 0)
		return true;
	else
		report_size(ptr, size, align, b.size);
	return false;
}

/* --- malloc and free ------------------------------------------------------------------------------------------ */

void *hardened_alloc(const struct alloc_request *r, unsigned pages_flags)
{
	size_t size = r->size, align = r->align, room = size + BLOCK_WORD;

	if (!size && align <= ZERO_SIZE)
		return zero_alloc(pages_flags);
	if (align > ZERO_SIZE)
		room = align_up(room, align); /* class sizes are naturally aligned */
	if (r->is_mapping)
		return mapping_alloc_hardened(size, align);
	if (room <= SMALL_MAX && align <= BSLAB_PAGE_SIZE)
		return object_alloc(size, room, pages_flags);
	if (size < PAGEBLOCK_SIZE && pages_for(size) <= PAGEBLOCK_PAGES - 2 && align <= PAGEBLOCK_SIZE) /* and two that trap */
		return run_alloc_hardened(size, align, pages_flags);
	return mapping_alloc_hardened(size, align);
}

void *hardened_malloc(size_t size)
{
	bool is_counted = unlikely(guarded_is_on()) && guarded_counts_down();
	struct kmem_cache *c;
	unsigned class;
	void *obj;

	if (unlikely(guarded_is_on() && !is_counted))
		return malloc_rest(size);
	if (likely(size - 1 < SMALL_MAX - BLOCK_WORD)) {
		class = class_for(size + BLOCK_WORD);
		c = cache_if_used(class);
		obj = percpu_pop(class, RSEQ_MM_CID);
		if (likely(obj != NULL) && likely((obj = object_open(c, obj, size)) != NULL))
			return obj;
	}
	return is_counted ? malloc_counted(size) : malloc_rest(size);
}

static out_of_line void free_other(void *ptr, page_desc_t d)
{
	struct block b;

	if (guarded_of(d)) {
		guarded_free(d, ptr);
		return;
	}
	if (pool_of(d)) {
		free_reserved(d, ptr);
		return;
	}
	if (heap_of_malloc(d)) {
		explicit_free(heap_of_malloc(d), ptr);
		return;
	}
	if (block_find(ptr, "free", &b)) {
		if (b.area)
			mapping_free_hardened(b.area);
		else
			run_free_hardened(ptr, (unsigned)desc_number(d));
	}
	reports_poll();
}

void hardened_free(void *ptr)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);

	if (likely(desc_is_hardened(d)))
		object_free(slab_of(d), ptr, ANY_SIZE);
	else
		free_other(ptr, d);
}

void hardened_free_sized(void *ptr, size_t size)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);

	if (likely(desc_is_hardened(d) && size))
		object_free(slab_of(d), ptr, size);
	else if (ptr && hardened_size_is_right(ptr, size, 1))
		hardened_free(ptr);
}

/* --- realloc --------------------------------------------------------------------------------------------------- */

/* What the word of a roomy block can say, with the rest of a page. */
#define MAX_ROOM (56 * KIB)

/* More bytes, or fewer, of the same block: those that come read as zero. What is behind them is pad already. */
static void *block_reseal(struct block *b, size_t size)
{
	uint64_t number;

	if (size <= b->size) {
		block_seal(b->start, size, b->end);
	} else {
		number = block_begin(b->end);
		memset((void *)(b->start + b->size), 0, size - b->size);
		block_end(b->end, number, b->end - BLOCK_WORD - b->start - size);
	}
	return (void *)b->start;
}

/* It stays as long as it fits and more than half of it is used. */
static void *object_resize(struct block *b, size_t size)
{
	size_t room = size + BLOCK_WORD, have = b->slab->cache->size;

	if (b->slab->cache->class == ZERO_CLASS || room > have || (room < have / 2 && have > MIN_BLOCK))
		return NULL;
	return block_reseal(b, size);
}

static void *run_resize(struct block *b, size_t size)
{
	size_t room = b->end - BLOCK_WORD - b->start;

	return size <= room && size >= room / 2 && room - size <= MAX_PAD ? block_reseal(b, size) : NULL;
}

/*
 * A mapping that grows by a little takes a quarter more, but no more than 256 times that little: each realloc() looks at
 * the pad.
 */
static size_t mapping_with_room(size_t old_size, size_t size)
{
	size_t more = size - old_size;

	return more < old_size / 4 ? size + min_size(min_size(old_size / 4, MAX_ROOM), more * 256) : size;
}

/* To `have` bytes, of which size are the block's. */
static void *mapping_remap(struct block *b, size_t size, size_t have)
{
	size_t room = b->end - BLOCK_WORD - b->start;
	char *p;

	change_begin();
	memset((void *)(b->start + b->size), 0, room - b->size); /* the pad, which may be inside soon */
	p = large_resize(b->area, have + BLOCK_WORD);
	if (p && b->area->size > b->end - b->start)
		memset(p + room, 0, BLOCK_WORD); /* and the word */
	block_seal(b->area->addr, p ? size : b->size, b->area->addr + b->area->size);
	change_end();
	return p;
}

static void *mapping_resize(struct block *b, size_t size)
{
	size_t room = b->end - BLOCK_WORD - b->start, have;
	void *p;

	if (size < b->size / 2 && size + BLOCK_WORD <= PAGEBLOCK_SIZE)
		return NULL;
	if (size <= room && room - size <= MAX_PAD)
		return block_reseal(b, size);
	have = size > b->size ? mapping_with_room(b->size, size) : size;
	p = mapping_remap(b, size, have);
	return p || have == size ? p : mapping_remap(b, size, size);
}

/* Where it can stay, or be moved without a copy. */
static void *block_resize(struct block *b, size_t size)
{
	if (b->is_guarded || b->is_reserved)
		return NULL;
	if (b->slab)
		return object_resize(b, size);
	return b->area ? mapping_resize(b, size) : run_resize(b, size);
}

/* From here on a block that grows on is made a mapping, which then grows without a copy. */
#define MIN_GROWING_MAPPING (256 * KIB)

/*
 * A block that grew before gets room, which is pad until it grows into it. Without that a block that is appended to is
 * copied, faulted in and guarded at each page. Which grew before, the thread knows of one (size_with_room()): a run counts
 * as another, for several may grow in turn.
 */
static size_t room_to_grow(void *ptr, const struct block *old, size_t size)
{
	bool is_run = !old->slab && !old->area && !old->is_guarded;
	size_t roomy = is_run ? old->size + old->size / 4 : size_with_room(ptr, old->size, size);

	return size > old->size && roomy > size ? min_size(roomy, size + MAX_ROOM) : size;
}

static void *move_growing(void *ptr, struct block *old, size_t size, struct caller by, bool no_retry)
{
	size_t roomy = room_to_grow(ptr, old, size);
	struct block b;
	bool zeroed;
	void *p;

	if (roomy == size)
		return NULL;
	if (size >= MIN_GROWING_MAPPING)
		return alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = by, .is_mapping = true, .no_retry = no_retry}, &zeroed);
	p = alloc_slow(&(struct alloc_request){.size = roomy, .align = 1, .asked = size, .by = by, .no_retry = no_retry}, &zeroed);
	if (p && block_find(p, "realloc", &b) && b.size > size)
		block_reseal(&b, size);
	return p;
}

void *hardened_realloc(void *ptr, size_t size, struct caller by, bool no_retry)
{
	struct block b;
	bool zeroed;
	void *p;

	if (unlikely(!block_find(ptr, "realloc", &b))) {
		errno = EINVAL;
		return NULL;
	}
	if (unlikely(size > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	if (heap_of_malloc(map_lookup((uintptr_t)ptr)))
		return explicit_realloc(heap_of_malloc(map_lookup((uintptr_t)ptr)), ptr, size, no_retry);
	p = block_resize(&b, size);
	if (p) {
		reports_poll();
		return p;
	}
	p = move_growing(ptr, &b, size, by, no_retry);
	if (!p)
		p = alloc_slow(&(struct alloc_request){.size = size, .align = 1, .asked = size, .by = by, .no_retry = no_retry}, &zeroed);
	if (!p)
		return NULL;
	memcpy(p, ptr, min_size(b.size, size));
	hardened_free(ptr);
	thread_state.grown = size > b.size ? p : NULL;
	return p;
}

/* --- process life ----------------------------------------------------------------------------------------------- */

void hardened_start(void)
{
	size_t limit = os_address_space_limit();

	hardened_boot();
	bslab_options.large_size = 0; /* each large block a mapping of its own */
	yard_setup(&wiped, wiped_graves, MAX_WIPED_RUNS, MAX_WIPED_BYTES, wiped_release);
	yard_setup(&runs, run_graves, MAX_CLOSED_RUNS, MAX_RUN_BYTES, run_release);
	yard_setup(&mappings, mapping_graves, MAX_MAPPINGS, min_size(MAX_MAPPING_BYTES, limit / 16), mapping_release);
}

void hardened_drain(void)
{
	quarantine_drain();
	yard_drain(&wiped);
	yard_drain(&runs);
	yard_drain(&mappings);
	guard_retry();
}

void hardened_fork_prepare(void)
{
	quarantine_fork_prepare();
	guard_fork_prepare();
	yard_fork_prepare(&wiped);
	yard_fork_prepare(&runs);
	yard_fork_prepare(&mappings);
}

void hardened_fork_done(bool child)
{
	yard_fork_done(&mappings, child);
	yard_fork_done(&runs, child);
	yard_fork_done(&wiped, child);
	guard_fork_done(child);
	quarantine_fork_done(child);
}
