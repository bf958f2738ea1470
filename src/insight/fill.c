/* SPDX-License-Identifier: MIT */
#include "insight/fill.h"

#include <stdlib.h>
#include <string.h>

#include "slab/kept.h"

/* --- caches ------------------------------------------------------------------------------------- */

/* Objects in the barn's full sheaves, of which there are as many as it says. */
static size_t barn_objects(struct heap *h, const struct barn *b)
{
	uint64_t addr = (uintptr_t)b->full;
	struct sheaf_copy sheaf;
	size_t n = 0;
	unsigned i;

	for (i = 0; addr && i < b->nr_full && heap_sheaf(h, addr, &sheaf, &addr); i++)
		n += sheaf.nr;
	return n;
}

static void fill_barn(struct heap *h, const struct barn *b, struct cache_info *info)
{
	info->nr_full_sheaves = b->nr_full;
	info->nr_empty_sheaves = b->nr_empty;
	info->nr_barn_objects = barn_objects(h, b);
	info->sheaf_capacity = b->capacity;
}

static void fill_counts(struct heap *h, const struct kmem_cache *c, struct cache_info *info)
{
	struct cache_counts past = {0};

	info->nr_gets = c->barn.nr_gets;
	info->nr_refills = c->barn.nr_refills;
	info->nr_overs = c->barn.nr_overs;
	info->nr_puts = c->barn.nr_puts;
	info->nr_drains = c->barn.nr_drains;
	info->nr_slab_creates = c->nr_slab_creates;
	info->nr_slab_destroys = c->nr_slab_destroys;
	info->nr_uncached_allocs = c->nr_uncached_allocs;
	info->nr_uncached_frees = c->nr_uncached_frees;
	if (c->typed && !heap_read(h, (uintptr_t)c->typed + offsetof(struct typed, past), &past, sizeof past))
		h->nr_doubts++;
	cache_info_split(info, &past);
}

