/* SPDX-License-Identifier: MIT */
/* Heaps and their stacks, over the fake OS. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "heap/heap.h"

#define SIZE 64
#define PER_SLAB 64 /* of them: a page */
#define CLASS size_class(SIZE)
#define MANY 2000

static struct bslab_heap *h;
static void *p[MANY];

static void setup(void)
{
	h = heap_create("test", 0, false);
	cr_assert_not_null(h);
}

TestSuite(heap, .init = setup);

/* As the calls of a program do. */
static void *take_small(struct bslab_heap *heap, size_t size)
{
	return heap_pop_locked(heap, size_class(size));
}

static bool free_small(struct bslab_heap *heap, void *block)
{
	bool good;

	if (!biased_enter(&heap->lock, RANK_HEAP))
		return heap_push_shared(heap, block);
	good = heap_push_live(heap, block);
	biased_leave(&heap->lock, RANK_HEAP);
	return good;
}

static void *take(size_t size)
{
	struct heap_result result;
	void *block = size <= SMALL_MAX ? take_small(h, size) : NULL;

	return block ? block : heap_alloc(h, size, 1, &result);
}

static void give(void *block)
{
	if (!free_small(h, block))
		cr_assert_eq(heap_free(h, block), HEAP_GOOD);
}

static void take_many(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		cr_assert_not_null(p[i] = take(SIZE));
}

static void give_many(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		give(p[i]);
}

static struct heap_info info(void)
{
	struct heap_info i;

	heap_snapshot(h, &i);
	return i;
}

static size_t nr_waiting(unsigned class)
{
	return class_nr_waiting(h, h->class[class]);
}

/* Every state is as the stacks and the counts have it. */
static void check(void)
{
	size_t waiting[NR_CLASSES] = {0}, nr_objects[NR_CLASSES] = {0}, nr_free[NR_CLASSES] = {0}, nr_live = 0, nr_empty = 0, bytes = 0;

	for (struct list_node *n = h->chunks.first; n; n = n->next) {
		struct chunk *c = container_of(n, struct chunk, all);
		unsigned nr[3] = {0};

		for (unsigned i = 0; i < c->nr_objects; i++) {
			cr_assert(c->state[i] != CHUNK_FREE || i >= c->first_free);
			nr[c->state[i]]++;
		}
		cr_assert_neq(c->state[c->nr_objects], CHUNK_LIVE);
		cr_assert(!c->class || nr[CHUNK_FREE] == c->nr_free);
		waiting[c->class] += nr[CHUNK_WAITING];
		nr_objects[c->class] += c->nr_objects;
		nr_free[c->class] += c->nr_free;
		nr_live += nr[CHUNK_LIVE];
		nr_empty += c->class && c->nr_free == c->nr_objects;
		bytes += c->nr_pages * BSLAB_PAGE_SIZE;
	}
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		struct heap_class *k = h->class[class];

		if (!k) {
			cr_assert_eq(h->top[class], NO_TOP);
			continue;
		}
		cr_assert_eq(class_nr_waiting(h, k), waiting[class]);
		cr_assert(k->nr_objects == nr_objects[class] && k->nr_free == nr_free[class]);
		cr_assert(waiting[class] <= k->limit && k->limit <= k->room);
		cr_assert((uintptr_t)k->stack[0].block & (uintptr_t)k->stack[1 + k->limit].block & 1);
		for (size_t i = 1; i <= waiting[class]; i++)
			cr_assert_eq(*k->stack[i].state, CHUNK_WAITING);
	}
	cr_assert_eq(h->nr_empty, nr_empty);
	cr_assert_eq(info().nr_blocks, nr_live);
	cr_assert_eq(info().size_bytes, bytes);
}

Test(heap, refills_and_spills)
{
	unsigned seed = 1, nr = 0;

	for (int i = 0; i < 50000; i++) {
		bool grows = i / 3000 % 2 == 0;

		if (nr < MANY && (!nr || (unsigned)rand_r(&seed) % 8 < (grows ? 6 : 2))) {
			size_t size = (size_t)rand_r(&seed) % (i % 100 ? 300 : 40 * KIB) + 1;

			p[nr] = take(size);
			cr_assert_not_null(p[nr]);
			memset(p[nr++], 1, size);
		} else {
			unsigned at = (unsigned)rand_r(&seed) % nr;

			give(p[at]);
			p[at] = p[--nr];
		}
		if (i % 97 == 0)
			check();
		cr_assert(i % 97 || info().nr_blocks == nr);
	}
	give_many(0, nr);
	check();
	cr_assert_eq(info().nr_blocks, 0);
	cr_assert_eq(info().block_bytes, 0);
}

