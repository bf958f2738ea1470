/* SPDX-License-Identifier: MIT */
/*
 * Prometheus text exposition format 0.0.4. The values of a metric must stand together, so each metric is a pass over
 * what it is of. Labels have few values: no address is one.
 */
#include "report/line.h"

struct out {
	report_put *put;
	void *arg;
	const char *metric; /* whose HELP and TYPE were written last */
};

/* A label's value, in which \ and " and newlines are escaped. */
struct label {
	char text[64];
};

static struct label escaped(const char *value)
{
	struct label l;
	size_t n = 0;

	for (; *value && n + 2 < sizeof l.text; value++) {
		if (*value == '\\' || *value == '"' || *value == '\n')
			l.text[n++] = '\\';
		l.text[n++] = *value == '\n' ? 'n' : *value;
	}
	l.text[n] = '\0';
	return l;
}

static void metric(struct out *o, const char *name, const char *type, const char *help)
{
	report_put *put = o->put;
	void *arg = o->arg;

	LINE("# HELP %s %s.", name, help);
	LINE("# TYPE %s %s", name, type);
	o->metric = name;
}

static void value(struct out *o, size_t n)
{
	report_put *put = o->put;
	void *arg = o->arg;

	LINE("%s %z", o->metric, n);
}

static out_of_line void value1(struct out *o, const char *key, const char *label, size_t n)
{
	report_put *put = o->put;
	void *arg = o->arg;

	LINE("%s{%s=\"%s\"} %z", o->metric, key, escaped(label).text, n);
}

static out_of_line void value2(struct out *o, const char *key1, const char *label1, const char *key2, const char *label2, size_t n)
{
	report_put *put = o->put;
	void *arg = o->arg;

	LINE("%s{%s=\"%s\",%s=\"%s\"} %z", o->metric, key1, escaped(label1).text, key2, escaped(label2).text, n);
}

struct digits {
	char text[12];
};

static struct digits number(unsigned n)
{
	struct digits d;

	bug_format(d.text, sizeof d.text, "%u", n);
	return d;
}

static void write_buddyinfo(const struct heap_report *r, struct out *o)
{
	report_put *put = o->put;
	void *arg = o->arg;
	unsigned i, order;

	metric(o, "bslab_buddyinfo_blocks", "gauge", "Free page blocks of 2^size pages");
	for (i = 0; i < nr_zone_rows(r); i++) {
		const struct zone_row *z = zone_row_at(r, i);

		for (order = 0; order < NR_ORDERS; order++)
			LINE("%s{node=\"%u\",zone=\"%s\",size=\"%u\"} %z", o->metric, zone_node_of(z->zone),
			     zone_type_name(zone_type_of(z->zone)), order, zone_row_free(z, order));
	}
}

static void write_pagetypeinfo(const struct heap_report *r, struct out *o)
{
	const struct zone_row *all = &r->all_zones;
	unsigned t, order;

	metric(o, "bslab_pagetype_free_blocks", "gauge", "Free page blocks of 2^size pages by migratetype");
	for (t = 0; t < NR_TYPE_ROWS; t++)
		for (order = 0; order < NR_ORDERS; order++)
			value2(o, "type", type_row_name(t), "size", number(order).text, type_row_free(all, t, order));
	metric(o, "bslab_pagetype_resident_blocks", "gauge", "Free page blocks of which some page may be resident");
	for (t = 0; t < NR_TYPE_ROWS; t++)
		for (order = 0; order < NR_ORDERS; order++)
			value2(o, "type", type_row_name(t), "size", number(order).text, type_row_resident(all, t, order));
	metric(o, "bslab_pagetype_pageblocks", "gauge", "Pageblocks by migratetype");
	for (t = 0; t < NR_MIGRATETYPES; t++)
		value1(o, "type", type_row_name(t), r->pages.types.blocks[t]);
	value1(o, "type", "Isolate", r->pages.types.nr_isolated_blocks);
	value1(o, "type", "Large", r->pages.types.nr_large_blocks);
	value1(o, "type", "Free", r->zone.nr_free);
	metric(o, "bslab_pagetype_mixed_pageblocks", "gauge", "Pageblocks that another migratetype got pages of");
	for (t = 0; t < NR_MIGRATETYPES; t++)
		value1(o, "type", type_row_name(t), r->pages.types.mixed[t]);
}

