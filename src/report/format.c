/* SPDX-License-Identifier: MIT */
#include "report/format.h"

#include <string.h>

#include "report/line.h"

static const char report_names[NR_REPORTS][16] = {
    "buddyinfo", "pagetypeinfo", "slabinfo", "zoneinfo", "vmstat", "vmallocinfo", "meminfo",
};
static const char format_names[3][12] = {"text", "json", "prometheus"};

const struct vm_event_text vm_event_text[NR_VM_EVENTS] = {
    [ALLOC_SLOWPATH] = {"alloc_slowpath", "Allocations of small objects that left the fast path"},
    [FREE_SLOWPATH] = {"free_slowpath", "Frees of small objects that left the fast path"},
    [BARN_GET] = {"barn_get", "Sheaves with objects that a CPU got from a barn"},
    [BARN_PUT] = {"barn_put", "Sheaves with objects that a barn took"},
    [SHEAF_REFILL] = {"sheaf_refill", "Sheaves filled from slabs, since the barn had none"},
    [SHEAF_FULL] = {"sheaf_full", "Times that a CPU ran over and got an empty sheaf"},
    [SHEAF_FLUSH] = {"sheaf_flush", "Sheaves emptied into slabs, since the barn was full"},
    [ALLOC_UNCACHED] = {"alloc_uncached", "Objects taken from slabs one by one"},
    [FREE_UNCACHED] = {"free_uncached", "Objects given to slabs one by one"},
    [SHEAF_REAP] = {"sheaf_reap", "Sheaves emptied because they rested"},
    [BARN_REAP] = {"barn_reap", "Barns emptied because they rested"},
    [CPU_DRAIN] = {"cpu_drain", "Times that the caches of all CPUs were emptied"},
    [SLAB_CREATE] = {"slab_create", "Slabs made"},
    [SLAB_DESTROY] = {"slab_destroy", "Slabs given back"},
    [PGALLOC] = {"pgalloc", "Pages handed out by buddies, for slabs and runs"},
    [PGFREE] = {"pgfree", "Pages given back to buddies"},
    [PGFRESH] = {"pgfresh", "Pages handed out that were not resident"},
    [RUN_ALLOC] = {"run_alloc", "Allocations of pages, for slabs and runs"},
    [RUN_FREE] = {"run_free", "Frees of pages"},
    [RUN_FREE_REMOTE] = {"run_free_remote", "Frees of pages into a pageblock of another thread's buddy"},
    [RUN_EXTEND] = {"run_extend", "Runs grown in place"},
    [PGSPLIT] = {"pgsplit", "Pieces cut off larger free page blocks"},
    [PGMERGE] = {"pgmerge", "Free page blocks joined with their buddy"},
    [PAGEBLOCK_CLAIM] = {"pageblock_claim", "Pageblocks that changed their migratetype"},
    [PAGEBLOCK_STEAL] = {"pageblock_steal", "Allocations of pages from a pageblock of another migratetype"},
    [PAGEBLOCK_IN] = {"pageblock_in", "Pageblocks that buddies took from the zone"},
    [PAGEBLOCK_OUT] = {"pageblock_out", "Pageblocks that buddies gave back to the zone"},
    [BUDDY_ADOPT] = {"buddy_adopt", "Buddies, or their pageblocks, taken over from ended threads"},
    [ZONE_ALLOC] = {"zone_alloc", "Allocations of pageblocks"},
    [ZONE_FREE] = {"zone_free", "Frees of pageblocks"},
    [COMMIT] = {"commit", "Times that pageblocks were made usable"},
    [COMMIT_BLOCKS] = {"commit_blocks", "Pageblocks made usable"},
    [COMMIT_FAIL] = {"commit_fail", "Times that the kernel refused to make pageblocks usable"},
    [HUGE_ALLOC] = {"huge_alloc", "Fresh pageblocks made resident as one huge page"},
    [HUGE_FALLBACK] = {"huge_fallback", "Times that the kernel had no huge page for one"},
    [PURGE] = {"purge", "Calls that give pages back to the kernel"},
    [PURGE_PAGES] = {"purge_pages", "Pages given back to the kernel"},
    [PURGE_FAIL] = {"purge_fail", "Calls that give pages back that the kernel refused"},
    [LARGE_BLOCK_ALLOC] = {"large_block_alloc", "Large blocks made of pageblocks"},
    [LARGE_BLOCK_FREE] = {"large_block_free", "Large blocks of pageblocks freed"},
    [LARGE_BLOCK_RESIZE] = {"large_block_resize", "Large blocks of pageblocks resized in place"},
    [LARGE_MAP] = {"large_map", "Large blocks made as mappings of their own"},
    [LARGE_UNMAP] = {"large_unmap", "Mappings of large blocks freed"},
    [LARGE_REMAP] = {"large_remap", "Mappings of large blocks resized by mremap"},
    [LARGE_MOVE] = {"large_move", "Blocks moved out of their pageblocks to a mapping of their own"},
    [LARGE_MAP_FAIL] = {"large_map_fail", "Mappings that the kernel refused"},
    [LARGE_UNMAP_FAIL] = {"large_unmap_fail", "Mappings that the kernel would not unmap"},
    [HANDLE_REFILL] = {"handle_refill", "Times that handles' objects were taken from slabs for a thread"},
    [HANDLE_FLUSH] = {"handle_flush", "Times that handles' objects went back to slabs"},
    [HANDLE_SLAB_CREATE] = {"handle_slab_create", "Slabs and runs for handles that were made"},
    [HANDLE_SLAB_DESTROY] = {"handle_slab_destroy", "Slabs and runs of handles that were freed"},
    [COMPACT_STALL] = {"compact_stall", "Compactions by a call or by reclaim"},
    [COMPACT_BALANCE] = {"compact_balance", "Compactions by the watermark"},
    [COMPACT_SUCCESS] = {"compact_success", "Compactions that released a pageblock at least"},
    [COMPACT_FAIL] = {"compact_fail", "Compactions that released none, though there were blocks to look at"},
    [COMPACT_MIGRATE_SCANNED] = {"compact_migrate_scanned", "Objects that were looked at to be moved"},
    [COMPACT_FREE_SCANNED] = {"compact_free_scanned", "Pageblocks that were looked at for room"},
    [COMPACT_ISOLATED] = {"compact_isolated", "Pageblocks isolated to be emptied"},
    [COMPACT_RELEASED] = {"compact_released", "Pageblocks emptied and given to the zone"},
    [COMPACT_MOVED] = {"compact_moved", "Objects moved"},
    [COMPACT_MOVED_BYTES] = {"compact_moved_bytes", "Bytes of objects moved"},
    [COMPACT_PINNED] = {"compact_pinned", "Pageblocks put back: an object in them was mapped"},
    [COMPACT_VOID] = {"compact_void", "Pageblocks put back: a map or a free made a move void"},
    [COMPACT_NO_ROOM] = {"compact_no_room", "Pageblocks put back: the others had no room"},
    [COMPACT_DEFERRED] = {"compact_deferred", "Pageblocks put back: the free that emptied them had moved its share"},
    [RECLAIM] = {"reclaim", "Times that all caches were emptied, by malloc_trim or for want of memory"},
    [ALLOC_FAIL] = {"alloc_fail", "Calls that failed for want of memory"},
};