/* The lowest first, from one slab after the other. */
Test(heap, in_the_order_of_addresses)
{
	take_many(0, PER_SLAB);
	for (unsigned i = 1; i < PER_SLAB; i++)
		cr_assert_eq((char *)p[i], (char *)p[0] + i * SIZE);
}

/* Found at once: while the block waits, and when it is back in its slab. */
Test(heap, second_free)
{
	void *block = take(SIZE);
	size_t size = 0;

	take_many(0, MANY);
	give(block);
	cr_assert_not(free_small(h, block));
	cr_assert_eq(heap_free(h, block), HEAP_FREE);
	cr_assert_eq(heap_block_size(h, block, &size), HEAP_FREE);
	for (unsigned i = 0; i < MANY; i++) {
		give(p[i]);
		cr_assert_not(free_small(h, p[i]));
		cr_assert_eq(heap_free(h, p[i]), HEAP_FREE);
		if (i == PER_SLAB) {
			struct chunk *c = chunk_of(map_lookup((uintptr_t)block));

			cr_assert_eq(c->state[((uintptr_t)block - c->base) / SIZE], CHUNK_FREE);
			cr_assert_not(free_small(h, block));
			cr_assert_eq(heap_free(h, block), HEAP_FREE);
		}
		if (i > PER_SLAB / 2) /* the slab of that one may be gone by now, but for this one's */
			break;
	}
	check();
}

/* Whatever the size of a class, an offset is that of a block if it is a multiple. */
Test(heap, numbers_of_blocks)
{
	struct chunk c = {.base = 0};
	size_t index;

	for (unsigned class = 1; class < NR_CLASSES; class++) {
		size_t size = class_size(class);

		c.reciprocal = UINT64_MAX / size + 1;
		for (uintptr_t offset = 0; offset < 1 << 18; offset++)
			if (chunk_index(&c, offset, &index) != (offset % size == 0) || index != offset / size)
				cr_assert_fail("%zu at %zu", size, (size_t)offset);
	}
	c.reciprocal = 1;
	cr_assert(chunk_index(&c, 0, &index) && index == 0);
	cr_assert_not(chunk_index(&c, 1, &index));
	cr_assert_not(chunk_index(&c, (uintptr_t)1 << 40, &index));
}

/* Inside a block, behind the last one, of nobody, of another heap. */
Test(heap, pointers_that_are_no_blocks)
{
	struct bslab_heap *other = heap_create("other", 0, true);
	struct heap_result result;
	char *block = take(1000), *its = heap_alloc(other, 1000, 1, &result), *run = take(100 * KIB);
	struct chunk *c = chunk_of(map_lookup((uintptr_t)block));
	size_t size;

	cr_assert_eq(c->nr_objects, 4);
	for (uintptr_t addr = c->base; addr < c->base + c->nr_pages * BSLAB_PAGE_SIZE; addr++)
		if (addr != (uintptr_t)block) {
			bool is_block = addr < c->base + 4 * c->size && (addr - c->base) % c->size == 0;

			cr_assert_not(free_small(h, (void *)addr));
			cr_assert_eq(heap_free(h, (void *)addr), is_block ? HEAP_FREE : HEAP_INTERIOR);
		}
	cr_assert_not(free_small(h, its));
	cr_assert_eq(heap_free(h, its), HEAP_FOREIGN);
	cr_assert_eq(heap_block_size(h, its, &size), HEAP_FOREIGN);
	cr_assert_not(free_small(h, NULL));
	cr_assert_not(free_small(h, (void *)-16));
	cr_assert_eq(heap_free(h, &size), HEAP_FOREIGN);
	cr_assert_not(free_small(h, run + 16));
	cr_assert_eq(heap_free(h, run + 16), HEAP_INTERIOR);
	cr_assert_not(free_small(h, run));
	cr_assert_eq(heap_free(h, run), HEAP_GOOD);
	cr_assert_eq(heap_free(h, run), HEAP_FOREIGN);
	check();
	cr_assert(heap_destroy(other));
}

