/* SPDX-License-Identifier: MIT */
/* Curves over time. */
#include "insight/html.h"

#include "insight/scale.h"

void series_add(struct series *s, const struct point *p)
{
	size_t i;

	s->stride = s->stride ? s->stride : 1;
	if (s->nr_seen++ % s->stride)
		return;
	if (s->nr == MAX_POINTS) {
		for (i = 0; i < MAX_POINTS / 2; i++)
			s->point[i] = s->point[2 * i];
		s->nr = MAX_POINTS / 2;
		s->stride *= 2;
	}
	s->point[s->nr++] = *p;
}

/* Units of the drawing: the area of the curves, and room for labels around it. */
#define LEFT 70
#define TOP 12
#define WIDTH 700
#define HEIGHT 220
#define RIGHT 126
#define BOTTOM 40 /* labels of curves that end close together may go below the axis */
#define NR_TICKS 4

static const char *const curve_names[NR_CURVES] = {"RSS", "live", "cached", "dirty"};

struct frame {
	double from, span, ceiling;
};

static double x_of(const struct frame *f, double at)
{
	return LEFT + (f->span > 0 ? (at - f->from) / f->span : 1) * WIDTH;
}

static double y_of(const struct frame *f, double bytes)
{
	return TOP + HEIGHT - bytes / f->ceiling * HEIGHT;
}

static struct frame frame_of(const struct series *s)
{
	struct frame f = {s->point[0].at, s->point[s->nr - 1].at - s->point[0].at, 0};
	double most = 0;
	size_t i;
	unsigned c;

	for (i = 0; i < s->nr; i++)
		for (c = 0; c < NR_CURVES; c++)
			most = s->point[i].bytes[c] > most ? s->point[i].bytes[c] : most;
	f.ceiling = scale_ceiling_bytes(most);
	return f;
}

static void put_axes(const struct frame *f, FILE *out)
{
	char text[SCALE_TEXT];
	unsigned i;

	for (i = 0; i <= NR_TICKS; i++) {
		double y = y_of(f, f->ceiling * i / NR_TICKS), x = LEFT + (double)WIDTH * i / NR_TICKS;

		fprintf(out, "<path class=\"grid\" d=\"M%d %.5gh%d\"/><text x=\"%d\" y=\"%.5g\" text-anchor=\"end\">", LEFT, y, WIDTH, LEFT - 8, y + 4);
		html_bytes(f->ceiling * i / NR_TICKS, out);
		fprintf(out, "</text>\n");
		if (f->span > 0)
			fprintf(out, "<text x=\"%.5g\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, TOP + HEIGHT + 20,
				f->span < 4 * NR_TICKS ? "" : scale_duration(text, f->span * i / NR_TICKS));
		if (f->span > 0 && f->span < 4 * NR_TICKS)
			fprintf(out, "<text x=\"%.5g\" y=\"%d\" text-anchor=\"middle\">%.2g s</text>\n", x, TOP + HEIGHT + 20, f->span * i / NR_TICKS);
	}
}

static void put_curve(const struct series *s, const struct frame *f, unsigned curve, FILE *out)
{
	size_t i;

	fprintf(out, "<polyline class=\"c%u\" points=\"", curve);
	for (i = 0; i < s->nr; i++)
		fprintf(out, "%s%.5g,%.5g", i ? " " : "", x_of(f, s->point[i].at), y_of(f, s->point[i].bytes[curve]));
	fprintf(out, "\"/>\n");
}

/* Labels at the right ends, moved apart where curves end close together; from the highest down. */
static void put_labels(const struct series *s, const struct frame *f, unsigned first, FILE *out)
{
	const struct point *last = &s->point[s->nr - 1];
	bool done[NR_CURVES] = {false};
	double y, floor = TOP - 100;
	unsigned n, c, best;

	for (n = first; n < NR_CURVES; n++) {
		for (best = NR_CURVES, c = first; c < NR_CURVES; c++)
			if (!done[c] && (best == NR_CURVES || last->bytes[c] > last->bytes[best]))
				best = c;
		done[best] = true;
		y = y_of(f, last->bytes[best]) + 4;
		y = y < floor + 15 ? floor + 15 : y;
		floor = y;
		fprintf(out, "<text class=\"t%u\" x=\"%d\" y=\"%.5g\">%s ", best, LEFT + WIDTH + 8, y, curve_names[best]);
		html_bytes(last->bytes[best], out);
		fputs("</text>\n", out);
	}
}

void html_series(const struct series *s, bool has_rss, FILE *out)
{
	unsigned first = has_rss ? CURVE_RSS : CURVE_LIVE, c;
	struct frame f;

	if (s->nr < 2)
		return;
	f = frame_of(s);
	fprintf(out, "<section id=\"series\"><h2>Over time</h2>\n<p>%zu samples", s->nr_seen);
	if (s->stride > 1)
		fprintf(out, ", of which every %zuth is drawn", s->stride);
	fputs(". RSS is of the whole process, its code and stacks too; the others are of the heap.</p>\n", out);
	fprintf(out, "<div class=\"scroll\"><svg class=\"curves\" viewBox=\"0 0 %d %d\" data-samples=\"%zu\" role=\"img\" aria-label=\"curves over time\">\n",
		LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM, s->nr);
	put_axes(&f, out);
	for (c = first; c < NR_CURVES; c++)
		put_curve(s, &f, c, out);
	put_labels(s, &f, first, out);
	fputs("</svg></div></section>\n", out);
}
