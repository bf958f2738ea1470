/* SPDX-License-Identifier: MIT */
/* The page, but for the map and the curves. */
#include "insight/html.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "insight/scale.h"
#include "insight/top_rows.h"
#include "os/options.h"
#include "report/line.h"

/* --- text --------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence that begins here; 0 when none does. */
static unsigned sequence_length(const unsigned char *p)
{
	unsigned n = *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0, i;

	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void html_escape(const char *text, FILE *out)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned n;

	for (; *p; p += n) {
		n = 1;
		if (*p == '&')
			fputs("&amp;", out);
		else if (*p == '<')
			fputs("&lt;", out);
		else if (*p == '>')
			fputs("&gt;", out);
		else if (*p == '"')
			fputs("&quot;", out);
		else if (*p == '\'')
			fputs("&#39;", out);
		else if (*p >= ' ' && *p < 127)
			fputc(*p, out);
		else if ((n = sequence_length(p)))
			fwrite(p, 1, n, out);
		else {
			fputc('?', out);
			n = 1;
		}
	}
}

void html_bytes(double bytes, FILE *out)
{
	char text[SCALE_TEXT];
	size_t len;

	scale_bytes(text, bytes);
	len = strlen(text) - 1;
	if (text[len] >= 'A')
		fprintf(out, "%.*s %ciB", (int)len, text, text[len]);
	else
		fprintf(out, "%s B", text);
}

/* --- style -------------------------------------------------------------------------------------- */

/*
 * Slabs from light to dark by the size of their objects, in one hue; runs and large blocks in two others; free pages
 * stand back; s is what is free in slabs. k: kinds of pages; p: parts of bars; c, t: curves and their labels.
 */
static const char css[] =
    ":root{color-scheme:light dark;--bg:#fcfcfb;--fg:#1c1c1a;--soft:#63635e;--line:#dddcd6;--s:#8f74d6;--card:#f3f2ee;"
    "--k0:#9ec5f4;--k1:#6da7ec;--k2:#3987e5;--k3:#1c5cab;--k4:#0d366b;--k5:#1baa7a;--k6:#e8912d;--k7:#9a5b3c;--k8:#8a8880;--k9:#d1699b;--k10:#e6e5df;"
    "--c0:#1c1c1a;--c1:#2a78d6;--c2:#1b8f68;--c3:#c0447f}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#1a1a19;--fg:#f0efea;--soft:#a5a39b;--line:#3a3a37;--s:#8a70cf;--card:#242422;"
    "--k0:#b7d3f6;--k1:#86b6ef;--k2:#3987e5;--k3:#2465b5;--k4:#1c4a86;--k5:#199e70;--k6:#d98324;--k7:#8a5236;--k8:#7d7b74;--k9:#b9568a;--k10:#343431;"
    "--c0:#f0efea;--c1:#5598e7;--c2:#2bb585;--c3:#dd77a8}}\n"
    "body{margin:0 auto;padding:24px;max-width:1080px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:22px;margin:0}h2{font-size:18px;margin:36px 0 6px}h3{font-size:15px;margin:24px 0 4px}p{margin:4px 0 12px}\n"
    "small,.soft,figcaption{color:var(--soft)}code,svg text,figcaption{font-family:ui-monospace,monospace}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:10px;margin:18px 0}\n"
    ".tiles div{background:var(--card);border-radius:8px;padding:10px 14px}.tiles b{display:block;font-size:20px;font-weight:600}\n"
    ".bar{display:flex;height:22px;border-radius:4px;overflow:hidden;background:var(--k10)}.bar i{min-width:1px}\n"
    ".thin{height:12px;background:none;border-radius:2px}\n"
    ".scroll{overflow-x:auto}svg{display:block}svg text{fill:var(--soft);font-size:12px}.map{width:100%;min-width:720px;shape-rendering:crispEdges}\n"
    ".map text{font-size:11px}.curves{width:100%;min-width:640px}.grid{stroke:var(--line);fill:none}\n"
    "polyline{fill:none;stroke-width:2;stroke-linejoin:round}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:4px 18px;padding:0;margin:8px 0 12px;list-style:none}\n"
    ".legend svg,.legend i{display:inline-block;width:12px;height:12px;margin-right:6px;vertical-align:-1px;border-radius:2px}\n"
    ".blocks{display:grid;grid-template-columns:repeat(auto-fill,minmax(136px,1fr));gap:14px}figure{margin:0}\n"
    ".blocks svg{width:100%;background:var(--k10);shape-rendering:crispEdges}figcaption{font-size:11px;line-height:1.35;margin-top:3px}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:3px 8px;text-align:right;white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:500;border-bottom:1px solid var(--line)}.left{text-align:left}td.wide{width:40%;min-width:160px}\n"
    ".sums td{border-bottom:1px solid var(--line)}.sums td.left:last-child{white-space:normal;color:var(--soft)}\n"
    ".mark{position:relative;height:54px}.mark .bar{position:absolute;left:0;right:0;top:0;height:14px}\n"
    ".mark u{position:absolute;top:0;width:2px;background:var(--fg)}.mark span{position:absolute;top:18px;font-size:12px;color:var(--soft)}\n"
    "footer{margin-top:40px;border-top:1px solid var(--line);padding-top:8px}\n";

