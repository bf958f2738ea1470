/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_os.h"
#include "os/bug.h"
#include "page/buddy.h"
#include "page/zone.h"
#include "slab/slab.h"

#define MAX_OBJECTS 2000

static void *objects[MAX_OBJECTS];

static struct cache_info snapshot(unsigned class)
{
	struct cache_info info;

	cr_assert(cache_snapshot(class, &info));
	return info;
}

static void take_all(struct kmem_cache *c, void **out, unsigned n)
{
	for (unsigned done = 0, got; done < n; done += got) {
		got = slab_take(c, out + done, n - done, 0);
		cr_assert_gt(got, 0);
		cr_assert_leq(got, n - done);
	}
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

static void expect_disjoint(void **sorted, unsigned n, size_t size)
{
	qsort(sorted, n, sizeof *sorted, by_address);
	for (unsigned i = 1; i < n; i++)
		cr_assert_geq((char *)sorted[i] - (char *)sorted[i - 1], (ptrdiff_t)size);
}

static void expect_good_slab(const struct kmem_cache *c, const struct cache_info *before, const struct cache_info *now)
{
	size_t nr_objects = now->nr_objects - before->nr_objects;
	size_t bytes = (now->nr_pages - before->nr_pages) << PAGE_SHIFT;

	cr_assert_leq(nr_objects, MAX_SLAB_OBJECTS);
	cr_assert_leq(bytes, BSLAB_PAGE_SIZE << MAX_SLAB_ORDER);
	cr_assert_leq(nr_objects * c->size, bytes);
	cr_assert_lt(bytes - nr_objects * c->size, BSLAB_PAGE_SIZE, "class %u holds a page for nothing", c->class);
	cr_assert(nr_objects <= before->nr_objects || nr_objects == 1 || bytes == BSLAB_PAGE_SIZE,
		  "class %u more than doubled", c->class);
}

/* Takes objects until the cache has had `n`, one slab after the other, and so of all its sizes of slabs. */
static unsigned grow(struct kmem_cache *c, unsigned n)
{
	struct cache_info before, now = snapshot(c->class);
	unsigned done = 0;

	while (done < n && done + MAX_SLAB_OBJECTS <= MAX_OBJECTS) {
		before = now;
		take_all(c, objects + done++, 1);
		now = snapshot(c->class);
		expect_good_slab(c, &before, &now);
		take_all(c, objects + done, (unsigned)now.nr_free);
		done += (unsigned)now.nr_free;
	}
	return done;
}

Test(cache, geometry_of_every_class)
{
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		struct kmem_cache *c = cache_of(class);
		struct cache_info i;

		cr_assert_eq(c->size, class_size(class));
		cr_assert_eq(c->class, class);
		grow(c, 600);
		i = snapshot(class);
		cr_assert_leq((i.nr_pages << PAGE_SHIFT) - i.nr_objects * c->size, (i.nr_pages << PAGE_SHIFT) / 8);
	}
}

/* 64 bytes: 64 objects in a page, and slabs of more are not made. */
#define PER_SLAB 64u

Test(slab, take_and_give_of_every_class)
{
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		struct kmem_cache *c = cache_of(class);
		unsigned n = grow(c, 300);

		expect_disjoint(objects, n, c->size);
		for (unsigned i = 0; i < n; i++) {
			struct slab *s = slab_of(map_lookup((uintptr_t)objects[i]));

			cr_assert_eq(desc_class(map_lookup((uintptr_t)objects[i])), class);
			cr_assert_eq(slab_check_object(s, (uintptr_t)objects[i]), OBJECT_GOOD);
			memset(objects[i], 0x5a, c->size);
		}
		slab_give(c, objects, n);
		cache_shrink(c);
		cr_assert_eq(snapshot(class).nr_slabs, 0);
	}
	zone_purge(0);
	struct zone_info zone;
	zone_snapshot(&zone);
	cr_assert_eq(zone.nr_used, 0, "%zu blocks left", zone.nr_used);
}

