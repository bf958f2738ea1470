/* SPDX-License-Identifier: MIT */
/* bslab-top: the command line, keys and the loop. docs/man/bslab-top.1 says what it shows. */
#define _GNU_SOURCE
#include "insight/top.h"

#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "insight/top_term.h"

#define EXIT_USAGE 2
#define DEFAULT_DELAY 3
#define MIN_DELAY 0.05
/* The second look comes soon: rates are between two. */
#define FIRST_DELAY 0.5
#define DEFAULT_WIDTH 100 /* of a batch, where COLUMNS does not say */
/* Rows of a graph where no terminal says how many there are. */
#define BATCH_GRAPH_ROWS 24

static const char usage_text[] =
    "usage: bslab-top [OPTION...] PID\n"
    "\n"
    "Watches the heap of a process that runs under bslab, without stopping or asking it.\n"
    "\n"
    "  -d, --delay SECONDS  between two looks (default 3)\n"
    "  -s, --sort KEY       of the caches: c size, o objects, a active, u use, w waste, r rate, n name, s object size,\n"
    "                       l slabs, v partial slabs, b objects per slab, p pages per slab, e cached\n"
    "  -v, --view VIEW      to begin with: caches, cpus, map, graph, counters\n"
    "  -m, --map COLOURS    of the map: type, full, resident\n"
    "  -b, --batch          plain text, whole tables, for scripts: needs no terminal\n"
    "  -n, --iterations N   so many looks, then an end\n"
    "  -o, --once           one look: the same as --batch -n 1\n"
    "  -h, --help, -V, --version\n"
    "\n"
    "Keys: q quit, h help, tab or 1 to 5 views, the letters above the order, R reversed, m the map's colours, d delay.\n"
    "Exit status: 0; 1 when there is nothing to be read, with a line that says why; 2 for a wrong use.\n";

static void fail_usage(const char *what, const char *value)
{
	fprintf(stderr, "bslab-top: %s%s%s; --help says more\n", what, value ? ": " : "", value ? value : "");
	exit(EXIT_USAGE);
}

static void fail(const char *fault)
{
	fprintf(stderr, "bslab-top: %s\n", fault);
	exit(EXIT_FAILURE);
}

/* --- the command line --------------------------------------------------------------------------- */

struct request {
	int pid;
	bool batch;
	unsigned long count; /* 0: without end */
};

static const struct option long_options[] = {
    {"delay", required_argument, NULL, 'd'}, {"sort", required_argument, NULL, 's'},
    {"view", required_argument, NULL, 'v'},  {"map", required_argument, NULL, 'm'},
    {"batch", no_argument, NULL, 'b'},	     {"iterations", required_argument, NULL, 'n'},
    {"once", no_argument, NULL, 'o'},	     {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},     {0},
};

static unsigned long parse_number(const char *text, unsigned long max, const char *what)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || !n || n > max)
		fail_usage(what, text);
	return n;
}

/* Seconds, or 0: no good. */
static double delay_of(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= 86400))
		return 0;
	return seconds < MIN_DELAY ? MIN_DELAY : seconds;
}

static int index_of(const char *const *names, int nr, const char *name, const char *what)
{
	int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(names[i], name))
			return i;
	fail_usage(what, name);
	return 0;
}

static void say(const char *text)
{
	fputs(text, stdout);
	exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void parse_option(struct request *q, struct top *t, int option)
{
	static const char *const colourings[NR_COLOURINGS] = {"type", "full", "resident"};
	int key;

	switch (option) {
	case 'd':
		t->delay = delay_of(optarg);
		if (t->delay <= 0)
			fail_usage("not a number of seconds", optarg);
		break;
	case 's':
		key = sort_key_of(optarg);
		if (key < 0)
			fail_usage("no such order", optarg);
		t->sort = (enum sort_key)key;
		break;
	case 'v':
		t->view = (enum view)index_of(view_names, NR_VIEWS, optarg, "no such view");
		break;
	case 'm':
		t->colouring = (enum colouring)index_of(colourings, NR_COLOURINGS, optarg, "the map's colours are type, full, resident");
		break;
	case 'n':
		q->count = parse_number(optarg, ULONG_MAX, "not a count");
		break;
	case 'o':
		q->batch = true;
		q->count = 1;
		break;
	case 'b':
		q->batch = true;
		break;
	case 'h':
		say(usage_text);
		break;
	case 'V':
		say("bslab-top " BSLAB_VERSION "\n");
		break;
	default:
		exit(EXIT_USAGE); /* getopt has said why */
	}
}

static void parse(struct request *q, struct top *t, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "d:s:v:m:bn:ohV", long_options, NULL)) != -1)
		parse_option(q, t, option);
	if (optind == argc)
		fail_usage("which process?", NULL);
	q->pid = (int)parse_number(argv[optind++], INT_MAX, "not a process number");
	if (optind < argc)
		fail_usage("one process at a time", argv[optind]);
	if (!q->batch && !isatty(STDOUT_FILENO)) {
		q->batch = true;
		q->count = q->count ? q->count : 1;
	}
	t->is_batch = q->batch;
}

