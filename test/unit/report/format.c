/* SPDX-License-Identifier: MIT */
/* The formats, byte by byte, of a snapshot made by hand. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "report/format.h"
#include "report/line.h"

static struct heap_report r;
static char text[4 * 1024 * 1024];
static size_t len, nr_lines;

static void put_line(const char *line, void *arg)
{
	cr_assert_eq(arg, text);
	cr_assert_leq(strlen(line), MAX_REPORT_LINE);
	len += (size_t)snprintf(text + len, sizeof text - len, "%s\n", line);
	nr_lines++;
}

static void fill_cache(void)
{
	unsigned class = size_class(64);

	r.class[class].cache = (struct cache_info){
	    .size = 64, .migratetype = MIGRATE_UNMOVABLE, .objects_per_slab = 64, .pages_per_slab = 1,
	    .nr_slabs = 3, .nr_objects = 192, .nr_pages = 3, .nr_partial = 1, .nr_free = 30,
	    .nr_full_sheaves = 1, .nr_empty_sheaves = 2, .nr_barn_objects = 20, .sheaf_capacity = 40,
	    .nr_gets = 5, .nr_refills = 7, .nr_overs = 4, .nr_puts = 3, .nr_drains = 2,
	    .nr_slab_creates = 4, .nr_slab_destroys = 1,
	};
	r.percpu = (struct percpu_info){.mode = INDEX_CPU_ID, .nr_areas = 2, .nr_listed = 2};
	r.percpu.nr_cached[class] = 17;
	r.percpu.cpu[0] = (struct cpu_info){.index = 0, .nr_objects = 12, .nr_slots = 40, .bytes = 768};
	r.percpu.cpu[0].nr[class] = 12;
	r.percpu.cpu[0].capacity[class] = 40;
	r.percpu.cpu[1] = (struct cpu_info){.index = 3, .nr_objects = 5, .nr_slots = 20, .bytes = 320};
	r.percpu.cpu[1].nr[class] = 5;
	r.percpu.cpu[1].capacity[class] = 20;
}

static void fill_pages(void)
{
	r.pages = (struct pages_info){.nr_buddies = 1, .nr_blocks = 2, .nr_free = 273, .nr_dirty_free = 8,
				      .types.nr_large_blocks = 3, .types.nr_isolated_blocks = 1};
	r.pages.types.free_area[MIGRATE_UNMOVABLE][0] = 1;
	r.pages.types.free_area[MIGRATE_UNMOVABLE][3] = 2;
	r.pages.types.resident_area[MIGRATE_UNMOVABLE][3] = 1;
	r.pages.types.free_area[MIGRATE_MOVABLE][8] = 1;
	r.pages.types.free_pages[MIGRATE_UNMOVABLE] = 17;
	r.pages.types.free_pages[MIGRATE_MOVABLE] = 256;
	r.pages.types.dirty_pages[MIGRATE_UNMOVABLE] = 8;
	r.pages.types.blocks[MIGRATE_UNMOVABLE] = r.pages.types.blocks[MIGRATE_MOVABLE] = 1;
	r.pages.types.mixed[MIGRATE_MOVABLE] = 1;
	r.pages.count = (struct buddy_counters){.nr_allocs = 9, .nr_claims = 2, .nr_steals = 1, .nr_purged_pages = 10};
	r.zone = (struct zone_info){.nr_regions = 1, .nr_reserved = 512, .nr_committed = 8, .nr_used = 6, .nr_free = 2,
				    .nr_dirty_blocks = 1, .nr_dirty_pages = 100, .high_pages = 288, .low_pages = 216};
}

static void fill_large(void)
{
	r.large = (struct large_info){.nr_areas = 2, .bytes = 305 * MIB, .nr_mapped = 1, .mapped_bytes = 300 * MIB,
				      .nr_blocks = 3};
	r.large_list.nr_listed = r.large_list.nr_areas = 2;
	r.large_list.block[0] = (struct large_block){.addr = 0x7f0000001000, .size = 300 * MIB, .guard_before = 4096,
						     .guard_behind = 4096};
	r.large_list.block[1] = (struct large_block){.addr = 0x7e0000200000, .size = 5 * MIB, .nr_blocks = 3};
}

static void setup(void)
{
	fill_cache();
	fill_pages();
	fill_large();
	r.metadata = 5000;
	r.metadata_mapped = 49152;
	report_derive(&r);
}

TestSuite(format, .init = setup);

static void expect(unsigned what, enum report_format format, const char *expected)
{
	len = 0;
	text[0] = '\0';
	report_write(&r, what, format, put_line, text);
	cr_assert_str_eq(text, expected);
}

Test(format, buddyinfo)
{
	expect(REPORT_BUDDYINFO, REPORT_TEXT,
	       "Node 0, zone   Normal      1      0      0      2      0      0      0      0      1      2 \n");
}

/* Two zones besides malloc's: each has lines of its own. */
static void fill_zones(void)
{
	struct zone_row *low, *far;

	zone_row(&r.pages.zones, zone_number(ZONE_HUGE, 3));
	zone_row(&r.pages.zones, ZONE_DMA32);
	*zone_row(&r.pages.zones, 0) = (struct zone_row){.zone = 0, .nr_reserved = 512, .nr_committed = 8, .nr_free_blocks = 2,
							  .nr_dirty_pages = 100};
	cr_assert_eq(zone_row(&r.pages.zones, ZONE_DMA32)->zone, ZONE_DMA32);
	low = zone_row(&r.pages.zones, ZONE_DMA32);
	*low = (struct zone_row){.zone = ZONE_DMA32, .nr_reserved = 128, .nr_committed = 2, .nr_free = 17};
	low->types.free_area[MIGRATE_UNMOVABLE][0] = 1;
	low->types.free_area[MIGRATE_MOVABLE][4] = 1;
	low->types.resident_area[MIGRATE_MOVABLE][4] = 1;
	low->types.free_pages[MIGRATE_MOVABLE] = 16;
	low->types.dirty_pages[MIGRATE_MOVABLE] = 3;
	low->types.blocks[MIGRATE_MOVABLE] = 1;
	low->types.mixed[MIGRATE_MOVABLE] = 1;
	low->types.nr_large_blocks = 4;
	far = zone_row(&r.pages.zones, zone_number(ZONE_HUGE, 3));
	*far = (struct zone_row){.zone = zone_number(ZONE_HUGE, 3), .nr_reserved = 512, .nr_committed = 1, .nr_free_blocks = 1,
				 .nr_dirty_blocks = 1, .nr_dirty_pages = 512};
}

