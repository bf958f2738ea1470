/* SPDX-License-Identifier: MIT */
#include "heap/class.h"

#include <string.h>

#include "heap/heap.h"
#include "os/bug.h"

#define MAX_SLAB_ORDER 6
/* So many refills and spills, later turns, and the class is worth a larger stack. */
#define GROW_VISITS 6
/* Entries, while more of the class is free than out. */
#define ROOM_IN_DECLINE 8

const struct stack_entry no_stack[2] = {{(void *)1, NULL}, {(void *)1, NULL}};

/* --- the stack ------------------------------------------------------------------------------------- */

static const struct {
	uint16_t room;
	uint32_t bytes;
} steps[] = {{FIRST_ROOM, KEPT_BYTES}, {SECOND_ROOM, KEPT_BYTES}, {MOST_ROOM / 4, MOST_KEPT_BYTES}, {MOST_ROOM, MOST_KEPT_BYTES}};

static unsigned room_for(const struct heap_class *k)
{
	return (unsigned)min_size(steps[k->step].room, max_size(steps[k->step].bytes / k->size, 2));
}

/* What is in it stays, and the limit may not be below that. What lies above the top is even, but for the end. */
static void stack_limit(struct heap_class *k, unsigned limit)
{
	k->stack[1 + k->limit].block = NULL;
	k->limit = (uint16_t)limit;
	k->stack[1 + limit].block = (void *)1;
}

static void stack_use(struct heap_class *k, struct stack_entry *stack, unsigned room)
{
	unsigned i;

	stack[0].block = (void *)1;
	for (i = 1; i <= room; i++)
		stack[i].block = NULL;
	stack[1 + room].block = (void *)1;
	k->stack = stack;
	k->room = k->limit = (uint16_t)room;
}

size_t class_nr_waiting(const struct bslab_heap *h, const struct heap_class *k)
{
	return (size_t)(h->top[k->class] - &k->stack[1]);
}

/* Where there is no memory, it goes on with the stack that it has. */
static out_of_line void stack_grow(struct bslab_heap *h, struct heap_class *k)
{
	unsigned room = room_for(k);
	struct stack_entry *old = k->stack, *stack = room > k->room ? heap_metadata(h, (room + 2) * sizeof *stack) : NULL;
	size_t nr = class_nr_waiting(h, k);

	if (!stack)
		return;
	stack_use(k, stack, room);
	memcpy(&stack[1], &old[1], nr * sizeof *stack);
	h->top[k->class] = &stack[1 + nr];
}

static void note_visit(struct bslab_heap *h, struct heap_class *k, bool is_spill)
{
	bool is_turn = k->was_spill != is_spill;

	k->was_spill = is_spill;
	if (k->step + 1u == sizeof steps / sizeof steps[0] || (k->step && !is_turn) || ++k->nr_visits < GROW_VISITS)
		return;
	k->nr_visits = 0;
	k->step++;
	stack_grow(h, k);
}

/* NULL where there is no memory. */
static out_of_line struct heap_class *class_make(struct bslab_heap *h, unsigned class)
{
	struct heap_class *k = heap_metadata(h, sizeof *k);

	if (!k)
		return NULL;
	memset(k, 0, offsetof(struct heap_class, first));
	k->class = (uint8_t)class;
	k->size = (uint32_t)class_size(class);
	stack_use(k, k->first, room_for(k));
	k->next = h->classes;
	h->classes = h->class[class] = k;
	h->top[class] = &k->stack[1];
	return k;
}

void classes_forget(struct bslab_heap *h)
{
	struct heap_class *k;

	for (k = h->classes; k; k = k->next) {
		h->class[k->class] = NULL;
		h->top[k->class] = NO_TOP;
	}
	h->classes = NULL;
}

/* --- slabs ----------------------------------------------------------------------------------------- */

static unsigned objects_in(size_t size, unsigned order)
{
	return (unsigned)min_size((BSLAB_PAGE_SIZE << order) / size, MAX_CHUNK_OBJECTS);
}

static struct chunk *slab_of_order(struct bslab_heap *h, const struct heap_class *k, unsigned order)
{
	unsigned nr_objects = objects_in(k->size, order);
	struct chunk_shape shape = {k->size, pages_for((size_t)nr_objects * k->size), UINT64_MAX / k->size + 1, k->class,
				    (uint16_t)nr_objects};
	bool zeroed;

	return chunk_create(h, &shape, 1, &zeroed);
}

/* Up to 64 objects, or 64 pages; fewer where there is no room for so many. */
static out_of_line struct chunk *slab_create(struct bslab_heap *h, struct heap_class *k)
{
	unsigned first = order_of(pages_for(k->size)), order = k->next_order > first ? k->next_order : first;
	struct chunk *c = slab_of_order(h, k, order);

	while (!c && order > first)
		c = slab_of_order(h, k, --order);
	if (!c)
		return NULL;
	if (c->nr_objects < 64 && order < MAX_SLAB_ORDER)
		k->next_order = (uint8_t)(order + 1);
	h->nr_empty++;
	k->nr_objects += c->nr_objects;
	k->nr_free += c->nr_objects;
	list_add(&k->partial, &c->node);
	return c;
}

