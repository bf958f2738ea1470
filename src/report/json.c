/* SPDX-License-Identifier: MIT */
/* One JSON object, an item a line; docs/insight-formats.md has its schema. */
#include "report/line.h"

#define SCHEMA_VERSION 1u

struct json {
	report_put *put;
	void *arg;
	bool more; /* the object or array that is open has an item */
};

/* An item, or the end of what is open; a comma goes before it if it is not the first. */
static void item_begin(const struct json *j, struct row *row)
{
	row->len = 0;
	ROW(row, "%s", j->more ? "," : " ");
}

static void item_end(struct json *j, const struct row *row)
{
	j->put(row->text, j->arg);
	j->more = true;
}

static void item(struct json *j, const char *format, ...)
{
	struct row row;
	va_list args;

	item_begin(j, &row);
	va_start(args, format);
	bug_format_args(row.text + row.len, sizeof row.text - row.len, format, &args);
	va_end(args);
	item_end(j, &row);
}

#define OPEN(j, ...)                                                                               \
	do {                                                                                       \
		item(j, __VA_ARGS__);                                                              \
		(j)->more = false;                                                                 \
	} while (0)

static void close_json(struct json *j, const char *end)
{
	j->put(end, j->arg);
	j->more = true;
}

/* The free page blocks by order: of a row of pagetypeinfo, or (buddyinfo) of all. In a frame of its own: see report_line(). */
static out_of_line void write_orders(struct json *j, const char *key, const struct zone_row *z,
				     size_t (*count)(const struct zone_row *, unsigned, unsigned), unsigned type)
{
	struct row row;
	unsigned o;

	item_begin(j, &row);
	ROW(&row, "\"%s\":[", key);
	for (o = 0; o < NR_ORDERS; o++)
		ROW(&row, "%s%z", o ? "," : "", count(z, type, o));
	ROW(&row, "]");
	item_end(j, &row);
}

static size_t all_types_free(const struct zone_row *z, unsigned unused, unsigned order)
{
	(void)unused;
	return zone_row_free(z, order);
}

static void write_buddyinfo(const struct heap_report *r, struct json *j)
{
	const struct zone_row *all = &r->all_zones;

	OPEN(j, "\"buddyinfo\":{");
	item(j, "\"free_pages\":%z", free_pages(r));
	write_orders(j, "free", all, all_types_free, 0);
	close_json(j, "}");
}

static void write_type(const struct zone_row *z, struct json *j, unsigned t)
{
	const struct type_counts *c = &z->types;
	bool typed = t < NR_MIGRATETYPES;

	OPEN(j, "{\"type\":\"%s\"", type_row_name(t));
	j->more = true;
	item(j, "\"blocks\":%z,\"mixed_blocks\":%z", typed ? c->blocks[t] : z->nr_free_blocks, typed ? c->mixed[t] : 0);
	item(j, "\"free_pages\":%z,\"dirty_pages\":%z", typed ? c->free_pages[t] : z->nr_free_blocks << PAGEBLOCK_ORDER,
	     typed ? c->dirty_pages[t] : z->nr_dirty_pages);
	write_orders(j, "free", z, type_row_free, t);
	write_orders(j, "resident", z, type_row_resident, t);
	close_json(j, "}");
}

static void write_pagetypeinfo(const struct heap_report *r, struct json *j)
{
	const struct zone_row *all = &r->all_zones;
	unsigned t;

	OPEN(j, "\"pagetypeinfo\":{");
	item(j, "\"page_block_order\":%u,\"pages_per_block\":%u", (unsigned)PAGEBLOCK_ORDER, PAGEBLOCK_PAGES);
	item(j, "\"claims\":%z,\"steals\":%z", (size_t)r->vm_event[PAGEBLOCK_CLAIM],
	     (size_t)r->vm_event[PAGEBLOCK_STEAL]);
	item(j, "\"large_blocks\":%z,\"isolated_blocks\":%z", all->types.nr_large_blocks, all->types.nr_isolated_blocks);
	OPEN(j, "\"types\":[");
	for (t = 0; t < NR_TYPE_ROWS; t++)
		write_type(all, j, t);
	close_json(j, "]");
	close_json(j, "}");
}