Test(slab, lowest_address_comes_last)
{
	struct kmem_cache *c = cache_of(size_class(64));
	unsigned n = slab_take(c, objects, 10, 0);

	cr_assert_eq(n, 10);
	for (unsigned i = 1; i < n; i++)
		cr_assert_eq((char *)objects[i - 1] - (char *)objects[i], 64);
}

/* Two CPUs that fill their sheaves in turns get no line in common, whatever single objects are free beside. */
Test(slab, whole_cache_lines_come_first)
{
	static const unsigned sizes[] = {8, 16, 32, 48, 80, 96};

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct kmem_cache *c = cache_of(size_class(sizes[i]));
		unsigned group = c->line_objects, n = 2 * group, j;
		uintptr_t line;
		void *first[16];

		cr_assert_eq(group * c->size % CACHE_LINE, 0);
		cr_assert(group == 1 || group / 2 * c->size % CACHE_LINE != 0);
		cr_assert_eq(slab_take(c, first, n, 0), n);
		line = (uintptr_t)first[n - 1] / CACHE_LINE;
		slab_give(c, &first[n - 1], 1); /* the lowest: its neighbours are in use */
		cr_assert_eq(slab_take(c, objects, n, 0), n);
		for (j = 0; j < n; j++) {
			cr_assert_neq((uintptr_t)objects[j] / CACHE_LINE, line, "%u bytes", sizes[i]);
			cr_assert_gt(objects[j], first[0]);
		}
		slab_give(c, objects, n);
		slab_give(c, first, n - 1);
	}
}

Test(slab, then_the_others)
{
	struct kmem_cache *c = cache_of(size_class(8));
	unsigned nr = snapshot(c->class).objects_per_slab, n = 0, i;

	cr_assert_eq(slab_take(c, objects, nr, 0), nr);
	for (i = 0; i < nr; i += 3) {
		slab_give(c, &objects[i], 1);
		n++;
	}
	cr_assert_eq(slab_take(c, objects + nr, n, 0), n);
	cr_assert_eq(snapshot(c->class).nr_slabs, 1);
	cr_assert_eq(snapshot(c->class).nr_free, 0);
}

Test(slab, one_slab_at_a_time)
{
	struct kmem_cache *c = cache_of(size_class(64));

	for (unsigned i = 0; i < PER_SLAB; i++)
		cr_assert_eq(slab_take(c, &objects[i], 1, 0), 1);
	cr_assert_eq(snapshot(c->class).nr_slabs, 1);
	cr_assert_eq(snapshot(c->class).nr_partial, 0);
	slab_give(c, objects, 1);
	cr_assert_eq(snapshot(c->class).nr_partial, 1);
	cr_assert_eq(snapshot(c->class).nr_free, 1);
	cr_assert_eq(slab_take(c, objects, 1, 0), 1);
	cr_assert_eq(snapshot(c->class).nr_slabs, 1);
}

Test(slab, the_last_empty_slab_stays_until_a_shrink)
{
	struct kmem_cache *c = cache_of(size_class(64));

	take_all(c, objects, 3 * PER_SLAB);
	cr_assert_eq(snapshot(c->class).nr_slabs, 3);
	slab_give(c, objects, 3 * PER_SLAB);
	cr_assert_eq(snapshot(c->class).nr_slabs, 1);
	cache_shrink(c);
	cr_assert_eq(snapshot(c->class).nr_slabs, 0);
}

/* A small slab that is half free is emptier than a large one of which the same number is free. */
Test(slab, the_fullest_by_share_serves_first)
{
	struct kmem_cache *c = cache_of(size_class(2048));
	unsigned n = grow(c, 40), i;
	void *first = objects[0], *last = objects[n - 1], *p;

	cr_assert_neq(slab_of(map_lookup((uintptr_t)first)), slab_of(map_lookup((uintptr_t)last)));
	slab_give(c, &first, 1); /* one of two */
	slab_give(c, &last, 1);	 /* one of eight */
	cr_assert_eq(slab_take(c, &p, 1, 0), 1);
	cr_assert_eq(p, last);
	for (i = 0; i < n; i++)
		if (objects[i] != first)
			slab_give(c, &objects[i], 1);
	cache_shrink(c);
	cr_assert_eq(snapshot(c->class).nr_slabs, 0);
}