static void put_css(FILE *out)
{
	unsigned k;

	fputs(css, out);
	for (k = 0; k < NR_KINDS; k++)
		fprintf(out, ".k%u{fill:var(--k%u)}", k, k);
	for (k = 0; k < NR_CURVES; k++)
		fprintf(out, ".c%u{stroke:var(--c%u)}svg text.t%u{fill:var(--c%u)}", k, k, k, k);
	fputc('\n', out);
}

/* --- sums --------------------------------------------------------------------------------------- */

static void put_tile(const char *name, double bytes, FILE *out)
{
	fprintf(out, "<div><small>%s</small><b>", name);
	html_bytes(bytes, out);
	fputs("</b></div>\n", out);
}

static void put_tiles(const struct picture *p, FILE *out)
{
	const struct heap_report *r = &p->report;

	fputs("<div class=\"tiles\">\n", out);
	if (p->has_process)
		put_tile("RSS of the process", (double)p->process.rss, out);
	put_tile("live", (double)r->used, out);
	put_tile("free, resident or not", (double)r->free, out);
	put_tile("committed", (double)r->committed, out);
	put_tile("given back so far", (double)r->given_back, out);
	put_tile("metadata", (double)r->metadata, out);
	fputs("</div>\n", out);
}

struct part {
	const char *name;
	size_t bytes;
	const char *colour;
};

static void put_bar(const struct part *part, unsigned nr, const char *class, double percent, FILE *out)
{
	unsigned i;

	fprintf(out, "<div class=\"%s\" style=\"width:%.4g%%\">", class, percent);
	for (i = 0; i < nr; i++)
		if (part[i].bytes) {
			fprintf(out, "<i style=\"flex:%zu 1 0;background:var(--%s)\" title=\"%s: ", part[i].bytes, part[i].colour, part[i].name);
			html_bytes((double)part[i].bytes, out);
			fputs("\"></i>", out);
		}
	fputs("</div>", out);
}

static void put_parts_legend(const struct part *part, unsigned nr, FILE *out)
{
	unsigned i;

	fputs("<ul class=\"legend\">\n", out);
	for (i = 0; i < nr; i++) {
		fprintf(out, "<li><i style=\"background:var(--%s)\"></i>%s <small>", part[i].colour, part[i].name);
		html_bytes((double)part[i].bytes, out);
		fputs("</small></li>\n", out);
	}
	fputs("</ul>\n", out);
}

