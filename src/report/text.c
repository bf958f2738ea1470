/* SPDX-License-Identifier: MIT */
/*
 * The kernel's formats: mm/vmstat.c (buddyinfo, pagetypeinfo, zoneinfo, vmstat), mm/slab_common.c (slabinfo),
 * mm/vmalloc.c (vmallocinfo), fs/proc/meminfo.c. What the kernel does not have stands in sections or lines of its
 * own, which programs that know the kernel's formats skip: behind an empty line, or behind a '#'.
 */
#include "report/line.h"

/* Functions that have a row are not part of those that call others besides: see report_line(). */
static out_of_line void write_buddyinfo(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned i, o;

	for (i = 0; i < nr_zone_rows(r); i++) {
		const struct zone_row *z = zone_row_at(r, i);
		struct row row = {0};

		ROW(&row, "Node %u, zone %8s ", zone_node_of(z->zone), zone_type_name(zone_type_of(z->zone)));
		for (o = 0; o < NR_ORDERS; o++)
			ROW(&row, "%6z ", zone_row_free(z, o));
		put(row.text, arg);
	}
}

/* --- pagetypeinfo ------------------------------------------------------------------------------ */

enum residence { ANY, RESIDENT, NOT_RESIDENT };

static size_t free_count(const struct zone_row *z, enum residence which, unsigned t, unsigned o)
{
	size_t resident = type_row_resident(z, t, o);

	return which == RESIDENT ? resident : type_row_free(z, t, o) - (which == ANY ? 0 : resident);
}

static out_of_line void write_free_counts_of(const struct zone_row *z, enum residence which, report_put *put, void *arg)
{
	unsigned t, o;

	for (t = 0; t < NR_TYPE_ROWS; t++) {
		struct row row = {0};

		ROW(&row, "Node %4u, zone %8s, type %12s ", zone_node_of(z->zone), zone_type_name(zone_type_of(z->zone)),
		    type_row_name(t));
		for (o = 0; o < NR_ORDERS; o++)
			ROW(&row, "%6z ", free_count(z, which, t, o));
		put(row.text, arg);
	}
}

static out_of_line void write_orders(const char *title, report_put *put, void *arg)
{
	struct row row = {0};
	unsigned o;

	ROW(&row, "%-43s ", title);
	for (o = 0; o < NR_ORDERS; o++)
		ROW(&row, "%6u ", o);
	put(row.text, arg);
}

static void write_free_counts(const struct heap_report *r, enum residence which, const char *title, report_put *put,
			      void *arg)
{
	unsigned i;

	write_orders(title, put, arg);
	for (i = 0; i < nr_zone_rows(r); i++) {
		const struct zone_row *z = zone_row_at(r, i);

		write_free_counts_of(z, which, put, arg);
	}
	put("", arg);
}

enum block_count { BLOCKS, MIXED, FREE_PAGES, DIRTY_PAGES };

static const size_t *block_counts(const struct zone_row *z, enum block_count which)
{
	switch (which) {
	case BLOCKS:
		return z->types.blocks;
	case MIXED:
		return z->types.mixed;
	case FREE_PAGES:
		return z->types.free_pages;
	default:
		return z->types.dirty_pages;
	}
}

/* A column per migratetype, and what pageblocks are besides. */
static void write_block_counts(const struct heap_report *r, enum block_count which, const char *title, report_put *put, void *arg)
{
	static const char other_names[3][12] = {"Isolate", "Large", "Free"};
	unsigned nr_others = which == BLOCKS ? 3 : 0, i, t;
	struct row row = {0};

	ROW(&row, "%-23s", title);
	for (t = 0; t < NR_MIGRATETYPES + nr_others; t++)
		ROW(&row, "%12s ", t < NR_MIGRATETYPES ? type_row_name(t) : other_names[t - NR_MIGRATETYPES]);
	put(row.text, arg);
	for (i = 0; i < nr_zone_rows(r); i++) {
		const struct zone_row *z = zone_row_at(r, i);
		const size_t others[3] = {z->types.nr_isolated_blocks, z->types.nr_large_blocks, z->nr_free_blocks};

		row.len = 0;
		ROW(&row, "Node %u, zone %8s ", zone_node_of(z->zone), zone_type_name(zone_type_of(z->zone)));
		for (t = 0; t < NR_MIGRATETYPES + nr_others; t++)
			ROW(&row, "%12z ", t < NR_MIGRATETYPES ? block_counts(z, which)[t] : others[t - NR_MIGRATETYPES]);
		put(row.text, arg);
	}
}

