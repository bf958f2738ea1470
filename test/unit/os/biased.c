/* SPDX-License-Identifier: MIT */
/* Locks that are biased to a thread. Those that are alive at once have pointers of their own. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "fake_os.h"
#include "os/biased.h"
#include "os/os.h"

#define NR_THREADS 4

static struct biased_lock lock;
static size_t count; /* under lock */

static void setup(void)
{
	biased_init(&lock);
}

TestSuite(biased, .init = setup);

static bool enter_briefly(struct biased_lock *l)
{
	if (!biased_enter(l, RANK_ZONE))
		return false;
	biased_leave(l, RANK_ZONE);
	return true;
}

static int try_briefly(struct biased_lock *l)
{
	int held = biased_try(l, RANK_ZONE);

	if (held >= 0)
		biased_try_end(l, held, RANK_ZONE);
	return held;
}

static void take_once(struct biased_lock *l)
{
	biased_take(l, RANK_ZONE);
	biased_drop(l, RANK_ZONE);
}

static void visit_once(struct biased_lock *l)
{
	biased_visit(l, RANK_ZONE);
	biased_drop(l, RANK_ZONE);
}

/* A thread that does one thing after the other, and waits meanwhile. */
struct worker {
	pthread_t thread;
	pthread_barrier_t begins, ends;
	void (*run)(void);
};

static void *work(void *worker)
{
	struct worker *w = worker;

	for (;;) {
		pthread_barrier_wait(&w->begins);
		if (!w->run)
			return NULL;
		w->run();
		pthread_barrier_wait(&w->ends);
	}
}

static void worker_start(struct worker *w)
{
	pthread_barrier_init(&w->begins, NULL, 2);
	pthread_barrier_init(&w->ends, NULL, 2);
	cr_assert_eq(pthread_create(&w->thread, NULL, work, w), 0);
}

static void worker_begin(struct worker *w, void (*run)(void))
{
	w->run = run;
	pthread_barrier_wait(&w->begins);
}

static void worker_run(struct worker *w, void (*run)(void))
{
	worker_begin(w, run);
	if (run)
		pthread_barrier_wait(&w->ends);
	else
		pthread_join(w->thread, NULL);
}

static void take(void)
{
	take_once(&lock);
}

static void visit(void)
{
	visit_once(&lock);
}

static void finds_it_held(void)
{
	cr_assert_not(biased_enter(&lock, RANK_META));
	cr_assert_lt(biased_try(&lock, RANK_META), 0);
}

static void has_no_bias(void)
{
	cr_assert_not(enter_briefly(&lock));
	cr_assert_eq(try_briefly(&lock), UNBIASED);
}

/* As a handler finds it that comes in between. */
Test(biased, of_one_thread)
{
	has_no_bias();
	biased_take(&lock, RANK_ZONE);
	finds_it_held();
	biased_drop(&lock, RANK_ZONE);
	cr_assert(enter_briefly(&lock));
	cr_assert_eq(try_briefly(&lock), 0);
	cr_assert(biased_enter(&lock, RANK_ZONE));
	finds_it_held();
	biased_leave(&lock, RANK_ZONE);
	biased_visit(&lock, RANK_ZONE);
	finds_it_held();
	biased_drop(&lock, RANK_ZONE);
	cr_assert(enter_briefly(&lock));
	cr_assert_eq(lock.nr_given, 1);
	cr_assert_eq(fake.nr_calls[FAKE_BARRIER], 1, "it was registered, and that is all");
}

static unsigned expected;

static void takes_the_bias(void)
{
	finds_it_held();
	take();
	cr_assert_eq(lock.nr_given, expected + 1);
	cr_assert_eq(try_briefly(&lock), (int)expected);
	cr_assert_not(enter_briefly(&lock), "the first one is another's");
}

