/* SPDX-License-Identifier: MIT */
/* The header, the tables and the help. */
#include <stdlib.h>
#include <string.h>

#include "insight/scale.h"
#include "insight/top.h"
#include "os/options.h"
#include "report/line.h"

const char *const view_names[NR_VIEWS] = {"caches", "cpus", "map", "graph", "counters"};

/* Below so many rows the header is its first line. */
#define LOW_TERMINAL 10

void top_clamp_scroll(struct top *t, size_t nr_rows, unsigned nr_visible)
{
	t->nr_rows = nr_rows;
	t->nr_visible = nr_visible;
	if (nr_visible >= nr_rows)
		t->scroll = 0;
	else if (t->scroll > nr_rows - nr_visible)
		t->scroll = nr_rows - nr_visible;
}

static unsigned rows_from(const struct canvas *c, unsigned row)
{
	return c->height > row ? c->height - row : 0;
}

/* --- the header --------------------------------------------------------------------------------- */

static void put_right(struct canvas *c, unsigned row, unsigned from, const char *text)
{
	unsigned len = (unsigned)strlen(text);

	if (from + 2 + len <= c->width)
		canvas_put(c, row, c->width - len, STYLE_PLAIN, "%s", text);
}

static void draw_process(const struct top *t, struct canvas *c, unsigned row)
{
	char up[SCALE_TEXT], clock[16];
	struct tm tm;
	unsigned end;

	end = canvas_put(c, row, 0, STYLE_STRONG, "%s (%d)", t->process.name, t->process.pid);
	end = canvas_put(c, row, end, STYLE_PLAIN, "  up %s, %u thread%s, %u cache%s by %s", scale_duration(up, t->process.uptime),
			 t->process.nr_threads, t->process.nr_threads == 1 ? "" : "s", t->now->percpu.nr_areas,
			 t->now->percpu.nr_areas == 1 ? "" : "s", index_mode_name(t->now->percpu.mode));
	localtime_r(&t->clock, &tm);
	strftime(clock, sizeof clock, "%H:%M:%S", &tm);
	put_right(c, row, end, clock);
}

/* A name and its value, two blanks before it unless it is the first; nothing where it does not fit as a whole. */
static unsigned put_item(struct canvas *c, unsigned row, unsigned column, const char *name, const char *value)
{
	unsigned from = column ? column + 2 : 0;

	if (from + (unsigned)(strlen(name) + 1 + strlen(value)) > c->width)
		return c->width;
	column = canvas_put(c, row, from, STYLE_PLAIN, "%s ", name);
	return canvas_put(c, row, column, STYLE_STRONG, "%s", value);
}

static unsigned put_bytes(struct canvas *c, unsigned row, unsigned column, const char *name, size_t bytes)
{
	char text[SCALE_TEXT];

	return put_item(c, row, column, name, scale_bytes(text, (double)bytes));
}

static unsigned put_rate(struct canvas *c, unsigned row, unsigned column, const char *name, double rate)
{
	char text[SCALE_TEXT];

	return put_item(c, row, column, name, scale_rate(text, rate));
}

static void draw_sums(const struct top *t, struct canvas *c, unsigned row)
{
	const struct heap_report *r = t->now;
	unsigned column = put_bytes(c, row, 0, "RSS", t->process.rss);

	column = put_bytes(c, row, column, "live", r->used);
	column = canvas_put(c, row, column, STYLE_PLAIN, " (%u %% of RSS)", scale_percent(r->used, t->process.rss));
	column = put_bytes(c, row, column, "committed", r->committed);
	column = put_bytes(c, row, column, "watermark", r->watermark);
	put_bytes(c, row, column, "metadata", r->metadata);
}

static void draw_free(const struct top *t, struct canvas *c, unsigned row)
{
	const struct heap_report *r = t->now;
	unsigned column = put_bytes(c, row, 0, "free: cached", r->cached);

	column = put_bytes(c, row, column, "slabs", r->slab_free);
	column = put_bytes(c, row, column, "dirty", r->dirty_free);
	column = put_bytes(c, row, column, "clean", r->clean_free);
	put_bytes(c, row, column, "given back", r->given_back);
}

static void draw_rates(const struct top *t, struct canvas *c, unsigned row)
{
	uint64_t faults = t->process.nr_faults - t->nr_faults_before;
	unsigned column = put_rate(c, row, 0, "per second: refills", top_rate(t, SHEAF_REFILL));

	column = put_rate(c, row, column, "drains", top_rate(t, SHEAF_FLUSH));
	column = put_rate(c, row, column, "pages", top_rate(t, PGALLOC));
	column = put_rate(c, row, column, "freed", top_rate(t, PGFREE));
	column = put_rate(c, row, column, "faults", t->nr_samples > 1 && t->seconds > 0 ? (double)faults / t->seconds : 0);
	put_rate(c, row, column, "given back", top_rate(t, PURGE_PAGES));
}

