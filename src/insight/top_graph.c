/* SPDX-License-Identifier: MIT */
/*
 * RSS against live, over time: a column for each sample, the newest at the right. What is both is one area from the
 * bottom; on it stands what is resident beyond that (overhead, and the rest of the process), or live and not resident.
 */
#include <stdio.h>
#include <string.h>

#include "insight/scale.h"
#include "insight/top.h"

#define LABEL_WIDTH 8
#define MIN_ROWS 3
/* From so many columns on there is room for the time at the left end. */
#define SPAN_WIDTH 16

struct area {
	enum style style;
	char ascii;
	uint32_t ch;
};
static const struct area live_area = {STYLE_LIVE, '#', 0x2588}, over_area = {STYLE_OVER, '+', 0x2592},
			 absent_area = {STYLE_ABSENT, ':', 0x2591};

static uint32_t area_char(const struct canvas *c, const struct area *a)
{
	return c->utf8 ? a->ch : (unsigned char)a->ascii;
}

/* A cell of which the area fills a part; 0: too little to be drawn. */
static uint32_t part_char(const struct canvas *c, const struct area *a, double part)
{
	unsigned eighths = (unsigned)(part * 8 + 0.5);

	if (!c->utf8)
		return part >= 0.5 ? (unsigned char)a->ascii : 0;
	return eighths ? eighths == 8 ? a->ch : 0x2580 + eighths : 0;
}

struct plot {
	unsigned left, top, width, height;
	double ceiling; /* bytes */
};

static void draw_column(const struct moment *m, struct canvas *c, const struct plot *p, unsigned column)
{
	double low = (double)min_size(m->rss, m->live) * p->height / p->ceiling;
	double high = (double)max_size(m->rss, m->live) * p->height / p->ceiling;
	const struct area *above = m->rss >= m->live ? &over_area : &absent_area, *area;
	unsigned k;
	uint32_t ch;

	for (k = 0; k < p->height && high > k; k++) {
		area = low >= k + 0.5 ? &live_area : above;
		ch = high >= k + 1 ? area_char(c, area) : part_char(c, area, high - k);
		if (ch)
			canvas_char(c, p->top + p->height - 1 - k, p->left + column, area->style, ch);
	}
}

static void draw_axes(const struct top *t, struct canvas *c, const struct plot *p, size_t nr)
{
	double span = t->history.nr ? history_at(&t->history, nr, nr - 1)->at - history_at(&t->history, nr, 0)->at : 0;
	unsigned middle = p->top + p->height / 2, bottom = p->top + p->height;
	char text[SCALE_TEXT];
	unsigned row, i;

	for (row = p->top; row < bottom; row++)
		canvas_char(c, row, LABEL_WIDTH - 1, STYLE_WEAK, c->utf8 ? 0x2502 : '|');
	canvas_char(c, bottom, LABEL_WIDTH - 1, STYLE_WEAK, c->utf8 ? 0x2514 : '+');
	for (i = 0; i < p->width; i++)
		canvas_char(c, bottom, p->left + i, STYLE_WEAK, c->utf8 ? 0x2500 : '-');
	canvas_put(c, p->top, 0, STYLE_PLAIN, "%6s", scale_bytes(text, p->ceiling));
	if (middle > p->top)
		canvas_put(c, middle, 0, STYLE_PLAIN, "%6s", scale_bytes(text, p->ceiling * (bottom - middle) / p->height));
	canvas_put(c, bottom, 0, STYLE_PLAIN, "%6s", "0");
	if (nr > SPAN_WIDTH)
		canvas_put(c, bottom + 1, p->left + p->width - (unsigned)nr, STYLE_PLAIN, "-%s", scale_duration(text, span));
	if (p->width > 20)
		canvas_put(c, bottom + 1, p->left + p->width - 3, STYLE_PLAIN, "now");
}

static void draw_legend(const struct top *t, struct canvas *c, unsigned at)
{
	static const struct {
		const struct area *area;
		const char *text;
	} entries[] = {{&live_area, "live and resident"}, {&over_area, "RSS beyond"}, {&absent_area, "live, not resident"}};
	unsigned i, column = 0;
	char rss[SCALE_TEXT], live[SCALE_TEXT], text[2 * SCALE_TEXT + 16];

	for (i = 0; i < 3; i++) {
		canvas_char(c, at, column, entries[i].area->style, area_char(c, entries[i].area));
		column = canvas_put(c, at, column + 1, STYLE_PLAIN, " %s  ", entries[i].text);
	}
	snprintf(text, sizeof text, "RSS %s, live %s", scale_bytes(rss, (double)t->process.rss), scale_bytes(live, (double)t->now->used));
	if (column + strlen(text) <= c->width)
		canvas_put(c, at, column, STYLE_STRONG, "%s", text);
}

void top_draw_graph(struct top *t, struct canvas *c, unsigned top)
{
	unsigned room = c->height > top + 3 ? c->height - top - 3 : 0;
	struct plot p = {LABEL_WIDTH, top + 1, c->width > LABEL_WIDTH ? c->width - LABEL_WIDTH : 0, room, 0};
	size_t nr = min_size(history_nr(&t->history), p.width), i;
	double most = 0;

	draw_legend(t, c, top);
	top_clamp_scroll(t, 0, 0);
	if (room < MIN_ROWS || !p.width)
		return;
	for (i = 0; i < nr; i++) {
		const struct moment *m = history_at(&t->history, nr, i);
		double n = (double)max_size(m->rss, m->live);

		most = n > most ? n : most;
	}
	p.ceiling = scale_ceiling_bytes(most);
	for (i = 0; i < nr; i++)
		draw_column(history_at(&t->history, nr, i), c, &p, p.width - (unsigned)nr + (unsigned)i);
	draw_axes(t, c, &p, nr);
}