Test(slab, no_memory_is_zero_objects)
{
	struct kmem_cache *c = cache_of(size_class(32768));

	fake_fail_at(FAKE_ALL, 1, true);
	cr_assert_eq(slab_take(c, objects, 4, 0), 0);
	fake_fail_at(0, 0, false);
	cr_assert_gt(slab_take(c, objects, 4, 0), 0);
}

/* --- what is not an object ------------------------------------------------------------------ */

static void warn(void)
{
	bug_set_fatal(false);
	fake.capture = true;
	fake.text[0] = '\0';
}

static void expect_line(const char *what, void *p, const char *rest)
{
	char line[256];

	snprintf(line, sizeof line, "bslab: %s of %p%s\n", what, p, rest);
	cr_assert_str_eq(fake.text, line);
}

Test(slab, double_free_in_one_call, .init = warn)
{
	struct kmem_cache *c = cache_of(size_class(64));
	void *twice[2];

	take_all(c, twice, 1);
	twice[1] = twice[0];
	slab_give(c, twice, 2);
	expect_line("double free", twice[0], "");
}

Test(slab, double_free_in_two_calls, .init = warn)
{
	struct kmem_cache *c = cache_of(size_class(64));

	take_all(c, objects, 2);
	slab_give(c, objects, 1);
	slab_give(c, objects, 1);
	expect_line("double free", objects[0], "");
	slab_give(c, objects + 1, 1);
	cache_shrink(c);
	cr_assert_eq(snapshot(c->class).nr_slabs, 0, "the count of free objects went wrong");
}

Test(slab, double_free_after_the_slab_is_gone, .init = warn)
{
	struct kmem_cache *c = cache_of(size_class(64));

	take_all(c, objects, 1);
	slab_give(c, objects, 1);
	cache_shrink(c);
	slab_give(c, objects, 1);
	expect_line("double free", objects[0], "");
}

Test(slab, inside_an_object, .init = warn)
{
	struct kmem_cache *c = cache_of(size_class(64));
	void *inside;

	take_all(c, objects, 1);
	inside = (char *)objects[0] + 16;
	cr_assert_eq(slab_check_object(slab_of(map_lookup((uintptr_t)inside)), (uintptr_t)inside), OBJECT_INTERIOR);
	cr_assert_eq(slab_object_base(slab_of(map_lookup((uintptr_t)inside)), (uintptr_t)inside), (uintptr_t)objects[0]);
	slab_give(c, &inside, 1);
	expect_line("invalid free", inside, ": not the start of an object");
}

/* Wherever in a row of one slab it stands: the others go home, and the row goes on behind it. */
Test(slab, a_bad_pointer_among_good_ones, .init = warn)
{
	struct kmem_cache *c = cache_of(size_class(64));

	for (unsigned at = 0; at < 9; at += 4) {
		void *row[9];

		take_all(c, objects, 8);
		memcpy(row, objects, at * sizeof *row);
		memcpy(row + at + 1, objects + at, (8 - at) * sizeof *row);
		row[at] = (char *)objects[3] + 16;
		fake.text[0] = '\0';
		slab_give(c, row, 9);
		expect_line("invalid free", row[at], ": not the start of an object");
		cache_shrink(c);
		cr_assert_eq(snapshot(c->class).nr_slabs, 0, "not all came home");

		take_all(c, objects, 8);
		memcpy(row, objects, at * sizeof *row);
		memcpy(row + at + 1, objects + at, (8 - at) * sizeof *row);
		row[at] = objects[3]; /* before the other one, or behind it */
		fake.text[0] = '\0';
		slab_give(c, row, 9);
		cr_assert(strstr(fake.text, "double free"));
		cache_shrink(c);
		cr_assert_eq(snapshot(c->class).nr_slabs, 0, "not all came home, or one of them twice");
	}
}

