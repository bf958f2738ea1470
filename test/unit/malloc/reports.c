/* SPDX-License-Identifier: MIT */
/* What insight.h promises, in the mode that BSLAB_CONF names. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "bslab/insight.h"
#include "bslab/kmem.h"
#include "bslab/shrinker.h"
#include "malloc/reports.h"
#include "stay.h"

TestSuite(reports, .init = stay);

static const char *const names[] = {"buddyinfo", "pagetypeinfo", "slabinfo",	"zoneinfo",
				    "vmstat",	 "vmallocinfo",	 "meminfo", "all"};
#define NR_NAMES (sizeof names / sizeof *names)
static const char *const formats[] = {"text", "json", "prometheus"};

struct text {
	char buf[512 * 1024];
	size_t len, nr_calls;
};

static int put_text(const char *piece, size_t len, void *arg)
{
	struct text *t = arg;

	cr_assert_eq(piece[len - 1], '\n', "pieces are of whole lines");
	cr_assert_lt(t->len + len, sizeof t->buf);
	memcpy(t->buf + t->len, piece, len);
	t->len += len;
	t->buf[t->len] = '\0';
	t->nr_calls++;
	return 0;
}

static const char *report_of(const char *what, const char *format)
{
	static struct text t;

	t.len = t.nr_calls = 0;
	cr_assert_eq(bslab_report_to(what, format, put_text, &t), 0, "%s %s", what, format);
	return t.buf;
}

/* The number behind a name at the start of a line. */
static size_t value_of(const char *text, const char *name)
{
	const char *line;

	for (line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			return strtoull(line + strlen(name), NULL, 10);
	cr_assert_fail("no line '%s' in\n%s", name, text);
	return 0;
}

Test(reports, each_in_each_format)
{
	errno = 77;
	for (size_t i = 0; i < NR_NAMES; i++)
		for (size_t f = 0; f < 3; f++)
			cr_assert(strlen(report_of(names[i], formats[f])) > 0 || strcmp(names[i], "vmallocinfo") == 0);
	cr_assert_eq(errno, 77);
}

Test(reports, bad_names)
{
	static struct text t;
	static const char *const bad[] = {"", "slab", "slabinfo+", "ALL", "slabinfo meminfo", NULL};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		cr_assert_eq(bslab_report_to(bad[i], "text", put_text, &t), -1);
		cr_assert_eq(errno, EINVAL);
		errno = 0;
		cr_assert_eq(bslab_report(bad[i], "text", 1), -1);
		cr_assert_eq(errno, EINVAL);
		errno = 0;
		cr_assert_eq(bslab_report("all", bad[i], 1), -1);
		cr_assert_eq(errno, EINVAL);
	}
	cr_assert_eq(bslab_report_to("all", "text", NULL, NULL), -1);
	cr_assert_eq(t.nr_calls, 0);
}

Test(reports, write_errors)
{
	int full = open("/dev/full", O_WRONLY);

	cr_assert_eq(bslab_report("meminfo", "text", -1), -1);
	cr_assert_eq(errno, EBADF);
	if (full < 0)
		return;
	cr_assert_eq(bslab_report("meminfo", "text", full), -1);
	cr_assert_eq(errno, ENOSPC);
}

static int stop(const char *text, size_t len, void *arg)
{
	(void)text;
	(void)len;
	++*(int *)arg;
	errno = ECANCELED;
	return 1;
}

Test(reports, put_can_stop)
{
	int nr_calls = 0;

	for (int i = 0; i < 3000; i++) /* so many large blocks that their text comes in several pieces */
		cr_assert_not_null(bslab_malloc(3 * MIB));
	cr_assert_eq(bslab_report_to("vmallocinfo", "json", stop, &nr_calls), -1);
	cr_assert_eq(errno, ECANCELED);
	cr_assert_eq(nr_calls, 1);
}