/* A few times it goes to who comes; then it is nobody's, for good. */
Test(biased, goes_to_who_comes)
{
	static struct worker w[NR_BIASES];

	take();
	for (unsigned i = 1; i < NR_BIASES; i++) {
		worker_start(&w[i]);
		expected = i;
		worker_run(&w[i], takes_the_bias);
		finds_it_held();
	}
	for (int i = 0; i < 3; i++) {
		take();
		has_no_bias();
		worker_run(&w[1], take);
		worker_run(&w[1], has_no_bias);
	}
	cr_assert_eq(lock.nr_given, NR_BIASES + 1);
	for (unsigned i = 1; i < NR_BIASES; i++)
		worker_run(&w[i], NULL);
}

Test(biased, stays_whose_it_is_for_who_looks)
{
	static struct worker w;

	worker_start(&w);
	worker_run(&w, visit);
	has_no_bias();
	take();
	for (int i = 0; i < 20; i++) {
		worker_run(&w, visit);
		cr_assert(enter_briefly(&lock));
	}
	cr_assert_eq(lock.nr_given, 1);
	worker_run(&w, NULL);
}

static void finds_it_suspended(void)
{
	biased_visit(&lock, RANK_ZONE);
	cr_assert_eq(atomic_load(&lock.bias), UNBIASED);
	while (atomic_load(&lock.lock.word) != 2) /* until somebody waits */
		os_sleep_ms(1);
	biased_drop(&lock, RANK_ZONE);
}

/* Whose it is waits as anyone does, and has it afterwards. */
Test(biased, suspended)
{
	static struct worker w;

	worker_start(&w);
	take();
	worker_begin(&w, finds_it_suspended);
	while (atomic_load(&lock.bias) != UNBIASED)
		;
	cr_assert_not(enter_briefly(&lock));
	cr_assert_lt(try_briefly(&lock), 0);
	take();
	pthread_barrier_wait(&w.ends);
	cr_assert(enter_briefly(&lock));
	cr_assert_eq(lock.nr_given, 1);
	worker_run(&w, NULL);
}

/* Between the look at the lock and the one at its bias the first one of all may come. */
Test(biased, not_by_the_ordinary_lock_where_there_is_a_bias)
{
	lock_take_nested(&lock.lock);
	cr_assert_lt(biased_try(&lock, RANK_ZONE), 0);
	lock_drop_nested(&lock.lock);
	cr_assert_eq(try_briefly(&lock), UNBIASED);
}

static _Atomic bool is_within, has_come;

static void come(void)
{
	biased_take(&lock, RANK_ZONE);
	cr_assert_not(atomic_load(&is_within));
	atomic_store(&has_come, true);
	biased_drop(&lock, RANK_ZONE);
}

static void stay_within(struct worker *w, void (*other)(void))
{
	worker_begin(w, other);
	usleep(20000); /* so that it sleeps by now */
	cr_assert_not(atomic_load(&has_come));
	atomic_store(&is_within, false);
	biased_leave(&lock, RANK_ZONE);
	pthread_barrier_wait(&w->ends);
	cr_assert(atomic_load(&has_come));
}

/* The section is waited for, however long it takes. */
Test(biased, waits_until_it_is_left)
{
	static struct worker w;

	worker_start(&w);
	take();
	atomic_store(&is_within, true);
	cr_assert(biased_enter(&lock, RANK_ZONE));
	stay_within(&w, come);
	cr_assert_not(enter_briefly(&lock));
	worker_run(&w, NULL);
}

static void *take_in_thread(void *unused)
{
	take();
	return unused;
}

static void *enter_in_thread(void *pointer)
{
	cr_assert_eq(enter_briefly(&lock), arch_thread_pointer() == *(uintptr_t *)pointer);
	return pointer;
}

/* Threads whose pointers are those of ended ones have what these had. */
Test(biased, of_a_thread_that_has_ended)
{
	uintptr_t pointer;
	pthread_t thread;

	pthread_create(&thread, NULL, take_in_thread, NULL);
	pthread_join(thread, NULL);
	pointer = atomic_load(&lock.word[0]);
	pthread_create(&thread, NULL, enter_in_thread, &pointer);
	pthread_join(thread, NULL);
	cr_assert_not(enter_briefly(&lock));
	take();
	cr_assert_eq(try_briefly(&lock), 1);
}

