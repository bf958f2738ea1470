/* SPDX-License-Identifier: MIT */
/* bslab-stat: looks into a process, or a core, from outside. docs/man/bslab-stat.1 says what it prints. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "insight/fill.h"
#include "insight/html.h"
#include "insight/summary.h"
#include "insight/view.h"
#include "report/format.h"

#define EXIT_USAGE 2
/* Lines of samples between two heads, as vmstat has them. */
#define HEAD_EVERY 20

struct request {
	int pid;
	const char *core;
	const char *html; /* a file for a page; NULL: none */
	struct core_files files;
	unsigned what; /* enum report_what; 0: the summary */
	enum report_format format;
	bool blocks, has_ptr, has_interval;
	uint64_t ptr;
	double interval;
	unsigned long count; /* 0: without end */
};

static const char usage_text[] =
    "usage: bslab-stat PID [REPORT...]\n"
    "       bslab-stat --core FILE [--exe PATH] [--lib PATH] [REPORT...]\n"
    "\n"
    "Looks into the heap of a process that runs under bslab, or of a core dump, without stopping or asking it.\n"
    "\n"
    "reports: buddyinfo pagetypeinfo slabinfo zoneinfo vmstat vmallocinfo meminfo, all; without any, a summary\n"
    "\n"
    "  --json               as one JSON object, all reports unless some are named\n"
    "  --prometheus         as Prometheus text, likewise\n"
    "  --interval SECONDS   again and again; without a report, a line each time as vmstat has it\n"
    "  --count N            so many times (default: until the process ends)\n"
    "  --ptr ADDRESS        what stands at an address\n"
    "  --blocks             the map of pageblocks, a line each\n"
    "  --html FILE          a page with pictures, for a browser; with --interval curves, too\n"
    "  --exe PATH, --lib PATH\n"
    "                       a program or library that the core's process used, from another place; more than once\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0; 1 when there is nothing to be read, with a line that says why; 2 for a wrong use.\n";

static void fail_usage(const char *what, const char *value)
{
	fprintf(stderr, "bslab-stat: %s%s%s; --help says more\n", what, value ? ": " : "", value ? value : "");
	exit(EXIT_USAGE);
}

static void fail(const char *fault)
{
	fprintf(stderr, "bslab-stat: %s\n", fault);
	exit(EXIT_FAILURE);
}

/* --- the command line --------------------------------------------------------------------------- */

enum { OPTION_CORE = 256, OPTION_FILE, OPTION_JSON, OPTION_PROMETHEUS, OPTION_INTERVAL, OPTION_COUNT, OPTION_PTR, OPTION_BLOCKS, OPTION_HTML, OPTION_VERSION };

static const struct option long_options[] = {
    {"core", required_argument, NULL, OPTION_CORE},
    {"exe", required_argument, NULL, OPTION_FILE},
    {"lib", required_argument, NULL, OPTION_FILE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"prometheus", no_argument, NULL, OPTION_PROMETHEUS},
    {"interval", required_argument, NULL, OPTION_INTERVAL},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"ptr", required_argument, NULL, OPTION_PTR},
    {"blocks", no_argument, NULL, OPTION_BLOCKS},
    {"html", required_argument, NULL, OPTION_HTML},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

static unsigned long long parse_number(const char *text, int base, unsigned long long max, const char *what)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, base);
	if (errno || end == text || *end || *text == '-' || n > max)
		fail_usage(what, text);
	return n;
}

static double parse_seconds(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= INT_MAX))
		fail_usage("not a number of seconds", text);
	return seconds;
}

static void set_format(struct request *q, enum report_format format)
{
	if (q->format != REPORT_TEXT && q->format != format)
		fail_usage("--json or --prometheus, not both", NULL);
	q->format = format;
}

static void parse_option(struct request *q, int option)
{
	switch (option) {
	case OPTION_CORE:
		q->core = optarg;
		break;
	case OPTION_FILE:
		if (q->files.nr == sizeof q->files.path / sizeof *q->files.path)
			fail_usage("too many files", NULL);
		q->files.path[q->files.nr++] = optarg;
		break;
	case OPTION_JSON:
		set_format(q, REPORT_JSON);
		break;
	case OPTION_PROMETHEUS:
		set_format(q, REPORT_PROMETHEUS);
		break;
	case OPTION_INTERVAL:
		q->has_interval = true;
		q->interval = parse_seconds(optarg);
		break;
	case OPTION_COUNT:
		q->count = parse_number(optarg, 10, ULONG_MAX, "not a count");
		if (!q->count)
			fail_usage("not a count", optarg);
		break;
	case OPTION_PTR:
		q->has_ptr = true;
		q->ptr = parse_number(optarg, 0, UINT64_MAX, "not an address");
		break;
	case OPTION_BLOCKS:
		q->blocks = true;
		break;
	case OPTION_HTML:
		q->html = optarg;
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
	case OPTION_VERSION:
		printf("bslab-stat %s, layout %u.%08x\n", BSLAB_VERSION, ANCHOR_VERSION, LAYOUT_HASH);
		exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
	default:
		exit(EXIT_USAGE); /* getopt has said why */
	}
}

