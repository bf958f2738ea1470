/* SPDX-License-Identifier: MIT */
/* What stands at an address: --ptr. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "insight/view.h"
#include "os/os.h"
#include "page/folio.h"

#define NR_NEIGHBOURS 4 /* on either side */

static const char kept_text[] = "free, kept whole for the next request of its size";

/* Where each object of a slab is. */
enum place { IN_USE, IN_SLAB, IN_SHEAF, IN_BARN, IN_ORPHAN };

struct slab_view {
	struct heap *heap;
	struct slab_copy slab;
	struct kmem_cache cache;
	unsigned class;
	uint8_t place[MAX_SLAB_OBJECTS];
	int slot[MAX_SLAB_OBJECTS]; /* of the sheaf's CPU */
};

static void line(FILE *out, const char *name)
{
	fprintf(out, "%-12s", name);
}

static void mark_sheaf(struct slab_view *v, const struct sheaf_copy *sheaf, enum place place, int slot)
{
	unsigned i;

	for (i = 0; i < sheaf->nr; i++) {
		uint64_t index = (sheaf->object[i] - v->slab.base) / v->cache.size;

		if (sheaf->object[i] >= v->slab.base && index < v->slab.nr_objects) {
			v->place[index] = (uint8_t)place;
			v->slot[index] = slot;
		}
	}
}

static bool mark_area(void *arg, int slot, const struct percpu_area *area)
{
	struct slab_view *v = arg;
	struct sheaf_copy sheaf;

	if (heap_sheaf_of_top(v->heap, (uintptr_t)area->top[v->class], &sheaf))
		mark_sheaf(v, &sheaf, slot < 0 ? IN_ORPHAN : IN_SHEAF, slot);
	return true;
}

static void mark_barn(struct slab_view *v)
{
	uint64_t addr = (uintptr_t)v->cache.barn.full;
	unsigned i, nr = v->cache.barn.nr_full;
	struct sheaf_copy sheaf;

	for (i = 0; addr && i < nr && heap_sheaf(v->heap, addr, &sheaf, &addr); i++)
		mark_sheaf(v, &sheaf, IN_BARN, 0);
}

static void mark_all(struct slab_view *v)
{
	unsigned i;

	for (i = 0; i < v->slab.nr_objects; i++)
		v->place[i] = v->slab.free[i / 64] >> (i % 64) & 1 ? IN_SLAB : IN_USE;
	mark_barn(v);
	heap_areas(v->heap, mark_area, v);
}

static void put_place(const struct slab_view *v, unsigned i, FILE *out)
{
	static const char *const names[] = {
	    [IN_USE] = "in use",
	    [IN_SLAB] = "free in its slab",
	    [IN_BARN] = "free in a sheaf of the barn",
	    [IN_ORPHAN] = "free in a sheaf that nobody works on",
	};
	static const char *const units[] = {"CPU", "mm_cid", "CPU", "thread slot"};
	enum index_mode mode = v->heap->percpu.mode;

	if (v->place[i] == IN_SHEAF)
		fprintf(out, "free in the sheaf of %s %d", units[mode], v->slot[i] - (mode == INDEX_CPU_ID));
	else
		fputs(names[v->place[i]], out);
}

static void put_neighbours(const struct slab_view *v, unsigned index, FILE *out)
{
	static const char *const names[] = {"used", "slab", "sheaf", "barn", "sheaf"};
	unsigned from = index > NR_NEIGHBOURS ? index - NR_NEIGHBOURS : 0, i;

	line(out, "neighbours");
	for (i = from; i <= index + NR_NEIGHBOURS && i < v->slab.nr_objects; i++)
		fprintf(out, i == index ? "%s[%u %s]" : "%s%u %s", i == from ? "" : ", ", i, names[v->place[i]]);
	fputc('\n', out);
}