static int put_that_allocates(const char *text, size_t len, void *arg)
{
	char *copy = bslab_malloc(len);

	(void)arg;
	memcpy(copy, text, len);
	cr_assert_eq(bslab_report_to("meminfo", "text", put_text, bslab_calloc(1, sizeof(struct text))), 0);
	bslab_free(copy);
	return 0;
}

Test(reports, put_may_allocate_and_report)
{
	cr_assert_eq(bslab_report_to("all", "json", put_that_allocates, NULL), 0);
}

static size_t nr_free_pages(const char *text)
{
	const char *p = strstr(text, "Normal") + 6;
	size_t n = 0;

	for (int o = 0; o < 10; o++)
		n += strtoul(p, (char **)&p, 10) << o;
	return n;
}

Test(reports, buddyinfo_is_what_zoneinfo_calls_free)
{
	for (int i = 1; i < 100; i++)
		bslab_free((i & 3 ? bslab_malloc : bslab_valloc)((size_t)i * 10000));
	cr_assert_eq(nr_free_pages(report_of("buddyinfo", "text")),
		     value_of(report_of("zoneinfo", "text"), "      nr_free_pages"));
}

Test(reports, meminfo_follows_the_heap)
{
	size_t before = value_of(report_of("meminfo", "text"), "Live:"), after;
	void *p = bslab_malloc(100 * MIB);

	after = value_of(report_of("meminfo", "text"), "Live:");
	cr_assert_geq(after, before + 100 * KIB);
	bslab_free(p);
	after = value_of(report_of("meminfo", "text"), "Live:");
	cr_assert_lt(after, before + KIB);
}

Test(reports, counters_of_the_api)
{
	static volatile size_t too_much = PTRDIFF_MAX;
	size_t fails = value_of(report_of("vmstat", "text"), "alloc_fail"), reclaims;

	cr_assert_null(bslab_malloc(too_much));
	cr_assert_eq(value_of(report_of("vmstat", "text"), "alloc_fail"), fails + 1);
	reclaims = value_of(report_of("vmstat", "text"), "reclaim");
	bslab_malloc_trim(0);
	cr_assert_eq(value_of(report_of("vmstat", "text"), "reclaim"), reclaims + 1);
}

/* It may be kept if nothing came between. */
static bool pairs_map_anew(void)
{
	size_t maps = value_of(report_of("vmstat", "text"), "large_map ");

	for (int i = 0; i < 20; i++) {
		void *p = bslab_malloc(300 * MIB);

		cr_assert_not_null(p);
		bslab_free(p);
	}
	return value_of(report_of("vmstat", "text"), "large_map ") - maps >= 20;
}

/* Where none is kept, or what is compiled to be looked at takes too long. */
static bool each_is_mapped_anew(void)
{
	const char *conf = getenv("BSLAB_CONF");
	FILE *f = fopen("/proc/sys/vm/overcommit_memory", "r");
	bool are_charged_for = !f || fgetc(f) == '2';
	struct rlimit space, data;

	if (f)
		fclose(f);
	getrlimit(RLIMIT_AS, &space);
	getrlimit(RLIMIT_DATA, &data);
#if !defined(__OPTIMIZE__) || defined(BSLAB_DEBUG) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(BSLAB_COUNTED)
	return true;
#endif
	return are_charged_for || space.rlim_cur != RLIM_INFINITY || data.rlim_cur != RLIM_INFINITY || (conf && strstr(conf, "hardened"));
}

Test(reports, large_blocks_had_for_a_moment_are_not_mapped_each_time)
{
	int i;

	if (each_is_mapped_anew())
		cr_skip("by its limits, options or build");
	for (i = 0; i < 1000 && pairs_map_anew(); i++)
		;
	cr_assert_lt(i, 1000);
	cr_assert_eq(value_of(report_of("meminfo", "text"), "Large:"), 0);
	bslab_malloc_trim(0);
	cr_assert_lt(value_of(report_of("meminfo", "text"), "MemTotal:"), 300 * KIB, "none is left");
}