static void check_request(struct request *q)
{
	if (q->files.nr && !q->core)
		fail_usage("--exe and --lib go with --core", NULL);
	if (q->core && q->has_interval)
		fail_usage("a core does not change: no --interval", NULL);
	if (q->count && !q->has_interval)
		fail_usage("--count goes with --interval", NULL);
	if (q->has_ptr + q->blocks + (q->html != NULL) + (q->what || q->format != REPORT_TEXT) > 1)
		fail_usage("one of --ptr, --blocks, --html, and reports at a time", NULL);
	if (!q->what && q->format != REPORT_TEXT)
		q->what = REPORT_ALL;
	if (!q->has_interval)
		q->count = 1;
}

static void parse(struct request *q, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		parse_option(q, option);
	if (!q->core) {
		if (optind == argc)
			fail_usage("which process?", NULL);
		q->pid = (int)parse_number(argv[optind++], 10, INT_MAX, "not a process number");
		if (!q->pid)
			fail_usage("not a process number", argv[optind - 1]);
	}
	for (; optind < argc; optind++) {
		unsigned what = report_what_of(argv[optind], strlen(argv[optind]));

		if (!what)
			fail_usage("no such report", argv[optind]);
		q->what |= what;
	}
	check_request(q);
}

/* --- samples ------------------------------------------------------------------------------------ */

static void put_line(const char *line, void *out)
{
	fprintf(out, "%s\n", line);
}

/* What a pipe or a disk did not take is not there: no later sample makes up for it. */
static void flush(void)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "bslab-stat: cannot write: %s\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
}

/* A line on stderr where numbers are less than sure, or a choice was made. */
static void put_notes(const struct request *q, const struct heap *h)
{
	if (h->nr_heaps > 1)
		fprintf(stderr, "bslab-stat: there are %u heaps of bslab in %s; this is the first\n", h->nr_heaps,
			h->memory->name);
	if (h->nr_doubts && !(q->has_interval && !q->what))
		fprintf(stderr, "bslab-stat: %zu of the heap's parts %s; what they hold is approximate\n", h->nr_doubts,
			q->core ? "are damaged" : "changed while they were read");
}

struct samples {
	unsigned long nr;
	struct heap_report *now, *before;
	struct timespec at;
};

static double seconds_since(const struct timespec *then, const struct timespec *now)
{
	return (double)(now->tv_sec - then->tv_sec) + (double)(now->tv_nsec - then->tv_nsec) / 1e9;
}

/* The first line's rates have no time that they are over: there it is zeros, not the average since the start. */
static void put_sample(struct samples *s)
{
	struct heap_report *other = s->before;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (s->nr % HEAD_EVERY == 0)
		samples_head(stdout);
	samples_line(s->now, s->nr ? s->before : s->now, s->nr ? seconds_since(&s->at, &now) : 1, stdout);
	s->at = now;
	s->before = s->now;
	s->now = other;
}

/* Half of a heap is no heap: before anything is printed. */
static void check_life(struct heap *h)
{
	if (!h->memory->source->refresh(h->memory))
		fail(h->memory->fault);
}

static void put_view(const struct request *q, struct heap *h)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		fail("out of memory");
	if (q->has_ptr)
		view_pointer(h, q->ptr, out);
	else
		view_blocks(h, out);
	if (fclose(out))
		fail("out of memory");
	check_life(h);
	fwrite(text, 1, size, stdout);
	free(text);
}

static void put(const struct request *q, struct heap *h, struct samples *s)
{
	if (q->has_ptr || q->blocks) {
		put_view(q, h);
	} else {
		report_fill(h, s->now);
		check_life(h);
		if (q->what)
			report_write(s->now, q->what, q->format, put_line, stdout);
		else if (q->has_interval)
			put_sample(s);
		else
			summary_write(s->now, stdout);
	}
}

/* The looks that a stopped reader has missed are not made up for. */
static void sleep_until_next(struct timespec *next, double interval)
{
	struct timespec now;
	time_t sec = (time_t)interval;
	long nsec = next->tv_nsec + (long)((interval - (double)sec) * 1e9);

	next->tv_sec += sec + nsec / 1000000000;
	next->tv_nsec = nsec % 1000000000;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (seconds_since(next, &now) > 0)
		*next = now;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
		;
}

static void run(const struct request *q, struct memory *m)
{
	struct samples s = {.now = malloc(sizeof *s.now), .before = malloc(sizeof *s.before)};
	struct timespec next;
	struct heap h;

	if (!s.now || !s.before)
		fail("out of memory");
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		if (!heap_open(&h, m))
			fail(m->fault);
		if (s.nr && (q->what || q->has_ptr || q->blocks) && q->format != REPORT_JSON)
			putchar('\n');
		put(q, &h, &s);
		flush();
		put_notes(q, &h);
		heap_close(&h);
		if (++s.nr == q->count)
			break;
		sleep_until_next(&next, q->interval);
	}
	free(s.now);
	free(s.before);
}

static int run_html(const struct request *q, struct memory *m)
{
	struct html_request html = {q->html, q->core, q->pid, q->has_interval, q->interval, q->count};

	return html_run(&html, m);
}

int main(int argc, char **argv)
{
	struct request q = {0};
	char fault[MAX_FAULT] = "";
	int status = EXIT_SUCCESS;
	struct memory *m;

	parse(&q, argc, argv);
	m = q.core ? core_open(q.core, &q.files, fault) : process_open(q.pid, fault);
	if (!m)
		fail(fault);
	if (q.html)
		status = run_html(&q, m);
	else
		run(&q, m);
	memory_close(m);
	return status;
}
