/* SPDX-License-Identifier: MIT */
/* What malloc_stats and malloc_info print. */
#include "report/line.h"

static void text_totals(const struct heap_report *r, report_put *put, void *arg)
{
	const struct buddy_counters *b = &r->pages.count;

	LINE("bslab: caches by %s, %u in use", index_mode_name(r->percpu.mode), r->percpu.nr_areas);
	LINE("used %z bytes: small %z, page runs %z, large %z (%z mappings of their own)", r->used, r->small_used,
	     r->run_used, r->large.bytes, r->large.nr_mapped);
	LINE("committed %z bytes in %z regions; free %z, of which dirty %z (watermarks low %z, high %z)", r->committed,
	     r->zone.nr_regions, r->free, r->dirty_free, r->zone.low_pages << PAGE_SHIFT,
	     r->zone.high_pages << PAGE_SHIFT);
	if (r->handles.nr_entries)
		LINE("handles %z bytes; compactions moved %z objects and released %z pageblocks", r->handle_used,
		     (size_t)r->compact.nr_moved, (size_t)r->compact.nr_released);
	LINE("metadata %z bytes; small objects free in caches and slabs %z bytes", r->metadata, r->small_free);
	LINE("given back %z pages in %z calls, %z refused", (size_t)r->vm_event[PURGE_PAGES],
	     (size_t)r->vm_event[PURGE], (size_t)r->vm_event[PURGE_FAIL]);
	LINE("page allocs %z, frees %z (%z by other threads), claims %z, steals %z, adoptions %z", (size_t)b->nr_allocs,
	     (size_t)b->nr_frees, (size_t)b->nr_remote_frees, (size_t)b->nr_claims, (size_t)b->nr_steals,
	     (size_t)b->nr_adoptions);
}

static void text_buddies(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned t, o;

	LINE("%-12s %6s  %s", "type", "blocks", "free page blocks of order 0 to 9");
	for (t = 0; t < NR_MIGRATETYPES; t++) {
		struct row row = {0};

		ROW(&row, "%-12s %6z ", type_row_name(t), r->pages.types.blocks[t]);
		for (o = 0; o < NR_ORDERS; o++)
			ROW(&row, " %6z", r->pages.types.free_area[t][o]);
		put(row.text, arg);
	}
}

static void text_caches(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned class;

	LINE("%6s %8s %8s %8s %7s %7s %8s %5s %8s %8s", "size", "used", "cached", "objects", "slabs", "partial",
	     "pages", "sheaf", "refills", "drains");
	for (class = 1; class < NR_CACHES; class++) {
		const struct class_report *c = &r->class[class];

		if (c->cache.size)
			LINE("%6z %8z %8z %8z %7z %7z %8z %5z %8z %8z", c->cache.size, c->nr_used, c->nr_cached,
			     c->cache.nr_objects, c->cache.nr_slabs, c->cache.nr_partial, c->cache.nr_pages,
			     c->cache.sheaf_capacity, (size_t)c->cache.nr_refills, (size_t)c->cache.nr_drains);
	}
}

void report_text(const struct heap_report *r, report_put *put, void *arg)
{
	text_totals(r, put, arg);
	text_buddies(r, put, arg);
	text_caches(r, put, arg);
}

/* A typed cache has one size; malloc's classes end where the next begins. */
static size_t smallest_in(unsigned class, const struct cache_info *c)
{
	return class < NR_CLASSES ? class_size(class - 1) + 1 : c->size;
}

static void xml_caches(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned class;

	LINE("%s", "<sizes>");
	for (class = 1; class < NR_CACHES; class++) {
		const struct class_report *c = &r->class[class];

		if (c->cache.size)
			LINE("  <size from=\"%z\" to=\"%z\" used=\"%z\" cached=\"%z\" total=\"%z\" slabs=\"%z\"/>",
			     smallest_in(class, &c->cache), c->cache.size, c->nr_used, c->nr_cached,
			     c->cache.nr_objects, c->cache.nr_slabs);
	}
	LINE("%s", "</sizes>");
}

void report_xml(const struct heap_report *r, report_put *put, void *arg)
{
	LINE("%s", "<malloc version=\"bslab-1\">");
	LINE("<heap nr=\"0\" index=\"%s\">", index_mode_name(r->percpu.mode));
	xml_caches(r, put, arg);
	LINE("<total type=\"fast\" count=\"%z\" size=\"%z\"/>", r->nr_small_free, r->small_free);
	LINE("<total type=\"rest\" count=\"%z\" size=\"%z\"/>", r->pages.nr_free + r->zone.nr_free,
	     free_pages(r) << PAGE_SHIFT);
	LINE("<total type=\"mmap\" count=\"%z\" size=\"%z\"/>", r->large.nr_mapped, r->large.mapped_bytes);
	LINE("<system type=\"current\" size=\"%z\"/>", r->committed);
	LINE("<used size=\"%z\" small=\"%z\" handles=\"%z\" runs=\"%z\" large=\"%z\"/>", r->used, r->small_used,
	     r->handle_used, r->run_used, r->large.bytes);
	LINE("<dirty size=\"%z\"/>", r->dirty_free);
	if (r->handles.nr_entries)
		LINE("<compact moved=\"%z\" released=\"%z\"/>", (size_t)r->compact.nr_moved, (size_t)r->compact.nr_released);
	LINE("%s", "</heap>");
	LINE("%s", "</malloc>");
}
