/* SPDX-License-Identifier: MIT */
#include "slab/sheaf.h"

#include "boot/boot.h"
#include "os/bug.h"

/* A sheaf of size class k takes 64 << k bytes, header and sentinels included. */
#define NR_SHEAF_SIZES 7
#define SHEAF_OVERHEAD (sizeof(struct sheaf) + sizeof(uintptr_t))
#define CAPACITY(k) (((size_t)64 << (k)) / sizeof(void *) - SHEAF_OVERHEAD / sizeof(void *))

#define MAX_SHEAF_BYTES (64 * KIB)
#define MIN_CAPACITY 4u
#define FIRST_CAPACITY 12u
#define MAX_FULL_SHEAVES 4
#define MAX_EMPTY_SHEAVES 2
#define GROW_VISITS 4

_Static_assert(CAPACITY(0) == MIN_CAPACITY && CAPACITY(1) == FIRST_CAPACITY, "capacities are those of the pools");

static struct boot_pool sheaf_pool[NR_SHEAF_SIZES];

static unsigned pool_index(size_t capacity)
{
	return ilog2((capacity * sizeof(void *) + SHEAF_OVERHEAD) / 64);
}

static struct sheaf *sheaf_get(size_t capacity)
{
	unsigned k = pool_index(capacity);
	struct sheaf *s = boot_pool_get(&sheaf_pool[k], (size_t)64 << k, 64);

	if (!s)
		return NULL;
	bslab_assert(CAPACITY(k) == capacity);
	/* Slots keep what they last held: pointers, so even. The first word of a pooled one is its link. */
	s->next = NULL;
	s->capacity = (uint16_t)capacity;
	s->nr = 0;
	s->low_sentinel = (uintptr_t)s | 1;
	s->slot[capacity] = (void *)((uintptr_t)s | 1);
	return s;
}

static void sheaf_put(struct sheaf *s)
{
	boot_pool_put(&sheaf_pool[pool_index(s->capacity)], s);
}

static struct sheaf *sheaf_of_sentinel(void *word)
{
	return (uintptr_t)word & 1 ? (struct sheaf *)((uintptr_t)word & ~(uintptr_t)1) : NULL;
}

struct sheaf *sheaf_at_empty(void **top)
{
	struct sheaf *s = sheaf_of_sentinel(top[-1]);

	if (s)
		s->nr = 0;
	return s;
}

struct sheaf *sheaf_at_full(void **top)
{
	struct sheaf *s = sheaf_of_sentinel(top[0]);

	if (s)
		s->nr = s->capacity;
	return s;
}

struct sheaf *sheaf_of_top(void **top)
{
	void **p = top;
	struct sheaf *s;

	while (!((uintptr_t)p[-1] & 1))
		p--;
	s = sheaf_of_sentinel(p[-1]);
	if (s)
		s->nr = (uint16_t)(top - s->slot);
	return s;
}

/* --- barns ------------------------------------------------------------------------ */

static unsigned max_capacity(size_t object_size)
{
	unsigned k = NR_SHEAF_SIZES - 1;

	while (k && CAPACITY(k) * object_size > MAX_SHEAF_BYTES)
		k--;
	return (unsigned)CAPACITY(k);
}

void barn_setup(struct barn *b, size_t object_size)
{
	unsigned max = max_capacity(object_size);

	b->max_capacity = (uint16_t)max;
	b->capacity = (uint16_t)(max < FIRST_CAPACITY ? max : FIRST_CAPACITY);
}

static void barn_count_visit(struct barn *b)
{
	bslab_assert(lock_is_held(&b->lock));
	if (b->capacity == b->max_capacity || ++b->nr_visits < GROW_VISITS)
		return;
	b->nr_visits = 0;
	b->capacity = (uint16_t)CAPACITY(pool_index(b->capacity) + 1);
}

static struct sheaf *pop(struct sheaf **list, uint16_t *nr)
{
	struct sheaf *s = *list;

	if (s) {
		*list = s->next;
		--*nr;
	}
	return s;
}

