/* SPDX-License-Identifier: MIT */
#include "handle/handle.h"

#include <string.h>

#include "handle/keep.h"
#include "handle/move.h"
#include "large/large.h"
#include "os/bug.h"
#include "page/purging.h"

/* --- alloc ------------------------------------------------------------------------------------------------------------- */

/* The entry and the object are the caller's. */
static uint64_t make_live(uint32_t index, unsigned class, uintptr_t addr, uint32_t number)
{
	struct handle_entry *e = entry_at(index);
	uint64_t info = info_with(entry_info(e), class, number);

	atomic_store_explicit(&e->info, info, memory_order_relaxed);
	atomic_store_explicit(&e->place, place_of(addr, ENTRY_LIVE), memory_order_release);
	return handle_of(index, info);
}

static bool is_small(unsigned class)
{
	return class != RUN_CLASS && class != LARGE_CLASS;
}

static unsigned class_for(size_t size)
{
	if (size <= SMALL_MAX)
		return size_class(size < HANDLE_MIN_SIZE ? HANDLE_MIN_SIZE : size);
	return size <= PAGEBLOCK_SIZE ? RUN_CLASS : LARGE_CLASS;
}

static size_t pages_for(size_t size)
{
	return align_up(size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT;
}

/* What info says of size and alignment. */
static uint32_t number_for(unsigned class, size_t size, unsigned align)
{
	return (uint32_t)(class == LARGE_CLASS ? pages_for(size) : size) | align << SIZE_BITS;
}

/* A multiple of the alignment, whose objects then have it: slab/sizes.h. */
static size_t size_aligned(size_t size, unsigned align)
{
	return align ? align_up(size + !size, (size_t)1 << align) : size;
}

static uintptr_t large_take(size_t size)
{
	bool zeroed;
	void *p = large_alloc(size, HANDLE_MIN_SIZE, &zeroed);

	if (p)
		large_of(map_lookup((uintptr_t)p))->has_handle = true;
	return (uintptr_t)p;
}

static void large_put(uintptr_t addr)
{
	struct vm_area *a = large_of(map_lookup(addr));

	bslab_assert(a && a->has_handle);
	a->has_handle = false; /* the block may be kept as it is */
	large_free(a);
}

/* An object for an entry; 0: no memory. */
static uintptr_t object_get(uint32_t index, unsigned class, size_t size)
{
	struct handle_cache *c;
	uintptr_t addr;

	if (class == LARGE_CLASS)
		return size <= MAX_HANDLE_SIZE ? large_take(size) : 0;
	if (class == RUN_CLASS)
		return run_take(index, (unsigned)pages_for(size));
	c = handle_cache_of(class);
	return c && objects_take(c, &index, &addr, 1) ? addr : 0;
}

static void object_put(unsigned class, uintptr_t addr)
{
	if (class == LARGE_CLASS)
		large_put(addr);
	else
		objects_give(handle_cache_of(class), &addr, 1);
}

uint64_t handle_refill(uint32_t index, size_t size)
{
	unsigned class = class_for(size);
	struct handle_cache *c = handle_cache_of(class);
	uintptr_t addr = object_get(index, class, size);

	atomic_fetch_sub_explicit(&c->nr_stripped, 1, memory_order_relaxed);
	if (addr)
		return make_live(index, class, addr, (uint32_t)size);
	entries_give(&index, 1);
	return 0;
}

static uint64_t alloc_alone(unsigned class, size_t size)
{
	uintptr_t addr;
	uint32_t index;

	if (!entries_take(&index, 1))
		return 0;
	addr = object_get(index, class, size);
	if (addr)
		return make_live(index, class, addr, number_for(class, size, 0));
	entries_give(&index, 1);
	return 0;
}

/* Set under caches_lock, which a fork holds: where nobody has a handle it takes none of the locks. */
static bool is_used;

static cold_path void note_use(void)
{
	lock_take(&caches_lock, RANK_CACHES);
	WRITE_ONCE(is_used, true);
	lock_drop(&caches_lock, RANK_CACHES);
}

uint64_t handle_alloc_slow(size_t size)
{
	unsigned class = class_for(size);
	struct handle_thread *t;
	struct handle_cache *c;

	if (unlikely(!READ_ONCE(is_used)))
		note_use();
	t = is_small(class) ? handle_keep_self() : NULL;
	c = t ? handle_cache_of(class) : NULL;
	if (!c)
		return alloc_alone(class, size);
	if (!t->kept[class].top && !handle_keep_fill(t, c))
		return 0;
	return handle_alloc_fast(size);
}

uint64_t handle_alloc_aligned(size_t size, unsigned align)
{
	size_t room = size_aligned(size, align);
	uint64_t h = room <= SMALL_MAX ? handle_alloc_fast(room) : 0;
	struct handle_entry *e;
	unsigned class;

	if (!h)
		h = handle_alloc_slow(room);
	if (!h)
		return 0;
	e = entry_at((uint32_t)h);
	class = info_class(entry_info(e));
	atomic_store_explicit(&e->info, info_with(entry_info(e), class, number_for(class, size, align)), memory_order_relaxed);
	return h;
}

/* --- free -------------------------------------------------------------------------------------------------------------- */

void handle_free_slow(uint64_t handle)
{
	struct handle_entry *e = handle_entry(handle);
	struct handle_thread *t;
	uint64_t info, place;

	if (!e) {
		handle_fault(handle, "free");
		return;
	}
	info = entry_info(e);
	t = is_small(info_class(info)) ? handle_keep_self() : NULL;
	if (t) {
		handle_keep_flush(t, info_class(info));
		if (handle_free(handle))
			return;
	}
	place = atomic_load_explicit(&e->place, memory_order_relaxed);
	do {
		if (!place_is_live(place) || place & PLACE_MAPS) {
			handle_fault(handle, "free");
			return;
		}
	} while (!atomic_compare_exchange_weak_explicit(&e->place, &place, place_of(0, ENTRY_FREE), memory_order_acq_rel,
							memory_order_relaxed));
	atomic_store_explicit(&e->info, info_next_generation(info), memory_order_relaxed);
	object_put(info_class(info), place_address(place));
	entries_give(&(uint32_t){(uint32_t)handle}, 1);
}

void handle_fault(uint64_t handle, const char *what)
{
	struct handle_entry *e = entry_at((uint32_t)handle);
	uint64_t info = e ? entry_info(e) : 0, place = e ? atomic_load_explicit(&e->place, memory_order_relaxed) : 0;
	void *shown = (void *)(uintptr_t)handle;

	if (!info || handle >> 56 != HANDLE_TAG)
		bug_caller("invalid %s of handle %p: not a handle from bslab", what, shown);
	else if (!handle_matches(handle, info) || !place_is_live(place))
		bug_caller("invalid %s of handle %p: freed before", what, shown);
	else if (!place_maps(place))
		bug_caller("invalid %s of handle %p: it is not mapped", what, shown);
	else
		bug_caller("invalid %s of handle %p: it is mapped %u times", what, shown, place_maps(place));
}

/* --- size -------------------------------------------------------------------------------------------------------------- */

static size_t info_size(uint64_t info)
{
	return (size_t)info_number(info) << (info_class(info) == LARGE_CLASS ? PAGE_SHIFT : 0);
}

size_t handle_size(uint64_t handle)
{
	struct handle_entry *e = handle_entry(handle);

	if (e && place_is_live(atomic_load_explicit(&e->place, memory_order_relaxed)))
		return info_size(entry_info(e));
	handle_fault(handle, "size");
	return 0;
}

static size_t object_room(unsigned class, uintptr_t addr)
{
	if (class == LARGE_CLASS)
		return large_of(map_lookup(addr))->size;
	return class == RUN_CLASS ? (size_t)handle_run_pages(addr) << PAGE_SHIFT : class_size(class);
}

/* It stays where it is as long as it fits and at least half of it is used, by what its alignment asks for. */
static bool object_stays(unsigned class, uintptr_t addr, size_t size)
{
	size_t have = object_room(class, addr);

	if (class == LARGE_CLASS)
		return false;
	return size <= have && (class == RUN_CLASS ? pages_for(size) << PAGE_SHIFT == have : size >= have / 2 || have <= HANDLE_MIN_SIZE);
}

/* The one map is the caller's, and ends here. False when there are others. */
static bool replace(struct handle_entry *e, uintptr_t from, uintptr_t to)
{
	uint64_t place = place_of(from, ENTRY_LIVE) + PLACE_MAP;

	return atomic_compare_exchange_strong_explicit(&e->place, &place, place_of(to, ENTRY_LIVE), memory_order_acq_rel,
						       memory_order_relaxed);
}

/* By now it may be mapped no more. */
static enum resize mapped_meanwhile(uint64_t handle)
{
	bug_caller("invalid resize of handle %p: it was mapped meanwhile", (void *)(uintptr_t)handle);
	handle_unmap(handle);
	return RESIZE_FAULT;
}

/* The alignment stays. */
static void store_size(struct handle_entry *e, uint64_t info, unsigned class, size_t size)
{
	uint32_t number = number_for(class, size, info_align(info));

	atomic_store_explicit(&e->info, info_with(info, class, number), memory_order_relaxed);
}

/* A large block is elsewhere by now, and whoever has mapped it meanwhile has lost it; but the entry is right. */
static void relocate(struct handle_entry *e, uintptr_t to)
{
	uint64_t place = atomic_load_explicit(&e->place, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(&e->place, &place, place_of(to, ENTRY_LIVE) | (place & PLACE_MAPS),
						      memory_order_release, memory_order_relaxed))
		;
}

/* A block of the large floor grows and shrinks by itself; NO_MEMORY: it has to be copied. */
static enum resize resize_large(uint64_t handle, struct handle_entry *e, uintptr_t addr, size_t size)
{
	uintptr_t to = size > PAGEBLOCK_SIZE && size <= MAX_HANDLE_SIZE ? (uintptr_t)large_resize(large_of(map_lookup(addr)), size) : 0;

	if (!to)
		return RESIZE_NO_MEMORY;
	store_size(e, entry_info(e), LARGE_CLASS, size);
	if (replace(e, addr, to))
		return RESIZE_DONE;
	relocate(e, to);
	return mapped_meanwhile(handle);
}

/* The map is the caller's, and ends here. */
static enum resize resize_in_place(uint64_t handle, struct handle_entry *e, uintptr_t addr, size_t size)
{
	unsigned class = info_class(entry_info(e));
	bool fits = size <= object_room(class, addr);

	if (fits)
		store_size(e, entry_info(e), class, size);
	handle_unmap(handle);
	return fits ? RESIZE_DONE : RESIZE_NO_MEMORY;
}

static enum resize resize_copied(uint64_t handle, struct handle_entry *e, uintptr_t addr, size_t size)
{
	uint64_t info = entry_info(e);
	size_t room = size_aligned(size, info_align(info));
	unsigned class = class_for(room);
	uintptr_t to = object_get((uint32_t)handle, class, room);

	if (!to)
		return resize_in_place(handle, e, addr, size);
	memcpy((void *)to, (const void *)addr, min_size(info_size(info), size));
	if (!replace(e, addr, to)) {
		object_put(class, to);
		return mapped_meanwhile(handle);
	}
	store_size(e, info, class, size);
	object_put(info_class(info), addr);
	return RESIZE_DONE;
}

static enum resize resize_mapped(uint64_t handle, struct handle_entry *e, uintptr_t addr, size_t size)
{
	uint64_t info = entry_info(e);
	unsigned class = info_class(info);
	enum resize r = RESIZE_NO_MEMORY;

	if (object_stays(class, addr, size_aligned(size, info_align(info))))
		return resize_in_place(handle, e, addr, size);
	if (class == LARGE_CLASS)
		r = resize_large(handle, e, addr, size);
	return r == RESIZE_NO_MEMORY ? resize_copied(handle, e, addr, size) : r;
}

/* Mapped meanwhile, so that it stays where it is. */
static enum resize resize(uint64_t handle, size_t size)
{
	struct handle_entry *e = handle_entry(handle);
	uint64_t place = e ? atomic_load_explicit(&e->place, memory_order_relaxed) : 0;

	do {
		if (!place_is_live(place) || place & PLACE_MAPS) {
			handle_fault(handle, "resize");
			return RESIZE_FAULT;
		}
	} while (!atomic_compare_exchange_weak_explicit(&e->place, &place,
							((place & ~(uint64_t)PLACE_STATE) | ENTRY_LIVE) + PLACE_MAP,
							memory_order_acquire, memory_order_relaxed));
	return resize_mapped(handle, e, place_address(place), size);
}

/* In the child of a fork nobody would end the map. */
enum resize handle_resize(uint64_t handle, size_t size)
{
	enum resize r;

	forks_hold();
	r = resize(handle, size);
	forks_let_go();
	return r;
}

/* --- reports, fork ------------------------------------------------------------------------------------------------------ */

void handles_snapshot(struct handle_info *info)
{
	unsigned class;

	handle_table_info(&handle_table, info);
	for (class = 1; class < NR_CLASSES; class++)
		info->nr_cached[class] = handles_nr_cached(class);
}

void handles_fork_prepare(void)
{
	bslab_assert(lock_is_held(&caches_lock));
	if (!is_used)
		return;
	objects_fork_prepare();
	lock_take_nested(&handle_threads.lock);
	entries_fork_prepare();
}

void handles_fork_done(bool child)
{
	if (child && handle_threads.is_looking) /* another thread was; the child has none that does */
		handle_threads.is_looking = false;
	if (!is_used)
		return;
	entries_fork_done(child);
	if (child) {
		handle_keeps_adopt();
		lock_reset(&handle_threads.lock);
	} else {
		lock_drop_nested(&handle_threads.lock);
	}
	objects_fork_done(child);
}
