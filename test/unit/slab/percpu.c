/* SPDX-License-Identifier: MIT */
/* In the mode that BSLAB_CONF names; what is asserted holds in all of them unless it says otherwise. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "os/bug.h"
#include "page/buddy.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"
#include "stay.h"

static struct kmem_cache *c;

static void setup(void)
{
	char fault[160];

	stay();
	cr_assert(options_parse(&bslab_options, getenv("BSLAB_CONF") ? getenv("BSLAB_CONF") : "", fault, sizeof fault));
	percpu_boot();
	c = cache_of(size_class(64));
}

TestSuite(percpu, .init = setup);

static struct cache_info snapshot(void)
{
	struct cache_info info;

	cr_assert(cache_snapshot(c->class, &info));
	return info;
}

/* The paths of malloc/fast.h. */
static void *get(void)
{
	void *obj = percpu_pop(c->class, RSEQ_MM_CID);

	return obj ? obj : percpu_alloc_slow(c, 0);
}

static void put(void *obj)
{
	if (!percpu_push(c->class, obj, RSEQ_MM_CID))
		percpu_free_slow(c, obj);
}

static size_t nr_cached(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_cached[c->class];
}

Test(percpu, mode_is_the_one_asked_for)
{
	if (bslab_options.index == INDEX_AUTO)
		cr_skip("BSLAB_CONF names no index");
	if (bslab_options.index != INDEX_THREAD && percpu_mode() == INDEX_THREAD)
		cr_skip("no rseq here");
	if (bslab_options.index == INDEX_MM_CID && percpu_mode() == INDEX_CPU_ID)
		cr_skip("no mm_cid here");
	cr_assert_eq(percpu_mode(), bslab_options.index);
}

Test(percpu, first_pop_is_empty_and_first_push_full)
{
	cr_assert_null(percpu_pop(c->class, RSEQ_MM_CID));
	cr_assert_not(percpu_push(c->class, &c, RSEQ_MM_CID));
	cr_assert_eq(nr_cached(), 0);
}

Test(percpu, class_zero_is_always_full_and_empty)
{
	put(get());
	cr_assert_not(percpu_push(0, &c, RSEQ_MM_CID));
	cr_assert_null(percpu_pop(0, RSEQ_MM_CID));
}

Test(percpu, last_in_first_out)
{
	void *a = get(), *b = get();

	cr_assert(a && b && a != b);
	put(a);
	put(b);
	cr_assert_eq(get(), b);
	cr_assert_eq(get(), a);
}

static uint64_t nr_barn_visits(void)
{
	struct cache_info info = snapshot();

	return info.nr_gets + info.nr_refills + info.nr_overs;
}

/* Small sheaves from the start do not stay in use between the CPU and the barn. */
Test(percpu, bursts_of_one_length_come_to_need_no_barn)
{
	void *held[32];
	uint64_t before = 0;

	for (int round = 0; round < 300; round++) {
		if (round == 200)
			before = nr_barn_visits();
		for (int i = 0; i < 32; i++)
			held[i] = get();
		for (int i = 0; i < 32; i++)
			put(held[i]);
	}
	cr_assert_leq(nr_barn_visits(), before + 20); /* on another CPU it begins anew */
}

Test(percpu, objects_are_distinct_over_many_sheaves)
{
	static uint64_t *held[5000];

	for (size_t i = 0; i < 5000; i++) {
		held[i] = get();
		cr_assert_not_null(held[i]);
		memset(held[i], 0, 64);
		held[i][0] = i;
	}
	for (size_t i = 0; i < 5000; i++)
		cr_assert_eq(held[i][0], i);
	for (size_t i = 0; i < 5000; i++)
		put(held[i]);
	cr_assert_leq(nr_cached() * 64, 128 * KIB);
	cr_assert_leq(snapshot().nr_barn_objects * 64, 512 * KIB);
	percpu_drain();
	cr_assert_eq(nr_cached(), 0);
	barn_drain(c);
	cache_shrink(c);
	cr_assert_eq(snapshot().nr_slabs, 0, "%zu slabs left", snapshot().nr_slabs);
}

static unsigned nr_barriers;
static size_t nr_before;
static int status_of_child = -1;

static void *fork_elsewhere(void *arg)
{
	pid_t child;

	percpu_fork_prepare();
	child = fork();
	if (child == 0) {
		fake.at_barrier = NULL;
		percpu_fork_done(true);
		_exit(nr_cached() == nr_before && get() ? 0 : 1);
	}
	percpu_fork_done(false);
	waitpid(child, &status_of_child, 0);
	return arg;
}

