/* SPDX-License-Identifier: MIT */
#include "slab/sheaf.h"

#include <string.h>

#include "base/probe.h"
#include "boot/boot.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "os/shared.h"
#include "page/zone.h"
#include "slab/hardened.h"
#include "slab/typed.h"

/*
 * A sheaf of size k takes an odd number of cache lines, 1, 3, 5, 9, ... 65,
 * header and sentinels included. Were they powers of two, the lines in use of
 * all large sheaves, those at the bottom, would compete for one set of the
 * cache (Bonwick's slab colouring, for the same reason).
 */
#define NR_SHEAF_SIZES 7
#define SHEAF_BYTES(k) (((size_t)1 << (k) | 1) * 64)
#define SHEAF_OVERHEAD (sizeof(struct sheaf) + sizeof(uintptr_t))
#define CAPACITY(k) ((SHEAF_BYTES(k) - SHEAF_OVERHEAD) / sizeof(void *))

#define MAX_SHEAF_BYTES (128 * KIB)
#define MAX_BARN_BYTES (256 * KIB)
#define MAX_BARNS_BYTES (2 * MIB)
#define MIN_FULL_SHEAVES 4u
#define MAX_FULL_SHEAVES 16u
#define MAX_FULL_PCP_SHEAVES 2u /* of single pages; half as many of each order above: see 6 in sheaf.h */
#define MAX_EMPTY_SHEAVES 2
#define MIN_CAPACITY 6u
#define FIRST_CAPACITY 20u
#define FIRST_SHEAF_BYTES (16 * KIB)
#define MIN_FIRST_CAPACITY 2u
#define GROW_VISITS 4
/* A visit takes some 100 ns: so many in that time are 1/1000 of it. By CPU, as the memory of large sheaves is. */
#define GROW_US 500
#define CHEAP_SHEAF_BYTES (8 * KIB)
#define HYSTERESIS 32
#define ONE_WAY 4
#define MIN_DECLINE_BYTES (64 * KIB)
#define MAX_DECLINE_BYTES (256 * KIB)
#define PEAK_PER_DECLINE 8 /* so many bytes of the peak for each that it is less */
#define DECLINE_CAPACITY 16u
#define ONE_WAY_CAPACITY 128u
#define ONE_WAY_BYTES (64 * KIB)

_Static_assert(CAPACITY(1) == FIRST_CAPACITY, "the smallest sheaf in use holds any first one");

_Atomic uint64_t area_drains;
static struct boot_pool sheaf_pool[NR_SHEAF_SIZES];
static _Atomic size_t barns_bytes; /* of objects in full sheaves, of all classes */

/* The smallest size of sheaf that holds so many objects. */
static unsigned pool_index(size_t capacity)
{
	unsigned k = 1;

	while (CAPACITY(k) < capacity)
		k++;
	return k;
}

static struct sheaf *sheaf_get(size_t capacity)
{
	unsigned k = pool_index(capacity);
	struct sheaf *s = boot_pool_get(&sheaf_pool[k], SHEAF_BYTES(k), 64);

	if (!s)
		return NULL;
	/* Slots keep what they last held: pointers, so even. */
	s->next = NULL;
	s->capacity = (uint16_t)capacity;
	s->nr = 0;
	s->run = 0;
	s->low_sentinel = (uintptr_t)s | 1;
	s->slot[capacity] = (void *)((uintptr_t)s | 1);
	return s;
}

static void sheaf_put(struct sheaf *s)
{
	s->slot[s->capacity] = NULL; /* its next life may have a slot there */
	boot_pool_put(&sheaf_pool[pool_index(s->capacity)], s);
}

struct sheaf *sheaf_of_top(void **top)
{
	struct sheaf *s;
	void **p = top;

	if ((uintptr_t)top[0] & 1) { /* full, without a walk */
		s = sheaf_of_sentinel(top[0]);
	} else {
		while (!((uintptr_t)p[-1] & 1))
			p--;
		s = sheaf_of_sentinel(p[-1]);
	}
	if (s)
		s->nr = (uint16_t)(top - s->slot);
	return s;
}

