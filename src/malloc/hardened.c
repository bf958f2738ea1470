/* SPDX-License-Identifier: MIT */
#include "malloc/hardened.h"

#include "heap/pool.h"
#include "malloc/explicit.h"
#include "malloc/fast.h"
#include "malloc/guarded.h"
#include "malloc/hardened_block.h"
#include "malloc/hardened_pages.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "page/guard.h"
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
	uintptr_t end = object_end(c, obj);
	uint64_t number = block_end_number(end);

	if (unlikely(!block_is_clean_by((uintptr_t)obj, end, number))) {
		report_write_after_free(obj);
		return NULL;
	}
	block_seal_clean_by((uintptr_t)obj, size, end, number);
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
		if (slab_cache(s)->class == ZERO_CLASS ||
		    block_check(start, object_end(slab_cache(s), (void *)start), &size) != BLOCK_USED)
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
	return !block_word_load(block_word(start)) && slab_check_object(s, start - slab_cache(s)->size) == OBJECT_FREE;
}

static force_inline bool before_is_whole(struct slab *s, uintptr_t start)
{
	const block_word_t *word = block_word(start);

	if (start == s->base || likely(block_word_is_whole(word)) || before_is_unused(s, start))
		return true;
	/* It may have left the slab between the two looks: the bit says so, and then the word is there. */
	return block_word_is_whole(word);
}

/* Objects' sizes are multiples of it. */
#define OBJECT_ALIGN 16

/* No further than the last object's start, and as aligned: where its word would stand there may be a load. */
static force_inline bool may_start_object(const struct slab *s, const struct kmem_cache *c, uintptr_t start)
{
	uintptr_t nr_objects = atomic_load_explicit(&s->nr_objects, memory_order_relaxed);

	return start % OBJECT_ALIGN == 0 && start - s->base + c->size <= nr_objects * c->size;
}

/*
 * An object in use, whole behind and before: *size. Else false, after a report. *number is its word's. That it is
 * an object at all the word says by itself: it is whole at an object's end only, for it is made of its address.
 */