/* Behind the first areas are detached. */
static void other_forks(void)
{
	pthread_t other;

	if (++nr_barriers == 2 && !pthread_create(&other, NULL, fork_elsewhere, NULL))
		pthread_join(other, NULL);
}

/* As a handler that interrupts the drain. */
static void itself_forks(void)
{
	if (++nr_barriers != 2)
		return;
	percpu_fork_prepare();
	status_of_child = fork();
	percpu_fork_done(status_of_child == 0);
}

static void drain_with(void (*hook)(void))
{
	void *obj[20];

	for (int i = 0; i < 20; i++)
		obj[i] = get();
	for (int i = 0; i < 20; i++)
		put(obj[i]);
	nr_before = nr_cached();
	cr_assert_geq(nr_before, 20);
	fake.at_barrier = hook;
	percpu_drain();
	fake.at_barrier = NULL;
	cr_assert(nr_barriers >= 2 || percpu_mode() == INDEX_THREAD);
}

Test(percpu, a_fork_amid_anothers_drain_keeps_what_is_drained)
{
	drain_with(other_forks);
	cr_assert_eq(nr_cached(), 0);
	if (nr_barriers >= 2)
		cr_assert_eq(status_of_child, 0);
}

/* It goes on in both. */
Test(percpu, a_fork_amid_ones_own_drain_keeps_lists_apart)
{
	struct percpu_area *a;
	unsigned n = 0;

	drain_with(itself_forks);
	for (a = percpu.spare; a && n < NR_CPU_SLOTS; a = a->next_orphan)
		n++;
	if (status_of_child == 0)
		_exit(nr_cached() == 0 && n < NR_CPU_SLOTS ? 0 : 1);
	cr_assert(nr_cached() == 0 && n < NR_CPU_SLOTS);
	if (nr_barriers >= 2) {
		waitpid(status_of_child, &status_of_child, 0);
		cr_assert_eq(status_of_child, 0);
	}
}

/* As a fork's child does; another CPU had what this one has now. */
static void become_child(void)
{
	bslab_hot.area[percpu.nr_slots++] = percpu_here();
	bslab_hot.area[percpu_slot()] = &none_area;
	cr_assert_not_null(percpu_current_top(c->class));
	percpu_fork_prepare();
	percpu_fork_done(true);
}

/* Refills beyond what all caches hold; objects and headers come from slabs of their own. */
static void refill_for_long(void)
{
	for (int i = 0; i < 5000; i++)
		cr_assert_not_null(get());
}

static void *do_nothing(void *arg)
{
	return arg;
}

Test(percpu, what_a_fork_left_is_looked_for_until_there_is_none, .timeout = 10)
{
	pthread_t other;

	cr_assert_eq(pthread_create(&other, NULL, do_nothing, NULL), 0); /* with one thread a lock that is held holds nobody up */
	pthread_join(other, NULL);
	for (int round = 0; round < 2; round++) {
		void *obj = get();

		put(obj);
		become_child();
		cr_assert(percpu.orphans != NULL);
		cr_assert_eq(get(), obj, "an orphan has it");
		refill_for_long();
		percpu_fork_prepare(); /* takes the lock of areas: nobody waits for it */
		refill_for_long();
		percpu_fork_done(false);
	}
}

Test(percpu, drained_caches_go_on)
{
	for (int i = 0; i < 100; i++) {
		void *a = get(), *b = get();

		put(a);
		percpu_drain();
		cr_assert_eq(nr_cached(), 0);
		put(b);
	}
}

Test(percpu, freed_twice_in_a_row)
{
	void *a = get();

	bug_set_fatal(false);
	fake.capture = true;
	put(a);
	put(a);
	cr_assert_not_null(strstr(fake.text, "bslab: double free of "));
	cr_assert_eq(get(), a);
	cr_assert_neq(get(), a);
}

/* Each in turn drains, so that its sheaf is another than that of whoever allocated. */
Test(percpu, what_others_allocated_goes_home)
{
	void *p[64], *q;
	int i;

	for (i = 0; i < 64; i++)
		p[i] = get();
	percpu_drain();
	put(p[0]);
	cr_assert_eq(nr_cached(), 0, "no sheaf for a stray");
	cr_assert_eq(snapshot().nr_uncached_frees, 1);
	q = get();
	put(q);
	cr_assert_gt(nr_cached(), 0);
	percpu_drain();
	for (i = 1; i < 64; i++)
		put(p[i]);
	cr_assert_gt(nr_cached(), 0, "a CPU that goes on gets a sheaf");
}

static pthread_barrier_t all_gave;

