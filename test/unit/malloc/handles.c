/* SPDX-License-Identifier: MIT */
/* The public calls: handles, compaction in reclaim. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "bslab/handle.h"
#include "bslab/insight.h"
#include "handle/compact.h"
#include "handle/objects.h"
#include "malloc/internal.h"
#include "os/bug.h"
#include "page/compactable.h"
#include "report/line.h"
#include "stay.h"

TestSuite(handles, .init = stay);

static size_t nr_blocks(void)
{
	return compactable_nr_pages() / PAGEBLOCK_PAGES;
}

/* n objects of a size, of which each keep-th stays. */
static void fragment(bslab_handle_t *h, unsigned n, unsigned keep, size_t size)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		h[i] = bslab_handle_alloc(size);
		memcpy(bslab_handle_map(h[i]), &h[i], 8);
		bslab_handle_unmap(h[i]);
	}
	for (i = 0; i < n; i++)
		if (i % keep) {
			bslab_handle_free(h[i]);
			h[i] = 0;
		}
}

static void check(const bslab_handle_t *h, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (h[i]) {
			cr_assert_eq(*(bslab_handle_t *)bslab_handle_map(h[i]), h[i]);
			bslab_handle_unmap(h[i]);
		}
}

static void drop(bslab_handle_t *h, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		bslab_handle_free(h[i]);
}

enum { N = 60000 };
static bslab_handle_t h[N];

Test(handles, from_beginning_to_end)
{
	bslab_handle_t a = bslab_handle_alloc(100), b = bslab_handle_alloc(0);
	char *p = bslab_handle_map(a);

	cr_assert(a && b && a != b);
	strcpy(p, "text");
	bslab_handle_unmap(a);
	cr_assert_eq(bslab_handle_size(a), 100);
	cr_assert_eq(bslab_handle_size(b), 0);
	cr_assert_eq(bslab_handle_resize(a, 200000), 0);
	cr_assert_str_eq(bslab_handle_map(a), "text");
	bslab_handle_unmap(a);
	errno = 42;
	bslab_handle_free(0);
	bslab_handle_free(a);
	bslab_handle_free(b);
	cr_assert_eq(errno, 42);
}

Test(handles, no_memory)
{
	bslab_handle_t a = bslab_handle_alloc(100);
	size_t huge[] = {SIZE_MAX, PTRDIFF_MAX, (size_t)1 << 46, (size_t)1 << 40}, nr_reclaims = atomic_load(&counts.nr_reclaims);
	unsigned i;

	for (i = 0; i < 4; i++) {
		errno = 0;
		cr_assert_eq(bslab_handle_alloc(huge[i]), 0);
		cr_assert_eq(errno, ENOMEM);
		errno = 0;
		cr_assert_eq(bslab_handle_resize(a, huge[i]), -1);
		cr_assert_eq(errno, ENOMEM);
	}
	cr_assert_eq(atomic_load(&counts.nr_reclaims), nr_reclaims, "for what can never be");
	cr_assert_eq(bslab_handle_size(a), 100);
	bslab_handle_free(a);
}

/* Kept by compactions; and what is no alignment. */
Test(handles, alignment)
{
	static const size_t bad[] = {0, 3, 48, 8192};
	unsigned i;

	bslab_set_limits(0, 0);
	for (i = 0; i < N; i++)
		cr_assert(h[i] = bslab_handle_aligned_alloc(256, 600));
	for (i = 0; i < N; i++)
		if (i % 8) {
			bslab_handle_free(h[i]);
			h[i] = 0;
		}
	bslab_compact();
	cr_assert_gt(compact_counts.nr_moved, 0);
	for (i = 0; i < N; i += 8) {
		cr_assert_eq((uintptr_t)bslab_handle_map(h[i]) % 256, 0);
		bslab_handle_unmap(h[i]);
	}
	drop(h, N);
	for (i = 0; i < 4; i++) {
		errno = 0;
		cr_assert_eq(bslab_handle_aligned_alloc(bad[i], 100), 0);
		cr_assert_eq(errno, EINVAL);
	}
	h[0] = bslab_handle_aligned_alloc(1, 100);
	cr_assert_eq(bslab_handle_size(h[0]), 100);
	bslab_handle_free(h[0]);
	h[0] = 0;
}

Test(handles, a_call_compacts)
{
	size_t before, n;

	bslab_mallopt(-1, 1 << 30); /* M_TRIM_THRESHOLD */
	fragment(h, N, 10, 500);
	before = nr_blocks();
	n = bslab_compact();
	cr_assert_eq(nr_blocks(), before - n);
	cr_assert_leq(nr_blocks(), 3);
	check(h, N);
	drop(h, N);
}

