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
#define ITEM(j, ...)                                                                               \
	do {                                                                                       \
		struct row row_ = {0};                                                             \
		ROW(&row_, "%s", (j)->more ? "," : " ");                                           \
		ROW(&row_, __VA_ARGS__);                                                           \
		(j)->put(row_.text, (j)->arg);                                                     \
		(j)->more = true;                                                                  \
	} while (0)

#define OPEN(j, ...)                                                                               \
	do {                                                                                       \
		ITEM(j, __VA_ARGS__);                                                              \
		(j)->more = false;                                                                 \
	} while (0)

static void close_json(struct json *j, const char *end)
{
	j->put(end, j->arg);
	j->more = true;
}

static void add_orders(struct row *row, const char *key, const struct heap_report *r,
		       size_t (*count)(const struct heap_report *, unsigned, unsigned), unsigned type)
{
	unsigned o;

	ROW(row, "\"%s\":[", key);
	for (o = 0; o < NR_ORDERS; o++)
		ROW(row, "%s%z", o ? "," : "", count(r, type, o));
	ROW(row, "]");
}

static size_t all_types_free(const struct heap_report *r, unsigned unused, unsigned order)
{
	(void)unused;
	return order_free(r, order);
}

static void write_buddyinfo(const struct heap_report *r, struct json *j)
{
	struct row row = {0};

	OPEN(j, "\"buddyinfo\":{");
	ITEM(j, "\"free_pages\":%z", free_pages(r));
	add_orders(&row, "free", r, all_types_free, 0);
	ITEM(j, "%s", row.text);
	close_json(j, "}");
}

static void write_type(const struct heap_report *r, struct json *j, unsigned t)
{
	const struct pages_info *p = &r->pages;
	bool typed = t < NR_MIGRATETYPES;
	struct row free = {0}, resident = {0};

	OPEN(j, "{\"type\":\"%s\"", type_row_name(t));
	j->more = true;
	ITEM(j, "\"blocks\":%z,\"mixed_blocks\":%z", typed ? p->blocks[t] : r->zone.nr_free, typed ? p->mixed[t] : 0);
	ITEM(j, "\"free_pages\":%z,\"dirty_pages\":%z",
	     typed ? p->free_pages[t] : r->zone.nr_free << PAGEBLOCK_ORDER,
	     typed ? p->dirty_pages[t] : r->zone.nr_dirty_pages);
	add_orders(&free, "free", r, type_row_free, t);
	ITEM(j, "%s", free.text);
	add_orders(&resident, "resident", r, type_row_resident, t);
	ITEM(j, "%s", resident.text);
	close_json(j, "}");
}