static void *give_one(void *obj)
{
	put(obj);
	pthread_barrier_wait(&all_gave);
	pthread_barrier_wait(&all_gave); /* what it may have cached has been counted */
	return NULL;
}

/* Each has its own count: else one of them would get a sheaf with the first object that it frees. */
Test(percpu, many_that_give_a_stray_each_get_no_sheaf)
{
	enum { NR = 40 };
	pthread_t threads[NR];
	void *p[NR];
	int i;

	if (percpu_mode() != INDEX_THREAD)
		cr_skip("no more areas than CPUs");
	for (i = 0; i < NR; i++)
		p[i] = get();
	percpu_drain();
	pthread_barrier_init(&all_gave, NULL, NR + 1);
	for (i = 0; i < NR; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, give_one, p[i]), 0);
	pthread_barrier_wait(&all_gave);
	cr_assert_eq(nr_cached(), 0);
	cr_assert_eq(snapshot().nr_uncached_frees, NR);
	pthread_barrier_wait(&all_gave);
	for (i = 0; i < NR; i++)
		pthread_join(threads[i], NULL);
}

/* Passive false sharing: what another CPU allocated is not handed out here while it has neighbours in use. */
Test(percpu, a_stray_is_not_handed_out_with_its_neighbours_in_use)
{
	struct kmem_cache *other = c;
	void *p[8], *q;
	int i;

	if (bslab_options.check)
		cr_skip("nothing is cached");
	c = cache_of(size_class(8));
	for (i = 0; i < 8; i++)
		p[i] = get();
	percpu_drain();
	put(p[0]);
	put(p[1]);
	q = get();
	for (i = 0; i < 8; i++)
		cr_assert_neq((uintptr_t)q / CACHE_LINE, (uintptr_t)p[i] / CACHE_LINE);
	c = other;
}

Test(percpu, check_mode_has_no_caches)
{
	void *a = get();

	bslab_options.check = true;
	put(a);
	percpu_drain();
	a = percpu_alloc_slow(c, 0);
	cr_assert_not_null(a);
}

Test(percpu, no_memory_is_null)
{
	fake_fail_at(FAKE_ALL, 1, true);
	cr_assert_null(get());
	fake_fail_at(0, 0, false);
	cr_assert_not_null(get());
}

/* No sheaf can be had for a class that has none yet: objects go to their slabs, each by itself. */
Test(percpu, without_memory_for_a_sheaf)
{
	struct kmem_cache *other = cache_of(size_class(512));
	struct cache_info info;
	void *obj[50];

	put(get()); /* the CPU has its area */
	for (int i = 0; i < 50; i++)
		cr_assert_not_null(obj[i] = percpu_alloc_uncached(other, 0));
	fake_fail_at(FAKE_ALL, 1, true);
	while (boot_alloc(8, 8))
		;
	for (int i = 0; i < 50; i++)
		percpu_free_slow(other, obj[i]);
	fake_fail_at(0, 0, false);
	cr_assert(cache_snapshot(other->class, &info));
	cr_assert_eq(info.nr_free, info.nr_objects);
	cr_assert_gt(info.nr_uncached_frees, 0);
	for (int i = 0; i < 50; i++)
		cr_assert_not_null(percpu_alloc_slow(other, 0));
}

/* --- threads ---------------------------------------------------------------------------------- */

static void thread_end(void)
{
	percpu_thread_exit();
	pages_thread_exit();
}

static void *get_and_put(void *arg)
{
	uint64_t *held[100];
	unsigned seed = (unsigned)(uintptr_t)held;
	int n = 0;

	for (int i = 0; i < 100000; i++) {
		if (n < 100 && rand_r(&seed) % 2) {
			held[n] = get();
			cr_assert_not_null(held[n]);
			*held[n++] = (uint64_t)(uintptr_t)held;
		} else if (n) {
			n--;
			cr_assert_eq(*held[n], (uint64_t)(uintptr_t)held, "another thread has this object too");
			put(held[n]);
		}
		if (arg && i % 5000 == 0)
			percpu_drain();
	}
	while (n)
		put(held[--n]);
	thread_end();
	return NULL;
}

static void hammer(void *drain)
{
	pthread_t threads[6];

	roam();
	for (int i = 0; i < 6; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, get_and_put, drain), 0);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	percpu_drain();
	barn_drain(c);
	cache_shrink(c);
	cr_assert_eq(nr_cached(), 0);
	cr_assert_eq(snapshot().nr_slabs, 0, "%zu slabs left", snapshot().nr_slabs);
}

Test(percpu, threads)
{
	hammer(NULL);
}

