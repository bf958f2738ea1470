/* SPDX-License-Identifier: MIT */
/*
 * bslab-top: a process's heap, looked at again and again.
 *
 * 1. top_sample() takes all that is shown (top_sample.c); the process is neither
 *    stopped nor asked. What costs most to read, where pages are resident, is
 *    read only for the pageblocks that are to be seen.
 * 2. A view draws the sample on a canvas (top_views.c, top_map.c, top_graph.c)
 *    and knows nothing of terminals. So tests and --batch see what eyes see.
 * 3. top_term.c shows the canvas by ncurses, and reads keys; top.c is the loop.
 */
#ifndef BSLAB_INSIGHT_TOP_H
#define BSLAB_INSIGHT_TOP_H

#include <time.h>

#include "insight/canvas.h"
#include "insight/heap.h"
#include "insight/procinfo.h"
#include "insight/survey.h"
#include "insight/top_rows.h"

enum view { VIEW_CACHES, VIEW_CPUS, VIEW_MAP, VIEW_GRAPH, VIEW_COUNTERS, NR_VIEWS };
extern const char *const view_names[NR_VIEWS];

enum colouring { BY_TYPE, BY_DENSITY, BY_RESIDENCE, NR_COLOURINGS };

/* As many samples as a wide terminal has columns; the oldest is forgotten. */
#define MAX_HISTORY 1024

struct moment {
	double at; /* seconds since the first */
	size_t rss, live, committed, dirty;
};

struct history {
	struct moment moment[MAX_HISTORY];
	size_t nr; /* ever added: the last one is moment[(nr - 1) % MAX_HISTORY] */
};

struct top {
	/* What was read: */
	struct memory *memory;
	struct heap heap;
	bool is_open;		  /* the heap was found */
	struct procinfo process;
	struct heap_report *now, *before; /* before: valid where nr_samples > 1 */
	struct survey survey;
	struct history history;
	uint64_t nr_faults_before;
	size_t nr_doubts;
	unsigned long nr_samples;
	double seconds;	      /* between the last two */
	struct timespec at, began; /* CLOCK_MONOTONIC */
	time_t clock;	      /* of the day */
	bool has_ended;
	char message[MAX_FAULT];
	/* What is to be shown: */
	enum view view;
	enum sort_key sort;
	bool reverse, is_help;
	enum colouring colouring;
	size_t scroll, nr_rows; /* rows of the view: the first that is shown, and all of them as last drawn */
	unsigned nr_visible;	/* rows that there is room for, as last drawn */
	double delay;
	bool is_batch; /* nobody presses keys */
};

/* False, with a fault: there is no such process, it may not be read, it has no heap. */
bool top_open(struct top *t, int pid, char fault[MAX_FAULT]);
void top_close(struct top *t);
/* False when that failed: then `message` says why, and what was taken before stays. */
bool top_sample(struct top *t);
/* Asks the kernel about the pages of pageblocks that are shown, once for each sample. */
void top_ask_residence(struct top *t, size_t first, size_t nr);

/* All of it: a header, the names of the views, and the view or the help. */
void top_draw(struct top *t, struct canvas *c);

/*
 * Views draw from row `top` on what is behind the first t->scroll rows, and set t->nr_rows and t->nr_visible. Heads and
 * legends stay.
 */
void top_draw_map(struct top *t, struct canvas *c, unsigned top);
void top_draw_graph(struct top *t, struct canvas *c, unsigned top);
/* Keeps the scroll within the rows; the rows that there is room for. */
void top_clamp_scroll(struct top *t, size_t nr_rows, unsigned nr_visible);

/* Per second, between the last two samples; 0 at the first. */
double top_rate(const struct top *t, enum vm_event event);

void history_add(struct history *h, const struct moment *m);
/* How many there are, and the i-th of the last nr of them. */
size_t history_nr(const struct history *h);
const struct moment *history_at(const struct history *h, size_t nr, size_t i);

#endif