/* The names of the views, or what there is to say. */
static void draw_bar(const struct top *t, struct canvas *c, unsigned row)
{
	unsigned column = 0;
	char text[48];
	int i;

	if (t->message[0]) {
		canvas_put(c, row, 0, STYLE_ALERT, "%s", t->message);
		canvas_fill(c, row, STYLE_ALERT);
		return;
	}
	if (t->is_batch)
		return;
	for (i = 0; i < NR_VIEWS; i++)
		column = canvas_put(c, row, column, i == (int)t->view && !t->is_help ? STYLE_HEAD : STYLE_PLAIN, " %d %s ", i + 1, view_names[i]);
	if (t->nr_doubts)
		snprintf(text, sizeof text, "approximate: %zu in motion", t->nr_doubts);
	else
		snprintf(text, sizeof text, "every %.3g s, h help, q quit", t->delay);
	put_right(c, row, column, text);
}

static unsigned draw_header(const struct top *t, struct canvas *c)
{
	draw_process(t, c, 0);
	if (c->height < LOW_TERMINAL) {
		draw_bar(t, c, 1);
		return 2;
	}
	draw_sums(t, c, 1);
	draw_free(t, c, 2);
	draw_rates(t, c, 3);
	draw_bar(t, c, 4);
	return 5;
}

/* --- caches ------------------------------------------------------------------------------------- */

/* As slabtop has them above its table. */
static void draw_totals(const struct top *t, const struct cache_row *row, unsigned nr, struct canvas *c, unsigned at)
{
	size_t objects = 0, active = 0, bytes = 0, waste = 0;
	char a[SCALE_TEXT], b[SCALE_TEXT];
	unsigned i;

	for (i = 0; i < nr; i++) {
		objects += row[i].nr_objects;
		active += row[i].nr_active;
		bytes += row[i].bytes;
		waste += row[i].waste;
	}
	canvas_put(c, at, 0, STYLE_PLAIN, "by %s%s: %u caches, active %zu of %zu objects (%u %%), %s of %s (%u %%)",
		   sort_key_name(t->sort), t->reverse ? ", reversed" : "", nr, active, objects, scale_percent(active, objects),
		   scale_bytes(a, (double)(bytes - waste)), scale_bytes(b, (double)bytes), scale_percent(bytes - waste, bytes));
}

static void draw_cache(const struct cache_row *r, struct canvas *c, unsigned at)
{
	char objects[SCALE_TEXT], active[SCALE_TEXT], cached[SCALE_TEXT], slabs[SCALE_TEXT], waste[SCALE_TEXT], rate[SCALE_TEXT],
	    size[SCALE_TEXT];

	canvas_put(c, at, 0, STYLE_PLAIN, "%7s %7s %3u%% %6zu %6s %7s %7s %7s %7s %s", scale_count(objects, r->nr_objects, 7),
		   scale_count(active, r->nr_active, 7), r->use, r->object_size, scale_count(slabs, r->nr_slabs, 6),
		   scale_count(cached, r->nr_cached, 7), scale_bytes(waste, (double)r->waste), scale_rate(rate, r->rate),
		   scale_bytes(size, (double)r->bytes), r->name);
}

static void draw_caches(struct top *t, struct canvas *c, unsigned top)
{
	struct cache_row row[NR_LISTED];
	unsigned nr, i;

	nr = cache_rows(t->now, t->nr_samples > 1 ? t->before : NULL, t->seconds, row);
	cache_rows_sort(row, nr, t->sort, t->reverse);
	if (c->height >= LOW_TERMINAL)
		draw_totals(t, row, nr, c, top++);
	canvas_put(c, top, 0, STYLE_HEAD, "%7s %7s %4s %6s %6s %7s %7s %7s %7s %s", "OBJS", "ACTIVE", "USE", "SIZE", "SLABS", "CACHED",
		   "WASTE", "RATE/s", "CACHE", "NAME");
	canvas_fill(c, top++, STYLE_HEAD);
	top_clamp_scroll(t, nr, rows_from(c, top));
	for (i = 0; i < t->nr_visible && t->scroll + i < nr; i++)
		draw_cache(&row[t->scroll + i], c, top + i);
}

/* --- CPUs --------------------------------------------------------------------------------------- */

/* Classes of which it holds most bytes, as far as the row goes. */
static void draw_most(const struct class_report *caches, const struct cpu_info *cpu, struct canvas *c, unsigned at, unsigned column)
{
	bool done[NR_CACHES] = {false};
	unsigned class, best;
	char text[40];

	for (;;) {
		for (best = 0, class = 1; class < NR_CACHES; class++)
			if (!done[class] && cpu->nr[class] &&
			    (!best || cpu->nr[class] * caches[class].cache.size > cpu->nr[best] * caches[best].cache.size))
				best = class;
		if (!best)
			return;
		done[best] = true;
		snprintf(text, sizeof text, " %zu:%u/%u", caches[best].cache.size, cpu->nr[best], cpu->capacity[best]);
		if (column + strlen(text) > c->width)
			return;
		column = canvas_put(c, at, column, STYLE_PLAIN, "%s", text);
	}
}