static void put_committed(const struct heap_report *r, FILE *out)
{
	const struct part parts[] = {
	    {"live small objects", r->small_used, "k2"}, {"live objects with handles", r->handle_used, "k3"},
	    {"live page runs", r->run_used, "k5"},
	    {"live large blocks", r->large.bytes, "k6"}, {"cached", r->cached, "k0"},
	    {"free in slabs", r->slab_free, "s"},	 {"slack", r->slack, "k8"},
	    {"free, dirty", r->dirty_free, "k9"},	 {"free, clean", r->clean_free, "k10"},
	};

	fputs("<section><h2>Where committed memory is</h2>\n", out);
	put_bar(parts, sizeof parts / sizeof *parts, "bar", 100, out);
	put_parts_legend(parts, sizeof parts / sizeof *parts, out);
	fputs("</section>\n", out);
}

/* A mark on a scale. Labels on the right half end at it, so that none runs out of the page. */
static void put_mark(const char *name, size_t pages, double scale, unsigned top, FILE *out)
{
	double percent = (double)pages / scale * 100;

	fprintf(out, "<u style=\"left:calc(%.4g%% - 1px);height:%upx\"></u><span style=\"top:%upx;%s:calc(%.4g%% + 6px)\">%s ", percent,
		top + 14, top, percent < 50 ? "left" : "right", percent < 50 ? percent : 100 - percent, name);
	html_bytes((double)(pages << PAGE_SHIFT), out);
	fputs("</span>", out);
}

static void put_watermarks(const struct heap_report *r, FILE *out)
{
	const struct zone_info *z = &r->zone;
	double scale = (double)max_size(max_size(z->nr_dirty_pages, z->high_pages), 1) * 1.1;
	struct part dirty = {"dirty", z->nr_dirty_pages, "k9"};

	fprintf(out,
		"<section id=\"watermarks\" data-dirty=\"%zu\" data-low=\"%zu\" data-high=\"%zu\"><h2>Watermarks</h2>\n<p>Free pageblocks "
		"hold <b>",
		z->nr_dirty_pages, z->low_pages, z->high_pages);
	html_bytes((double)(z->nr_dirty_pages << PAGE_SHIFT), out);
	fputs("</b> that may be resident. Above the high watermark pages are given back, down to the low one.</p>\n<div class=\"mark\">"
	      "<div class=\"bar\">",
	      out);
	put_bar(&dirty, 1, "bar", (double)z->nr_dirty_pages / scale * 100, out);
	fputs("</div>", out);
	put_mark("low", z->low_pages, scale, 18, out);
	put_mark("high", z->high_pages, scale, 34, out);
	fputs("</div></section>\n", out);
}

static void put_sums(const struct heap_report *r, FILE *out)
{
	unsigned i;

	fputs("<section id=\"sums\"><h2>Sums</h2>\n<div class=\"scroll\"><table class=\"sums\">\n", out);
	for (i = 0; i < NR_MEMINFO; i++) {
		size_t bytes = meminfo_bytes(r, i);

		fprintf(out, "<tr data-key=\"%s\" data-bytes=\"%zu\"><td class=\"left\">%s</td><td>", meminfo_items[i].key, bytes,
			meminfo_items[i].name);
		html_bytes((double)bytes, out);
		fprintf(out, "</td><td class=\"left\">%s</td></tr>\n", meminfo_items[i].help);
	}
	fputs("</table></div></section>\n", out);
}

/* --- caches ------------------------------------------------------------------------------------- */

static void put_cache(const struct cache_row *r, size_t most, FILE *out)
{
	size_t nr_free = r->nr_objects > r->nr_active + r->nr_cached ? r->nr_objects - r->nr_active - r->nr_cached : 0;
	size_t objects = r->nr_objects * r->object_size;
	const struct part parts[] = {
	    {"live", r->nr_active * r->object_size, "k2"},
	    {"cached", r->nr_cached * r->object_size, "k0"},
	    {"free in slabs", nr_free * r->object_size, "s"},
	    {"behind the last object", r->bytes > objects ? r->bytes - objects : 0, "k8"},
	};
	double percent = (double)r->bytes / (double)most * 100;

	fputs("<tr data-name=\"", out);
	html_escape(r->name, out);
	fprintf(out,
		"\" data-size=\"%zu\" data-used=\"%zu\" data-cached=\"%zu\" data-free=\"%zu\" data-slabs=\"%zu\" data-waste=\"%zu\">"
		"<td class=\"left\">",
		r->object_size, r->nr_active, r->nr_cached, nr_free, r->nr_slabs, r->waste);
	html_escape(r->name, out);
	fprintf(out, "</td><td>%zu</td><td>%zu</td><td>%zu</td><td>%zu</td><td>%zu</td><td>",
		r->object_size, r->nr_active, r->nr_cached, nr_free, r->nr_slabs);
	html_bytes((double)r->waste, out);
	fputs("</td><td>", out);
	html_bytes((double)r->bytes, out);
	fprintf(out, "</td><td>%u %%</td><td class=\"wide\">", scale_percent(r->bytes - r->waste, r->bytes));
	put_bar(parts, sizeof parts / sizeof *parts, "bar thin", percent < 1 ? 1 : percent, out);
	fputs("</td></tr>\n", out);
}