static void write_cpus(const struct heap_report *r, struct json *j, unsigned class)
{
	unsigned i;

	OPEN(j, "\"cpus\":[");
	for (i = 0; class < NR_CACHES && i < r->percpu.nr_listed; i++) {
		const struct cpu_info *cpu = &r->percpu.cpu[i];

		if (cpu->capacity[class])
			item(j, "{\"cpu\":%u,\"objects\":%u,\"capacity\":%u}", cpu->index, (unsigned)cpu->nr[class],
			     (unsigned)cpu->capacity[class]);
	}
	close_json(j, "]");
}

static void write_cache(const struct heap_report *r, struct json *j, unsigned number)
{
	const struct class_report *c = listed_cache(r, number);
	const struct cache_info *i = &c->cache;

	char name[CACHE_NAME_SIZE];

	listed_name(name, r, number);
	OPEN(j, "{\"name\":\"%s\"", name);
	j->more = true;
	item(j, "\"type\":\"%s\",\"object_bytes\":%z,\"objects_per_slab\":%z,\"pages_per_slab\":%z",
	     type_row_name(i->migratetype), i->size, i->objects_per_slab, i->pages_per_slab);
	item(j, "\"used_objects\":%z,\"cached_objects\":%z,\"free_objects\":%z,\"objects\":%z", c->nr_used, c->nr_cached,
	     i->nr_free, i->nr_objects);
	item(j, "\"slabs\":%z,\"partial_slabs\":%z,\"pages\":%z", i->nr_slabs, i->nr_partial, i->nr_pages);
	item(j, "\"barn_full_sheaves\":%z,\"barn_empty_sheaves\":%z,\"barn_objects\":%z,\"sheaf_capacity\":%z",
	     i->nr_full_sheaves, i->nr_empty_sheaves, i->nr_barn_objects, i->sheaf_capacity);
	item(j, "\"barn_get\":%z,\"barn_put\":%z,\"sheaf_refill\":%z,\"sheaf_flush\":%z", (size_t)i->nr_gets,
	     (size_t)i->nr_puts, (size_t)i->nr_refills, (size_t)i->nr_drains);
	item(j, "\"slab_create\":%z,\"slab_destroy\":%z", (size_t)i->nr_slab_creates, (size_t)i->nr_slab_destroys);
	write_cpus(r, j, number);
	close_json(j, "}");
}

static void write_slabinfo(const struct heap_report *r, struct json *j)
{
	unsigned i;

	OPEN(j, "\"slabinfo\":{");
	OPEN(j, "\"caches\":[");
	for (i = 1; i < NR_LISTED; i++)
		if (listed_cache(r, i)->cache.size)
			write_cache(r, j, i);
	close_json(j, "]");
	close_json(j, "}");
}

/* The end of a zone's item: a line of its own. */
static out_of_line void write_zone_free(const struct zone_row *z, struct json *j)
{
	struct row row = {0};
	unsigned o;

	ROW(&row, "\"free\":[");
	for (o = 0; o < NR_ORDERS; o++)
		ROW(&row, "%s%z", o ? "," : "", zone_row_free(z, o));
	ROW(&row, "]}");
	j->put(row.text, j->arg);
}

static void write_zones(const struct heap_report *r, struct json *j)
{
	unsigned i;

	OPEN(j, "\"zones\":[");
	for (i = 0; i < nr_zone_rows(r); i++) {
		const struct zone_row *z = zone_row_at(r, i);

		item(j, "{\"node\":%u,\"zone\":\"%s\",\"spanned_pages\":%z,\"present_pages\":%z,\"free_pages\":%z,", zone_node_of(z->zone),
		     zone_type_name(zone_type_of(z->zone)), z->nr_reserved << PAGEBLOCK_ORDER, z->nr_committed << PAGEBLOCK_ORDER,
		     zone_row_free_pages(z));
		report_line(j->put, j->arg, "\"zone_dirty_pages\":%z,\"zone_free_blocks\":%z,", z->nr_dirty_pages, z->nr_free_blocks);
		write_zone_free(z, j);
	}
	close_json(j, "]");
}