static void fill_cache(struct heap *h, unsigned class, struct cache_info *info)
{
	struct kmem_cache c = {0};
	bool is_used;
	uint64_t addr;

	if (is_pcp_cache(class))
		return;
	is_used = heap_cache(h, class, &c, &addr);
	if (is_used || !c.size) /* one that was before, or none: all zero */
		fill_counts(h, &c, info);
	if (!is_used)
		return;
	info->size = c.size;
	heap_cache_name(h, &c, info->name);
	info->migratetype = c.migratetype;
	info->objects_per_slab = min_size((BSLAB_PAGE_SIZE << (c.full_order & 15)) / c.size, MAX_SLAB_OBJECTS);
	info->pages_per_slab = align_up(info->objects_per_slab * c.size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT;
	info->nr_slabs = c.nr_slabs;
	info->nr_objects = c.nr_objects;
	info->nr_pages = c.nr_pages;
	info->nr_partial = c.nr_partial;
	info->nr_free = c.nr_objects > c.nr_out ? c.nr_objects - c.nr_out : 0;
	fill_barn(h, &c.barn, info);
}

/* --- sheaves of CPUs ------------------------------------------------------------------------------- */

struct percpu_fill {
	struct heap *heap;
	struct percpu_info *info;
	size_t size[NR_CACHES]; /* of objects */
};

static bool fill_area(void *arg, int slot, const struct percpu_area *area)
{
	struct percpu_fill *fill = arg;
	struct percpu_info *info = fill->info;
	struct cpu_info *cpu = NULL;
	struct sheaf_copy sheaf;
	unsigned class;

	if (slot >= 0 && info->nr_areas++ < MAX_REPORT_CPUS) {
		cpu = &info->cpu[info->nr_listed++];
		cpu->index = (unsigned)slot - (info->mode == INDEX_CPU_ID);
	}
	if (kept_nr_pages(area) <= MAX_HOT_PAGES)
		info->nr_kept_pages += kept_nr_pages(area);
	else
		fill->heap->nr_doubts++;
	for (class = 1; class < NR_CACHES; class++) {
		if (!area->top[class] || !heap_sheaf_of_top(fill->heap, (uintptr_t)area->top[class], &sheaf))
			continue;
		if (is_pcp_cache(class)) {
			info->nr_kept_pages += (size_t)sheaf.nr << (class - PCP_CACHE);
			continue;
		}
		info->nr_cached[class] += sheaf.nr;
		if (!cpu)
			continue;
		cpu->nr[class] = (uint16_t)sheaf.nr;
		cpu->capacity[class] = (uint16_t)sheaf.capacity;
		cpu->nr_objects += sheaf.nr;
		cpu->nr_slots += sheaf.capacity;
		cpu->bytes += sheaf.nr * fill->size[class];
	}
	return true;
}

/* In the barns of page runs. */
static size_t barn_pages(struct heap *h)
{
	struct kmem_cache c;
	size_t nr_pages = 0;
	unsigned order;
	uint64_t addr;

	for (order = 0; order <= PCP_MAX_ORDER; order++)
		if (heap_cache(h, PCP_CACHE + order, &c, &addr))
			nr_pages += barn_objects(h, &c.barn) << order;
	return nr_pages;
}

static void fill_percpu(struct heap *h, const struct class_report *caches, struct percpu_info *info)
{
	struct percpu_fill fill = {h, info, {0}};
	unsigned class;

	info->mode = h->percpu.mode;
	info->nr_sheaf_reaps = h->percpu.nr_sheaf_reaps;
	info->nr_barn_reaps = h->percpu.nr_barn_reaps;
	info->nr_drains = h->percpu.nr_drains;
	for (class = 0; class < NR_CACHES; class++)
		fill.size[class] = caches[class].cache.size;
	heap_areas(h, fill_area, &fill);
	info->nr_kept_pages += barn_pages(h);
}

/* --- pages ------------------------------------------------------------------------------------------- */

/* Is any of these pages dirty? They are a free page block, and so aligned to their number. */
static bool any_is_dirty(const struct pageblock *b, unsigned index, unsigned order)
{
	unsigned w, nr = 1u << order;

	if (order < 6)
		return b->dirty[index / 64] >> index % 64 & ((1ull << nr) - 1);
	for (w = index / 64; w < (index + nr) / 64; w++)
		if (b->dirty[w])
			return true;
	return false;
}

/* What the struct alone says; false where it cannot be right. */
static bool count_buddy_block(const struct pageblock *b, struct zone_row *row, struct pages_info *info)
{
	if (b->migratetype >= NR_MIGRATETYPES || b->nr_free > PAGEBLOCK_PAGES || b->nr_dirty_free > b->nr_free)
		return false;
	pages_info_add(info, row, b);
	return true;
}

bool report_count_block(const struct pageblock *b, unsigned zone, struct pages_info *info)
{
	struct zone_row *row = zone_row(&info->zones, zone);

	pages_info_add_other(info, row, b->state, min_size(b->nr_free, PAGEBLOCK_PAGES), min_size(b->nr_dirty_free, PAGEBLOCK_PAGES));
	info->nr_huge_blocks += b->is_huge != 0;
	return b->state != PAGEBLOCK_BUDDY || count_buddy_block(b, row, info);
}

static void fill_free_area(const struct block_copy *copy, unsigned zone, struct pages_info *info)
{
	struct zone_row *row = zone_row(&info->zones, zone);
	const struct pageblock *b = &copy->b;
	struct free_links links;
	unsigned i;

	for (i = 0; b->nr_free && i < PAGEBLOCK_PAGES; i++)
		if (desc_links(copy->desc[i], &links) && links.order < NR_ORDERS && i % (1u << links.order) == 0)
			pages_info_add_free(info, row, b->migratetype, links.order,
					    b->migratetype == MIGRATE_HIGHATOMIC || any_is_dirty(b, i, links.order));
}

static void fill_blocks(struct heap *h, struct pages_info *info, void *unused)
{
	struct block_copy copy;
	size_t i;
	unsigned n;

	(void)unused;
	for (i = 0; i < h->nr_regions; i++)
		for (n = 0; n < h->regions[i].nr_committed; n++) {
			if (!heap_block(h, h->regions[i].base + ((uint64_t)n << PAGEBLOCK_SHIFT), &copy)) {
				h->nr_doubts++;
				continue;
			}
			if (!report_count_block(&copy.b, h->regions[i].zone, info))
				h->nr_doubts++;
			else if (copy.b.state == PAGEBLOCK_BUDDY)
				fill_free_area(&copy, h->regions[i].zone, info);
		}
}

static void add_counters(struct heap *h, uint64_t buddy, struct pages_info *info)
{
	uint64_t from[sizeof(struct buddy_counters) / sizeof(uint64_t)], *to = (uint64_t *)&info->count;
	size_t i;

	if (!heap_read(h, buddy + offsetof(struct buddy, count), from, sizeof from)) {
		h->nr_doubts++;
		return;
	}
	for (i = 0; i < sizeof from / sizeof *from; i++)
		to[i] += from[i];
}

static void add_hot_runs(struct heap *h, uint64_t buddy, struct pages_info *info)
{
	struct hot_runs hot;

	if (heap_read(h, buddy + offsetof(struct buddy, hot), &hot, sizeof hot) && hot.nr_pages <= MAX_HOT_PAGES)
		info->nr_hot += hot.nr_pages;
	else
		h->nr_doubts++;
}

static void fill_pages(struct heap *h, struct pages_info *info, report_blocks *blocks, void *arg)
{
	size_t i;

	for (i = 0; i < h->nr_buddies; i++) {
		add_counters(h, h->buddies[i], info);
		add_hot_runs(h, h->buddies[i], info);
	}
	add_counters(h, h->root[ROOT_HIGHATOMIC], info);
	info->nr_buddies = h->nr_buddies;
	for (i = 0; i < h->nr_regions; i++)
		zone_rows_add(&info->zones, &h->regions[i], h->zone.nr_dirty_in);
	blocks(h, info, arg);
	info->nr_reserve_free = info->types.free_pages[MIGRATE_HIGHATOMIC];
}

static void fill_zone(const struct heap *h, struct zone_info *info)
{
	const struct zone *z = &h->zone;

	*info = z->count;
	info->nr_committed = zone_committed_of(z);
	info->nr_used = min_size(z->nr_used, info->nr_committed);
	info->nr_free = info->nr_committed - info->nr_used;
	info->nr_dirty_pages = z->nr_dirty_pages;
	info->high_pages = zone_high_pages_of(z, h->options.dirty_size);
	info->low_pages = zone_low_pages_of(info->high_pages);
	info->learned_pages = z->nr_learned;
}

/* --- large blocks -------------------------------------------------------------------------------------- */

static void fill_large(struct heap *h, struct large_info *info, struct large_list *list)
{
	struct large large;
	size_t nr, i;
	struct vm_area *areas = heap_large(h, &large, &nr);

	*info = large.info;
	info->nr_hot_pages = large.nr_hot_pages;
	list->nr_areas = info->nr_areas;
	list->nr_listed = min_size(nr, MAX_LARGE_LISTED);
	for (i = 0; i < list->nr_listed; i++) {
		const struct vm_area *a = &areas[i];
		struct large_block *b = &list->block[i];

		*b = (struct large_block){.addr = a->addr, .size = a->size, .nr_blocks = a->nr_blocks};
		if (!a->first) {
			b->guard_before = a->addr - a->map_addr;
			b->guard_behind = a->map_size - min_size(a->map_size, b->guard_before + a->size);
		}
	}
	free(areas);
}

/* --- handles --------------------------------------------------------------------------------------------- */

static void fill_handle_cache(struct heap *h, unsigned class, struct cache_info *info, size_t *nr_cached)
{
	uint64_t addr, entry = h->root[ROOT_HANDLE_CACHES] + class * sizeof addr;
	size_t size = class == RUN_CLASS ? 0 : class_size(class);
	struct handle_cache c;

	if (!heap_read(h, entry, &addr, sizeof addr)) {
		h->nr_doubts++;
		return;
	}
	if (!addr)
		return;
	if (!heap_read(h, addr, &c, sizeof c) || c.class != class || c.size != size) {
		h->nr_doubts++;
		return;
	}
	handle_cache_info(&c, info);
	*nr_cached += c.nr_depot;
	*nr_cached -= min_size(*nr_cached, c.nr_stripped);
}

/* More than a process can have. */
#define MAX_HANDLE_THREADS ((size_t)1 << 22)

static void fill_handle_threads(struct heap *h, size_t nr_cached[NR_CLASSES])
{
	struct handle_threads threads;
	struct list_walk walk;
	struct handle_thread t;
	unsigned class;
	uint64_t addr;

	if (!heap_read(h, h->root[ROOT_HANDLE_THREADS], &threads, sizeof threads)) {
		h->nr_doubts++;
		return;
	}
	list_walk_begin(&walk, h, (uintptr_t)threads.all, offsetof(struct handle_thread, next), MAX_HANDLE_THREADS);
	while ((addr = list_walk_next(&walk)) && heap_read(h, addr, &t, sizeof t))
		for (class = 1; class < NR_CLASSES; class++)
			nr_cached[class] += t.kept[class].nr;
}

static void fill_handles(struct heap *h, struct heap_report *r)
{
	struct handle_table table;
	unsigned class;

	if (!heap_read(h, h->root[ROOT_HANDLE_TABLE], &table, sizeof table) ||
	    !heap_read(h, h->root[ROOT_COMPACT_COUNTS], &r->compact, sizeof r->compact)) {
		h->nr_doubts++;
		return;
	}
	handle_table_info(&table, &r->handles);
	fill_handle_threads(h, r->handles.nr_cached);
	for (class = 0; class < NR_CLASSES; class++)
		fill_handle_cache(h, class, &r->handle[class].cache, &r->handles.nr_cached[class]);
}

void report_fill_with(struct heap *h, struct heap_report *r, report_blocks *blocks, void *arg)
{
	struct slow_counts counts = {0};
	struct pools pools = {0};
	struct boot boot = {0};
	unsigned class;

	memset(r, 0, sizeof *r);
	for (class = 1; class < NR_CACHES; class++)
		fill_cache(h, class, &r->class[class].cache);
	fill_percpu(h, r->class, &r->percpu);
	fill_pages(h, &r->pages, blocks, arg);
	fill_zone(h, &r->zone);
	fill_large(h, &r->large, &r->large_list);
	fill_handles(h, r);
	if (!heap_read(h, h->root[ROOT_BOOT], &boot, sizeof boot) ||
	    !heap_read(h, h->root[ROOT_SLOW_COUNTS], &counts, sizeof counts) ||
	    !heap_read(h, h->root[ROOT_POOLS], &pools, sizeof pools))
		h->nr_doubts++;
	r->metadata = boot.used + r->handles.nr_entries * sizeof(struct handle_entry);
	r->metadata_mapped = boot.mapped + r->handles.mapped;
	r->pools = pools.map_bytes;
	r->nr_reclaims = counts.nr_reclaims;
	r->nr_failures = counts.nr_failures;
	report_derive(r);
}

void report_fill(struct heap *h, struct heap_report *r)
{
	report_fill_with(h, r, fill_blocks, NULL);
}