static void write_pagetypeinfo(const struct heap_report *r, report_put *put, void *arg)
{
	LINE("Page block order: %u", (unsigned)PAGEBLOCK_ORDER);
	LINE("Pages per block:  %u", PAGEBLOCK_PAGES);
	put("", arg);
	write_free_counts(r, ANY, "Free pages count per migrate type at order", put, arg);
	write_block_counts(r, BLOCKS, "Number of blocks type ", put, arg);
	put("", arg);
	write_block_counts(r, MIXED, "Number of mixed blocks ", put, arg);
	put("", arg);
	write_free_counts(r, RESIDENT, "Resident free pages count at order", put, arg);
	write_free_counts(r, NOT_RESIDENT, "Not resident free pages count at order", put, arg);
	write_block_counts(r, FREE_PAGES, "Number of free pages ", put, arg);
	put("", arg);
	write_block_counts(r, DIRTY_PAGES, "Number of dirty pages ", put, arg);
	put("", arg);
	LINE("Fallbacks: claims %z steals %z", (size_t)r->vm_event[PAGEBLOCK_CLAIM],
	     (size_t)r->vm_event[PAGEBLOCK_STEAL]);
}

/* --- slabinfo ---------------------------------------------------------------------------------- */

static void write_slabinfo_lines(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned i;

	put("slabinfo - version: 2.1", arg);
	LINE("# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>%s%s",
	     " : tunables <limit> <batchcount> <sharedfactor>",
	     " : slabdata <active_slabs> <num_slabs> <sharedavail>");
	for (i = 1; i < NR_LISTED; i++) {
		const struct class_report *c = listed_cache(r, i);
		char name[CACHE_NAME_SIZE];

		if (!c->cache.size)
			continue;
		listed_name(name, r, i);
		LINE("%-17s %6z %6z %6z %4z %4z : tunables %4z %4z %4z : slabdata %6z %6z %6z", name, c->nr_used,
		     c->cache.nr_objects, c->cache.size, c->cache.objects_per_slab, c->cache.pages_per_slab,
		     c->cache.sheaf_capacity, batch_of(c->cache.sheaf_capacity), (size_t)0, c->cache.nr_slabs,
		     c->cache.nr_slabs, c->cache.nr_barn_objects);
	}
}

/* As many CPUs as fit into a line of this length. */
#define CPU_LINE 100

static out_of_line void write_cpu_fill(const struct heap_report *r, unsigned class, const char *name, report_put *put, void *arg)
{
	struct row row = {0};
	unsigned i;

	for (i = 0; i < r->percpu.nr_listed; i++) {
		const struct cpu_info *cpu = &r->percpu.cpu[i];

		if (!cpu->capacity[class])
			continue;
		if (row.len > CPU_LINE) {
			put(row.text, arg);
			row.len = 0;
		}
		if (!row.len)
			ROW(&row, "# %-17s cpu", name);
		ROW(&row, " %u:%u/%u", cpu->index, (unsigned)cpu->nr[class], (unsigned)cpu->capacity[class]);
	}
	if (row.len)
		put(row.text, arg);
}

static void write_sheaves(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned i;

	put("#", arg);
	put("# name            <cached_objs> <free_objs> <partial_slabs> <full_slabs> <pages> : barn <full> <empty> <objs>"
	    " : sheaf <capacity> <cpu_objs>", arg);
	put("# name            cpu <cpu>:<objs>/<capacity> ...", arg);
	for (i = 1; i < NR_LISTED; i++) {
		const struct class_report *c = listed_cache(r, i);
		size_t nr_full = c->cache.nr_slabs > c->cache.nr_partial ? c->cache.nr_slabs - c->cache.nr_partial : 0;
		char name[CACHE_NAME_SIZE];

		if (!c->cache.size)
			continue;
		listed_name(name, r, i);
		LINE("# %-17s %6z %6z %6z %6z %6z : barn %4z %4z %6z : sheaf %4z %6z", name, c->nr_cached,
		     c->cache.nr_free, c->cache.nr_partial, nr_full, c->cache.nr_pages, c->cache.nr_full_sheaves,
		     c->cache.nr_empty_sheaves, c->cache.nr_barn_objects, c->cache.sheaf_capacity,
		     listed_cached(r, i));
		if (i < NR_CACHES)
			write_cpu_fill(r, i, name, put, arg);
	}
}

/* --- zoneinfo ---------------------------------------------------------------------------------- */

/* The largest batch of the CPU's sheaves. */
static size_t cpu_batch(const struct cpu_info *cpu)
{
	size_t n = 0;
	unsigned class;

	for (class = 1; class < NR_CACHES; class++)
		n = max_size(n, batch_of(cpu->capacity[class]));
	return n;
}

static void write_pagesets(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned i;

	put("  pagesets", arg);
	for (i = 0; i < r->percpu.nr_listed; i++) {
		const struct cpu_info *cpu = &r->percpu.cpu[i];

		LINE("    cpu: %u", cpu->index);
		LINE("              count:    %z", cpu->nr_objects);
		LINE("              high:     %z", cpu->nr_slots);
		LINE("              batch:    %z", cpu_batch(cpu));
		LINE("              bytes:    %z", cpu->bytes);
	}
}