static void expect_lines(unsigned what, enum report_format format, const char *const *lines)
{
	len = 0;
	text[0] = '\0';
	report_write(&r, what, format, put_line, text);
	for (; *lines; lines++)
		cr_assert(strstr(text, *lines), "%s is not in %s", *lines, text);
}

Test(format, zones)
{
	fill_zones();
	expect(REPORT_BUDDYINFO, REPORT_TEXT,
	       "Node 0, zone   Normal      0      0      0      0      0      0      0      0      0      2 \n"
	       "Node 0, zone    DMA32      1      0      0      0      1      0      0      0      0      0 \n"
	       "Node 3, zone     Huge      0      0      0      0      0      0      0      0      0      1 \n");
	expect_lines(REPORT_ZONEINFO, REPORT_TEXT,
		     (const char *[]){"Node 0, zone   Normal\n  pages free     1024\n", "Node 0, zone    DMA32\n  pages free     17\n",
				      "        spanned  65536\n        present  1024\n", "Node 3, zone     Huge\n  pages free     512\n",
				      "      nr_zone_dirty 512\n      nr_free_pageblocks 1\n", NULL});
	expect_lines(REPORT_ZONEINFO, REPORT_JSON,
		     (const char *[]){"{\"node\":0,\"zone\":\"DMA32\",\"spanned_pages\":65536,\"present_pages\":1024,\"free_pages\":17,",
				      ",{\"node\":3,\"zone\":\"Huge\"", "\"free\":[0,0,0,0,0,0,0,0,0,1]}", NULL});
	expect_lines(REPORT_BUDDYINFO | REPORT_ZONEINFO, REPORT_PROMETHEUS,
		     (const char *[]){"bslab_buddyinfo_blocks{node=\"0\",zone=\"DMA32\",size=\"4\"} 1\n",
				      "bslab_zone_free_pages{node=\"3\",zone=\"Huge\"} 512\n",
				      "bslab_zone_present_pages{node=\"0\",zone=\"DMA32\"} 1024\n", NULL});
}