static void never_has_a_bias(void)
{
	for (int i = 0; i < 3; i++) {
		take();
		has_no_bias();
		visit();
		has_no_bias();
	}
	cr_assert_eq(lock.nr_given, NR_BIASES + 1);
}

/* It is the ordinary lock. */
Test(unbiased, where_the_kernel_has_no_barrier)
{
	static struct worker w;

	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	setup();
	worker_start(&w);
	never_has_a_bias();
	worker_run(&w, never_has_a_bias);
	cr_assert_not(biased_fork_take(&lock));
	biased_fork_done(&lock, true);
	never_has_a_bias();
	cr_assert_eq(fake.nr_calls[FAKE_BARRIER], 1, "it is not asked again");
	worker_run(&w, NULL);
}

/* Time goes in its place. */
Test(biased, where_the_barrier_is_refused_later)
{
	static struct worker w;
	uint64_t before;

	worker_start(&w);
	worker_run(&w, take);
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	fake.step_us = 1000;
	before = os_coarse_clock_ms();
	take();
	cr_assert_geq(os_coarse_clock_ms() - before, 5);
	cr_assert_eq(lock.nr_given, NR_BIASES + 1, "it is not waited for again");
	cr_assert_eq(try_briefly(&lock), UNBIASED);
	worker_run(&w, never_has_a_bias);
	setup();
	never_has_a_bias();
	worker_run(&w, NULL);
}

static void suspend_once(void)
{
	cr_assert_not(biased_is_far(&lock));
	fake_fail_at(1u << FAKE_BARRIER, 1, true);
	fake.step_us = 1000;
	visit();
	has_no_bias();
	cr_assert_eq(lock.nr_given, NR_BIASES + 1);
}

/* It would have to be waited for once more. */
Test(biased, is_not_given_back_without_a_barrier)
{
	static struct worker w;

	take();
	worker_start(&w);
	worker_run(&w, suspend_once);
	never_has_a_bias();
	worker_run(&w, NULL);
}

static struct biased_lock far;

static void is_far(void)
{
	cr_assert(biased_is_far(&far));
	cr_assert_not(biased_is_far(&lock));
}

Test(biased, who_looks_can_tell_what_is_far)
{
	static struct worker w;

	take();
	biased_init(&far);
	take_once(&far);
	cr_assert_not(biased_is_far(&far));
	worker_start(&w);
	worker_run(&w, suspend_once);
	cr_assert_not(biased_is_far(&far), "it is this thread's");
	worker_run(&w, is_far);
	worker_run(&w, NULL);
}

/* --- fork: its two halves, without it ------------------------------------------------------------------ */

Test(biased, fork_of_the_bias_own_thread)
{
	take();
	cr_assert_not(biased_fork_take(&lock));
	cr_assert(lock_is_held(&lock.lock));
	biased_fork_wait(&lock);
	biased_fork_done(&lock, false);
	cr_assert(enter_briefly(&lock));
	cr_assert_not(biased_fork_take(&lock));
	biased_fork_done(&lock, true);
	cr_assert(enter_briefly(&lock));
	cr_assert_not(lock_is_held(&lock.lock));
}

static void fork_prepare(void)
{
	cr_assert(biased_fork_take(&lock));
	biased_barrier();
	biased_fork_wait(&lock);
	cr_assert_not(atomic_load(&is_within));
	atomic_store(&has_come, true);
}

static void fork_parent(void)
{
	biased_fork_done(&lock, false);
}

static void fork_child(void)
{
	biased_fork_done(&lock, true);
	has_no_bias();
	take();
	cr_assert(enter_briefly(&lock));
}

