/* SPDX-License-Identifier: MIT */
#include "guarded/pool.h"

#include <string.h>

#include "boot/boot.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"
#include "profile/sampler.h"

#define POOL_SIZE ((2 * NR_SLOTS + 1) * BSLAB_PAGE_SIZE)
#define PATTERN 0xa5

static struct {
	struct lock lock; /* RANK_PROFILE: the list, nr_used */
	struct guarded_slot *first, *last; /* that wait, the longest first */
	unsigned nr_used; /* slots that served once at least: those from here on were not even touched */
	/* Constant from the start on: */
	struct guarded_slot *slots; /* [NR_SLOTS] */
	uintptr_t base;
	enum guard_kind kind; /* how pages of slots trap that never served */
} pool;

static uintptr_t slot_page(const struct guarded_slot *s)
{
	return pool.base + (2 * (size_t)(s - pool.slots) + 1) * BSLAB_PAGE_SIZE;
}

/* --- pages ----------------------------------------------------------------------------------- */

static bool page_open(struct guarded_slot *s)
{
	if (os_open_guard((void *)slot_page(s), BSLAB_PAGE_SIZE, (enum guard_kind)s->guard) != 0)
		return false;
	s->guard = GUARD_NONE;
	return true;
}

/* It reads as zero when it is opened again. Memory may have been locked since the last time: markers are refused then. */
static void page_close(struct guarded_slot *s)
{
	void *p = (void *)slot_page(s);

	if (os_guard_light(p, BSLAB_PAGE_SIZE) == 0) {
		s->guard = GUARD_LIGHT;
		return;
	}
	if (os_purge(p, BSLAB_PAGE_SIZE) != 0)
		memset(p, 0, BSLAB_PAGE_SIZE);
	if (os_guard_hard(p, BSLAB_PAGE_SIZE) == 0)
		s->guard = GUARD_HARD;
}

/* Each byte is the one before it. */
static bool is_pattern(const uint8_t *p, size_t n, uintptr_t *damage)
{
	if (!n || (*p == PATTERN && memcmp(p, p + 1, n - 1) == 0))
		return true;
	while (*p == PATTERN)
		p++;
	*damage = (uintptr_t)p;
	return false;
}

/* The rest of the page, on both sides of the block. */
static void fill_around(const struct guarded_slot *s)
{
	uintptr_t page = slot_page(s), end = s->addr + s->size;

	memset((void *)page, PATTERN, s->addr - page);
	memset((void *)end, PATTERN, page + BSLAB_PAGE_SIZE - end);
}

static uintptr_t find_damage(const struct guarded_slot *s)
{
	uintptr_t page = slot_page(s), end = s->addr + s->size, damage = 0;

	if (is_pattern((const uint8_t *)end, page + BSLAB_PAGE_SIZE - end, &damage))
		is_pattern((const uint8_t *)page, s->addr - page, &damage);
	return damage;
}

/* --- slots ------------------------------------------------------------------------------------- */

static void slot_wait(struct guarded_slot *s)
{
	lock_take(&pool.lock, RANK_PROFILE);
	s->next = NULL;
	if (pool.last)
		pool.last->next = s;
	else
		pool.first = s;
	pool.last = s;
	lock_drop(&pool.lock, RANK_PROFILE);
}

/* The next one. A process of few samples touches few slots. */
static struct guarded_slot *slot_begin(void)
{
	struct guarded_slot *s = &pool.slots[pool.nr_used++];

	bslab_assert(lock_is_held(&pool.lock));
	s->guard = (uint8_t)pool.kind;
	map_set(slot_page(s), desc_of_pointer(s, PAGE_GUARDED, 0));
	return s;
}

static struct guarded_slot *slot_take(void)
{
	struct guarded_slot *s;

	lock_take(&pool.lock, RANK_PROFILE);
	s = pool.first;
	if (pool.nr_used < NR_SLOTS) {
		s = slot_begin();
	} else if (s) {
		pool.first = s->next;
		if (!s->next)
			pool.last = NULL;
	}
	lock_drop(&pool.lock, RANK_PROFILE);
	return s;
}