static void slab_destroy(struct bslab_heap *h, struct heap_class *k, struct chunk *c)
{
	bslab_assert(c->nr_free == c->nr_objects);
	list_del(&k->partial, &c->node);
	h->nr_empty--;
	k->nr_objects -= c->nr_objects;
	k->nr_free -= c->nr_objects;
	chunk_destroy(h, c);
}

/* --- between the two ------------------------------------------------------------------------------- */

/* Up to n blocks, of which the lowest comes to lie on top. */
static void slab_take(struct bslab_heap *h, struct heap_class *k, struct chunk *c, unsigned n)
{
	unsigned i = c->first_free;
	struct stack_entry *e;

	n = (unsigned)min_size(n, c->nr_free);
	h->nr_empty -= c->nr_free == c->nr_objects;
	c->nr_free = (uint16_t)(c->nr_free - n);
	k->nr_free -= n;
	e = h->top[k->class] += n;
	for (; n; i++)
		if (c->state[i] == CHUNK_FREE) {
			c->state[i] = CHUNK_WAITING;
			*--e = (struct stack_entry){(void *)(c->base + i * c->size), &c->state[i]};
			n--;
		}
	c->first_free = (uint16_t)i;
	if (!c->nr_free)
		list_del(&k->partial, &c->node);
}

/*
 * The first entries, as many as are of the slab; how many. A slab that comes empty goes, but for the last one: the next refill
 * would make it anew.
 */
static size_t slab_give(struct bslab_heap *h, struct heap_class *k, struct chunk *c, const struct stack_entry *e, size_t n)
{
	size_t bytes = c->nr_pages << PAGE_SHIFT, first_free = c->first_free, i;
	bool was_full = !c->nr_free;

	for (i = 0; i < n && (uintptr_t)e[i].block - c->base < bytes; i++) {
		bslab_assert(*e[i].state == CHUNK_WAITING);
		*e[i].state = CHUNK_FREE;
		first_free = min_size(first_free, (size_t)(e[i].state - c->state));
	}
	c->first_free = (uint16_t)first_free;
	c->nr_free = (uint16_t)(c->nr_free + i);
	k->nr_free += (uint32_t)i;
	if (was_full)
		list_add(&k->partial, &c->node);
	if (c->nr_free == c->nr_objects) {
		h->nr_empty++;
		if (k->partial.first != k->partial.last)
			slab_destroy(h, k, c);
	}
	return i;
}

/* The n that were freed first. */
static void stack_give(struct bslab_heap *h, struct heap_class *k, size_t n)
{
	struct stack_entry *first = &k->stack[1];
	size_t done = 0;

	while (done < n)
		done += slab_give(h, k, desc_pointer(map_lookup((uintptr_t)first[done].block)), &first[done], n - done);
	h->top[k->class] -= n;
	memmove(first, first + n, class_nr_waiting(h, k) * sizeof *first);
}

bool class_refill(struct bslab_heap *h, unsigned class)
{
	struct heap_class *k = h->class[class];
	struct list_node *n;
	struct chunk *c;

	if (!k && h->is_live) /* one that was destroyed gets no record: it may be another's by and by */
		k = class_make(h, class);
	n = k ? k->partial.first : NULL;
	c = n ? container_of(n, struct chunk, node) : k ? slab_create(h, k) : NULL;
	if (!c)
		return false;
	note_visit(h, k, false);
	stack_limit(k, k->room);
	slab_take(h, k, c, k->step ? k->room / 2u : k->room);
	return true;
}

void class_spill(struct bslab_heap *h, unsigned class)
{
	struct heap_class *k = h->class[class];
	size_t nr = class_nr_waiting(h, k);
	bool declines = 2 * (size_t)k->nr_free > k->nr_objects;

	note_visit(h, k, true);
	stack_give(h, k, declines ? nr : nr - nr / 2);
	stack_limit(k, declines ? (unsigned)min_size(k->room, ROOM_IN_DECLINE) : k->room);
}

static void shrink(struct bslab_heap *h, struct heap_class *k)
{
	struct list_node *n, *next;

	stack_give(h, k, class_nr_waiting(h, k));
	for (n = k->partial.first; n && h->nr_empty; n = next) {
		struct chunk *c = container_of(n, struct chunk, node);

		next = n->next;
		if (c->nr_free == c->nr_objects)
			slab_destroy(h, k, c);
	}
}

void classes_shrink(struct bslab_heap *h)
{
	struct heap_class *k;

	for (k = h->classes; k; k = k->next)
		shrink(h, k);
}