static void put_block(struct heap *h, uint64_t addr, FILE *out)
{
	const struct region *r = heap_region(h, addr);
	uint64_t start = align_down(addr, PAGEBLOCK_SIZE);
	struct block_copy copy;
	struct pages_use use;
	char owner[32];

	if (!r || !heap_block(h, addr, &copy))
		return;
	use = view_pages(&copy);
	view_owner(h, &copy.b, owner, sizeof owner);
	line(out, "page");
	fprintf(out, "%u of 512, at 0x%" PRIx64 "\n", (unsigned)((addr - start) >> PAGE_SHIFT),
		(uint64_t)align_down(addr, BSLAB_PAGE_SIZE));
	line(out, "pageblock");
	fprintf(out, "0x%" PRIx64 ", ", start);
	if (copy.b.state == PAGEBLOCK_BUDDY)
		fprintf(out, "of buddy %s, %s, %u pages free (%u dirty), %u of slabs, %u of runs\n", owner,
			view_migratetype(copy.b.migratetype), use.nr_free, use.nr_dirty, use.nr_slab, use.nr_run);
	else if (copy.b.state == PAGEBLOCK_CONTIG)
		fprintf(out, "of the contiguous reserve, %u pages free (%u dirty)\n", use.nr_free, use.nr_dirty);
	else
		fprintf(out, "%s\n",
			copy.b.state == PAGEBLOCK_LARGE	    ? "of a large block"
			: copy.b.state == PAGEBLOCK_ISOLATE ? "being given back"
							    : "free");
	line(out, "region");
	fprintf(out, "0x%" PRIx64 ", %u of %u pageblocks committed", (uint64_t)r->base, r->nr_committed, r->nr_blocks);
	if (r->zone)
		fprintf(out, ", node %u, zone %s", zone_node_of(r->zone), zone_type_name(zone_type_of(r->zone)));
	fprintf(out, "\n");
}

/* --- what it can be ---------------------------------------------------------------------------- */

static void put_slab(const struct slab_view *v, FILE *out)
{
	const struct slab_copy *s = &v->slab;
	size_t bytes = (size_t)s->nr_objects * v->cache.size;
	unsigned i, n[IN_ORPHAN + 1] = {0};
	char name[CACHE_NAME_SIZE];

	for (i = 0; i < s->nr_objects; i++)
		n[v->place[i]]++;
	line(out, "slab");
	fprintf(out, "0x%" PRIx64 ", %zu pages, %u objects: %u in use, %u free in it, %u in sheaves\n", s->base,
		(bytes + BSLAB_PAGE_SIZE - 1) >> PAGE_SHIFT, s->nr_objects, n[IN_USE], n[IN_SLAB],
		n[IN_SHEAF] + n[IN_BARN] + n[IN_ORPHAN]);
	heap_cache_name(v->heap, &v->cache, name);
	line(out, "cache");
	fprintf(out, "%s%s%u bytes, %s: %u slabs, %zu objects\n", name, name[0] ? ", " : "", v->cache.size, view_migratetype(v->cache.migratetype),
		v->cache.nr_slabs, v->cache.nr_objects);
}

/* In the hardened mode the descriptor does not name it, but the slab's state does. */
static unsigned class_of(struct heap *h, page_desc_t d)
{
	struct slab s;

	if (!desc_is_hardened(d))
		return desc_cache(d);
	return heap_read(h, (uintptr_t)desc_pointer(d), &s, sizeof s) && s.state >> 2 < NR_CLASSES ? s.state >> 2 : 0;
}

static bool view_object(struct heap *h, uint64_t addr, page_desc_t d, FILE *out)
{
	struct slab_view v = {.heap = h, .class = class_of(h, d)};
	uint64_t cache, index, base;

	if (!heap_cache(h, v.class, &v.cache, &cache) || !heap_slab(h, (uintptr_t)desc_pointer(d), v.class, &v.slab) ||
	    addr < v.slab.base)
		return false;
	mark_all(&v);
	index = (addr - v.slab.base) / v.cache.size;
	base = v.slab.base + index * v.cache.size;
	line(out, "state");
	if (index >= v.slab.nr_objects) {
		fprintf(out, "behind the last object of its slab\n");
	} else {
		put_place(&v, (unsigned)index, out);
		fputc('\n', out);
		line(out, "object");
		fprintf(out, "%u of %u, %u bytes at 0x%" PRIx64, (unsigned)index, v.slab.nr_objects, v.cache.size, base);
		fprintf(out, addr == base ? "\n" : ", the address is %u bytes into it\n", (unsigned)(addr - base));
		put_neighbours(&v, (unsigned)index, out);
	}
	put_slab(&v, out);
	put_block(h, addr, out);
	return true;
}