/* --- barns ------------------------------------------------------------------------ */

static uint16_t first_capacity(const struct barn *b)
{
	size_t n = min_size(FIRST_SHEAF_BYTES / b->object_size, FIRST_CAPACITY);

	return (uint16_t)max_size(n, MIN_FIRST_CAPACITY);
}

/* Of a number that had a cache before, too: its counters go on. */
void barn_setup(struct barn *b, size_t object_size, bool is_pcp)
{
	size_t max = min_size(MAX_SHEAF_BYTES / object_size, CAPACITY(NR_SHEAF_SIZES - 1));

	lock_take(&b->lock, RANK_BARN);
	b->object_size = (uint16_t)object_size;
	b->max_capacity = (uint16_t)max_size(max, is_pcp ? MIN_FIRST_CAPACITY : MIN_CAPACITY);
	b->capacity = first_capacity(b);
	lock_drop(&b->lock, RANK_BARN);
}

/* Not for the sake of a few pages: of fewer, the more the class has come down from, so that small batches at the end are few of all. */
static size_t decline_bytes(const struct kmem_cache *c)
{
	size_t less = ((size_t)READ_ONCE(c->nr_peak_pages) << PAGE_SHIFT) / PEAK_PER_DECLINE;

	return MAX_DECLINE_BYTES - min_size(less, MAX_DECLINE_BYTES - MIN_DECLINE_BYTES);
}

/* See 5 in sheaf.h. */
static bool is_in_decline(struct kmem_cache *c)
{
	size_t free_bytes = cache_free_bytes(c);

	return free_bytes > decline_bytes(c) &&
	       free_bytes > atomic_load_explicit(&c->nr_out, memory_order_relaxed) * c->size;
}

/* In decline a barn pins no more slabs than an eighth of what is out does anyway. */
static bool holds_too_much(struct kmem_cache *c, unsigned nr_full)
{
	return is_in_decline(c) && (size_t)nr_full * READ_ONCE(c->barn.capacity) >
				       atomic_load_explicit(&c->nr_out, memory_order_relaxed) / 8;
}

static size_t max_full_sheaves(const struct kmem_cache *c)
{
	const struct barn *b = &c->barn;

	if (is_pcp_cache(c->class))
		return MAX_FULL_PCP_SHEAVES >> (c->class - PCP_CACHE);
	return max_size(MIN_FULL_SHEAVES, min_size(MAX_BARN_BYTES / ((size_t)b->capacity * b->object_size), MAX_FULL_SHEAVES));
}

static size_t max_barns_bytes(void)
{
	return MAX_BARNS_BYTES + zone_in_use() / 16;
}

static bool barn_has_room(struct kmem_cache *c)
{
	const struct barn *b = &c->barn;

	return b->nr_full < max_full_sheaves(c) &&
	       !holds_too_much(c, b->nr_full + 1u) &&
	       atomic_load_explicit(&barns_bytes, memory_order_relaxed) < max_barns_bytes();
}

/* What they held was little of a heap that is gone. By a quarter: not each time that it breathes. */
static bool barns_hold_too_much(void)
{
	size_t bytes = atomic_load_explicit(&barns_bytes, memory_order_relaxed);

	return bytes > MAX_BARNS_BYTES && bytes - bytes / 4 > max_barns_bytes();
}

static void count_bytes(const struct barn *b, const struct sheaf *s, bool in)
{
	size_t bytes = (size_t)s->nr * b->object_size;

	shared_add(&barns_bytes, in ? bytes : -bytes);
}

/* There may be something to empty again: see barn_has_rested(). */
static void note_visit(struct barn *b)
{
	bslab_assert(lock_is_held(&b->lock));
	WRITE_ONCE(b->was_visited, true);
}

static bool is_one_way(int run)
{
	return run > ONE_WAY || run < -ONE_WAY;
}