static void write_zoneinfo(const struct heap_report *r, struct json *j)
{
	const struct zone_info *z = &r->zone;
	unsigned i;

	OPEN(j, "\"zoneinfo\":{");
	item(j, "\"spanned_pages\":%z,\"present_pages\":%z,\"free_pages\":%z", z->nr_reserved << PAGEBLOCK_ORDER,
	     z->nr_committed << PAGEBLOCK_ORDER, free_pages(r));
	item(j, "\"low_pages\":%z,\"high_pages\":%z,\"learned_pages\":%z,\"reserve_free_pages\":%z", z->low_pages,
	     z->high_pages, z->learned_pages, r->pages.nr_reserve_free);
	item(j, "\"dirty_free_pages\":%z,\"zone_dirty_pages\":%z,\"zone_free_blocks\":%z", r->dirty_free >> PAGE_SHIFT,
	     z->nr_dirty_pages, z->nr_free);
	item(j, "\"regions\":%z,\"buddies\":%z,\"caches\":%u", z->nr_regions, r->pages.nr_buddies, r->percpu.nr_areas);
	write_zones(r, j);
	OPEN(j, "\"cpus\":[");
	for (i = 0; i < r->percpu.nr_listed; i++) {
		const struct cpu_info *cpu = &r->percpu.cpu[i];

		item(j, "{\"cpu\":%u,\"objects\":%z,\"capacity\":%z,\"bytes\":%z}", cpu->index, cpu->nr_objects,
		     cpu->nr_slots, cpu->bytes);
	}
	close_json(j, "]");
	close_json(j, "}");
}

static void write_vmstat(const struct heap_report *r, struct json *j)
{
	unsigned i;

	OPEN(j, "\"vmstat\":{");
	for (i = 0; i < NR_VM_EVENTS; i++)
		item(j, "\"%s\":%z", vm_event_text[i].name, (size_t)r->vm_event[i]);
	close_json(j, "}");
}

/* Addresses as text: not every reader of JSON keeps 64 bits. */
static void write_vmallocinfo(const struct heap_report *r, struct json *j)
{
	size_t i;

	OPEN(j, "\"vmallocinfo\":{");
	item(j, "\"count\":%z,\"listed\":%z", r->large_list.nr_areas, r->large_list.nr_listed);
	OPEN(j, "\"blocks\":[");
	for (i = 0; i < r->large_list.nr_listed; i++) {
		const struct large_block *b = &r->large_list.block[i];

		item(j,
		     "{\"address\":\"%p\",\"bytes\":%z,\"pages\":%z,\"kind\":\"%s\",\"pageblocks\":%z,"
		     "\"guard_before\":%z,\"guard_behind\":%z}",
		     (void *)b->addr, b->size, b->size >> PAGE_SHIFT, b->nr_blocks ? "pageblocks" : "mapping",
		     b->nr_blocks, b->guard_before, b->guard_behind);
	}
	close_json(j, "]");
	close_json(j, "}");
}

static void write_meminfo(const struct heap_report *r, struct json *j)
{
	unsigned i;

	OPEN(j, "\"meminfo\":{");
	for (i = 0; i < NR_MEMINFO; i++)
		item(j, "\"%s\":%z", meminfo_items[i].key, meminfo_bytes(r, i));
	close_json(j, "}");
}

void json_write(const struct heap_report *r, unsigned what, report_put *put, void *arg)
{
	struct json json = {put, arg, false}, *j = &json;

	put("{", arg);
	item(j, "\"schema\":%u,\"index\":\"%s\"", SCHEMA_VERSION, index_mode_name(r->percpu.mode));
	if (what & REPORT_BUDDYINFO)
		write_buddyinfo(r, j);
	if (what & REPORT_PAGETYPEINFO)
		write_pagetypeinfo(r, j);
	if (what & REPORT_SLABINFO)
		write_slabinfo(r, j);
	if (what & REPORT_ZONEINFO)
		write_zoneinfo(r, j);
	if (what & REPORT_VMSTAT)
		write_vmstat(r, j);
	if (what & REPORT_VMALLOCINFO)
		write_vmallocinfo(r, j);
	if (what & REPORT_MEMINFO)
		write_meminfo(r, j);
	put("}", arg);
}