static void put_stack(struct heap *h, uint64_t addr, FILE *out)
{
	struct stack s;
	uintptr_t pc[MAX_FRAMES];
	unsigned i;

	if (!heap_read(h, addr, &s, sizeof s) || s.nr_frames > MAX_FRAMES ||
	    !heap_read(h, addr + offsetof(struct stack, pc), pc, s.nr_frames * sizeof *pc))
		return;
	for (i = 0; i < s.nr_frames; i++) {
		line(out, i ? "" : "by");
		fprintf(out, "0x%" PRIx64 "\n", (uint64_t)pc[i]);
	}
}

/* Who allocated the block, and when (Linux: page_owner). Nothing where it is no longer sampled. */
static void put_sample(struct heap *h, uint64_t sample, uint64_t addr, FILE *out)
{
	uint64_t now = os_coarse_clock_ms();
	struct sample s;

	if (!sample || !heap_read(h, sample, &s, sizeof s) || !s.stack || s.addr != addr)
		return;
	line(out, "sample");
	fprintf(out, "%zu bytes asked for", s.size);
	if (h->memory->is_live && now >= s.at_ms)
		fprintf(out, ", %" PRIu64 " s ago", (now - s.at_ms) / 1000);
	fputc('\n', out);
	put_stack(h, (uintptr_t)s.stack, out);
}

/* The head of a run, or of a sampled block: it has one. */
static uint64_t sample_of(page_desc_t head)
{
	return !desc_class(head) && desc_type(head) == PAGE_SAMPLED ? (uintptr_t)desc_pointer(head) : 0;
}

/* 0: the head of no run. */
static uint64_t run_pages(struct heap *h, page_desc_t head)
{
	struct sample s;

	if (desc_class(head))
		return 0;
	if (sample_of(head))
		return heap_read(h, sample_of(head), &s, sizeof s) ? s.nr_pages : 0;
	if (desc_type(head) == PAGE_FOLIO)
		return folio_pages_of(head);
	return desc_type(head) == PAGE_RUN || desc_type(head) == PAGE_RUN_HOT ? desc_number(head) : 0;
}

static bool view_run(struct heap *h, uint64_t addr, page_desc_t d, FILE *out)
{
	uint64_t start = align_down(addr, BSLAB_PAGE_SIZE), nr;

	if (desc_type(d) == PAGE_RUN_BODY)
		start -= desc_number(d) << PAGE_SHIFT;
	d = heap_desc(h, start);
	nr = run_pages(h, d);
	if (!nr || nr > PAGEBLOCK_PAGES || addr - start >= nr << PAGE_SHIFT)
		return false;
	line(out, "state");
	fprintf(out, "%s\n",
		desc_type(d) == PAGE_RUN_HOT	? kept_text
		: desc_type(d) == PAGE_SAMPLED ? "in use, sampled by the profile"
					       : "in use");
	line(out, "run");
	fprintf(out, "%u pages at 0x%" PRIx64, (unsigned)nr, start);
	fprintf(out, addr == start ? "\n" : ", the address is %" PRIu64 " bytes into it\n", addr - start);
	put_sample(h, sample_of(d), start, out);
	put_block(h, addr, out);
	return true;
}