/* However often it comes back. */
Test(reports, large_blocks_that_are_used_are_gone_once_freed)
{
	for (int i = 0; i < 4; i++) {
		char *p = bslab_malloc(300 * MIB);
		size_t total = value_of(report_of("meminfo", "text"), "MemTotal:");

		for (size_t at = 0; at < 8 * MIB; at += 4 * KIB)
			p[at] = 1;
		bslab_free(p);
		cr_assert_leq(value_of(report_of("meminfo", "text"), "MemTotal:"), total - 300 * KIB);
	}
}

Test(reports, of_a_child)
{
	int status;
	pid_t pid;

	for (int i = 0; i < 1000; i++)
		cr_assert_not_null(bslab_malloc((size_t)i * 50));
	pid = fork();
	if (pid == 0) {
		for (size_t f = 0; f < 3; f++)
			report_of("all", formats[f]);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- while threads churn ---------------------------------------------------------------------- */

#define NR_THREADS 4
#define NR_SLOTS 256
#define NR_REPORTS_TAKEN 60

static _Atomic bool churn_ends;

static void *churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	void *slot[NR_SLOTS] = {0};

	while (!churn_ends) {
		unsigned i = (unsigned)rand_r(&seed) % NR_SLOTS, kind = (unsigned)rand_r(&seed) % 64;
		size_t size = kind == 0 ? 3 * MIB : kind < 4 ? 100 * KIB : (size_t)rand_r(&seed) % 4000;

		bslab_free(slot[i]);
		slot[i] = bslab_malloc(size);
	}
	for (int i = 0; i < NR_SLOTS; i++)
		bslab_free(slot[i]);
	return NULL;
}

static void check_totals(size_t total, size_t live, size_t cached)
{
	cr_assert_leq(live, total);
	cr_assert_leq(cached, total);
	/* All that the threads can hold, and what this test itself has: well below. */
	cr_assert_lt(live, (size_t)NR_THREADS * NR_SLOTS * 3 * KIB + 64 * KIB);
}

static void take_reports(size_t *last, size_t nr_counters)
{
	static struct text t;
	const char *line;

	for (int n = 0; n < NR_REPORTS_TAKEN; n++) {
		t.len = 0;
		cr_assert_eq(bslab_report_to(n % 2 ? "all" : "meminfo+vmstat", formats[n % 4 == 3], put_text, &t), 0);
		if (n % 4 == 3)
			continue;
		check_totals(value_of(t.buf, "MemTotal:"), value_of(t.buf, "Live:"), value_of(t.buf, "Cached:"));
		line = strstr(t.buf, "alloc_slowpath");
		for (size_t i = 0; i < nr_counters; i++) {
			size_t value = strtoull(strchr(line, ' '), NULL, 10);

			cr_assert_geq(value, last[i], "counter %zu fell: %.40s", i, line);
			last[i] = value;
			line = strchr(line, '\n') + 1;
		}
	}
}

Test(reports, while_threads_churn, .timeout = 120)
{
	pthread_t thread[NR_THREADS];
	size_t last[40] = {0};

	roam();
	bslab_free(bslab_malloc(1)); /* as in any program, the first call comes before the first thread */
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&thread[i], NULL, churn, (void *)(i + 1));
	take_reports(last, 40);
	churn_ends = true;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
}

Test(reports, errors_have_words)
{
	static const int errors[] = {ENOSPC, EDQUOT, EACCES, ENOENT, ENOTDIR, ELOOP,  EISDIR,	     EROFS,
				     EFBIG,  EAGAIN, EPIPE,  EBADF,  EMFILE,  ENOMEM, ENAMETOOLONG, EIO};
	enum { NR = sizeof errors / sizeof *errors };

	for (int i = 0; i < NR; i++)
		for (int k = 0; k < i; k++)
			cr_assert_str_neq(error_text(errors[i]), error_text(errors[k]));
	cr_assert_str_eq(error_text(EPERM), error_text(EACCES));
	cr_assert_str_eq(error_text(ENFILE), error_text(EMFILE));
	cr_assert_str_eq(error_text(12345), error_text(EIO));
}