/* It is named as it is, also where it is not malloc's. */
Test(format, one_zone)
{
	struct zone_row *low = zone_row(&r.pages.zones, ZONE_DMA32);

	low->nr_free_blocks = 2;
	expect(REPORT_BUDDYINFO, REPORT_TEXT,
	       "Node 0, zone    DMA32      0      0      0      0      0      0      0      0      0      2 \n");
	expect_lines(REPORT_PAGETYPEINFO | REPORT_ZONEINFO, REPORT_TEXT,
		     (const char *[]){"Node    0, zone    DMA32, type         Free      0      0      0      0      0      0      0      0      0      2 \n",
				      "Node 0, zone    DMA32\n  pages free     1024\n", NULL});
	cr_assert_null(strstr(text, "Normal"));
	expect_lines(REPORT_BUDDYINFO, REPORT_PROMETHEUS,
		     (const char *[]){"bslab_buddyinfo_blocks{node=\"0\",zone=\"DMA32\",size=\"9\"} 2\n", NULL});
}

/* As the kernel's: each table has the zones one below the other. */
Test(format, pagetypeinfo_of_zones)
{
	fill_zones();
	expect_lines(
	    REPORT_PAGETYPEINFO, REPORT_TEXT,
	    (const char *[]){
		"Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9 \n"
		"Node    0, zone   Normal, type    Unmovable      0      0      0      0      0      0      0      0      0      0 \n",
		"Node    0, zone   Normal, type         Free      0      0      0      0      0      0      0      0      0      2 \n"
		"Node    0, zone    DMA32, type    Unmovable      1      0      0      0      0      0      0      0      0      0 \n",
		"Node    0, zone    DMA32, type      Movable      0      0      0      0      1      0      0      0      0      0 \n",
		"Node    3, zone     Huge, type         Free      0      0      0      0      0      0      0      0      0      1 \n\n",
		"Number of blocks type     Unmovable  Reclaimable      Movable   HighAtomic      Isolate        Large         Free \n"
		"Node 0, zone   Normal            0            0            0            0            0            0            2 \n"
		"Node 0, zone    DMA32            0            0            1            0            0            4            0 \n"
		"Node 3, zone     Huge            0            0            0            0            0            0            1 \n\n",
		"Node 0, zone    DMA32            0            0            1            0 \n"
		"Node 3, zone     Huge            0            0            0            0 \n\n"
		"Resident free pages count at order               0      1      2      3      4      5      6      7      8      9 \n",
		"Number of dirty pages     Unmovable  Reclaimable      Movable   HighAtomic \n"
		"Node 0, zone   Normal            0            0            0            0 \n"
		"Node 0, zone    DMA32            0            0            3            0 \n",
		NULL});
	/* The other formats have the sums. */
	expect_lines(REPORT_PAGETYPEINFO, REPORT_JSON, (const char *[]){"{\"type\":\"Unmovable\"", "\"blocks\":1,", NULL});
}

Test(format, more_zones_than_rows)
{
	struct zone_rows rows = {0};

	for (unsigned i = 0; i < 2 * MAX_ZONE_ROWS; i++)
		zone_row(&rows, (i * 7) % 48)->nr_free++;
	cr_assert_eq(rows.nr, MAX_ZONE_ROWS);
	for (unsigned i = 1; i < rows.nr; i++)
		cr_assert_gt(rows.row[i].zone, rows.row[i - 1].zone);
	cr_assert_gt(rows.row[MAX_ZONE_ROWS - 1].nr_free, 1);
}