static void put_large(const struct vm_area *a, uint64_t addr, const char *state, FILE *out)
{
	line(out, "state");
	fprintf(out, "%s\n", state);
	line(out, "large block");
	fprintf(out, "%zu bytes at 0x%" PRIx64, a->size, (uint64_t)a->addr);
	if (addr == a->addr)
		fputc('\n', out);
	else if (addr - a->addr < a->size)
		fprintf(out, ", the address is %" PRIu64 " bytes into it\n", addr - a->addr);
	else
		fprintf(out, ", the address is %s it\n", addr < a->addr ? "before" : "behind");
	if (a->first) {
		line(out, "pageblocks");
		fprintf(out, "%u\n", a->nr_blocks);
	} else {
		line(out, "mapping");
		fprintf(out, "%zu bytes at 0x%" PRIx64 "\n", a->map_size, (uint64_t)a->map_addr);
	}
}

static bool view_kept_large(struct heap *h, uint64_t addr, FILE *out)
{
	const struct vm_area *a;
	struct kept_large kept;

	heap_kept_large(h, &kept);
	a = kept_large_at(&kept, addr);
	if (a)
		put_large(a, addr, kept_text, out);
	return a;
}

static bool view_large(struct heap *h, uint64_t addr, FILE *out)
{
	struct large info;
	size_t nr, i;
	struct vm_area *large = heap_large(h, &info, &nr);
	bool found = false;

	for (i = 0; i < nr && !found; i++) {
		const struct vm_area *a = &large[i];

		found = addr - a->addr < a->size || (!a->first && addr - a->map_addr < a->map_size);
		if (found) {
			put_large(a, addr, addr - a->addr < a->size ? "in use" : "a guard page", out);
			put_sample(h, (uintptr_t)a->sample, a->addr, out);
		}
	}
	free(large);
	found = found || view_kept_large(h, addr, out);
	if (found)
		put_block(h, addr, out);
	return found;
}

/* Free pages: the block of pages that the address is in begins at an aligned page at or before it. */
static void put_free(struct heap *h, uint64_t addr, FILE *out)
{
	unsigned page = (unsigned)(addr >> PAGE_SHIFT) % PAGEBLOCK_PAGES, order, head;
	uint64_t start = align_down(addr, PAGEBLOCK_SIZE);
	struct block_copy copy;
	struct free_links links;

	if (!heap_block(h, addr, &copy))
		return;
	line(out, "state");
	if (!has_free_lists(&copy.b)) {
		fprintf(out, "%s\n",
			copy.b.state == PAGEBLOCK_LARGE	    ? "behind the end of a large block"
			: copy.b.state == PAGEBLOCK_ISOLATE ? "in a pageblock that is being given back"
							    : "in a free pageblock");
		return;
	}
	for (order = 0; order < NR_ORDERS; order++) {
		head = page & ~((1u << order) - 1);
		if (desc_links(copy.desc[head], &links) && links.order >= order && page - head < 1u << links.order) {
			fprintf(out, "free, in %u free pages at 0x%" PRIx64 " (order %u), %s\n", 1u << links.order,
				start + ((uint64_t)head << PAGE_SHIFT), links.order,
				copy.b.dirty[page / 64] >> page % 64 & 1 ? "dirty" : "not resident");
			return;
		}
	}
	fprintf(out, "in nobody's hands: it is being taken or given back\n");
}

/* --- objects with handles ------------------------------------------------------------------------------------------- */

static bool read_entry(struct heap *h, uint32_t index, struct handle_entry *e)
{
	struct handle_table table;
	size_t i = (size_t)index + FIRST_ENTRIES;
	uint64_t chunk;

	if (!heap_read(h, h->root[ROOT_HANDLE_TABLE], &table, sizeof table))
		return false;
	chunk = table.chunk[ilog2(i) - ilog2(FIRST_ENTRIES)];
	return chunk && heap_read(h, chunk + i * sizeof *e, e, sizeof *e);
}

static void put_handle(struct heap *h, uint32_t index, uint64_t base, FILE *out)
{
	struct handle_entry e;
	uint64_t place;

	line(out, "state");
	if (!index || !read_entry(h, index, &e)) {
		fprintf(out, index ? "in use\n" : "free in its slab\n");
		return;
	}
	place = e.place;
	if (!(place & ENTRY_LIVE) || place_address(place) != base) {
		fprintf(out, "free, kept by a thread with its handle, or on its way\n");
		return;
	}
	fprintf(out, "in use, %s%u times mapped\n", place_state(place) == ENTRY_MOVING ? "about to move, " : "", place_maps(place));
	line(out, "handle");
	fprintf(out, "0x%" PRIx64 "\n", handle_of(index, e.info));
}

