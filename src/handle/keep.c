/* SPDX-License-Identifier: MIT */
#include "handle/keep.h"

#include "boot/boot.h"
#include "handle/move.h"
#include "os/os.h"

/* A thread keeps so many of a class, or so many bytes of them, but two at least. */
#define MAX_KEPT 64
#define MAX_KEPT_BYTES (32 * KIB)
#define REAP_MS 40

struct handle_threads handle_threads reader_root(handle_threads);

static struct handle_thread *thread_create(void)
{
	struct handle_thread *t = boot_alloc(sizeof *t, _Alignof(struct handle_thread));

	if (t) {
		t->next = handle_threads.all;
		__atomic_store_n(&handle_threads.all, t, __ATOMIC_RELEASE);
	}
	return t;
}

struct handle_thread *handle_keep_self(void)
{
	struct handle_thread *t = thread_state.handles;

	if (t || thread_state.exit_hooked == THREAD_ENDED)
		return t;
	lock_take(&handle_threads.lock, RANK_HANDLES);
	t = handle_threads.free;
	if (t)
		handle_threads.free = t->next_free;
	else
		t = thread_create();
	if (t)
		t->is_used = true;
	lock_drop(&handle_threads.lock, RANK_HANDLES);
	thread_state.handles = t;
	return t;
}

static unsigned max_kept(const struct handle_cache *c)
{
	size_t n = min_size(MAX_KEPT, MAX_KEPT_BYTES / c->size);

	return (unsigned)max_size(n, 2);
}

static void push(struct handle_thread *t, unsigned class, uint32_t index)
{
	struct handle_entry *e = entry_at(index);

	atomic_store_explicit(&e->info, info_with(entry_info(e), class, t->kept[class].top), memory_order_relaxed);
	atomic_signal_fence(memory_order_release);
	WRITE_ONCE(t->kept[class].top, index);
	WRITE_ONCE(t->kept[class].nr, (uint16_t)(t->kept[class].nr + 1));
}

/* Takes the object of an entry that is kept; 0 where a compaction has it already. */
static uintptr_t take_object(struct handle_entry *e, struct handle_cache *c)
{
	uint64_t place = atomic_load_explicit(&e->place, memory_order_relaxed);

	if (place_state(place) == ENTRY_CACHED &&
	    atomic_compare_exchange_strong_explicit(&e->place, &place, place_of(0, ENTRY_FREE), memory_order_acquire, memory_order_relaxed))
		return place_address(place);
	atomic_fetch_sub_explicit(&c->nr_stripped, 1, memory_order_relaxed);
	return 0;
}

/* Entries that are kept, and their objects, go home. */
static void chain_give(struct handle_cache *c, struct handle_chain chain)
{
	uintptr_t addr[MAX_KEPT];
	uint32_t index[MAX_KEPT];

	while (chain.first) {
		unsigned n = 0, nr_objects = 0;

		for (; n < MAX_KEPT && chain.first; chain.first = (uint32_t)entry_info(entry_at(chain.first)))
			index[n++] = chain.first;
		for (unsigned i = 0; i < n; i++) {
			addr[nr_objects] = take_object(entry_at(index[i]), c);
			nr_objects += addr[nr_objects] != 0;
		}
		if (nr_objects)
			objects_give(c, addr, nr_objects);
		entries_give(index, n);
	}
}

/* What is behind the first nr_keep, so those that were freed earlier. */
static struct handle_chain chain_cut(struct handle_thread *t, unsigned class, unsigned nr_keep)
{
	struct handle_chain chain = {t->kept[class].top, t->kept[class].nr};
	struct handle_entry *last = NULL;

	for (; nr_keep && chain.first; nr_keep--, chain.nr--) {
		last = entry_at(chain.first);
		chain.first = (uint32_t)entry_info(last);
	}
	if (last)
		atomic_store_explicit(&last->info, info_with(entry_info(last), class, 0), memory_order_relaxed);
	else
		WRITE_ONCE(t->kept[class].top, 0);
	WRITE_ONCE(t->kept[class].nr, (uint16_t)(t->kept[class].nr - chain.nr));
	return chain;
}

void handle_keep_flush(struct handle_thread *t, unsigned class)
{
	struct handle_cache *c = handle_cache_of(class);
	struct handle_chain chain;

	t->kept[class].max = (uint16_t)max_kept(c);
	if (t->kept[class].nr < t->kept[class].max)
		return;
	chain = chain_cut(t, class, t->kept[class].max / 2);
	if (!depot_put(c, chain))
		chain_give(c, chain);
}

static void flush_all(struct handle_thread *t)
{
	unsigned class;

	for (class = 1; class < NR_CLASSES; class++)
		if (t->kept[class].top)
			chain_give(handle_cache_of(class), chain_cut(t, class, 0));
}

static void depot_empty(struct handle_cache *c)
{
	struct handle_chain chain;

	while (depot_get(c, &chain))
		chain_give(c, chain);
}

void handles_drain(void)
{
	unsigned class;

	if (thread_state.handles)
		flush_all(thread_state.handles);
	for (class = 1; class < NR_CLASSES; class++)
		if (handle_cache_if_used(class))
			depot_empty(handle_caches[class]);
}