#define AT(member) (uint32_t)offsetof(struct heap_report, member)
const struct meminfo_item meminfo_items[NR_MEMINFO] = {
    {"MemTotal", "total", "Usable memory: pageblocks, and mappings of large blocks", AT(committed)},
    {"MemFree", "free", "Of it what the program does not hold", AT(free)},
    {"Live", "live", "Of it what the program holds, rounded up to size classes and pages", AT(used)},
    {"Small", "small", "Live objects of slabs", AT(small_used)},
    {"Handles", "handles", "Live objects that have handles, up to 2 MiB each", AT(handle_used)},
    {"PageRuns", "page_runs", "Live runs of pages", AT(run_used)},
    {"Large", "large", "Live large blocks", AT(large.bytes)},
    {"LargeMapped", "large_mapped", "Live large blocks that are mappings of their own", AT(large.mapped_bytes)},
    {"Cached", "cached", "Free objects in the sheaves of CPUs and barns", AT(cached)},
    {"SlabFree", "slab_free", "Free objects in slabs", AT(slab_free)},
    {"Slack", "slack", "Behind the last object of slabs, and in the last pageblock of large blocks", AT(slack)},
    {"DirtyFree", "dirty_free", "Free pages that may be resident", AT(dirty_free)},
    {"CleanFree", "clean_free", "Free pages that are not resident", AT(clean_free)},
    {"Huge", "huge", "Pageblocks that are one huge page of the kernel", AT(huge)},
    {"CmaTotal", "cma_total", "The contiguous reserve", AT(cma)},
    {"CmaFree", "cma_free", "Of it what nobody has", AT(cma_free)},
    {"GivenBack", "given_back", "Pages given back to the kernel since the start", AT(given_back)},
    {"Metadata", "metadata", "Memory for metadata that is in use", AT(metadata)},
    {"MetadataMapped", "metadata_mapped", "Memory for metadata, used or not", AT(metadata_mapped)},
    {"Pools", "pools", "Resident elements of NOWAIT pools and mempools, beside the total", AT(pools)},
    {"Reserved", "reserved", "Address space of regions, and of mappings of large blocks", AT(reserved)},
    {"Watermark", "watermark", "Free pages of the zone that may stay resident", AT(watermark)},
};