Test(format, pagetypeinfo)
{
	expect(REPORT_PAGETYPEINFO, REPORT_TEXT,
	       "Page block order: 9\n"
	       "Pages per block:  512\n"
	       "\n"
	       "Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9 \n"
	       "Node    0, zone   Normal, type    Unmovable      1      0      0      2      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type  Reclaimable      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type      Movable      0      0      0      0      0      0      0      0      1      0 \n"
	       "Node    0, zone   Normal, type   HighAtomic      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type         Free      0      0      0      0      0      0      0      0      0      2 \n"
	       "\n"
	       "Number of blocks type     Unmovable  Reclaimable      Movable   HighAtomic      Isolate        Large         Free \n"
	       "Node 0, zone   Normal            1            0            1            0            1            3            2 \n"
	       "\n"
	       "Number of mixed blocks    Unmovable  Reclaimable      Movable   HighAtomic \n"
	       "Node 0, zone   Normal            0            0            1            0 \n"
	       "\n"
	       "Resident free pages count at order               0      1      2      3      4      5      6      7      8      9 \n"
	       "Node    0, zone   Normal, type    Unmovable      0      0      0      1      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type  Reclaimable      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type      Movable      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type   HighAtomic      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type         Free      0      0      0      0      0      0      0      0      0      1 \n"
	       "\n"
	       "Not resident free pages count at order           0      1      2      3      4      5      6      7      8      9 \n"
	       "Node    0, zone   Normal, type    Unmovable      1      0      0      1      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type  Reclaimable      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type      Movable      0      0      0      0      0      0      0      0      1      0 \n"
	       "Node    0, zone   Normal, type   HighAtomic      0      0      0      0      0      0      0      0      0      0 \n"
	       "Node    0, zone   Normal, type         Free      0      0      0      0      0      0      0      0      0      1 \n"
	       "\n"
	       "Number of free pages      Unmovable  Reclaimable      Movable   HighAtomic \n"
	       "Node 0, zone   Normal           17            0          256            0 \n"
	       "\n"
	       "Number of dirty pages     Unmovable  Reclaimable      Movable   HighAtomic \n"
	       "Node 0, zone   Normal            8            0            0            0 \n"
	       "\n"
	       "Fallbacks: claims 2 steals 1\n");
}

Test(format, slabinfo)
{
	expect(REPORT_SLABINFO, REPORT_TEXT,
	       "slabinfo - version: 2.1\n"
	       "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
	       " : tunables <limit> <batchcount> <sharedfactor>"
	       " : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
	       "bslab-64             125    192     64   64    1 : tunables   40   20    0 : slabdata      3      3     20\n"
	       "#\n"
	       "# name            <cached_objs> <free_objs> <partial_slabs> <full_slabs> <pages>"
	       " : barn <full> <empty> <objs> : sheaf <capacity> <cpu_objs>\n"
	       "# name            cpu <cpu>:<objs>/<capacity> ...\n"
	       "# bslab-64              37     30      1      2      3 : barn    1    2     20 : sheaf   40     17\n"
	       "# bslab-64          cpu 0:12/40 3:5/20\n");
}

Test(format, zoneinfo)
{
	expect(REPORT_ZONEINFO, REPORT_TEXT,
	       "Node 0, zone   Normal\n"
	       "  pages free     1297\n"
	       "        boost    0\n"
	       "        min      0\n"
	       "        low      216\n"
	       "        high     288\n"
	       "        spanned  262144\n"
	       "        present  4096\n"
	       "        managed  4096\n"
	       "      nr_free_pages 1297\n"
	       "      nr_free_dirty 108\n"
	       "      nr_zone_dirty 100\n"
	       "      nr_free_pageblocks 2\n"
	       "      nr_buddies   1\n"
	       "      nr_slab      3\n"
	       "      nr_handles   0\n"
	       "      nr_runs      748\n"
	       "      nr_large     1536\n"
	       "  pagesets\n"
	       "    cpu: 0\n"
	       "              count:    12\n"
	       "              high:     40\n"
	       "              batch:    20\n"
	       "              bytes:    768\n"
	       "    cpu: 3\n"
	       "              count:    5\n"
	       "              high:     20\n"
	       "              batch:    10\n"
	       "              bytes:    320\n"
	       "  node_unreclaimable:  0\n");
}