/* --- batch -------------------------------------------------------------------------------------- */

static unsigned batch_width(void)
{
	const char *text = getenv("COLUMNS");
	long n = text ? strtol(text, NULL, 10) : 0;

	return n >= 20 && n <= 1000 ? (unsigned)n : DEFAULT_WIDTH;
}

/* The whole of a view: drawn once to learn how many rows it has, and again on as many as they take. */
static void put_whole(struct top *t, struct canvas *c)
{
	unsigned width = batch_width(), height = BATCH_GRAPH_ROWS;

	if (!canvas_resize(c, width, height))
		fail("out of memory");
	top_draw(t, c);
	if (t->nr_rows > t->nr_visible) {
		if (!canvas_resize(c, width, height + (unsigned)(t->nr_rows - t->nr_visible)))
			fail("out of memory");
		top_draw(t, c);
	}
	canvas_write(c, stdout);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "bslab-top: cannot write: %s\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
}

static void nap(double seconds)
{
	struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	while (nanosleep(&time, &time) < 0 && errno == EINTR)
		;
}

static void run_batch(struct top *t, const struct request *q)
{
	struct canvas c = {.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8")};
	unsigned long n = 0;

	for (;;) {
		if (n)
			putchar('\n');
		put_whole(t, &c);
		if (++n == q->count)
			break;
		nap(t->delay);
		if (!top_sample(t)) {
			fprintf(stderr, "bslab-top: %s\n", t->message);
			if (t->has_ended)
				break;
		}
	}
	canvas_free(&c);
}

/* --- signals ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t end_signal, was_resized;

static void on_end(int number)
{
	end_signal = number;
}

static void on_resize(int number)
{
	(void)number;
	was_resized = 1;
}

/* They are let in while the loop waits, and only then. Before ncurses, which leaves alone what has a handler. */
static void prepare_signals(sigset_t *during)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction on = {.sa_handler = on_end};
	sigset_t mine;
	size_t i;

	sigemptyset(&mine);
	for (i = 0; i < sizeof ends / sizeof *ends; i++) {
		sigaction(ends[i], &on, NULL);
		sigaddset(&mine, ends[i]);
	}
	on.sa_handler = on_resize;
	sigaction(SIGWINCH, &on, NULL);
	sigaddset(&mine, SIGWINCH);
	sigprocmask(SIG_BLOCK, &mine, during);
}

/* As it would have ended without a handler, now that the terminal is restored; ^C is a way to quit. */
static void end_by_signal(const sigset_t *during)
{
	if (end_signal == SIGINT)
		return;
	signal(end_signal, SIG_DFL);
	raise(end_signal);
	sigprocmask(SIG_SETMASK, during, NULL);
}

/* --- keys --------------------------------------------------------------------------------------- */

struct console {
	struct top *top;
	struct canvas canvas;
	sigset_t during;
	bool quits, looks;   /* at once */
	bool is_asking;	     /* for the delay */
	char answer[16];
};

static void answer_key(struct console *k, int key)
{
	size_t len = strlen(k->answer);
	double delay;

	if (key == '\r' || key == '\n') {
		delay = delay_of(k->answer);
		if (delay > 0)
			k->top->delay = delay;
		k->is_asking = false;
	} else if (key == '\b' || key == 127) {
		k->answer[len ? len - 1 : 0] = 0;
	} else if (((key >= '0' && key <= '9') || key == '.') && len + 1 < sizeof k->answer) {
		k->answer[len] = (char)key;
		k->answer[len + 1] = 0;
	} else if (key < 0x100) {
		k->is_asking = false;
	}
}

static void show_view(struct top *t, int view)
{
	t->view = (enum view)((view + NR_VIEWS) % NR_VIEWS);
	t->scroll = 0;
}