/* --- names ---------------------------------------------------------------------------------- */

static bool text_is(const char *text, size_t len, const char *name)
{
	return strlen(name) == len && memcmp(text, name, len) == 0;
}

static unsigned one_report(const char *text, size_t len)
{
	unsigned i;

	for (i = 0; i < NR_REPORTS; i++)
		if (text_is(text, len, report_names[i]))
			return 1u << i;
	return text_is(text, len, "all") ? REPORT_ALL : 0;
}

unsigned report_what_of(const char *text, size_t len)
{
	unsigned what = 0, one;
	const char *plus;
	size_t n;

	do {
		plus = memchr(text, '+', len);
		n = plus ? (size_t)(plus - text) : len;
		one = one_report(text, n);
		if (!one)
			return 0;
		what |= one;
		text += n + 1;
		len -= n + (plus != NULL);
	} while (plus);
	return what;
}

int report_format_of(const char *text, size_t len)
{
	int i;

	for (i = 0; i < 3; i++)
		if (text_is(text, len, format_names[i]))
			return i;
	return -1;
}

const char *report_name(enum report_what what)
{
	return report_names[__builtin_ctz(what)];
}

/* --- lines --------------------------------------------------------------------------------- */

void report_line(report_put *put, void *arg, const char *format, ...)
{
	char line[MAX_REPORT_LINE + 1];
	va_list args;

	va_start(args, format);
	bug_format_args(line, sizeof line, format, &args);
	va_end(args);
	put(line, arg);
}

/* --- what several formats show --------------------------------------------------------------- */

const char *type_row_name(unsigned row)
{
	static const char names[NR_TYPE_ROWS][12] = {"Unmovable", "Reclaimable", "Movable", "HighAtomic", "Free"};

	return names[row];
}

size_t type_row_free(const struct zone_row *z, unsigned row, unsigned order)
{
	if (row < NR_MIGRATETYPES)
		return z->types.free_area[row][order];
	return order == PAGEBLOCK_ORDER ? z->nr_free_blocks : 0;
}

size_t type_row_resident(const struct zone_row *z, unsigned row, unsigned order)
{
	if (row < NR_MIGRATETYPES)
		return z->types.resident_area[row][order];
	return order == PAGEBLOCK_ORDER ? z->nr_dirty_blocks : 0;
}

size_t zone_row_free(const struct zone_row *z, unsigned order)
{
	size_t n = 0;
	unsigned row;

	for (row = 0; row < NR_TYPE_ROWS; row++)
		n += type_row_free(z, row, order);
	return n;
}

size_t free_pages(const struct heap_report *r)
{
	return r->pages.nr_free + (r->zone.nr_free << PAGEBLOCK_ORDER);
}

unsigned nr_zone_rows(const struct heap_report *r)
{
	return r->pages.zones.nr ? (unsigned)min_size(r->pages.zones.nr, MAX_ZONE_ROWS) : 1;
}

const struct zone_row *zone_row_at(const struct heap_report *r, unsigned i)
{
	return r->pages.zones.nr ? &r->pages.zones.row[i] : &r->all_zones;
}

void report_write(const struct heap_report *r, unsigned what, enum report_format format, report_put *put, void *arg)
{
	unsigned i;

	if (format == REPORT_JSON) {
		json_write(r, what, put, arg);
		return;
	}
	if (format == REPORT_PROMETHEUS) {
		prometheus_write(r, what, put, arg);
		return;
	}
	for (i = 0; i < NR_REPORTS; i++) {
		if (!(what & 1u << i))
			continue;
		if (what & (what - 1))
			LINE("==> %s <==", report_names[i]);
		text_write(r, (enum report_what)(1u << i), put, arg);
	}
}