enum cache_value {
	OBJECTS_USED, OBJECTS_CACHED, OBJECTS_FREE,
	SLABS_PARTIAL, SLABS_FULL,
	SHEAVES_FULL, SHEAVES_EMPTY,
	OBJECT_BYTES, CACHE_PAGES, SHEAF_CAPACITY,
};

static size_t cache_value(const struct class_report *c, enum cache_value which)
{
	switch (which) {
	case OBJECTS_USED:
		return c->nr_used;
	case OBJECTS_CACHED:
		return c->nr_cached;
	case OBJECTS_FREE:
		return c->cache.nr_free;
	case SLABS_PARTIAL:
		return c->cache.nr_partial;
	case SLABS_FULL:
		return c->cache.nr_slabs - min_size(c->cache.nr_slabs, c->cache.nr_partial);
	case SHEAVES_FULL:
		return c->cache.nr_full_sheaves;
	case SHEAVES_EMPTY:
		return c->cache.nr_empty_sheaves;
	case OBJECT_BYTES:
		return c->cache.size;
	case CACHE_PAGES:
		return c->cache.nr_pages;
	case SHEAF_CAPACITY:
		return c->cache.sheaf_capacity;
	}
	return 0;
}

/* One value of each cache; state NULL: there is no such label. */
static void each_cache(const struct heap_report *r, struct out *o, const char *state, enum cache_value which)
{
	unsigned i;

	for (i = 1; i < NR_LISTED; i++) {
		const struct class_report *c = listed_cache(r, i);
		char name[CACHE_NAME_SIZE];

		if (!c->cache.size)
			continue;
		listed_name(name, r, i);
		if (state)
			value2(o, "cache", name, "state", state, cache_value(c, which));
		else
			value1(o, "cache", name, cache_value(c, which));
	}
}

static void write_slabinfo(const struct heap_report *r, struct out *o)
{
	metric(o, "bslab_slab_object_bytes", "gauge", "Size of the cache's objects");
	each_cache(r, o, NULL, OBJECT_BYTES);
	metric(o, "bslab_slab_objects", "gauge", "Objects that the program holds, in sheaves and barns, and free in slabs");
	each_cache(r, o, "used", OBJECTS_USED);
	each_cache(r, o, "cached", OBJECTS_CACHED);
	each_cache(r, o, "free", OBJECTS_FREE);
	metric(o, "bslab_slab_slabs", "gauge", "Slabs with free objects and without");
	each_cache(r, o, "partial", SLABS_PARTIAL);
	each_cache(r, o, "full", SLABS_FULL);
	metric(o, "bslab_slab_pages", "gauge", "Pages of the cache's slabs");
	each_cache(r, o, NULL, CACHE_PAGES);
	metric(o, "bslab_barn_sheaves", "gauge", "Sheaves in the cache's barn");
	each_cache(r, o, "full", SHEAVES_FULL);
	each_cache(r, o, "empty", SHEAVES_EMPTY);
	metric(o, "bslab_sheaf_capacity", "gauge", "Objects that a new sheaf of the cache holds");
	each_cache(r, o, NULL, SHEAF_CAPACITY);
}

/* One value of each zone. */
static void each_zone(const struct heap_report *r, struct out *o, const char *name, const char *help,
		      size_t (*value_of)(const struct zone_row *z))
{
	unsigned i;

	metric(o, name, "gauge", help);
	for (i = 0; i < nr_zone_rows(r); i++) {
		const struct zone_row *z = zone_row_at(r, i);

		value2(o, "node", number(zone_node_of(z->zone)).text, "zone", zone_type_name(zone_type_of(z->zone)), value_of(z));
	}
}