/* As of a signal within it: the CPU's first run finds no area for it, and another drives it out to those that a lock guards. */
Test(reports, what_comes_due_in_the_free_of_a_run_is_written_at_its_end)
{
	void *run[3];

	for (int i = 0; i < 3; i++)
		run[i] = bslab_malloc(64 * KIB);
	report_is_due = true;
	bslab_free(run[0]);
	cr_assert_not(report_is_due);
	bslab_free(run[1]);
	report_is_due = true;
	bslab_free(run[2]);
	cr_assert_not(report_is_due);
}

Test(reports, a_path_has_all_of_the_process_number_or_fails)
{
	char text[MAX_PATH + 2], path[MAX_PATH], number[12];
	size_t width = (size_t)snprintf(number, sizeof number, "%d", getpid()), most = MAX_PATH - 1 - width;

	for (size_t len = most; len <= most + width; len++) {
		memset(text, 'x', len);
		strcpy(text + len, "%p");
		cr_assert_eq(path_expand(path, text), len == most, "%zu bytes before it", len);
		cr_assert_lt(strlen(path), sizeof path);
		cr_assert(len > most || strcmp(path + len, number) == 0);
	}
}

static size_t shrink_nothing(size_t nr_bytes, void *arg)
{
	(void)nr_bytes;
	(void)arg;
	return 0;
}

static void expect_none_is_due(const char *where)
{
	(void)where; /* the stand-ins for Criterion have no messages */
	cr_assert_not(report_is_due, "behind %s", where);
	report_is_due = true;
}

Test(reports, what_comes_due_in_calls_about_limits_is_written_at_their_ends)
{
	struct bslab_shrinker_info info;
	struct bslab_shrinker *s;

	bslab_free(bslab_malloc(1));
	report_is_due = true;
	s = bslab_shrinker_register("nothing", shrink_nothing, NULL);
	expect_none_is_due("register");
	bslab_shrinker_info(s, &info);
	expect_none_is_due("info");
	bslab_shrinker_unregister(s);
	expect_none_is_due("unregister");
	cr_assert_eq(bslab_set_limits(0, GIB), 0);
	cr_assert_not(report_is_due);
}

static void expect_none_falls(size_t *last)
{
	const char *line = strstr(report_of("vmstat", "text"), "alloc_slowpath");
	size_t i;

	for (i = 0; i < 40; i++, line = strchr(line, '\n') + 1) {
		size_t value = strtoull(strchr(line, ' '), NULL, 10);

		cr_assert_geq(value, last[i], "counter %zu fell: %.40s", i, line);
		last[i] = value;
	}
}

static struct bslab_cache *used_cache(size_t nr)
{
	static void *obj[20000];
	struct bslab_cache *c = bslab_cache_create("request", 1000, 0, BSLAB_CACHE_NO_MERGE, NULL);

	cr_assert_eq(bslab_cache_alloc_bulk(c, nr, obj), nr);
	bslab_cache_free_bulk(c, nr, obj);
	return c;
}

/* As of one cache of a name or number after the other; each has its own counters all the same. */
Test(reports, no_counter_falls_when_a_cache_goes)
{
	size_t last[40] = {0}, creates[2];

	for (int i = 0; i < 2; i++) {
		struct bslab_cache *c = used_cache(i ? 100 : 20000);
		const char *row;

		expect_none_falls(last);
		row = strstr(report_of("slabinfo", "json"), "\"request\"");
		cr_assert_not_null(row);
		creates[i] = strtoull(strstr(row, "\"slab_create\":") + strlen("\"slab_create\":"), NULL, 10);
		cr_assert_eq(bslab_cache_destroy(c), 0);
		expect_none_falls(last);
	}
	cr_assert_gt(creates[0], creates[1]);
}