/* Objects of many slabs in turn, more than there are groups. */
Test(slab, rows_of_many_slabs)
{
	struct kmem_cache *c = cache_of(size_class(64));
	unsigned n = grow(c, 6000), k = 0;
	void **turns = malloc(n * sizeof *turns);

	for (unsigned first = 0; first < 97; first++)
		for (unsigned i = first; i < n; i += 97)
			turns[k++] = objects[i];
	cr_assert_eq(k, n);
	slab_give(c, turns, n);
	cr_assert_eq(c->nr_out, 0);
	cache_shrink(c);
	cr_assert_eq(snapshot(c->class).nr_slabs, 0);
	free(turns);
}

Test(slab, behind_the_last_object, .init = warn)
{
	struct kmem_cache *c = cache_of(size_class(1100));
	uintptr_t behind, end;
	struct cache_info i;
	struct slab *s;

	take_all(c, objects, 1);
	s = slab_of(map_lookup((uintptr_t)objects[0]));
	i = snapshot(c->class);
	behind = s->base + i.nr_objects * c->size;
	end = s->base + (i.nr_pages << PAGE_SHIFT);
	if (behind < end)
		cr_assert_eq(slab_check_object(s, behind), OBJECT_INTERIOR);
	else
		cr_skip("the class leaves no gap");
}

/* Each address of a slab against the division that object_index() saves. */
Test(slab, every_address_of_every_class)
{
	for (unsigned class = 1; class < NR_CLASSES; class++) {
		struct kmem_cache *c = cache_of(class);
		struct slab *s = slab_of(map_lookup((uintptr_t)objects[grow(c, 300) - 1]));

		for (uintptr_t at = 0; at < BSLAB_PAGE_SIZE << c->full_order; at++)
			cr_assert_eq(slab_object_base(s, s->base + at), s->base + at / c->size * c->size);
	}
}

/* --- threads ------------------------------------------------------------------------------------- */

#define NR_THREADS 4

/* Takes and gives in odd batches; each object carries its holder while it is held. */
static void *take_and_give(void *arg)
{
	struct kmem_cache *c = arg;
	void *held[400];
	unsigned seed = (unsigned)(uintptr_t)held, n = 0;

	for (int i = 0; i < 20000; i++) {
		unsigned want = 1 + (unsigned)rand_r(&seed) % 40, k;

		if (n + want <= 400 && rand_r(&seed) % 2) {
			want = slab_take(c, held + n, want, 0);
			cr_assert_gt(want, 0);
			for (k = n; k < n + want; k++)
				*(void **)held[k] = held;
			n += want;
		} else if (n) {
			want = want < n ? want : n;
			for (k = n - want; k < n; k++)
				cr_assert_eq(*(void **)held[k], held, "another thread has this object too");
			n -= want;
			slab_give(c, held + n, want);
		}
		if (i % 500 == 0)
			cache_shrink(c);
	}
	slab_give(c, held, n);
	pages_thread_exit();
	return NULL;
}

static void hammer(size_t size)
{
	struct kmem_cache *c = cache_of(size_class(size));
	pthread_t threads[NR_THREADS];

	for (int i = 0; i < NR_THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_and_give, c), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	cache_shrink(c);
	cr_assert_eq(snapshot(c->class).nr_slabs, 0, "%zu slabs left", snapshot(c->class).nr_slabs);
}

Test(slab, threads_on_small_objects)
{
	hammer(16);
}

Test(slab, threads_on_slabs_of_four_objects)
{
	hammer(32768);
}

static void *give_first(void *arg)
{
	slab_give(arg, objects, 1);
	pages_thread_exit();
	return NULL;
}

/* Its slab was full, and has to be listed: that waits for the fork, whose child has nobody to count the object out. */
Test(slab, a_fork_counts_what_it_keeps_from_being_settled)
{
	struct kmem_cache *c = cache_of(size_class(64));
	pthread_t giver;

	take_all(c, objects, 1000);
	slab_fork_prepare();
	cr_assert_eq(pthread_create(&giver, NULL, give_first, c), 0);
	for (int i = 0; i < 1000 && atomic_load(&c->nr_out) == 1000; i++)
		usleep(1000);
	cr_assert_eq(atomic_load(&c->nr_out), 999);
	slab_fork_done(false);
	pthread_join(giver, NULL);
	cr_assert_eq(atomic_load(&c->nr_out), 999);
}