/* What is freed for good leaves a few blocks in the stack, and their slabs. */
Test(heap, decline)
{
	unsigned seed = 3;

	take_many(0, MANY);
	for (unsigned i = MANY; i > 1; i--) {
		unsigned k = (unsigned)rand_r(&seed) % i;
		void *swap = p[k];

		p[k] = p[i - 1];
		p[i - 1] = swap;
	}
	cr_assert_geq(info().size_bytes, MANY * SIZE);
	give_many(0, MANY);
	cr_assert_leq(nr_waiting(CLASS), 8);
	cr_assert_leq(info().size_bytes, 10 * BSLAB_PAGE_SIZE);
	check();
	take_many(0, MANY); /* and it is as before */
	give_many(0, SECOND_ROOM - (unsigned)nr_waiting(CLASS));
	cr_assert_eq(nr_waiting(CLASS), SECOND_ROOM);
	check();
}

/* A class that is used once has a small stack. */
Test(heap, stacks_grow)
{
	struct heap_class *k;

	give(take(SIZE));
	k = h->class[CLASS];
	cr_assert(k && k->stack == k->first && k->room == FIRST_ROOM);
	take_many(0, MANY);
	cr_assert(k->room == SECOND_ROOM && k->stack != k->first);
	cr_assert_null(h->class[CLASS + 1]);
	for (unsigned i = 0; i < 50; i++)
		p[i] = take(20 * KIB);
	cr_assert_eq(h->class[size_class(20 * KIB)]->room, 2);
	check();
}

/* So many blocks of a size, all of them and then none, in turns. */
static void come_and_go(size_t size, unsigned nr, unsigned nr_turns)
{
	while (nr_turns--) {
		for (unsigned i = 0; i < nr; i++)
			cr_assert_not_null(p[i] = take(size));
		give_many(0, nr);
	}
}

/* What is wanted again and again waits in the stack, all of it. */
Test(heap, stacks_grow_by_turns)
{
	struct heap_class *k;

	come_and_go(SIZE, MANY / 2, 1);
	k = h->class[CLASS];
	cr_assert_eq(k->room, SECOND_ROOM, "to come and to go once is no turn but one");
	come_and_go(SIZE, MANY / 2, 3);
	cr_assert_eq(k->room, MOST_ROOM / 4);
	check();
	come_and_go(SIZE, MANY / 2, 20);
	cr_assert_eq(k->room, MOST_ROOM);
	cr_assert_geq(nr_waiting(CLASS), MANY / 2);
	check();
	come_and_go(SIZE, MANY, 20);
	cr_assert_eq(k->room, MOST_ROOM, "it is the most");
	check();
	come_and_go(KIB, 200, 40);
	cr_assert_eq(h->class[size_class(KIB)]->room, MOST_KEPT_BYTES / KIB);
	come_and_go(20 * KIB, 200, 40);
	cr_assert_eq(h->class[size_class(20 * KIB)]->room, MOST_KEPT_BYTES / (20 * KIB));
	check();
	heaps_shrink();
	cr_assert_eq(info().size_bytes, 0);
	check();
}

/* Nothing that waits, of whatever class, keeps a heap at its limit from serving. */
Test(heap, limit_with_blocks_that_wait)
{
	cr_assert(heap_destroy(h));
	h = heap_create("limited", 4 * BSLAB_PAGE_SIZE, false);
	for (size_t size = 16; size <= 128; size *= 2) {
		void *block = take(size);

		cr_assert_not_null(block);
		give(block);
	}
	cr_assert_eq(info().size_bytes, 4 * BSLAB_PAGE_SIZE);
	cr_assert_not_null(take(4 * BSLAB_PAGE_SIZE));
	cr_assert_eq(info().nr_blocks, 1);
	cr_assert_null(take(16));
	check();
}

Test(heap, shrink_empties_stacks)
{
	take_many(0, 500);
	give_many(100, 500);
	cr_assert_gt(nr_waiting(CLASS), 0);
	heaps_shrink();
	cr_assert_eq(nr_waiting(CLASS), 0);
	cr_assert_eq(info().size_bytes, 2 * BSLAB_PAGE_SIZE);
	check();
	give_many(0, 100);
	heaps_shrink();
	cr_assert_eq(info().size_bytes, 0);
	check();
	take_many(0, 100);
	check();
}

static void exhaust_metadata(void)
{
	fake_fail_at(1u << FAKE_MAP, 1, true);
	for (size_t size = BSLAB_PAGE_SIZE; size >= 8; size /= 2)
		while (boot_alloc(size, 8))
			;
}