/* Beside the first: the watermarks, the caches and what is made of pages are the process's. */
static void write_other_zone(const struct heap_report *r, unsigned i, report_put *put, void *arg)
{
	const struct zone_row *z = zone_row_at(r, i);

	LINE("Node %u, zone %8s", zone_node_of(z->zone), zone_type_name(zone_type_of(z->zone)));
	LINE("  pages free     %z", zone_row_free_pages(z));
	LINE("        spanned  %z", z->nr_reserved << PAGEBLOCK_ORDER);
	LINE("        present  %z", z->nr_committed << PAGEBLOCK_ORDER);
	LINE("        managed  %z", z->nr_committed << PAGEBLOCK_ORDER);
	LINE("      nr_free_pages %z", zone_row_free_pages(z));
	LINE("      nr_zone_dirty %z", z->nr_dirty_pages);
	LINE("      nr_free_pageblocks %z", z->nr_free_blocks);
}

static void write_zoneinfo(const struct heap_report *r, report_put *put, void *arg)
{
	const struct zone_row *z = zone_row_at(r, 0);
	size_t present = z->nr_committed << PAGEBLOCK_ORDER;
	unsigned i;

	LINE("Node %u, zone %8s", zone_node_of(z->zone), zone_type_name(zone_type_of(z->zone)));
	LINE("  pages free     %z", zone_row_free_pages(z));
	LINE("        boost    %z", r->zone.learned_pages);
	LINE("        min      %z", r->pages.nr_reserve_free);
	LINE("        low      %z", r->zone.low_pages);
	LINE("        high     %z", r->zone.high_pages);
	LINE("        spanned  %z", z->nr_reserved << PAGEBLOCK_ORDER);
	LINE("        present  %z", present);
	LINE("        managed  %z", present);
	LINE("      nr_free_pages %z", zone_row_free_pages(z));
	LINE("      nr_free_dirty %z", r->dirty_free >> PAGE_SHIFT);
	LINE("      nr_zone_dirty %z", z->nr_dirty_pages);
	LINE("      nr_free_pageblocks %z", z->nr_free_blocks);
	LINE("      nr_buddies   %z", r->pages.nr_buddies);
	LINE("      nr_slab      %z", r->slab_pages);
	LINE("      nr_handles   %z", r->handle_pages);
	LINE("      nr_runs      %z", r->run_used >> PAGE_SHIFT);
	LINE("      nr_large     %z", r->large.nr_blocks << PAGEBLOCK_ORDER);
	write_pagesets(r, put, arg);
	LINE("  node_unreclaimable:  %u", 0u);
	for (i = 1; i < nr_zone_rows(r); i++)
		write_other_zone(r, i, put, arg);
}

/* --- the others --------------------------------------------------------------------------------- */

static void write_vmstat(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned i;

	for (i = 0; i < NR_VM_EVENTS; i++)
		LINE("%s %z", vm_event_text[i].name, (size_t)r->vm_event[i]);
}

static out_of_line void write_large_block(const struct large_block *b, report_put *put, void *arg)
{
	struct row row = {0};

	ROW(&row, "%p-%p %7z large_alloc pages=%z", (void *)b->addr, (void *)(b->addr + b->size), b->size,
	    b->size >> PAGE_SHIFT);
	if (b->nr_blocks)
		ROW(&row, " pageblocks=%z", b->nr_blocks);
	else
		ROW(&row, " mapping guard=%z+%z", b->guard_before, b->guard_behind);
	put(row.text, arg);
}

static void write_vmallocinfo(const struct heap_report *r, report_put *put, void *arg)
{
	size_t i;

	for (i = 0; i < r->large_list.nr_listed; i++)
		write_large_block(&r->large_list.block[i], put, arg);
	if (r->large_list.nr_areas > r->large_list.nr_listed)
		LINE("# and %z older ones", r->large_list.nr_areas - r->large_list.nr_listed);
}

static void write_meminfo(const struct heap_report *r, report_put *put, void *arg)
{
	unsigned i;

	for (i = 0; i < NR_MEMINFO; i++) {
		char name[24];

		bug_format(name, sizeof name, "%s:", meminfo_items[i].name);
		LINE("%-16s%8z kB", name, meminfo_bytes(r, i) / KIB);
	}
}

void text_write(const struct heap_report *r, enum report_what what, report_put *put, void *arg)
{
	switch (what) {
	case REPORT_BUDDYINFO:
		write_buddyinfo(r, put, arg);
		break;
	case REPORT_PAGETYPEINFO:
		write_pagetypeinfo(r, put, arg);
		break;
	case REPORT_SLABINFO:
		write_slabinfo_lines(r, put, arg);
		write_sheaves(r, put, arg);
		break;
	case REPORT_ZONEINFO:
		write_zoneinfo(r, put, arg);
		break;
	case REPORT_VMSTAT:
		write_vmstat(r, put, arg);
		break;
	case REPORT_VMALLOCINFO:
		write_vmallocinfo(r, put, arg);
		break;
	case REPORT_MEMINFO:
		write_meminfo(r, put, arg);
		break;
	case REPORT_ALL:
		break;
	}
}