/* Whether visits are frequent enough to make sheaves larger: see 2 in sheaf.h. Without the lock, for the clock may be a system call. */
static bool count_visit(const struct barn *b, struct barn_visits *v, int run)
{
	size_t capacity = READ_ONCE(b->capacity);
	uint8_t nr = v ? (uint8_t)(READ_ONCE(v->nr) + 1) : 0;
	uint32_t now, counted_at;

	if (!v || is_one_way(run) || capacity == b->max_capacity)
		return false;
	WRITE_ONCE(v->nr, nr < GROW_VISITS ? nr : 0);
	if (nr < GROW_VISITS || capacity * b->object_size < CHEAP_SHEAF_BYTES)
		return nr >= GROW_VISITS;
	now = (uint32_t)os_clock_us();
	counted_at = READ_ONCE(v->counted_at_us);
	WRITE_ONCE(v->counted_at_us, now);
	return now - counted_at < GROW_US; /* a thread that read the clock before another stored it: no */
}

static void barn_visit(struct barn *b, bool grows)
{
	note_visit(b);
	if (grows)
		WRITE_ONCE(b->capacity, (uint16_t)min_size(b->max_capacity, 2 * b->capacity));
}

static struct sheaf *pop(struct sheaf **list, uint16_t *nr)
{
	struct sheaf *s = *list;

	if (s) {
		*list = s->next;
		WRITE_ONCE(*nr, (uint16_t)(*nr - 1));
	}
	return s;
}

static void push(struct sheaf **list, uint16_t *nr, struct sheaf *s)
{
	s->next = *list;
	*list = s;
	WRITE_ONCE(*nr, (uint16_t)(*nr + 1));
}

/* Keeps an empty sheaf if it is worth keeping; else the caller retires it once the lock is dropped. */
static struct sheaf *keep_empty(struct barn *b, struct sheaf *s)
{
	bslab_assert(lock_is_held(&b->lock));
	if (!s || b->nr_empty >= MAX_EMPTY_SHEAVES || s->capacity < b->capacity)
		return s;
	push(&b->empty, &b->nr_empty, s);
	return NULL;
}

static void retire(struct sheaf *s)
{
	if (s)
		sheaf_put(s);
}

/* One of the barn's empty sheaves, if it has one of today's capacity. */
static struct sheaf *pop_empty(struct barn *b)
{
	struct sheaf *s;

	bslab_assert(lock_is_held(&b->lock));
	while ((s = pop(&b->empty, &b->nr_empty)) && s->capacity < b->capacity)
		sheaf_put(s);
	return s;
}

/* The row of visits that this one belongs to; s is the sheaf with which the CPU comes. */
static int run_out(const struct sheaf *s)
{
	return s && s->run < 0 ? (s->run > INT8_MIN ? s->run - 1 : s->run) : -1;
}

/* Without a sheaf, for it was drained perhaps, a class in decline goes on declining. */
static int run_over(struct kmem_cache *c, const struct sheaf *s)
{
	if (!s)
		return is_in_decline(c) ? ONE_WAY + 1 : 1;
	return s->run > 0 ? (s->run < INT8_MAX ? s->run + 1 : s->run) : 1;
}

/* In decline each object in a sheaf may be the last of its slab: so many that these slabs are no more bytes than are out. */
static size_t decline_capacity(const struct kmem_cache *c, size_t nr_out)
{
	size_t slab_bytes = ((size_t)READ_ONCE(c->nr_pages) << PAGE_SHIFT) / max_size(READ_ONCE(c->nr_slabs), 1);

	return min_size(DECLINE_CAPACITY, nr_out * c->size / max_size(slab_bytes, 1));
}

/* What a CPU on one way may hold, and gets at a time: at most an eighth of what is out. */
static size_t one_way_capacity(struct kmem_cache *c)
{
	size_t nr_out = atomic_load_explicit(&c->nr_out, memory_order_relaxed);
	size_t most = is_in_decline(c) ? decline_capacity(c, nr_out) : ONE_WAY_CAPACITY;

	if (is_pcp_cache(c->class)) /* see 6 in sheaf.h */
		return c->barn.max_capacity;
	most = min_size(most, min_size(ONE_WAY_BYTES / c->size, nr_out / 8));
	return max_size(MIN_FIRST_CAPACITY, most);
}