bool guarded_pool_start(void)
{
	struct guarded_slot *slots = boot_alloc(NR_SLOTS * sizeof *slots, 64);
	void *base = slots && os_page_size() == BSLAB_PAGE_SIZE ? os_map(POOL_SIZE) : NULL;
	enum guard_kind kind = GUARD_LIGHT;

	if (!base)
		return false;
	if (os_guard_light(base, POOL_SIZE) != 0)
		kind = os_guard_hard(base, POOL_SIZE) == 0 ? GUARD_HARD : GUARD_NONE;
	if (kind == GUARD_NONE || !map_ensure((uintptr_t)base, POOL_SIZE)) {
		os_unmap(base, POOL_SIZE);
		return false;
	}
	os_name(base, POOL_SIZE, "bslab:guarded");
	pool.base = (uintptr_t)base;
	pool.slots = slots;
	pool.kind = kind;
	return true;
}

void trace_back_take(struct trace_back *t, const struct caller *by, uintptr_t sp)
{
	uintptr_t pc[MAX_FRAMES];
	bool was = thread_state.in_profile; /* a block may be freed while a sample is taken: libgcc's own */

	thread_state.in_profile = true;
	t->nr_frames = (unsigned)min_size(unwind(by, sp, pc), MAX_GUARDED_FRAMES);
	thread_state.in_profile = was;
	memcpy(t->pc, pc, t->nr_frames * sizeof *pc);
	t->thread = os_thread_id();
}

void *guarded_pool_alloc(size_t size, size_t align, const struct caller *by)
{
	struct guarded_slot *s = size && size <= BSLAB_PAGE_SIZE && align <= BSLAB_PAGE_SIZE ? slot_take() : NULL;
	uintptr_t page;

	if (!s)
		return NULL;
	if (!page_open(s)) {
		slot_wait(s);
		return NULL;
	}
	page = slot_page(s);
	align = max_size(align, size >= 16 || bslab_options.hardened ? 16 : 8);
	s->addr = sampler_chance(0.5) ? page : page + BSLAB_PAGE_SIZE - align_up(size, align);
	s->size = size;
	fill_around(s);
	trace_back_take(&s->alloc, by, 0);
	s->free.nr_frames = 0;
	atomic_store_explicit(&s->state, SLOT_LIVE, memory_order_release);
	return (void *)s->addr;
}

bool guarded_pool_free(struct guarded_slot *s, uintptr_t ptr, const struct caller *by, uintptr_t *damage)
{
	int live = SLOT_LIVE;

	*damage = 0;
	if (s->addr != ptr || !atomic_compare_exchange_strong(&s->state, &live, SLOT_FREED))
		return false;
	*damage = find_damage(s);
	trace_back_take(&s->free, by, 0);
	page_close(s);
	slot_wait(s);
	return true;
}

/* --- what an address is ---------------------------------------------------------------------------- */

static size_t distance(const struct guarded_slot *s, uintptr_t addr)
{
	if (atomic_load_explicit(&s->state, memory_order_acquire) == SLOT_UNUSED)
		return SIZE_MAX;
	return addr < s->addr ? s->addr - addr : addr - (s->addr + s->size - 1);
}

struct guarded_slot *guarded_pool_find(uintptr_t addr)
{
	size_t page = (addr - pool.base) >> PAGE_SHIFT;
	struct guarded_slot *before, *behind;

	if (!pool.base || addr - pool.base >= POOL_SIZE)
		return NULL;
	if (page % 2) {
		before = &pool.slots[page / 2];
		return distance(before, addr) == SIZE_MAX ? NULL : before;
	}
	before = page ? &pool.slots[page / 2 - 1] : NULL;
	behind = page / 2 < NR_SLOTS ? &pool.slots[page / 2] : NULL;
	if (!before || (behind && distance(behind, addr) < distance(before, addr)))
		before = behind;
	return distance(before, addr) == SIZE_MAX ? NULL : before;
}

void guarded_pool_fork_prepare(void)
{
	lock_take_nested(&pool.lock);
}

void guarded_pool_fork_done(bool child)
{
	if (child)
		lock_reset(&pool.lock);
	else
		lock_drop_nested(&pool.lock);
}