Test(handles, malloc_trim_compacts)
{
	fragment(h, N, 10, 500);
	bslab_malloc_trim(0);
	cr_assert_leq(nr_blocks(), 3);
	check(h, N);
	drop(h, N);
	bslab_malloc_trim(0);
	cr_assert_eq(nr_blocks(), 0);
	cr_assert_eq(objects_bytes(), 0);
}

/* malloc() finds no memory, and compaction sets some free. */
Test(handles, a_hard_limit_compacts)
{
	size_t n;

	fragment(h, N, 10, 500);
	bslab_set_limits(0, (size_t)24 << 20);
	for (n = 0; n < 9 && bslab_malloc((size_t)2 << 20); n++)
		;
	cr_assert_eq(n, 9);
	check(h, N);
}

/* All of it in malloc()'s hands, but for what its caches have kept. */
static void use_up_memory(void)
{
	enum { NR = 8192, KEPT = 100 };
	static char *p[NR];
	static unsigned nr;

	while (nr < NR && (p[nr] = bslab_malloc(4096)))
		nr++;
	cr_assert(nr > KEPT && nr < NR);
	for (unsigned i = 0; i < KEPT; i++)
		bslab_free(p[--nr]);
}

/* The other way round: an allocation of a handle, and a resize, ask the caches of malloc(). */
Test(handles, a_hard_limit_reclaims)
{
	bslab_handle_t h = bslab_handle_alloc(64);

	bslab_handle_free(h);
	bslab_set_limits(0, (size_t)24 << 20);
	use_up_memory();
	h = bslab_handle_alloc(5000);
	cr_assert(h);
	use_up_memory();
	cr_assert_eq(bslab_handle_resize(h, 200000), 0);
	bslab_handle_free(h);
}

Test(handles, a_soft_limit_compacts)
{
	uint64_t before;
	unsigned i;

	fragment(h, N, 10, 500);
	before = compact_counts.nr_runs;
	bslab_set_limits((size_t)8 << 20, 0);
	for (i = 0; i < 100; i++)
		cr_assert(bslab_malloc(100000));
	cr_assert_gt(compact_counts.nr_runs, before);
	check(h, N);
}

/* By itself, while objects are freed one by one. */
Test(handles, frees_compact)
{
	fragment(h, N, 10, 500);
	cr_assert_gt(compact_counts.nr_balances, 0);
	cr_assert_gt(compact_counts.nr_released, 0);
	cr_assert_leq(nr_blocks(), 8, "%zu blocks", nr_blocks());
	check(h, N);
}

/* --- signals: a map interrupts whatever the thread does ------------------------------------------------------------- */

static bslab_handle_t for_signals[64];
static volatile sig_atomic_t nr_signals, nr_bad;

static void on_signal(int unused)
{
	bslab_handle_t a = for_signals[nr_signals % 64];
	const uint64_t *p = bslab_handle_map(a);

	(void)unused;
	nr_bad += *p != a || bslab_handle_size(a) != 300;
	bslab_handle_unmap(a);
	nr_signals++;
}

static _Atomic bool stop;