static void flush(struct kmem_cache *c, struct sheaf *s)
{
	PROBE(sheaf_flush, c->size, s->nr);
	slab_give(c, s->slot, s->nr);
	s->nr = 0;
}

static struct sheaf *refill(struct kmem_cache *c, struct sheaf *s, unsigned pages_flags)
{
	unsigned n;

	if (!s)
		return NULL;
	n = (s->capacity + 1u) / 2;
	if (is_one_way(s->run))
		n = (unsigned)min_size(max_size(n, min_size(s->capacity, BSLAB_PAGE_SIZE / c->size)), one_way_capacity(c));
	n = (unsigned)min_size(align_up(n, c->line_objects), s->capacity);
	s->nr = (uint16_t)slab_take(c, s->slot, n, pages_flags);
	if (unlikely(bslab_options.hardened))
		shuffle(s->slot, s->nr);
	PROBE(sheaf_refill, c->size, s->nr, s->capacity);
	if (s->nr)
		return s;
	barn_put(c, s);
	return NULL;
}

/* Into a larger one that is empty; the other has no more use. */
static void move_all(struct sheaf *from, struct sheaf *to)
{
	memcpy(to->slot, from->slot, from->nr * sizeof(void *));
	to->nr = from->nr;
	sheaf_put(from);
}

struct sheaf *barn_exchange_empty(struct kmem_cache *c, struct sheaf *empty, struct barn_visits *v, unsigned pages_flags)
{
	struct barn *b = &c->barn;
	struct sheaf *full, *larger = NULL;
	int run = run_out(empty);
	bool grows = count_visit(b, v, run);
	bool is_outgrown = false;
	size_t capacity;

	lock_take(&b->lock, RANK_BARN);
	barn_visit(b, grows);
	capacity = b->capacity;
	full = pop(&b->full, &b->nr_full);
	if (full) {
		b->nr_gets++;
		count_bytes(b, full, false);
		is_outgrown = empty && full->capacity < capacity && empty->capacity >= capacity;
		if (!is_outgrown)
			empty = keep_empty(b, empty);
	} else {
		b->nr_refills++;
		if (!empty || empty->capacity < capacity)
			larger = pop_empty(b);
	}
	lock_drop(&b->lock, RANK_BARN);
	if (full && is_outgrown) { /* else the small one would stay in use as long as the barn never runs out */
		move_all(full, empty);
		full = empty;
	} else if (full) {
		retire(empty);
	}
	if (full) {
		full->run = (int8_t)run;
		return full;
	}
	if (!larger && (!empty || empty->capacity < capacity))
		larger = sheaf_get(capacity);
	if (larger) {
		retire(empty);
		empty = larger;
	}
	if (empty)
		empty->run = (int8_t)run;
	return refill(c, empty, pages_flags);
}

/* Moves the top, which was freed last and is warm. `to` may be smaller: its class was set back to small. */
static void split(struct sheaf *from, struct sheaf *to)
{
	unsigned half = min_size(from->nr, to->capacity) / (is_one_way(to->run) ? 8 : 2);
	unsigned n = (unsigned)min_size(half, HYSTERESIS), keep = from->nr - n;

	memcpy(to->slot, from->slot + keep, n * sizeof(void *));
	to->nr = (uint16_t)n;
	from->nr = (uint16_t)keep;
}

struct sheaf *barn_exchange_full(struct kmem_cache *c, struct sheaf *full, struct barn_visits *v)
{
	struct barn *b = &c->barn;
	struct sheaf *half = NULL;
	int run = run_over(c, full);
	bool grows = count_visit(b, v, run);
	size_t capacity;