static void put_caches(const struct heap_report *r, FILE *out)
{
	static const struct part parts[] = {{"live", 0, "k2"}, {"cached", 0, "k0"}, {"free in slabs", 0, "s"}, {"behind the last object", 0, "k8"}};
	struct cache_row row[NR_LISTED];
	unsigned nr = cache_rows(r, NULL, 0, row), i;

	cache_rows_sort(row, nr, SORT_BYTES, false);
	fputs("<section id=\"caches\"><h2>Fragmentation of caches</h2>\n<p>By the bytes of their pages. Cached: free in the sheaves of CPUs "
	      "and barns. Waste: pages that the program does not hold, in bytes.</p>\n<ul class=\"legend\">",
	      out);
	for (i = 0; i < sizeof parts / sizeof *parts; i++)
		fprintf(out, "<li><i style=\"background:var(--%s)\"></i>%s</li>", parts[i].colour, parts[i].name);
	fputs("</ul>\n<div class=\"scroll\"><table>\n<thead><tr><th class=\"left\">cache</th><th>object</th><th>live</th><th>cached</th><th>free</th><th>slabs</th><th>waste</th>"
	      "<th>pages</th><th>used</th><th></th></tr></thead>\n<tbody>\n",
	      out);
	for (i = 0; i < nr; i++)
		put_cache(&row[i], row[0].bytes, out);
	fputs("</tbody></table></div></section>\n", out);
}

/* --- all of it ---------------------------------------------------------------------------------- */

static void put_title(const struct picture *p, const char *source, FILE *out)
{
	char when[32], up[SCALE_TEXT];
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
	fputs("<header><h1>", out);
	html_escape(source, out);
	fprintf(out, "</h1>\n<div class=\"soft\">A heap of bslab, seen from outside on %s", when);
	if (p->has_process)
		fprintf(out, ", %s after the process began", scale_duration(up, p->process.uptime));
	fprintf(out, "; %u cache%s by %s", p->report.percpu.nr_areas, p->report.percpu.nr_areas == 1 ? "" : "s",
		index_mode_name(p->report.percpu.mode));
	if (p->nr_doubts)
		fprintf(out, ". <b>%zu of the heap's parts changed while they were read, or are damaged; what they hold is approximate</b>", p->nr_doubts);
	fputs("</div></header>\n", out);
}

void html_page(const struct picture *p, const struct series *s, const char *source, FILE *out)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
	      "content=\"width=device-width,initial-scale=1\">\n<meta name=\"generator\" content=\"bslab-stat " BSLAB_VERSION "\">\n<title>",
	      out);
	html_escape(source, out);
	fputs(" - bslab</title>\n<style>\n", out);
	put_css(out);
	fputs("</style></head><body>\n", out);
	put_title(p, source, out);
	put_tiles(p, out);
	put_committed(&p->report, out);
	html_series(s, p->has_process, out);
	html_map(p, out);
	put_caches(&p->report, out);
	put_watermarks(&p->report, out);
	put_sums(&p->report, out);
	fputs("<footer class=\"soft\">bslab-stat " BSLAB_VERSION ". Point at a cell, a page or a bar to see what it is.</footer>\n</body></html>\n", out);
}