Test(percpu, threads_that_drain_each_other)
{
	hammer(c);
}

Test(percpu, threads_that_drain_without_the_barrier)
{
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	for (int i = 0; i < 3; i++)
		put(get());
	percpu_drain();
	fake_fail_at(0, 0, false);
	hammer(NULL);
}

static void *drain_always(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		void *objects[3] = {get(), get(), get()};

		for (int k = 0; k < 3; k++)
			put(objects[k]);
		fake_fail_at(1u << FAKE_BARRIER, 2, false); /* the first asks whether there is one */
		percpu_drain();
		percpu_nr_cached(c->class); /* looks at what waits, too */
	}
	thread_end();
	return arg;
}

/* When the barrier fails, an area that was detached goes back; or waits, where there is another in its place by then. */
Test(percpu, areas_that_cannot_be_drained_wait)
{
	pthread_t threads[4];

	if (bslab_options.check || percpu_mode() == INDEX_THREAD)
		cr_skip("no areas of others");
	put(get());
	roam();
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, drain_always, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	nr_cached(); /* looks at those that wait, too */
	fake_fail_at(0, 0, false);
	percpu_drain();
	barn_drain(c);
	cache_shrink(c);
	cr_assert_eq(nr_cached(), 0);
	cr_assert_eq(snapshot().nr_slabs, 0, "%zu slabs left", snapshot().nr_slabs);
	hammer(NULL);
}

static void *get_put_exit(void *unused)
{
	(void)unused;
	put(get());
	thread_end();
	return NULL;
}

/* More threads than there are slots, one after the other. */
Test(percpu, ten_thousand_threads_come_and_go)
{
	static struct percpu_info info;

	for (int i = 0; i < 10000; i++) {
		pthread_t thread;

		cr_assert_eq(pthread_create(&thread, NULL, get_put_exit, NULL), 0);
		pthread_join(thread, NULL);
	}
	percpu_snapshot(&info);
	cr_assert_leq(info.nr_areas, 64);
	cr_assert_leq(snapshot().nr_slabs, 4);
}

/* Freed in random order: what is cached is from slabs all over, and must not keep them. */
Test(percpu, few_slabs_are_left_when_all_was_freed)
{
	enum { NR = 100000 };
	static void *held[NR];
	unsigned seed = 1;

	if (bslab_options.check)
		cr_skip("nothing is cached");
	fake.clock_ms = 1000; /* and no time passes */
	for (int i = 0; i < NR; i++)
		held[i] = get();
	for (int i = NR - 1; i > 0; i--) {
		int j = rand_r(&seed) % (i + 1);
		void *p = held[i];

		held[i] = held[j];
		held[j] = p;
	}
	for (int i = 0; i < NR; i++)
		put(held[i]);
	cr_assert_leq(snapshot().nr_slabs, NR / 64 / 8, "%zu slabs are left", snapshot().nr_slabs);
}

/* A class that was hot holds nothing some time after, without any call that says so. */
Test(percpu, what_rests_goes_home)
{
	struct kmem_cache *other = cache_of(size_class(256));
	static void *held[4000];
	int i, look;

	if (bslab_options.check)
		cr_skip("nothing is cached");
	fake.clock_ms = 1000;
	for (i = 0; i < 4000; i++)
		held[i] = get();
	for (i = 0; i < 4000; i++)
		put(held[i]);
	cr_assert_gt(nr_cached() + snapshot().nr_barn_objects, 0);
	for (look = 0; look < 3; look++) {
		fake.clock_ms += 100;
		/* Visits of slow paths by another class. */
		for (i = 0; i < 4000; i++)
			cr_assert_not_null(held[i] = percpu_alloc_slow(other, 0));
		for (i = 0; i < 4000; i++)
			percpu_free_slow(other, held[i]);
	}
	cr_assert_eq(nr_cached(), 0);
	cr_assert_eq(snapshot().nr_barn_objects, 0);
	cr_assert_eq(snapshot().nr_slabs, 0);
	hammer(NULL);
}

static uint64_t nr_drains(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_drains;
}

/* Some MiB come and go at once, so that no class's caches rest; and the process's first CPU looks, 50 ms later. */
static void breathe_and_look(unsigned nr_objects)
{
	static void *held[20000];

	for (unsigned i = 0; i < nr_objects; i++)
		cr_assert_not_null(held[i] = percpu_alloc_slow(cache_of(size_class(512)), 0));
	fake.clock_ms += 50;
	percpu_look();
	for (unsigned i = 0; i < nr_objects; i++)
		percpu_free_slow(cache_of(size_class(512)), held[i]);
}