Test(format, vmallocinfo)
{
	expect(REPORT_VMALLOCINFO, REPORT_TEXT,
	       "0x7f0000001000-0x7f0012c01000 314572800 large_alloc pages=76800 mapping guard=4096+4096\n"
	       "0x7e0000200000-0x7e0000700000 5242880 large_alloc pages=1280 pageblocks=3\n");
}

Test(format, meminfo)
{
	expect(REPORT_MEMINFO, REPORT_TEXT,
	       "MemTotal:         323584 kB\n"
	       "MemFree:            8264 kB\n"
	       "Live:             315319 kB\n"
	       "Small:                 7 kB\n"
	       "Handles:               0 kB\n"
	       "PageRuns:           2992 kB\n"
	       "Large:            312320 kB\n"
	       "LargeMapped:      307200 kB\n"
	       "Cached:                2 kB\n"
	       "SlabFree:              1 kB\n"
	       "Slack:              1024 kB\n"
	       "DirtyFree:           432 kB\n"
	       "CleanFree:          6804 kB\n"
	       "Huge:                  0 kB\n"
	       "CmaTotal:              0 kB\n"
	       "CmaFree:               0 kB\n"
	       "GivenBack:            40 kB\n"
	       "Metadata:              4 kB\n"
	       "MetadataMapped:       48 kB\n"
	       "Pools:                 0 kB\n"
	       "Reserved:        1355776 kB\n"
	       "Watermark:          1152 kB\n");
}

Test(format, vmstat)
{
	static const char first[] = "alloc_slowpath 12\nfree_slowpath 4\nbarn_get 5\nbarn_put 3\nsheaf_refill 7\n";

	report_write(&r, REPORT_VMSTAT, REPORT_TEXT, put_line, text);
	cr_assert_eq(nr_lines, NR_VM_EVENTS);
	cr_assert_eq(strncmp(text, first, strlen(first)), 0, "%s", text);
	cr_assert_not_null(strstr(text, "\npageblock_claim 2\n"));
	cr_assert_not_null(strstr(text, "\npurge_pages 10\n"));
}

/* A counter without a name, or a name that another has too, would be a line that no script can read. */
Test(format, every_counter_has_its_own_name)
{
	for (unsigned i = 0; i < NR_VM_EVENTS; i++) {
		cr_assert_neq(vm_event_text[i].name[0], '\0', "event %u", i);
		cr_assert_neq(vm_event_text[i].help[0], '\0', "event %u", i);
		cr_assert_lt(strlen(vm_event_text[i].name), sizeof vm_event_text[i].name);
		cr_assert_lt(strlen(vm_event_text[i].help), sizeof vm_event_text[i].help);
		for (unsigned j = 0; j < i; j++)
			cr_assert_str_neq(vm_event_text[i].name, vm_event_text[j].name);
	}
	for (unsigned i = 0; i < NR_MEMINFO; i++) {
		cr_assert_lt(strlen(meminfo_items[i].name), sizeof meminfo_items[i].name);
		cr_assert_lt(strlen(meminfo_items[i].help), sizeof meminfo_items[i].help);
	}
}

Test(format, several_texts_have_headings)
{
	report_write(&r, REPORT_BUDDYINFO | REPORT_MEMINFO, REPORT_TEXT, put_line, text);
	cr_assert_eq(strncmp(text, "==> buddyinfo <==\nNode 0", 24), 0);
	cr_assert_not_null(strstr(text, "\n==> meminfo <==\nMemTotal:"));
}

