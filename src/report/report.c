/* SPDX-License-Identifier: MIT */
#include "report/report.h"

#include "boot/boot.h"
#include "os/bug.h"

static size_t minus(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

static void take_class(struct heap_report *r, unsigned class)
{
	struct class_report *c = &r->class[class];
	size_t nr_objects, nr_free, cached;

	if (!cache_snapshot(class, &c->cache))
		return;
	cached = percpu_nr_cached(class, &r->nr_areas);
	c->nr_cached = cached + c->cache.nr_barn_objects;
	nr_objects = c->cache.nr_objects;
	nr_free = c->cache.nr_free + c->nr_cached;
	c->nr_used = minus(nr_objects, nr_free);
	r->slab_pages += c->cache.nr_pages;
	r->small_used += c->nr_used * c->cache.size;
	r->small_free += nr_free * c->cache.size;
	r->nr_small_free += nr_free;
}

void report_take(struct heap_report *r)
{
	unsigned class;
	size_t used_pages;

	*r = (struct heap_report){.mode = percpu_mode()};
	for (class = 1; class < NR_CLASSES; class++)
		take_class(r, class);
	pages_snapshot(&r->pages);
	large_snapshot(&r->large);
	zone_snapshot(&r->zone);
	used_pages = minus(r->pages.nr_blocks * PAGEBLOCK_PAGES, r->pages.nr_free + r->pages.nr_hot);
	r->run_used = minus(used_pages, r->slab_pages) << PAGE_SHIFT;
	r->used = r->small_used + r->run_used + r->large.bytes;
	r->committed = (r->zone.nr_committed << PAGEBLOCK_SHIFT) + r->large.mapped_bytes;
	r->free = minus(r->committed, r->used);
	r->dirty_free = (r->pages.nr_dirty_free + r->pages.nr_hot + r->zone.nr_dirty_pages) << PAGE_SHIFT;
	r->metadata = boot_used();
}

/* --- text ------------------------------------------------------------------------------ */

#define LINE(...)                                                                                  \
	do {                                                                                       \
		char line_[256];                                                                   \
		bug_format(line_, sizeof line_, __VA_ARGS__);                                      \
		put(line_, arg);                                                                   \
	} while (0)

static const char *const type_names[NR_MIGRATETYPES] = {"Unmovable", "Reclaimable", "Movable", "HighAtomic"};

static void text_totals(const struct heap_report *r, void (*put)(const char *, void *), void *arg)
{
	LINE("bslab: caches by %s, %u in use", index_mode_name(r->mode), r->nr_areas);
	LINE("used %z bytes: small %z, page runs %z, large %z (%z mappings of their own)", r->used, r->small_used,
	     r->run_used, r->large.bytes, r->large.nr_mapped);
	LINE("committed %z bytes in %z regions; free %z, of which dirty %z (watermarks low %z, high %z)", r->committed,
	     r->zone.nr_regions, r->free, r->dirty_free, r->zone.low_pages << PAGE_SHIFT,
	     r->zone.high_pages << PAGE_SHIFT);
	LINE("metadata %z bytes; small objects free in caches and slabs %z bytes", r->metadata, r->small_free);
	LINE("given back %z pages in %z calls, %z refused",
	     (size_t)r->zone.nr_purged_pages + (size_t)r->pages.count.nr_purged_pages, (size_t)r->zone.nr_purge_calls,
	     (size_t)r->zone.nr_purge_failures);
	LINE("page allocs %z, frees %z (%z by other threads), claims %z, steals %z, adoptions %z",
	     (size_t)r->pages.count.nr_allocs, (size_t)r->pages.count.nr_frees,
	     (size_t)r->pages.count.nr_remote_frees, (size_t)r->pages.count.nr_claims,
	     (size_t)r->pages.count.nr_steals, (size_t)r->pages.count.nr_adoptions);
}

static void text_buddies(const struct heap_report *r, void (*put)(const char *, void *), void *arg)
{
	unsigned t;

	LINE("%s", "type         blocks  free page blocks of order 0 to 9");
	for (t = 0; t < NR_MIGRATETYPES; t++) {
		const size_t *f = r->pages.free_area[t];

		LINE("%s  %z  %z %z %z %z %z %z %z %z %z %z", type_names[t], r->pages.blocks[t], f[0], f[1], f[2], f[3],
		     f[4], f[5], f[6], f[7], f[8], f[9]);
	}
}

static void text_caches(const struct heap_report *r, void (*put)(const char *, void *), void *arg)
{
	unsigned class;

	LINE("%s", "size used cached objects slabs partial pages sheaf refills drains");
	for (class = 1; class < NR_CLASSES; class++) {
		const struct class_report *c = &r->class[class];

		if (c->cache.size)
			LINE("%z %z %z %z %z %z %z %z %z %z", c->cache.size, c->nr_used, c->nr_cached,
			     c->cache.nr_objects, c->cache.nr_slabs, c->cache.nr_partial,
			     c->cache.nr_pages, c->cache.sheaf_capacity, (size_t)c->cache.nr_refills,
			     (size_t)c->cache.nr_drains);
	}
}

void report_text(const struct heap_report *r, void (*put)(const char *line, void *arg), void *arg)
{
	text_totals(r, put, arg);
	text_buddies(r, put, arg);
	text_caches(r, put, arg);
}

/* --- XML ---------------------------------------------------------------------------------- */

static void xml_caches(const struct heap_report *r, void (*put)(const char *, void *), void *arg)
{
	unsigned class;

	LINE("%s", "<sizes>");
	for (class = 1; class < NR_CLASSES; class++) {
		const struct class_report *c = &r->class[class];

		if (c->cache.size)
			LINE("  <size from=\"%z\" to=\"%z\" used=\"%z\" cached=\"%z\" total=\"%z\" slabs=\"%z\"/>",
			     class_size(class - 1) + 1, c->cache.size, c->nr_used, c->nr_cached,
			     c->cache.nr_objects, c->cache.nr_slabs);
	}
	LINE("%s", "</sizes>");
}

void report_xml(const struct heap_report *r, void (*put)(const char *line, void *arg), void *arg)
{
	LINE("%s", "<malloc version=\"bslab-1\">");
	LINE("<heap nr=\"0\" index=\"%s\">", index_mode_name(r->mode));
	xml_caches(r, put, arg);
	LINE("<total type=\"fast\" count=\"%z\" size=\"%z\"/>", r->nr_small_free, r->small_free);
	LINE("<total type=\"rest\" count=\"%z\" size=\"%z\"/>", r->pages.nr_free + r->zone.nr_free,
	     (r->pages.nr_free << PAGE_SHIFT) + (r->zone.nr_free << PAGEBLOCK_SHIFT));
	LINE("<total type=\"mmap\" count=\"%z\" size=\"%z\"/>", r->large.nr_mapped, r->large.mapped_bytes);
	LINE("<system type=\"current\" size=\"%z\"/>", r->committed);
	LINE("<used size=\"%z\" small=\"%z\" runs=\"%z\" large=\"%z\"/>", r->used, r->small_used, r->run_used,
	     r->large.bytes);
	LINE("<dirty size=\"%z\"/>", r->dirty_free);
	LINE("%s", "</heap>");
	LINE("%s", "</malloc>");
}