	lock_take(&b->lock, RANK_BARN);
	barn_visit(b, grows);
	b->nr_overs++;
	capacity = b->capacity;
	if (is_one_way(run))
		capacity = one_way_capacity(c);
	else
		half = pop_empty(b);
	lock_drop(&b->lock, RANK_BARN);
	if (!half)
		half = sheaf_get(capacity);
	if (half)
		half->run = (int8_t)run;
	if (!full)
		return half;
	if (half) {
		split(full, half);
		barn_put(c, full);
		if (holds_too_much(c, READ_ONCE(b->nr_full)) || unlikely(barns_hold_too_much()))
			barn_drain(c);
		return half;
	}
	flush(c, full);
	return full;
}

struct sheaf *barn_get_empty(struct kmem_cache *c, struct barn_visits *v)
{
	struct barn *b = &c->barn;
	struct sheaf *s;
	bool grows = count_visit(b, v, 0);
	size_t capacity;

	lock_take(&b->lock, RANK_BARN);
	barn_visit(b, grows);
	capacity = b->capacity;
	s = pop_empty(b);
	lock_drop(&b->lock, RANK_BARN);
	return s ? s : sheaf_get(capacity);
}

void barn_put(struct kmem_cache *c, struct sheaf *s)
{
	struct barn *b = &c->barn;

	lock_take(&b->lock, RANK_BARN);
	note_visit(b);
	if (!s->nr) {
		s = keep_empty(b, s);
	} else if (barn_has_room(c)) {
		b->nr_puts++;
		push(&b->full, &b->nr_full, s);
		count_bytes(b, s, true);
		s = NULL;
	}
	b->nr_drains += s && s->nr;
	lock_drop(&b->lock, RANK_BARN);
	if (s) {
		if (s->nr)
			flush(c, s);
		retire(s);
	}
}

void sheaf_empty(struct kmem_cache *c, struct sheaf *s)
{
	slab_give(c, s->slot, s->nr);
	s->nr = 0;
	barn_put(c, s);
}

bool barn_has_rested(struct kmem_cache *c, uint64_t now_ms, uint64_t rest_ms)
{
	struct barn *b = &c->barn;
	uint64_t visited_at = READ_ONCE(b->visited_at_ms);

	if (READ_ONCE(b->was_visited)) {
		WRITE_ONCE(b->was_visited, false);
		WRITE_ONCE(b->visited_at_ms, now_ms);
		return false;
	}
	if (!visited_at || ms_since(visited_at, now_ms) < rest_ms)
		return false;
	WRITE_ONCE(b->visited_at_ms, 0);
	return true;
}

void barn_drain(struct kmem_cache *c)
{
	struct barn *b = &c->barn;
	struct sheaf *full, *empty, *s;
	unsigned nr_full;

	drain_begin(cache_drains(c));
	lock_take(&b->lock, RANK_BARN);
	full = b->full;
	nr_full = b->nr_full;
	empty = b->empty;
	b->full = b->empty = NULL;
	WRITE_ONCE(b->nr_full, 0);
	b->nr_empty = 0;
	WRITE_ONCE(b->capacity, first_capacity(b));
	for (s = full; s; s = s->next)
		count_bytes(b, s, false);
	lock_drop(&b->lock, RANK_BARN);
	if (nr_full)
		PROBE(barn_drain, c->size, nr_full);
	while ((s = full)) {
		full = s->next;
		slab_give(c, s->slot, s->nr);
		retire(s);
	}
	while ((s = empty)) {
		empty = s->next;
		retire(s);
	}
	drain_end(cache_drains(c));
}

void barn_snapshot(struct barn *b, struct cache_info *info)
{
	struct sheaf *s;

	lock_take(&b->lock, RANK_BARN);
	info->nr_full_sheaves = b->nr_full;
	info->nr_empty_sheaves = b->nr_empty;
	info->sheaf_capacity = b->capacity;
	info->nr_gets = b->nr_gets;
	info->nr_refills = b->nr_refills;
	info->nr_overs = b->nr_overs;
	info->nr_puts = b->nr_puts;
	info->nr_drains = b->nr_drains;
	for (s = b->full; s; s = s->next)
		info->nr_barn_objects += s->nr;
	lock_drop(&b->lock, RANK_BARN);
}