static force_inline bool object_check(struct slab *s, const struct kmem_cache *c, void *ptr, const char *what, size_t *size,
				      uint64_t *number)
{
	uintptr_t start = (uintptr_t)ptr, end = object_end(c, ptr);
	enum block_state state = BLOCK_UNUSED;

	*size = SIZE_MAX;
	*number = block_end_number(end);
	if (likely(may_start_object(s, c, start))) {
		state = block_check_by(start, end, *number, size);
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

#define ANY_SIZE SIZE_MAX

static cold_path void zero_free(struct slab *s, void *ptr, size_t wanted)
{
	size_t size;

	if (!zero_check(s, ptr, "free", &size))
		return;
	if (wanted != ANY_SIZE && wanted != size)
		report_size(ptr, wanted, 1, size);
	else
		slab_give(slab_cache(s), &ptr, 1);
}

static out_of_line void object_free_slow(struct kmem_cache *c, void *ptr)
{
	percpu_free_delayed(c, ptr);
	process_hook_thread();
	reports_poll();
}

static out_of_line void object_free_rest(struct slab *s, void *ptr, size_t wanted)
{
	struct kmem_cache *c = slab_cache(s);
	uint64_t number;
	size_t size;

	if (unlikely(c->class == ZERO_CLASS)) {
		zero_free(s, ptr, wanted);
		return;
	}
	if (unlikely(!object_check(s, c, ptr, "free", &size, &number)))
		return;
	if (unlikely(wanted != ANY_SIZE && wanted != size)) {
		report_size(ptr, wanted, 1, size);
		return;
	}
	block_wipe_by((uintptr_t)ptr, object_end(c, ptr), number);
	if (unlikely(!percpu_push(FREED_TOPS + c->class, ptr, RSEQ_MM_CID)))
		object_free_slow(c, ptr);
}

/* A short object that is in use, whole, and of the size that is wanted. */
static force_inline bool short_object_is_good(struct slab *s, const struct kmem_cache *c, uintptr_t start, size_t wanted,
					      uint64_t number)
{
	uintptr_t end = start + c->size;
	uint64_t said;
	size_t pad;

	if (unlikely(c->size > SHORT_BLOCK || c->class == ZERO_CLASS || !may_start_object(s, c, start)))
		return false;
	said = block_word_load(block_word(end)) ^ number;
	pad = said >> PAD_SHIFT & PAD_FREED;
	if (unlikely(said != PAD_IN_WORD(pad) || pad > SHORT_PAD))
		return false;
	if (wanted != ANY_SIZE && unlikely(wanted != c->size - BLOCK_WORD - pad))
		return false;
	return likely(short_pad_is_whole((const uint64_t *)(end - BLOCK_WORD), pad)) &&
	       likely(start == s->base || block_word_is_whole(block_word(start)));
}

/* As in malloc_object(): what is long, or not as it should be, is looked at from the beginning. */
static force_inline void object_free(struct slab *s, void *ptr, size_t wanted)
{
	struct kmem_cache *c = slab_cache(s);
	uintptr_t start = (uintptr_t)ptr, end = object_end(c, ptr);
	uint64_t number = block_end_number(end);

	if (unlikely(!short_object_is_good(s, c, start, wanted, number))) {
		object_free_rest(s, ptr, wanted);
		return;
	}
	block_begin(end, number);
	short_block_wipe(start, end);
	block_end(end, number, PAD_FREED);
	if (unlikely(!percpu_push(FREED_TOPS + c->class, ptr, RSEQ_MM_CID)))
		object_free_slow(c, ptr);
}

/* --- blocks of any kind ------------------------------------------------------------------------------------ */

static bool block_is_whole(struct block *b, const char *what)
{
	enum block_state state = block_check(b->start, b->end, &b->size);

	if (likely(state == BLOCK_USED))
		return true;
	report_state((void *)b->start, what, state == BLOCK_UNUSED ? BLOCK_DAMAGED : state, b->size); /* it is in use: it had a word */
	return false;
}

bool block_find(void *ptr, const char *what, struct block *b)
{
	page_desc_t d = map_lookup((uintptr_t)ptr);
	struct vm_area *a = large_of_malloc(d, ptr);
	uint64_t number;

	*b = (struct block){.start = (uintptr_t)ptr, .end = (uintptr_t)ptr};
	if (desc_is_hardened(d)) {
		b->slab = slab_of(d);
		if (slab_cache(b->slab)->class == ZERO_CLASS)
			return zero_check(b->slab, ptr, what, &b->size);
		b->end = object_end(slab_cache(b->slab), ptr);
		return object_check(b->slab, slab_cache(b->slab), ptr, what, &b->size, &number);
	}
	if (guarded_of(d)) {
		b->is_guarded = true;
		return guarded_size(d, ptr, what, &b->size);
	}
	if (desc_type(d) == PAGE_RUN && (uintptr_t)ptr % BSLAB_PAGE_SIZE == 0) {
		b->end = run_end(ptr, (unsigned)desc_number(d));
		return block_is_whole(b, what);
	}
	if (a) {
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
	bool may_be_less;

	if (!block_find(ptr, "free", &b))
		return false;
	may_be_less = b.is_reserved || (b.is_guarded && any_block_stayed());
	if (!is_power_of_2(align))
		report_alignment(ptr, align);
	else if ((size == b.size || (may_be_less && size < b.size)) && (uintptr_t)ptr % align == 0)
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
		return hardened_mapping_alloc(size, align);
	if (room <= SMALL_MAX && align <= BSLAB_PAGE_SIZE)
		return object_alloc(size, room, pages_flags);
	if (size < PAGEBLOCK_SIZE && hardened_pages_for(size) <= PAGEBLOCK_PAGES - 2 && align <= PAGEBLOCK_SIZE) /* and two that trap */
		return hardened_run_alloc(size, align, pages_flags);
	return hardened_mapping_alloc(size, align);
}

/*
 * The paths that most calls take: a block of up to SHORT_BLOCK bytes, this CPU's sheaf, and everything as it should be. What
 * they cannot do they leave to functions that do all of it, by jumps, so that they need no room on the stack.
 */
static out_of_line void *object_open_rest(const struct kmem_cache *c, void *obj, size_t size)
{
	void *p = object_open(c, obj, size);

	return likely(p != NULL) ? p : malloc_counted(size);
}

/* Of a size that is not 0, with its word. */
static force_inline void *object_open_short(const struct kmem_cache *c, void *obj, size_t size)
{
	uintptr_t start = (uintptr_t)obj, end = object_end(c, obj);
	size_t pad = end - BLOCK_WORD - start - size;
	uint64_t number = block_end_number(end);

	if (unlikely(c->size > SHORT_BLOCK) || unlikely(pad > SHORT_PAD) || !block_says_free(end, number) || !short_block_is_zero(start, end))
		return object_open_rest(c, obj, size);
	block_begin(end, number);
	short_pad_fill_clean((uint64_t *)(end - BLOCK_WORD), pad);
	block_end(end, number, pad);
	return obj;
}

static force_inline bool is_object_size(size_t size)
{
	return size - 1 < SMALL_MAX - BLOCK_WORD;
}

static force_inline void *malloc_object(size_t size)
{
	unsigned class = class_for(size + BLOCK_WORD);
	void *obj = percpu_pop(class, RSEQ_MM_CID);

	return likely(obj != NULL) ? object_open_short(caches[class], obj, size) : malloc_counted(size);
}

static out_of_line void *malloc_while_guarded(size_t size)
{
	return is_object_size(size) && guarded_counts_down() ? malloc_object(size) : malloc_rest(size);
}

void *hardened_malloc(size_t size)
{
	if (unlikely(guarded_is_on()))
		return malloc_while_guarded(size);
	return likely(is_object_size(size)) ? malloc_object(size) : malloc_rest(size);
}

static out_of_line void free_other(void *ptr, page_desc_t d)
{
	struct block b;

	if (!ptr)
		return;
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
			hardened_mapping_free(b.area);
		else
			hardened_run_free(ptr, (unsigned)desc_number(d));
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

/* --- process life ----------------------------------------------------------------------------------------------- */

void hardened_start(void)
{
	hardened_boot();
	hardened_pages_start();
}

void hardened_drain(void)
{
	quarantine_drain();
	hardened_pages_drain();
}

void hardened_fork_prepare(void)
{
	quarantine_fork_prepare();
	guard_fork_prepare();
	hardened_pages_fork_prepare();
}

void hardened_fork_done(bool child)
{
	hardened_pages_fork_done(child);
	guard_fork_done(child);
	quarantine_fork_done(child);
}