static void draw_cpus(struct top *t, struct canvas *c, unsigned top)
{
	const struct percpu_info *p = &t->now->percpu;
	unsigned i, column;

	canvas_put(c, top, 0, STYLE_HEAD, "%6s %9s %9s %5s %8s  %s", p->mode == INDEX_THREAD ? "THREAD" : "CPU", "OBJECTS", "PLACES", "FULL",
		   "BYTES", "SIZE:OBJECTS/PLACES, MOST BYTES FIRST");
	canvas_fill(c, top++, STYLE_HEAD);
	top_clamp_scroll(t, p->nr_listed + (p->nr_areas > p->nr_listed), rows_from(c, top));
	for (i = 0; i < t->nr_visible && t->scroll + i < t->nr_rows; i++) {
		const struct cpu_info *cpu = &p->cpu[t->scroll + i];
		char bytes[SCALE_TEXT];

		if (t->scroll + i == p->nr_listed) {
			canvas_put(c, top + i, 0, STYLE_PLAIN, "and %u more", p->nr_areas - p->nr_listed);
			continue;
		}
		column = canvas_put(c, top + i, 0, STYLE_PLAIN, "%6u %9zu %9zu %4u%% %8s ", cpu->index, cpu->nr_objects, cpu->nr_slots,
				    scale_percent(cpu->nr_objects, cpu->nr_slots), scale_bytes(bytes, (double)cpu->bytes));
		draw_most(t->now->class, cpu, c, top + i, column);
	}
}

/* --- counters ------------------------------------------------------------------------------------ */

static void draw_counters(struct top *t, struct canvas *c, unsigned top)
{
	unsigned i;

	canvas_put(c, top, 0, STYLE_HEAD, "%-18s %14s %9s  %s", "COUNTER", "SINCE START", "RATE/s", "OF WHAT");
	canvas_fill(c, top++, STYLE_HEAD);
	top_clamp_scroll(t, NR_VM_EVENTS, rows_from(c, top));
	for (i = 0; i < t->nr_visible && t->scroll + i < NR_VM_EVENTS; i++) {
		enum vm_event event = (enum vm_event)(t->scroll + i);
		double rate = top_rate(t, event);
		char text[SCALE_TEXT];

		canvas_put(c, top + i, 0, rate > 0 ? STYLE_STRONG : STYLE_PLAIN, "%-18s %14llu %9s  %s", vm_event_text[event].name,
			   (unsigned long long)t->now->vm_event[event], scale_rate(text, rate), vm_event_text[event].help);
	}
}

/* --- help ---------------------------------------------------------------------------------------- */

static void draw_help(struct top *t, struct canvas *c, unsigned top)
{
	static const char *const lines[] = {
	    "q            quit",
	    "space        look again now",
	    "d            seconds between two looks",
	    "tab, 1 to 5  views: caches, CPUs, map of pageblocks, graph, counters",
	    "arrows, page up, page down, home, end  scroll",
	    "h, ?         this help; any key leaves it",
	    "",
	    "The order of caches: c size of the cache   o objects   a active   u use   w waste",
	    "                     r rate   n name   s object size   l slabs   v partial slabs",
	    "                     b objects per slab   p pages per slab   e cached   R reversed",
	    "The map's colours:   m by type, by how full, by how much is resident",
	    "",
	    "ACTIVE  objects that the program holds    CACHED  free ones in sheaves and barns",
	    "WASTE   bytes of the cache's pages that the program does not hold",
	    "RATE    sheaves filled from slabs and emptied into them, per second",
	};
	unsigned nr = sizeof lines / sizeof *lines, i;

	top_clamp_scroll(t, nr, rows_from(c, top + 1));
	for (i = 0; i < t->nr_visible && t->scroll + i < nr; i++)
		canvas_put(c, top + 1 + i, 1, STYLE_PLAIN, "%s", lines[t->scroll + i]);
}

/* --- all of it ----------------------------------------------------------------------------------- */

void top_draw(struct top *t, struct canvas *c)
{
	static void (*const draw[NR_VIEWS])(struct top *, struct canvas *, unsigned) = {
	    [VIEW_CACHES] = draw_caches, [VIEW_CPUS] = draw_cpus,	 [VIEW_MAP] = top_draw_map,
	    [VIEW_GRAPH] = top_draw_graph, [VIEW_COUNTERS] = draw_counters,
	};
	unsigned top;

	canvas_clear(c);
	top = draw_header(t, c);
	(t->is_help ? draw_help : draw[t->view])(t, c, top);
}