/* Another thread's bias is its own again in the parent, and nobody's in the child. */
Test(biased, fork_of_another_thread)
{
	static struct worker w;

	worker_start(&w);
	take();
	atomic_store(&is_within, true);
	cr_assert(biased_enter(&lock, RANK_ZONE));
	stay_within(&w, fork_prepare);
	cr_assert_not(enter_briefly(&lock));
	worker_run(&w, fork_parent);
	cr_assert(enter_briefly(&lock));
	cr_assert_eq(lock.nr_given, 1);
	worker_run(&w, fork_prepare);
	worker_run(&w, fork_child);
	worker_run(&w, NULL);
}

/* Its own pointer in one would let it look, and turn back, while another thread is given that bias. */
Test(biased, the_child_forgets_whose_the_words_were)
{
	static struct worker w;

	worker_start(&w);
	for (int i = 0; i < NR_BIASES; i++) {
		take();
		worker_run(&w, take);
	}
	has_no_bias();
	cr_assert_eq(lock.word[0], arch_thread_pointer());
	cr_assert_not(biased_fork_take(&lock));
	biased_fork_done(&lock, true);
	for (int i = 0; i < NR_BIASES; i++)
		cr_assert_eq(lock.word[i], 0);
	take();
	cr_assert(enter_briefly(&lock));
	worker_run(&w, NULL);
}

/* --- many at once ------------------------------------------------------------------------------------------ */

#define NR_LOCKS 500
#define NR_ROUNDS 200

static struct {
	struct biased_lock lock;
	size_t count;
} many[NR_LOCKS];
static pthread_barrier_t together;

/* Each way in, in turns, so that each lock's bias moves among threads that are within. */
static void add(unsigned at, unsigned way)
{
	struct biased_lock *l = &many[at].lock;
	int held = -1;

	if (way % 64 == 1) {
		biased_visit(l, RANK_ZONE);
		many[at].count++;
		biased_drop(l, RANK_ZONE);
	} else if (biased_enter(l, RANK_ZONE)) {
		many[at].count++;
		biased_leave(l, RANK_ZONE);
	} else if ((held = biased_try(l, RANK_ZONE)) >= 0) {
		many[at].count++;
		biased_try_end(l, held, RANK_ZONE);
	} else {
		biased_take(l, RANK_ZONE);
		many[at].count++;
		biased_drop(l, RANK_ZONE);
	}
}

static void *add_many(void *seed)
{
	unsigned way = (unsigned)(uintptr_t)seed * 16;

	for (unsigned at = 0; at < NR_LOCKS; at++) {
		pthread_barrier_wait(&together);
		for (unsigned i = 0; i < NR_ROUNDS; i++)
			add(at, way++);
	}
	return NULL;
}

Test(biased, excludes)
{
	pthread_t thread[NR_THREADS];

	for (unsigned at = 0; at < NR_LOCKS; at++)
		biased_init(&many[at].lock);
	pthread_barrier_init(&together, NULL, NR_THREADS);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, add_many, (void *)i), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	for (unsigned at = 0; at < NR_LOCKS; at++) {
		cr_assert_eq(many[at].count, NR_THREADS * NR_ROUNDS);
		cr_assert_not(lock_is_held(&many[at].lock.lock));
	}
}

static _Atomic bool is_over;

static void *visit_on(void *unused)
{
	while (!atomic_load(&is_over)) {
		biased_visit(&lock, RANK_ZONE);
		count++;
		biased_drop(&lock, RANK_ZONE);
		usleep(100);
	}
	return unused;
}

/* One thread enters and leaves while another one looks in. */
Test(biased, visits_exclude)
{
	size_t nr_before = 0;
	pthread_t thread;

	take();
	cr_assert_eq(pthread_create(&thread, NULL, visit_on, NULL), 0);
	for (int i = 0; i < 2000000; i++) {
		if (!biased_enter(&lock, RANK_ZONE)) {
			take();
			continue;
		}
		nr_before = count;
		count = nr_before + 1;
		count = nr_before;
		biased_leave(&lock, RANK_ZONE);
	}
	atomic_store(&is_over, true);
	pthread_join(thread, NULL);
	cr_assert_eq(lock.nr_given, 1);
	cr_assert_geq(count, nr_before);
	cr_assert(enter_briefly(&lock));
}