/* 10 MiB, of which next to nothing is left at two looks in a row. */
Test(percpu, a_heap_that_fell_is_shed_once)
{
	if (bslab_options.check)
		cr_skip("nothing is cached");
	fake.clock_ms = 1000;
	percpu_free_slow(c, percpu_alloc_slow(c, 0)); /* an area */
	breathe_and_look(20000);
	breathe_and_look(100);
	cr_assert_eq(nr_drains(), 0, "at the first look");
	breathe_and_look(100);
	cr_assert_eq(nr_drains(), 1);
	for (int i = 0; i < 4; i++)
		breathe_and_look(100);
	cr_assert_eq(nr_drains(), 1, "it was little all the while");
	breathe_and_look(20000);
	for (int i = 0; i < 4; i++)
		breathe_and_look(100);
	cr_assert_eq(nr_drains(), 2, "it grew and fell again");
	hammer(NULL);
}

Test(percpu, a_heap_that_breathes_is_not_shed)
{
	if (bslab_options.check)
		cr_skip("nothing is cached");
	fake.clock_ms = 1000;
	percpu_free_slow(c, percpu_alloc_slow(c, 0));
	for (int i = 0; i < 8; i++)
		breathe_and_look(i % 2 ? 100 : 20000);
	for (int i = 0; i < 4; i++)
		breathe_and_look(8000);
	cr_assert_eq(nr_drains(), 0);
}

static void run_on(unsigned cpu)
{
	if (!stay_on((int)cpu))
		cr_skip("cannot choose a CPU");
}

static _Atomic bool other_may_end;

static void *get_and_put_elsewhere(void *arg)
{
	static const size_t sizes[] = {1024, 2048, 3072, 4096, 6144, 8192};
	void *objects[200];

	run_on(1);
	for (int i = 0; i < 6; i++) {
		struct kmem_cache *large = cache_of(size_class(sizes[i]));

		for (int k = 0; k < 200; k++)
			objects[k] = percpu_alloc_slow(large, 0);
		for (int k = 0; k < 200; k++)
			percpu_free_slow(large, objects[k]);
	}
	while (!other_may_end)
		put(get());
	return arg;
}

static unsigned nr_areas(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_areas;
}

static void leave_a_cpu_idle(void)
{
	struct kmem_cache *other = cache_of(size_class(256));
	static void *held[4000];
	pthread_t thread;

	fake.clock_ms = 1000;
	run_on(0);
	put(get());
	cr_assert_eq(pthread_create(&thread, NULL, get_and_put_elsewhere, NULL), 0);
	while (nr_areas() < 2) /* until both run at once, and so have an index each */
		put(get());
	other_may_end = true;
	pthread_join(thread, NULL);
	for (int look = 0; look < 4; look++) {
		fake.clock_ms += 600;
		for (int i = 0; i < 4000; i++)
			cr_assert_not_null(held[i] = percpu_alloc_slow(other, 0));
		for (int i = 0; i < 4000; i++)
			percpu_free_slow(other, held[i]);
	}
}

/* The caches of a CPU that nobody uses any more are emptied by those who work on. */
Test(percpu, idle_cpus_give_up_their_sheaves)
{
	if (bslab_options.check || percpu_mode() == INDEX_THREAD)
		cr_skip("no caches of CPUs");
	leave_a_cpu_idle();
	cr_assert_eq(nr_areas(), 1);
	hammer(NULL);
}

/* And stay, where the kernel has no barrier; nor is it asked again. */
Test(percpu, idle_cpus_keep_theirs_without_the_barrier)
{
	if (bslab_options.check || percpu_mode() == INDEX_THREAD)
		cr_skip("no caches of CPUs");
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	leave_a_cpu_idle();
	cr_assert_eq(nr_areas(), 2);
	cr_assert_eq(fake.nr_failed, 1, "it was asked again");
}

/* --- fork ---------------------------------------------------------------------------------------- */

Test(percpu, the_child_of_fork_uses_what_others_left)
{
	pthread_t threads[4];
	pid_t pid;
	int status;

	roam();
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, get_and_put, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	put(get());
	percpu_fork_prepare();
	pid = fork();
	percpu_fork_done(pid == 0);
	if (pid == 0) {
		nr_cached(); /* looks at what they left, too */
		for (int i = 0; i < 2000; i++)
			put(get());
		percpu_drain();
		barn_drain(c);
		cache_shrink(c);
		_exit(snapshot().nr_slabs == 0 && nr_cached() == 0 ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "status %#x", (unsigned)status);
	put(get());
}