static size_t present_pages(const struct zone_row *z)
{
	return z->nr_committed << PAGEBLOCK_ORDER;
}

static void write_zoneinfo(const struct heap_report *r, struct out *o)
{
	unsigned i;

	each_zone(r, o, "bslab_zone_free_pages", "Free pages of a zone", zone_row_free_pages);
	each_zone(r, o, "bslab_zone_present_pages", "Pages of a zone that are usable", present_pages);

	metric(o, "bslab_zone_pages", "gauge", "Pages of the zone, and its watermarks for free dirty pages");
	value1(o, "kind", "free", free_pages(r));
	value1(o, "kind", "min", r->pages.nr_reserve_free);
	value1(o, "kind", "low", r->zone.low_pages);
	value1(o, "kind", "high", r->zone.high_pages);
	value1(o, "kind", "spanned", r->zone.nr_reserved << PAGEBLOCK_ORDER);
	value1(o, "kind", "present", r->zone.nr_committed << PAGEBLOCK_ORDER);
	metric(o, "bslab_cpu_objects", "gauge", "Free objects in the sheaves of a CPU");
	for (i = 0; i < r->percpu.nr_listed; i++)
		value1(o, "cpu", number(r->percpu.cpu[i].index).text, r->percpu.cpu[i].nr_objects);
	metric(o, "bslab_cpu_bytes", "gauge", "Bytes of free objects in the sheaves of a CPU");
	for (i = 0; i < r->percpu.nr_listed; i++)
		value1(o, "cpu", number(r->percpu.cpu[i].index).text, r->percpu.cpu[i].bytes);
}

static void write_vmstat(const struct heap_report *r, struct out *o)
{
	unsigned i;

	for (i = 0; i < NR_VM_EVENTS; i++) {
		char name[64];

		bug_format(name, sizeof name, "bslab_vmstat_%s_total", vm_event_text[i].name);
		metric(o, name, "counter", vm_event_text[i].help);
		value(o, (size_t)r->vm_event[i]);
	}
}

static void write_vmallocinfo(const struct heap_report *r, struct out *o)
{
	metric(o, "bslab_large_blocks", "gauge", "Live large blocks");
	value1(o, "kind", "mapping", r->large.nr_mapped);
	value1(o, "kind", "pageblocks", r->large.nr_areas - min_size(r->large.nr_areas, r->large.nr_mapped));
	metric(o, "bslab_large_bytes", "gauge", "Bytes of live large blocks");
	value1(o, "kind", "mapping", r->large.mapped_bytes);
	value1(o, "kind", "pageblocks", r->large.bytes - min_size(r->large.bytes, r->large.mapped_bytes));
}

static void write_meminfo(const struct heap_report *r, struct out *o)
{
	unsigned i;

	for (i = 0; i < NR_MEMINFO; i++) {
		char name[64];

		bug_format(name, sizeof name, "bslab_meminfo_%s_bytes", meminfo_items[i].key);
		metric(o, name, "gauge", meminfo_items[i].help);
		value(o, meminfo_bytes(r, i));
	}
}

void prometheus_write(const struct heap_report *r, unsigned what, report_put *put, void *arg)
{
	struct out out = {put, arg, NULL}, *o = &out;

	metric(o, "bslab_info", "gauge", "How the caches are indexed");
	value1(o, "index", index_mode_name(r->percpu.mode), 1);
	if (what & REPORT_BUDDYINFO)
		write_buddyinfo(r, o);
	if (what & REPORT_PAGETYPEINFO)
		write_pagetypeinfo(r, o);
	if (what & REPORT_SLABINFO)
		write_slabinfo(r, o);
	if (what & REPORT_ZONEINFO)
		write_zoneinfo(r, o);
	if (what & REPORT_VMSTAT)
		write_vmstat(r, o);
	if (what & REPORT_VMALLOCINFO)
		write_vmallocinfo(r, o);
	if (what & REPORT_MEMINFO)
		write_meminfo(r, o);
}