static bool view_handle(struct heap *h, uint64_t addr, page_desc_t d, FILE *out)
{
	uint64_t header = (uintptr_t)desc_pointer(d), index = 0, base;
	struct handle_slab s;
	struct handle_cache c;
	uint32_t owner[2] = {0}; /* heap_read() reads from multiples of 8 */
	size_t size;

	if (!heap_read(h, header, &s, sizeof s) || !heap_read(h, (uintptr_t)s.cache, &c, sizeof c) || addr < s.base)
		return false;
	size = c.size ? c.size : (size_t)s.nr_pages << PAGE_SHIFT;
	if (c.size)
		index = (addr - s.base) / c.size;
	if (!size || (index < c.nr_objects &&
		      !heap_read(h, header + offsetof(struct handle_slab, owner) + index / 2 * sizeof owner, owner, sizeof owner)))
		return false;
	base = s.base + index * size;
	if (index < c.nr_objects) {
		put_handle(h, owner[index % 2], base, out);
		line(out, "object");
		fprintf(out, "%u of %u that have handles, %zu bytes at 0x%" PRIx64 "\n", (unsigned)index, c.nr_objects, size, base);
	} else {
		line(out, "state");
		fprintf(out, "behind the last object of its slab\n");
	}
	put_block(h, addr, out);
	return true;
}

/* What bslab/contig.h hands out. */
static bool view_movable(struct heap *h, uint64_t addr, page_desc_t d, FILE *out)
{
	if (desc_class(d))
		return false;
	if (desc_type(d) == PAGE_RUN_BODY)
		d = heap_desc(h, addr - (desc_number(d) << PAGE_SHIFT));
	if (desc_class(d) || (desc_type(d) != PAGE_MOVABLE && desc_type(d) != PAGE_CONTIG))
		return false;
	line(out, "state");
	fprintf(out, "in a %s\n", desc_type(d) == PAGE_MOVABLE ? "movable run" : "range of the contiguous reserve");
	return true;
}

/* Pages of which no more is said than whose they are; NULL: any other. */
static const char *kind_of(page_desc_t d)
{
	switch (desc_class(d) ? PAGE_NONE : desc_type(d)) {
	case PAGE_HEAP:
		return "in a page of a library's heap";
	case PAGE_POOL:
		return "in a page of a pool";
	case PAGE_GUARDED:
		return "in the page of a guarded block";
	case PAGE_GUARD:
		return "in a page that traps";
	default:
		return NULL;
	}
}

void view_pointer(struct heap *h, uint64_t addr, FILE *out)
{
	page_desc_t d = heap_desc(h, addr);
	enum page_type type = desc_type(d);

	line(out, "address");
	fprintf(out, "0x%" PRIx64 "\n", addr);
	if ((desc_cache(d) || desc_is_hardened(d)) && view_object(h, addr, d, out))
		return;
	if (!desc_class(d) &&
	    (type == PAGE_RUN || type == PAGE_RUN_BODY || type == PAGE_RUN_HOT || type == PAGE_SAMPLED ||
	     type == PAGE_FOLIO) &&
	    view_run(h, addr, d, out))
		return;
	if (!desc_class(d) && type == PAGE_HANDLE && view_handle(h, addr, d, out))
		return;
	if (view_movable(h, addr, d, out)) {
		put_block(h, addr, out);
		return;
	}
	if (view_large(h, addr, out))
		return;
	if (kind_of(d)) {
		line(out, "state");
		fprintf(out, "%s\n", kind_of(d));
		put_block(h, addr, out);
		return;
	}
	if (heap_region(h, addr)) {
		put_free(h, addr, out);
		put_block(h, addr, out);
		return;
	}
	line(out, "state");
	fprintf(out, "not bslab's\n");
}