Test(heap, without_metadata)
{
	void *block = take(SIZE);

	for (unsigned i = 1; i < 6; i++) /* until the first block of metadata is full */
		cr_assert_not_null(take(SIZE + 16 * i));
	exhaust_metadata();
	cr_assert_null(take(500));
	cr_assert_null(h->class[size_class(500)]);
	cr_assert_null(heap_create("none", 0, false));
	take_many(0, PER_SLAB - 1);
	cr_assert_eq(h->class[CLASS]->room, FIRST_ROOM, "it goes on with what it has");
	cr_assert_null(take(SIZE));
	check();
	give_many(0, PER_SLAB - 1);
	give(block);
	check();
	fake_fail_at(0, 0, false);
	cr_assert_not_null(take(500));
	check();
}

Test(heap, without_metadata_for_larger_stacks)
{
	come_and_go(SIZE, MANY / 2, 2);
	exhaust_metadata();
	come_and_go(SIZE, PER_SLAB + 1, 100); /* what the slabs have */
	cr_assert_eq(h->class[CLASS]->room, SECOND_ROOM);
	check();
}

Test(heap, without_pages)
{
	fake_fail_at(FAKE_ALL, 1, true);
	cr_assert_null(take(SIZE));
	cr_assert_null(take(100 * KIB));
	check();
	fake_fail_at(0, 0, false);
	cr_assert_not_null(take(SIZE));
	check();
}

/* What a heap had for stacks serves the next one. */
Test(heap, metadata_goes_with_the_heap)
{
	struct heap_result result;
	size_t used;

	come_and_go(SIZE, MANY, 20);
	cr_assert(heap_destroy(h));
	used = boot_used();
	for (int i = 0; i < 10; i++) {
		setup();
		come_and_go(SIZE, MANY, 20);
		cr_assert_eq(h->class[CLASS]->room, MOST_ROOM);
		check();
		cr_assert(heap_destroy(h));
		cr_assert_not(heap_destroy(h));
		cr_assert_null(take_small(h, SIZE));
		cr_assert_not(free_small(h, p[0]));
		cr_assert_null(heap_alloc(h, SIZE, 1, &result));
	}
	cr_assert_eq(boot_used(), used);
}

/* Each thing that another thread may do with a heap. */
static void *use_many(void *unused)
{
	take_many(0, MANY / 2);
	give_many(0, MANY / 2);
	return unused;
}

static void *look_in(void *nr_blocks)
{
	cr_assert_eq(info().nr_blocks, *(size_t *)nr_blocks);
	heaps_shrink();
	return nr_blocks;
}

static void in_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, run, arg), 0);
	pthread_join(thread, NULL);
}

static bool is_biased_to_me(void)
{
	return atomic_load(&h->lock.word[atomic_load(&h->lock.bias)]) == arch_thread_pointer();
}

/* Whose a heap is keeps it, whoever looks in, and others get what they ask for. */
Test(heap, threads_of_one)
{
	size_t nr = MANY / 2;

	take_many(MANY / 2, MANY);
	cr_assert(is_biased_to_me());
	for (int i = 0; i < 10; i++)
		in_thread(look_in, &nr);
	cr_assert(is_biased_to_me());
	check();
	in_thread(use_many, NULL);
	cr_assert_not(is_biased_to_me());
	check();
	give_many(MANY / 2, MANY);
	for (int i = 0; i < NR_BIASES; i++) {
		in_thread(use_many, NULL);
		take_many(0, MANY);
		give_many(0, MANY);
	}
	cr_assert_eq(atomic_load(&h->lock.bias), UNBIASED);
	in_thread(use_many, NULL);
	check();
	cr_assert_eq(info().nr_blocks, 0);
	cr_assert_not(lock_is_held(&h->lock.lock));
}

/* Who has it within a call is told so, and nothing is done. */
Test(heap, held_by_another)
{
	void *block = take(SIZE);

	lock_take_nested(&h->lock.lock);
	atomic_store(&h->lock.bias, UNBIASED);
	cr_assert_null(take_small(h, SIZE));
	cr_assert_not(free_small(h, block));
	lock_drop_nested(&h->lock.lock);
	cr_assert_not_null(take_small(h, SIZE));
	cr_assert(free_small(h, block));
}