static void write_pagetypeinfo(const struct heap_report *r, struct json *j)
{
	unsigned t;

	OPEN(j, "\"pagetypeinfo\":{");
	ITEM(j, "\"page_block_order\":%u,\"pages_per_block\":%u", (unsigned)PAGEBLOCK_ORDER, PAGEBLOCK_PAGES);
	ITEM(j, "\"claims\":%z,\"steals\":%z", (size_t)r->vm_event[PAGEBLOCK_CLAIM],
	     (size_t)r->vm_event[PAGEBLOCK_STEAL]);
	ITEM(j, "\"large_blocks\":%z,\"isolated_blocks\":%z", r->pages.nr_large_blocks, r->pages.nr_isolated_blocks);
	OPEN(j, "\"types\":[");
	for (t = 0; t < NR_TYPE_ROWS; t++)
		write_type(r, j, t);
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
			ITEM(j, "{\"cpu\":%u,\"objects\":%u,\"capacity\":%u}", cpu->index, (unsigned)cpu->nr[class],
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
	ITEM(j, "\"type\":\"%s\",\"object_bytes\":%z,\"objects_per_slab\":%z,\"pages_per_slab\":%z",
	     type_row_name(i->migratetype), i->size, i->objects_per_slab, i->pages_per_slab);
	ITEM(j, "\"used_objects\":%z,\"cached_objects\":%z,\"free_objects\":%z,\"objects\":%z", c->nr_used, c->nr_cached,
	     i->nr_free, i->nr_objects);
	ITEM(j, "\"slabs\":%z,\"partial_slabs\":%z,\"pages\":%z", i->nr_slabs, i->nr_partial, i->nr_pages);
	ITEM(j, "\"barn_full_sheaves\":%z,\"barn_empty_sheaves\":%z,\"barn_objects\":%z,\"sheaf_capacity\":%z",
	     i->nr_full_sheaves, i->nr_empty_sheaves, i->nr_barn_objects, i->sheaf_capacity);
	ITEM(j, "\"barn_get\":%z,\"barn_put\":%z,\"sheaf_refill\":%z,\"sheaf_flush\":%z", (size_t)i->nr_gets,
	     (size_t)i->nr_puts, (size_t)i->nr_refills, (size_t)i->nr_drains);
	ITEM(j, "\"slab_create\":%z,\"slab_destroy\":%z", (size_t)i->nr_slab_creates, (size_t)i->nr_slab_destroys);
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

static void write_zones(const struct heap_report *r, struct json *j)
{
	unsigned i, o;

	OPEN(j, "\"zones\":[");
	for (i = 0; i < nr_zone_rows(r); i++) {
		struct zone_row z = zone_row_at(r, i);
		struct row row = {0};

		ROW(&row, "{\"node\":%u,\"zone\":\"%s\",\"spanned_pages\":%z,\"present_pages\":%z,\"free_pages\":%z,", zone_node_of(z.zone),
		    zone_type_name(zone_type_of(z.zone)), z.nr_reserved << PAGEBLOCK_ORDER, z.nr_committed << PAGEBLOCK_ORDER,
		    zone_row_free_pages(&z));
		ITEM(j, "%s", row.text);
		row = (struct row){0};
		ROW(&row, "\"zone_dirty_pages\":%z,\"zone_free_blocks\":%z,", z.nr_dirty_pages, z.nr_free_blocks);
		j->put(row.text, j->arg);
		row = (struct row){0};
		ROW(&row, "\"free\":[");
		for (o = 0; o < NR_ORDERS; o++)
			ROW(&row, "%s%z", o ? "," : "", zone_row_free(&z, o));
		ROW(&row, "]}");
		j->put(row.text, j->arg);
	}
	close_json(j, "]");
}

static void write_zoneinfo(const struct heap_report *r, struct json *j)
{
	const struct zone_info *z = &r->zone;
	unsigned i;

	OPEN(j, "\"zoneinfo\":{");
	ITEM(j, "\"spanned_pages\":%z,\"present_pages\":%z,\"free_pages\":%z", z->nr_reserved << PAGEBLOCK_ORDER,
	     z->nr_committed << PAGEBLOCK_ORDER, free_pages(r));
	ITEM(j, "\"low_pages\":%z,\"high_pages\":%z,\"learned_pages\":%z,\"reserve_free_pages\":%z", z->low_pages,
	     z->high_pages, z->learned_pages, r->pages.nr_reserve_free);
	ITEM(j, "\"dirty_free_pages\":%z,\"zone_dirty_pages\":%z,\"zone_free_blocks\":%z", r->dirty_free >> PAGE_SHIFT,
	     z->nr_dirty_pages, z->nr_free);
	ITEM(j, "\"regions\":%z,\"buddies\":%z,\"caches\":%u", z->nr_regions, r->pages.nr_buddies, r->percpu.nr_areas);
	write_zones(r, j);
	OPEN(j, "\"cpus\":[");
	for (i = 0; i < r->percpu.nr_listed; i++) {
		const struct cpu_info *cpu = &r->percpu.cpu[i];

		ITEM(j, "{\"cpu\":%u,\"objects\":%z,\"capacity\":%z,\"bytes\":%z}", cpu->index, cpu->nr_objects,
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
		ITEM(j, "\"%s\":%z", vm_event_text[i].name, (size_t)r->vm_event[i]);
	close_json(j, "}");
}

/* Addresses as text: not every reader of JSON keeps 64 bits. */
static void write_vmallocinfo(const struct heap_report *r, struct json *j)
{
	size_t i;

	OPEN(j, "\"vmallocinfo\":{");
	ITEM(j, "\"count\":%z,\"listed\":%z", r->large_list.nr_areas, r->large_list.nr_listed);
	OPEN(j, "\"blocks\":[");
	for (i = 0; i < r->large_list.nr_listed; i++) {
		const struct large_block *b = &r->large_list.block[i];

		ITEM(j,
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
		ITEM(j, "\"%s\":%z", meminfo_items[i].key, meminfo_bytes(r, i));
	close_json(j, "}");
}

void json_write(const struct heap_report *r, unsigned what, report_put *put, void *arg)
{
	struct json json = {put, arg, false}, *j = &json;

	put("{", arg);
	ITEM(j, "\"schema\":%u,\"index\":\"%s\"", SCHEMA_VERSION, index_mode_name(r->percpu.mode));
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