static void *signaller(void *thread)
{
	while (!stop)
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

Test(handles, maps_in_signal_handlers)
{
	pthread_t self = pthread_self(), t;
	unsigned i;

	for (i = 0; i < 64; i++) {
		for_signals[i] = bslab_handle_alloc(300);
		memcpy(bslab_handle_map(for_signals[i]), &for_signals[i], 8);
		bslab_handle_unmap(for_signals[i]);
	}
	signal(SIGUSR1, on_signal);
	roam();
	cr_assert_eq(pthread_create(&t, NULL, signaller, &self), 0);
	while (nr_signals < 1000) {
		fragment(h, N / 4, 10, 300);
		bslab_compact();
		check(h, N / 4);
		drop(h, N / 4);
	}
	stop = true;
	pthread_join(t, NULL);
	cr_assert_eq(nr_bad, 0);
	cr_assert_gt(compact_counts.nr_moved, 0);
}

/* --- reports ---------------------------------------------------------------------------------------------------------- */

static char text[1 << 20];

static int gather(const char *part, size_t len, void *unused)
{
	(void)unused;
	strncat(text, part, len);
	return 0;
}

static const char *report(const char *what, const char *format)
{
	text[0] = '\0';
	cr_assert_eq(bslab_report_to(what, format, gather, NULL), 0);
	return text;
}

Test(handles, in_all_reports)
{
	bslab_handle_t run = bslab_handle_alloc(100000);

	fragment(h, N, 10, 500);
	bslab_compact();
	cr_assert(strstr(report("slabinfo", "text"), "handle-512 "));
	cr_assert(strstr(text, "handle-run "));
	cr_assert(strstr(text, "# handle-512 "));
	cr_assert(strstr(report("slabinfo", "json"), "\"name\":\"handle-512\""));
	cr_assert(strstr(report("slabinfo", "prometheus"), "cache=\"handle-512\",state=\"used\"} 6000"));
	cr_assert(strstr(report("vmstat", "text"), "compact_moved "));
	cr_assert_not(strstr(text, "compact_moved 0\n"));
	for (unsigned i = COMPACT_STALL; i <= COMPACT_DEFERRED; i++) {
		static const char *const form[][2] = {{"text", "\n%s "}, {"json", "\"%s\":"}, {"prometheus", "\nbslab_vmstat_%s_total "}};

		for (unsigned k = 0; k < 3; k++) {
			char name[80];

			snprintf(name, sizeof name, form[k][1], vm_event_text[i].name);
			cr_assert(strstr(report("vmstat", form[k][0]), name), "%s %s", form[k][0], name);
		}
	}
	/* 6000 objects of 512 bytes, and 25 pages */
	cr_assert(strstr(report("meminfo", "text"), "Handles:            3100 kB"), "%s", text);
	cr_assert(strstr(report("meminfo", "json"), "\"page_runs\":0"), "%s", text);
	bslab_handle_free(run);
	drop(h, N);
}

/* --- fork ----------------------------------------------------------------------------------------------------------------- */

static _Atomic bool compacting, compacted;

static void *compact(void *unused)
{
	compacting = true;
	bslab_compact();
	compacted = true;
	return unused;
}

/* Blocks that are isolated are not yet counted in another way. */
static bool is_under_way(void)
{
	const struct compact_counts *c = &compact_counts;

	return c->nr_isolated != c->nr_released + c->nr_pinned + c->nr_void + c->nr_no_room + c->nr_deferred;
}

enum { CHILD_GOOD, CHILD_BLOCKS, CHILD_OBJECTS, CHILD_GOOD_MEANWHILE };

static void child(void)
{
	bool meanwhile = is_under_way();

	alarm(60);
	check(h, N);
	bslab_compact();
	check(h, N);
	drop(h, N);
	bslab_malloc_trim(0);
	/* Pages that the compactor was about to take, or to give back, are lost to the child: of one slab, so of one block. */
	_exit(nr_blocks() > 1 ? CHILD_BLOCKS : objects_bytes() ? CHILD_OBJECTS : meanwhile ? CHILD_GOOD_MEANWHILE : CHILD_GOOD);
}

/* A fork in the middle of a compaction waits for nothing of it, and the child has a heap that can be compacted. */
Test(handles, fork_meanwhile)
{
	unsigned i, nr_meanwhile = 0;
	pthread_t t;
	int status;

	roam();
	bslab_set_limits(0, 0);
	for (i = 0; i < 200 && nr_meanwhile < 2; i++) {
		uint64_t moved = compact_counts.nr_moved;
		pid_t pid;

		bslab_mallopt(M_TRIM_THRESHOLD, 1 << 30); /* no compaction by the watermark */
		fragment(h, N, 3, 1000);
		compacting = compacted = false;
		cr_assert_eq(pthread_create(&t, NULL, compact, NULL), 0);
		while (!compacting || (READ_ONCE(compact_counts.nr_moved) < moved + 100 && !compacted))
			sched_yield();
		pid = fork();
		if (pid == 0)
			child();
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status) && (WEXITSTATUS(status) == CHILD_GOOD || WEXITSTATUS(status) == CHILD_GOOD_MEANWHILE), "%#x",
			  (unsigned)status);
		nr_meanwhile += WEXITSTATUS(status) == CHILD_GOOD_MEANWHILE;
		pthread_join(t, NULL);
		check(h, N);
		drop(h, N);
		memset(h, 0, sizeof h);
	}
	cr_assert_gt(nr_meanwhile, 0);
}

static bslab_handle_t resized[2];
static _Atomic bool stops;

static void *resize(void *unused)
{
	while (!stops)
		for (size_t i = 0; i < 2; i++)
			for (size_t size = 1000; size < 10 << 20; size *= 10)
				cr_assert_eq(bslab_handle_resize(resized[i], size << i), 0);
	return unused;
}

/* Another thread's resize is no map that stays. */
Test(handles, fork_during_a_resize)
{
	pthread_t thread;
	int status;
	pid_t pid;

	roam();
	for (int i = 0; i < 2; i++)
		resized[i] = bslab_handle_alloc(1000);
	pthread_create(&thread, NULL, resize, NULL);
	for (int i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			for (int k = 0; k < 2; k++) {
				memset(bslab_handle_map(resized[k]), 1, bslab_handle_size(resized[k]));
				bslab_handle_unmap(resized[k]);
				bslab_handle_free(resized[k]);
			}
			_exit(0);
		}
		waitpid(pid, &status, 0);
		cr_assert_eq(status, 0);
	}
	stops = true;
	pthread_join(thread, NULL);
}