/* False when the key has another meaning. top_clamp_scroll() sees to what is too far. */
static bool scroll_key(struct top *t, int key)
{
	size_t page = t->nr_visible > 1 ? t->nr_visible - 1 : 1;

	switch (key) {
	case TERM_UP:
		t->scroll -= t->scroll > 0;
		return true;
	case TERM_DOWN:
		t->scroll++;
		return true;
	case TERM_PAGE_UP:
		t->scroll -= min_size(page, t->scroll);
		return true;
	case TERM_PAGE_DOWN:
		t->scroll += page;
		return true;
	case TERM_HOME:
		t->scroll = 0;
		return true;
	case TERM_END:
		t->scroll = t->nr_rows;
		return true;
	default:
		return false;
	}
}

static void set_order(struct top *t, int key)
{
	char letter[2] = {(char)key, 0};
	int sort = key < 0x80 ? sort_key_of(letter) : -1;

	if (sort < 0)
		return;
	t->reverse = false;
	t->sort = (enum sort_key)sort;
	t->scroll = 0;
}

static void press(struct console *k, int key)
{
	struct top *t = k->top;

	if (k->is_asking) {
		answer_key(k, key);
		return;
	}
	if (scroll_key(t, key))
		return;
	if (t->is_help) {
		t->is_help = false;
		t->scroll = 0;
		return;
	}
	switch (key) {
	case 'q':
	case 'Q':
		k->quits = true;
		break;
	case ' ':
		k->looks = true;
		break;
	case 'h':
	case '?':
		t->is_help = true;
		t->scroll = 0;
		break;
	case 'd':
		k->is_asking = true;
		k->answer[0] = 0;
		break;
	case '\t':
	case TERM_RIGHT:
		show_view(t, (int)t->view + 1);
		break;
	case TERM_TAB_BACK:
	case TERM_LEFT:
		show_view(t, (int)t->view - 1);
		break;
	case 'm':
		t->colouring = (enum colouring)((t->colouring + 1) % NR_COLOURINGS);
		break;
	case 'R':
		t->reverse = !t->reverse;
		break;
	case 'L' & 0x1f:
		term_redraw();
		break;
	default:
		if (key >= '1' && key < '1' + NR_VIEWS)
			show_view(t, key - '1');
		else
			set_order(t, key);
	}
}

/* --- the loop ----------------------------------------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void show(struct console *k)
{
	unsigned width, height;

	term_size(&width, &height);
	if ((width != k->canvas.width || height != k->canvas.height) && !canvas_resize(&k->canvas, width, height))
		return;
	top_draw(k->top, &k->canvas);
	if (k->is_asking) {
		unsigned row = height > 4 ? 4 : height - 1, i;

		for (i = 0; i < width; i++)
			canvas_char(&k->canvas, row, i, STYLE_PLAIN, ' ');
		canvas_put(&k->canvas, row, 0, STYLE_STRONG, "seconds between two looks (now %.3g): %s_", k->top->delay, k->answer);
	}
	term_show(&k->canvas);
}

static void loop(struct console *k, const struct request *q)
{
	double next = now() + (k->top->delay < FIRST_DELAY ? k->top->delay : FIRST_DELAY), left, delay;
	unsigned long nr_looks = 1;
	int key;

	while (!k->quits && !end_signal) {
		show(k);
		left = next - now();
		delay = k->top->delay;
		key = term_key(left > 0 ? left : 0, &k->during);
		if (was_resized) {
			was_resized = 0;
			term_resize();
		}
		if (key == TERM_GONE)
			end_signal = SIGHUP;
		else if (key != TERM_NONE)
			press(k, key);
		if (k->top->delay < delay)
			next = now() + k->top->delay;
		if (k->looks || (now() >= next && !k->is_asking)) {
			top_sample(k->top);
			k->looks = false;
			next = now() + k->top->delay;
			k->quits = k->quits || (++nr_looks > q->count && q->count); /* also of a process that has ended */
		}
	}
}

static void run_console(struct top *t, const struct request *q)
{
	struct console k = {.top = t, .canvas.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8")};
	const char *fault;

	prepare_signals(&k.during);
	if (!term_open(&fault))
		fail(fault);
	loop(&k, q);
	term_close();
	canvas_free(&k.canvas);
	end_by_signal(&k.during);
}

int main(int argc, char **argv)
{
	static struct top t = {.delay = DEFAULT_DELAY};
	char fault[MAX_FAULT] = "";
	struct request q = {0};

	setlocale(LC_CTYPE, "");
	parse(&q, &t, argc, argv);
	if (!top_open(&t, q.pid, fault))
		fail(fault);
	if (q.batch)
		run_batch(&t, &q);
	else
		run_console(&t, &q);
	top_close(&t);
	return EXIT_SUCCESS;
}
