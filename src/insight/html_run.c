/* SPDX-License-Identifier: MIT */
/* Looks as often as was asked for, and writes the page. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "insight/fill.h"
#include "insight/html.h"

static int complain(const char *what, const char *why)
{
	fprintf(stderr, "bslab-stat: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	return EXIT_FAILURE;
}

/* ^C ends the samples, not the program: there is a page to be written. */
static volatile sig_atomic_t was_interrupted;

static void on_interrupt(int number)
{
	(void)number;
	was_interrupted = 1;
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_until(double at)
{
	struct timespec t = {(time_t)at, (long)((at - (double)(time_t)at) * 1e9)};

	while (!was_interrupted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* The report is half of one where the process ended meanwhile: then false, and the picture stays what it was. */
static bool take_report(struct picture *p, struct memory *m, struct heap_report *scratch, bool with_map)
{
	bool good = true;
	struct heap h;

	if (!heap_open(&h, m))
		return false;
	report_fill(&h, scratch);
	if (with_map)
		good = picture_take(p, &h) || memory_fail(m, "out of memory");
	good = good && m->source->refresh(m) && (!p->has_process || procinfo_take(&p->process));
	if (good) {
		memcpy(&p->report, scratch, sizeof p->report);
		p->nr_doubts = h.nr_doubts;
	} else {
		p->has_map = false;
	}
	heap_close(&h);
	return good;
}

static void add_point(struct series *s, const struct picture *p, double at)
{
	struct point point = {at, {(double)p->process.rss, (double)p->report.used, (double)p->report.cached, (double)p->report.dirty_free}};

	series_add(s, &point);
}

/* Samples, and the map with the last one. False when there was not even one. */
static bool look(const struct html_request *q, struct memory *m, struct picture *p, struct series *s)
{
	struct heap_report *scratch = malloc(sizeof *scratch);
	double began = seconds_now(), next = began;
	unsigned long n = 0;

	if (!scratch)
		return memory_fail(m, "out of memory");
	while (q->has_interval && n + 1 != q->count && !was_interrupted && take_report(p, m, scratch, false)) {
		add_point(s, p, seconds_now() - began);
		n++;
		next += q->interval;
		if (next < seconds_now()) /* it was stopped: what was missed is not made up for */
			next = seconds_now();
		sleep_until(next);
	}
	if ((!q->has_interval || !m->fault[0]) && take_report(p, m, scratch, true)) {
		add_point(s, p, seconds_now() - began);
		n++;
	}
	free(scratch);
	return n > 0;
}

static int write_page(const struct html_request *q, const struct picture *p, const struct series *s, const char *source)
{
	bool to_stdout = !strcmp(q->path, "-"), good;
	FILE *out = to_stdout ? stdout : fopen(q->path, "w");
	struct stat st;
	int error;

	if (!out)
		return complain(q->path, strerror(errno));
	html_page(p, s, source, out);
	good = fflush(out) == 0 && !ferror(out);
	error = errno;
	if (!to_stdout && fclose(out) != 0 && good) {
		good = false;
		error = errno;
	}
	if (good)
		return EXIT_SUCCESS;
	if (!to_stdout && stat(q->path, &st) == 0 && S_ISREG(st.st_mode))
		unlink(q->path); /* half a page is none */
	return complain(q->path, strerror(error));
}

int html_run(const struct html_request *q, struct memory *memory)
{
	struct picture *p = calloc(1, sizeof *p);
	struct series *s = calloc(1, sizeof *s);
	struct sigaction on = {.sa_handler = on_interrupt};
	int status = EXIT_FAILURE;
	char source[256];

	if (!p || !s)
		return complain("out of memory", NULL);
	if (q->has_interval)
		sigaction(SIGINT, &on, NULL);
	p->has_process = !q->core && procinfo_open(&p->process, q->pid);
	if (!look(q, memory, p, s)) {
		complain(memory->fault[0] ? memory->fault : "the process has ended", NULL);
	} else {
		if (q->core)
			snprintf(source, sizeof source, "core %s", q->core);
		else
			snprintf(source, sizeof source, "%s (%d)", p->process.name, q->pid);
		status = write_page(q, p, s, source);
	}
	if (p->has_process)
		procinfo_close(&p->process);
	picture_free(p);
	free(p);
	free(s);
	return status;
}