/* Of any thread: what is read may be gone by now, or a size instead of an index. Each entry is looked at under a lock. */
static void strip_kept(const struct handle_thread *t, unsigned class)
{
	uint32_t i = READ_ONCE(t->kept[class].top);
	unsigned n = MAX_KEPT;
	struct handle_entry *e;

	for (; n-- && i && (e = entry_at(i)); i = (uint32_t)entry_info(e))
		handle_entry_strip(i);
}

void handles_strip(void)
{
	struct handle_thread *t;
	unsigned class;

	for (t = __atomic_load_n(&handle_threads.all, __ATOMIC_ACQUIRE); t; t = t->next)
		for (class = 1; class < NR_CLASSES; class++)
			strip_kept(t, class);
	for (class = 1; class < NR_CLASSES; class++)
		if (handle_cache_if_used(class))
			depot_empty(handle_caches[class]);
}

static void reap_kept(struct handle_thread *t, unsigned class)
{
	uint32_t top = READ_ONCE(t->kept[class].top);

	if (top != t->seen[class]) {
		t->seen[class] = top;
		t->is_stripped[class] = false;
	} else if (top && !t->is_stripped[class]) {
		t->is_stripped[class] = true;
		strip_kept(t, class);
	}
}

void handles_reap(void)
{
	uint64_t now = os_coarse_clock_ms();
	struct handle_thread *t;
	unsigned class;

	if (likely(ms_since(atomic_load_explicit(&handle_threads.looked_at, memory_order_relaxed), now) < REAP_MS) ||
	    atomic_exchange(&handle_threads.is_looking, true))
		return;
	atomic_store_explicit(&handle_threads.looked_at, now, memory_order_relaxed);
	for (t = __atomic_load_n(&handle_threads.all, __ATOMIC_ACQUIRE); t; t = t->next)
		for (class = 1; class < NR_CLASSES; class++)
			reap_kept(t, class);
	for (class = 1; class < NR_CLASSES; class++)
		if (handle_cache_if_used(class) && depot_has_rested(handle_caches[class]))
			depot_empty(handle_caches[class]);
	atomic_store(&handle_threads.is_looking, false);
}

void handles_thread_exit(void)
{
	struct handle_thread *t = thread_state.handles;

	if (!t)
		return;
	thread_state.handles = NULL;
	flush_all(t);
	lock_take(&handle_threads.lock, RANK_HANDLES);
	t->is_used = false;
	t->next_free = handle_threads.free;
	handle_threads.free = t;
	lock_drop(&handle_threads.lock, RANK_HANDLES);
}

bool handle_keep_fill(struct handle_thread *t, struct handle_cache *c)
{
	unsigned n = max_kept(c) / 2, nr_entries, nr_objects, i;
	uintptr_t addr[MAX_KEPT];
	uint32_t index[MAX_KEPT];
	struct handle_chain chain;

	if (depot_get(c, &chain)) {
		WRITE_ONCE(t->kept[c->class].top, chain.first);
		WRITE_ONCE(t->kept[c->class].nr, (uint16_t)chain.nr);
		return true;
	}
	nr_entries = entries_take(index, n);
	nr_objects = nr_entries ? objects_take(c, index, addr, nr_entries) : 0;
	if (nr_objects < nr_entries)
		entries_give(index + nr_objects, nr_entries - nr_objects);
	for (i = nr_objects; i-- > 0;) { /* so that the lowest address is handed out first */
		atomic_store_explicit(&entry_at(index[i])->place, place_of(addr[i], ENTRY_CACHED), memory_order_release);
		push(t, c->class, index[i]);
	}
	return nr_objects != 0;
}

/* --- reports, fork ------------------------------------------------------------------------------------------------------ */

size_t handles_nr_cached(unsigned class)
{
	struct handle_cache *c = handle_cache_if_used(class);
	struct handle_thread *t;
	size_t n = c ? READ_ONCE(c->nr_depot) : 0, nr_stripped;

	for (t = __atomic_load_n(&handle_threads.all, __ATOMIC_ACQUIRE); t; t = t->next)
		n += READ_ONCE(t->kept[class].nr);
	nr_stripped = c ? atomic_load_explicit(&c->nr_stripped, memory_order_relaxed) : 0;
	return n > nr_stripped ? n - nr_stripped : 0;
}

/* Such a thread was between any two steps: what it was about to take or put by is lost to the child, and its count may be off. */
static void recount(struct handle_thread *t)
{
	unsigned class;
	uint32_t i;

	for (class = 1; class < NR_CLASSES; class++)
		for (t->kept[class].nr = 0, i = t->kept[class].top; i; i = (uint32_t)entry_info(entry_at(i)))
			t->kept[class].nr++;
}

void handle_keeps_adopt(void)
{
	struct handle_thread *t;

	handle_threads.free = NULL;
	for (t = handle_threads.all; t; t = t->next) {
		t->is_used = t == thread_state.handles;
		if (!t->is_used) {
			recount(t);
			t->next_free = handle_threads.free;
			handle_threads.free = t;
		}
	}
}