static void push(struct sheaf **list, uint16_t *nr, struct sheaf *s)
{
	s->next = *list;
	*list = s;
	++*nr;
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

/* An empty sheaf of today's capacity. `own` is the caller's, used if it is large enough. */
static struct sheaf *empty_sheaf(struct barn *b, struct sheaf *own)
{
	struct sheaf *s;
	size_t capacity;

	lock_take(&b->lock, RANK_BARN);
	capacity = b->capacity;
	if (own && own->capacity >= capacity) {
		lock_drop(&b->lock, RANK_BARN);
		return own;
	}
	while ((s = pop(&b->empty, &b->nr_empty)) && s->capacity < capacity)
		retire(s);
	lock_drop(&b->lock, RANK_BARN);
	if (!s)
		s = sheaf_get(capacity);
	if (!s)
		return own;
	retire(own);
	return s;
}

static struct sheaf *refill(struct kmem_cache *c, struct sheaf *empty, unsigned pages_flags)
{
	struct sheaf *s = empty_sheaf(&c->barn, empty);

	if (!s)
		return NULL;
	s->nr = (uint16_t)slab_take(c, s->slot, s->capacity, pages_flags);
	if (s->nr)
		return s;
	barn_put(c, s);
	return NULL;
}

struct sheaf *barn_exchange_empty(struct kmem_cache *c, struct sheaf *empty, unsigned pages_flags)
{
	struct barn *b = &c->barn;
	struct sheaf *full;

	lock_take(&b->lock, RANK_BARN);
	barn_count_visit(b);
	full = pop(&b->full, &b->nr_full);
	if (full)
		empty = keep_empty(b, empty);
	else
		b->nr_refills++;
	lock_drop(&b->lock, RANK_BARN);
	if (!full)
		return refill(c, empty, pages_flags);
	retire(empty);
	return full;
}

struct sheaf *barn_exchange_full(struct kmem_cache *c, struct sheaf *full)
{
	struct barn *b = &c->barn;

	lock_take(&b->lock, RANK_BARN);
	barn_count_visit(b);
	if (full && b->nr_full < MAX_FULL_SHEAVES) {
		push(&b->full, &b->nr_full, full);
		full = NULL;
	}
	b->nr_drains += full != NULL;
	lock_drop(&b->lock, RANK_BARN);
	if (full) {
		slab_give(c, full->slot, full->nr);
		full->nr = 0;
	}
	return empty_sheaf(b, full);
}

void barn_put(struct kmem_cache *c, struct sheaf *s)
{
	struct barn *b = &c->barn;

	lock_take(&b->lock, RANK_BARN);
	if (!s->nr) {
		s = keep_empty(b, s);
	} else if (b->nr_full < MAX_FULL_SHEAVES) {
		push(&b->full, &b->nr_full, s);
		s = NULL;
	}
	lock_drop(&b->lock, RANK_BARN);
	if (s) {
		slab_give(c, s->slot, s->nr);
		retire(s);
	}
}

void barn_drain(struct kmem_cache *c)
{
	struct barn *b = &c->barn;
	struct sheaf *full, *empty, *s;

	lock_take(&b->lock, RANK_BARN);
	full = b->full;
	empty = b->empty;
	b->full = b->empty = NULL;
	b->nr_full = b->nr_empty = 0;
	b->capacity = b->capacity < FIRST_CAPACITY ? b->capacity : FIRST_CAPACITY;
	lock_drop(&b->lock, RANK_BARN);
	while ((s = full)) {
		full = s->next;
		slab_give(c, s->slot, s->nr);
		retire(s);
	}
	while ((s = empty)) {
		empty = s->next;
		retire(s);
	}
}

void barn_snapshot(struct barn *b, struct cache_info *info)
{
	struct sheaf *s;

	lock_take(&b->lock, RANK_BARN);
	info->nr_full_sheaves = b->nr_full;
	info->nr_empty_sheaves = b->nr_empty;
	info->sheaf_capacity = b->capacity;
	info->nr_refills = b->nr_refills;
	info->nr_drains = b->nr_drains;
	for (s = b->full; s; s = s->next)
		info->nr_barn_objects += s->nr;
	lock_drop(&b->lock, RANK_BARN);
}