Test(format, json)
{
	expect(REPORT_BUDDYINFO | REPORT_VMALLOCINFO, REPORT_JSON,
	       "{\n"
	       " \"schema\":1,\"index\":\"cpu_id\"\n"
	       ",\"buddyinfo\":{\n"
	       " \"free_pages\":1297\n"
	       ",\"free\":[1,0,0,2,0,0,0,0,1,2]\n"
	       "}\n"
	       ",\"vmallocinfo\":{\n"
	       " \"count\":2,\"listed\":2\n"
	       ",\"blocks\":[\n"
	       " {\"address\":\"0x7f0000001000\",\"bytes\":314572800,\"pages\":76800,\"kind\":\"mapping\",\"pageblocks\":0,"
	       "\"guard_before\":4096,\"guard_behind\":4096}\n"
	       ",{\"address\":\"0x7e0000200000\",\"bytes\":5242880,\"pages\":1280,\"kind\":\"pageblocks\",\"pageblocks\":3,"
	       "\"guard_before\":0,\"guard_behind\":0}\n"
	       "]\n"
	       "}\n"
	       "}\n");
}

Test(format, prometheus)
{
	expect(REPORT_VMALLOCINFO, REPORT_PROMETHEUS,
	       "# HELP bslab_info How the caches are indexed.\n"
	       "# TYPE bslab_info gauge\n"
	       "bslab_info{index=\"cpu_id\"} 1\n"
	       "# HELP bslab_large_blocks Live large blocks.\n"
	       "# TYPE bslab_large_blocks gauge\n"
	       "bslab_large_blocks{kind=\"mapping\"} 1\n"
	       "bslab_large_blocks{kind=\"pageblocks\"} 1\n"
	       "# HELP bslab_large_bytes Bytes of live large blocks.\n"
	       "# TYPE bslab_large_bytes gauge\n"
	       "bslab_large_bytes{kind=\"mapping\"} 314572800\n"
	       "bslab_large_bytes{kind=\"pageblocks\"} 5242880\n");
}

Test(format, all_lines_fit_whatever_the_numbers)
{
	enum report_format formats[] = {REPORT_TEXT, REPORT_JSON, REPORT_PROMETHEUS};
	size_t *word = (size_t *)&r, nr_words = sizeof r / sizeof *word;

	for (size_t i = 0; i < nr_words; i++)
		word[i] = (size_t)-2;
	r.percpu.mode = INDEX_MM_CID;
	r.percpu.nr_areas = r.percpu.nr_listed = MAX_REPORT_CPUS;
	r.large_list.nr_listed = 3;
	for (unsigned class = 1; class < NR_CACHES; class++)
		r.class[class].cache.migratetype = class % 2;
	for (unsigned class = 0; class < NR_CLASSES; class++)
		r.handle[class].cache.migratetype = class % 2;
	for (size_t i = 0; i < 3; i++) {
		len = 0;
		for (unsigned what = 1; what < REPORT_ALL; what *= 2) {
			len = 0;
			report_write(&r, what, formats[i], put_line, text);
		}
	}
	len = 0;
	report_text(&r, put_line, text);
}

static unsigned what_of(const char *name)
{
	return report_what_of(name, strlen(name));
}

Test(format, names)
{
	unsigned all = 0;

	cr_assert_eq(what_of("all"), REPORT_ALL);
	for (unsigned i = 0; i < NR_REPORTS; i++) {
		cr_assert_eq(what_of(report_name(1u << i)), 1u << i);
		all |= 1u << i;
	}
	cr_assert_eq(all, REPORT_ALL);
	cr_assert_eq(what_of("slabinfo+meminfo"), REPORT_SLABINFO | REPORT_MEMINFO);
	cr_assert_eq(what_of("meminfo+all"), REPORT_ALL);
	for (const char *const *bad = (const char *const[]){"", "+", "slab", "slabinfos", "slabinfo+", "+slabinfo", "all+x",
							    "Slabinfo", NULL};
	     *bad; bad++)
		cr_assert_eq(what_of(*bad), 0, "%s", *bad);
	cr_assert_eq(report_format_of("text", 4), REPORT_TEXT);
	cr_assert_eq(report_format_of("json", 4), REPORT_JSON);
	cr_assert_eq(report_format_of("prometheus", 10), REPORT_PROMETHEUS);
	cr_assert_eq(report_format_of("jso", 3), -1);
	cr_assert_eq(report_format_of("", 0), -1);
}
