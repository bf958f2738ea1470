/* SPDX-License-Identifier: MIT */
/* What malloc and its kin do while blocks are guarded: each call counts, and nothing else is slower for it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "guarded/count.h"
#include "malloc/guarded.h"
#include "malloc/reports.h"
#include "slab/kept.h"
#include "stay.h"

#define INTERVAL 50
#define NR_CALLS 50000

static void start(void)
{
	stay();
	bslab_free(bslab_malloc(1));
	guarded_start(INTERVAL);
}

TestSuite(guarded, .init = start);

static void *by_malloc(void)
{
	return bslab_malloc(48);
}

static void *by_calloc(void)
{
	return bslab_calloc(6, 8);
}

static void *by_realloc(void)
{
	return bslab_realloc(NULL, 48);
}

static void *by_moving(void)
{
	return bslab_realloc(bslab_memalign(64, 64), 4000);
}

static void *by_memalign(void)
{
	return bslab_memalign(64, 64);
}

static bool is_guarded(const void *p)
{
	return guarded_of(map_lookup((uintptr_t)p)) != NULL;
}

/* Blocks are freed at once, so that no sheaf ever runs out. */
static void expect_one_in_interval(void *(*call)(void), const char *name)
{
	unsigned i, n = 0;

	for (i = 0; i < NR_CALLS; i++) {
		void *p = call();

		n += is_guarded(p);
		bslab_free(p);
	}
	/* 1,000 are expected; the deviation of such a count is 31. */
	cr_expect(n > 840 && n < 1160, "%s: %u of %u", name, n, NR_CALLS);
}

Test(guarded, one_call_in_fifty)
{
	expect_one_in_interval(by_malloc, "malloc");
	expect_one_in_interval(by_calloc, "calloc");
	expect_one_in_interval(by_realloc, "realloc");
	expect_one_in_interval(by_moving, "a move");
	expect_one_in_interval(by_memalign, "memalign");
}

/* Also where the sheaf runs out now and then. */
Test(guarded, once_each_where_objects_stay)
{
	static void *live[1000];
	unsigned i, k, n = 0;

	for (k = 0; k < 20; k++) {
		for (i = 0; i < 1000; i++)
			n += is_guarded(live[i] = i % 2 ? by_malloc() : by_calloc());
		for (i = 0; i < 1000; i++)
			bslab_free(live[i]);
		bslab_malloc_trim(0);
	}
	/* 400; the deviation is 20. Twice where each that finds no object counted again: a fifth more. */
	cr_expect(n > 300 && n < 500, "%u", n);
}

/* Each child draws: without, all have their next guarded block at the same place, or none has one. */
Test(guarded, children_draw_for_themselves)
{
	unsigned i, k, nr_hit = 0;
	int status;
	pid_t pid;

	guarded_count_start(1000);
	for (i = 0; i < 100; i++) {
		bslab_free(by_malloc());
		pid = fork();
		if (!pid) {
			for (k = 0; k < 1000; k++)
				if (is_guarded(by_malloc()))
					_exit(1);
			_exit(0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status));
		nr_hit += WEXITSTATUS(status);
	}
	/* 63; the deviation is 5. */
	cr_expect(nr_hit > 35 && nr_hit < 90, "%u of 100", nr_hit);
}

static size_t nr_kept(void)
{
	static struct percpu_info info;

	percpu_snapshot(&info);
	return info.nr_kept_pages;
}

/* No run is ever guarded: the one that was freed last is kept as without. But not where its bytes are to be filled. */
Test(guarded, runs_are_kept)
{
	bool is_kept = percpu_mode() != INDEX_THREAD;

	bslab_free(bslab_malloc(64 * KIB)); /* the first finds no area */
	bslab_free(bslab_malloc(64 * KIB));
	cr_assert_eq(nr_kept(), is_kept ? 16 : 0);
	perturb_set(1);
	cr_assert_null(kept_take(16, BSLAB_PAGE_SIZE));
	perturb_set(0);
	cr_assert_eq(kept_take(16, BSLAB_PAGE_SIZE) != NULL, is_kept);
}

/* As of a signal while it holds a lock. */
Test(guarded, what_comes_due_in_a_free_is_written_at_its_end)
{
	void *p;

	while (!is_guarded(p = bslab_malloc(48)))
		;
	report_is_due = true;
	bslab_free(p);
	cr_assert_not(report_is_due);
}
