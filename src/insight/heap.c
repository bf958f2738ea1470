/* SPDX-License-Identifier: MIT */
#include "insight/heap.h"

#include <stdlib.h>
#include <string.h>

/* Reads of something that changes, before it is taken as it is. */
#define MAX_TRIES 4
/* All addresses, in regions of one pageblock, which nobody has. */
#define MAX_REGIONS ((size_t)1 << (ADDRESS_BITS - PAGEBLOCK_SHIFT))
/* Four for each CPU, of which there are at most NR_CPU_SLOTS: page/buddies.c. */
#define MAX_BUDDIES ((size_t)4 * NR_CPU_SLOTS)
/* More than fit into the addresses that there are, each of them being larger. */
#define MAX_LARGE_BLOCKS MAX_REGIONS

/* --- reads ------------------------------------------------------------------------------------- */

bool heap_read(struct heap *h, uint64_t addr, void *buf, size_t size)
{
	return addr % sizeof(uint64_t) == 0 && addr >> ADDRESS_BITS == 0 && memory_read(h->memory, addr, buf, size);
}

/* As heap_read(), until two reads in a row are the same. `twice` has room for another. */
static bool read_twice(struct heap *h, uint64_t addr, void *buf, void *twice, size_t size)
{
	int i;

	if (!heap_read(h, addr, buf, size))
		return false;
	for (i = 0; i < MAX_TRIES; i++) {
		if (!heap_read(h, addr, twice, size))
			return false;
		if (!memcmp(buf, twice, size))
			return true;
		memcpy(buf, twice, size);
	}
	h->nr_doubts++;
	return true;
}

void list_walk_begin(struct list_walk *w, struct heap *h, uint64_t first, size_t offset, size_t limit)
{
	*w = (struct list_walk){.heap = h, .next = first, .offset = offset, .limit = limit, .power = 1};
}

uint64_t list_walk_next(struct list_walk *w)
{
	uint64_t addr = w->next;

	if (!addr)
		return 0;
	if (addr == w->seen || w->nr >= w->limit || !heap_read(w->heap, addr + w->offset, &w->next, sizeof w->next)) {
		w->heap->nr_doubts++;
		w->next = 0;
		return 0;
	}
	if (++w->nr == w->power) {
		w->seen = addr;
		w->power *= 2;
	}
	return addr;
}

/* Adds a value to a growing array; false when there is no memory. */
static bool push(void **array, size_t *nr, size_t size, const void *value)
{
	void *more = *array;

	if (!(*nr & (*nr - 1))) /* full at each power of two */
		more = realloc(*array, (*nr ? 2 * *nr : 1) * size);
	if (!more)
		return false;
	*array = more;
	memcpy((char *)more + (*nr)++ * size, value, size);
	return true;
}

/* --- regions and pageblocks ---------------------------------------------------------------------- */

static bool region_is_good(const struct region *r)
{
	return r->base && r->base % PAGEBLOCK_SIZE == 0 && r->base >> ADDRESS_BITS == 0 && r->nr_blocks <= REGION_MAX_BLOCKS &&
	       r->nr_committed <= r->nr_blocks && r->zone < NR_ZONES;
}

/* The zone counts what it gives back piece by piece, under a lock that nobody here takes. */
static void bound_region(struct region *r)
{
	r->nr_free = (uint32_t)min_size(r->nr_free, r->nr_committed);
	r->nr_dirty = (uint32_t)min_size(r->nr_dirty, r->nr_free);
	r->nr_lost = (uint32_t)min_size(r->nr_lost, r->nr_committed);
}

static int compare_base(const void *a, const void *b)
{
	const struct region *x = a, *y = b;

	return (x->base > y->base) - (x->base < y->base);
}

/* By address, each once: a list that goes round has been walked more than once before that is noticed. */
static void sort_regions(struct heap *h)
{
	size_t i, n = 0;

	if (!h->nr_regions)
		return;
	qsort(h->regions, h->nr_regions, sizeof *h->regions, compare_base);
	for (i = 1; i < h->nr_regions; i++)
		if (h->regions[i].base >= h->regions[n].base + ((uint64_t)h->regions[n].nr_blocks << PAGEBLOCK_SHIFT))
			h->regions[++n] = h->regions[i];
		else
			h->nr_doubts++;
	h->nr_regions = n + 1;
}

static bool read_regions(struct heap *h)
{
	void *array = NULL;
	struct list_walk w;
	struct region r;
	uint64_t addr;
	bool good = true;

	list_walk_begin(&w, h, (uintptr_t)h->zone.regions, offsetof(struct region, next), MAX_REGIONS);
	while (good && (addr = list_walk_next(&w))) {
		if (!heap_read(h, addr, &r, sizeof r) || !region_is_good(&r)) {
			h->nr_doubts++;
			break;
		}
		bound_region(&r);
		good = push(&array, &h->nr_regions, sizeof r, &r);
	}
	h->regions = array;
	sort_regions(h);
	return good || memory_fail(h->memory, "out of memory");
}

const struct region *heap_region(const struct heap *h, uint64_t addr)
{
	size_t low = 0, high = h->nr_regions, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (h->regions[middle].base <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || addr - h->regions[low - 1].base >= (uint64_t)h->regions[low - 1].nr_committed << PAGEBLOCK_SHIFT)
		return NULL;
	return &h->regions[low - 1];
}

/* The root's entry, biased as map.h says; 0 where no section is. Sections stay, so the last one is remembered. */
static uint64_t section_root(struct heap *h, uint64_t addr)
{
	uint64_t number = addr >> SECTION_SHIFT, entry;

	if (number >= NR_SECTIONS)
		return 0;
	if (h->section == number + 1)
		return h->section_root;
	if (!heap_read(h, h->root[ROOT_HOT] + offsetof(struct hot, root) + number * sizeof entry, &entry, sizeof entry) || !entry)
		return 0;
	h->section = number + 1;
	h->section_root = entry;
	return entry;
}

page_desc_t heap_desc(struct heap *h, uint64_t addr)
{
	uint64_t root = section_root(h, addr);
	page_desc_t d = 0;

	return root && heap_read(h, root + (addr >> PAGE_SHIFT) * sizeof d, &d, sizeof d) ? d : 0;
}

bool heap_block(struct heap *h, uint64_t addr, struct block_copy *copy)
{
	uint64_t root = section_root(h, addr), number = addr >> PAGEBLOCK_SHIFT;
	uint64_t section = root + (addr >> SECTION_SHIFT) * SECTION_PAGES * sizeof(page_desc_t);
	uint64_t block = section + offsetof(struct section, block) + number % SECTION_BLOCKS * sizeof copy->b;
	struct pageblock twice;
	int i;

	if (!root || !heap_read(h, block, &copy->b, sizeof copy->b))
		return false;
	memset(copy->desc, 0, sizeof copy->desc);
	for (i = 0; i < MAX_TRIES; i++) {
		/* Those of other blocks may never have been touched: a read would make the process a page table for them. */
		if (has_free_lists(&copy->b) &&
		    !heap_read(h, root + number * sizeof copy->desc, copy->desc, sizeof copy->desc))
			return false;
		if (!heap_read(h, block, &twice, sizeof twice))
			return false;
		if (!memcmp(&copy->b, &twice, sizeof twice))
			return true;
		memcpy(&copy->b, &twice, sizeof twice);
	}
	h->nr_doubts++;
	return true;
}

unsigned heap_pageblocks(struct heap *h, uint64_t addr, unsigned nr, struct pageblock *out)
{
	uint64_t number = addr >> PAGEBLOCK_SHIFT, root, block;
	unsigned done = 0, n;

	for (; done < nr; done += n, number += n) {
		n = (unsigned)min_size(nr - done, SECTION_BLOCKS - number % SECTION_BLOCKS);
		root = section_root(h, number << PAGEBLOCK_SHIFT);
		block = root + (number / SECTION_BLOCKS) * SECTION_PAGES * sizeof(page_desc_t) + offsetof(struct section, block) +
			number % SECTION_BLOCKS * sizeof *out;
		if (!root || !heap_read(h, block, out + done, n * sizeof *out))
			break;
	}
	return done;
}

/* The newest stands first; numbers are by age, so that they stay. */
static bool read_buddies(struct heap *h)
{
	void *array = NULL;
	struct buddies buddies;
	struct list_walk w;
	uint64_t addr;
	size_t i;
	bool good = true;

	if (!heap_read(h, h->root[ROOT_BUDDIES], &buddies, sizeof buddies))
		return true;
	list_walk_begin(&w, h, (uintptr_t)buddies.all, offsetof(struct buddy, next), MAX_BUDDIES);
	while (good && (addr = list_walk_next(&w)))
		good = push(&array, &h->nr_buddies, sizeof addr, &addr);
	h->buddies = array;
	for (i = 0; i < h->nr_buddies / 2; i++) {
		addr = h->buddies[i];
		h->buddies[i] = h->buddies[h->nr_buddies - 1 - i];
		h->buddies[h->nr_buddies - 1 - i] = addr;
	}
	return good || memory_fail(h->memory, "out of memory");
}

int heap_buddy_number(const struct heap *h, uint64_t buddy)
{
	size_t i;

	if (buddy == h->root[ROOT_HIGHATOMIC])
		return BUDDY_RESERVE;
	for (i = 0; i < h->nr_buddies; i++)
		if (h->buddies[i] == buddy)
			return (int)i;
	return BUDDY_UNKNOWN;
}

static bool area_is_good(const struct vm_area *a)
{
	return a->addr && a->addr % BSLAB_PAGE_SIZE == 0 && a->addr >> ADDRESS_BITS == 0 && a->size >> ADDRESS_BITS == 0 &&
	       (a->first ? a->nr_blocks <= REGION_MAX_BLOCKS : a->map_addr <= a->addr);
}

/* A block of a library's heap has that one's descriptor. */
static bool leads_to_area(page_desc_t d, uint64_t addr)
{
	return d == desc_of_pointer((void *)addr, PAGE_LARGE, 0) || (desc_type(d) == PAGE_HEAP && !desc_class(d));
}

/*
 * Whether the node that the walk came to is a live block's. One that was freed under it leads on to other freed ones, or
 * to the head of the list if it was used again.
 */
static bool area_is_live(struct heap *h, uint64_t addr, uint64_t before, const struct vm_area *a)
{
	return area_is_good(a) && (uintptr_t)a->node.prev == before && leads_to_area(heap_desc(h, a->addr), addr);
}

/* True when all of it was had: no node was in doubt, and there are as many as the heap has before and after. */
static bool walk_large(struct heap *h, struct large *large, void **array, size_t *nr)
{
	uint64_t addr, before = 0;
	struct list_walk w;
	struct vm_area a;
	size_t nr_areas, nr_passed = 0;

	if (!heap_read(h, h->root[ROOT_LARGE], large, sizeof *large))
		return false;
	list_walk_begin(&w, h, (uintptr_t)large->areas.first, offsetof(struct list_node, next), MAX_LARGE_BLOCKS);
	for (; (addr = list_walk_next(&w)); before = addr, nr_passed++)
		if (heap_read(h, addr, &a, sizeof a) && area_is_live(h, addr, before, &a) && !push(array, nr, sizeof a, &a))
			break;
	return *nr == nr_passed && *nr == large->info.nr_areas &&
	       heap_read(h, h->root[ROOT_LARGE] + offsetof(struct large, info), &nr_areas, sizeof nr_areas) &&
	       *nr == nr_areas;
}

struct vm_area *heap_large(struct heap *h, struct large *large, size_t *nr)
{
	size_t nr_doubts = h->nr_doubts, nr_found;
	struct vm_area *most = NULL;
	void *array;
	bool good = false;
	int i;

	memset(large, 0, sizeof *large);
	*nr = 0;
	for (i = 0; i < MAX_TRIES && !good; i++) {
		array = NULL;
		nr_found = 0;
		good = walk_large(h, large, &array, &nr_found);
		if (good || nr_found > *nr) {
			free(most);
			most = array;
			*nr = nr_found;
		} else {
			free(array);
		}
	}
	h->nr_doubts = nr_doubts + !good;
	return most;
}

void heap_kept_large(struct heap *h, struct kept_large *kept)
{
	struct large large;
	struct vm_area *a;
	unsigned i;

	kept->nr = 0;
	if (!heap_read(h, h->root[ROOT_LARGE], &large, sizeof large))
		return;
	for (i = 0; i < NR_HOT; i++) {
		a = &kept->area[kept->nr];
		kept->nr += large.hot[i] && heap_read(h, (uintptr_t)large.hot[i], a, sizeof *a) && area_is_good(a);
	}
}

const struct vm_area *kept_large_at(const struct kept_large *kept, uint64_t addr)
{
	const struct vm_area *a;

	for (a = kept->area; a < kept->area + kept->nr; a++)
		if (a->first ? addr - a->addr < (uint64_t)a->nr_blocks << PAGEBLOCK_SHIFT : addr - a->map_addr < a->map_size)
			return a;
	return NULL;
}

/* --- caches and slabs ------------------------------------------------------------------------------- */

static bool size_is_possible(unsigned class, size_t size)
{
	if (is_pcp_cache(class))
		return size == BSLAB_PAGE_SIZE << (class - PCP_CACHE);
	if (class == ZERO_CLASS)
		return size == ZERO_SIZE;
	return class < NR_CLASSES ? size == class_size(class) : size <= SMALL_MAX;
}

bool heap_cache(struct heap *h, unsigned class, struct kmem_cache *c, uint64_t *addr)
{
	struct kmem_cache twice;

	if (class >= NR_CACHES ||
	    !heap_read(h, h->root[ROOT_CACHES] + class * sizeof *addr, addr, sizeof *addr) || !*addr)
		return false;
	if (read_twice(h, *addr, c, &twice, sizeof *c)) {
		if (class >= FIRST_TYPED && !c->size)
			return false; /* nobody has the number now */
		if (c->class == class && c->migratetype < NR_MIGRATETYPES && size_is_possible(class, c->size))
			return true;
	}
	h->nr_doubts++;
	return false;
}

void heap_cache_name(struct heap *h, const struct kmem_cache *c, char name[CACHE_NAME_SIZE])
{
	uint64_t addr = (uintptr_t)c->typed;
	size_t i;

	memset(name, 0, CACHE_NAME_SIZE);
	if (c->class < FIRST_TYPED)
		return;
	if (!heap_read(h, addr + offsetof(struct typed, name), name, CACHE_NAME_SIZE)) {
		h->nr_doubts++;
		return;
	}
	name[CACHE_NAME_SIZE - 1] = '\0';
	for (i = 0; name[i]; i++) /* it may be anything */
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\')
			name[i] = '_';
}

bool heap_slab(struct heap *h, uint64_t addr, unsigned class, struct slab_copy *copy)
{
	unsigned nr_objects, nr_words;
	struct slab s;

	if (!heap_read(h, addr, &s, sizeof s))
		return false;
	nr_objects = s.nr_objects;
	nr_words = (nr_objects + 63) / 64;
	if (!nr_objects || nr_objects > MAX_SLAB_OBJECTS || s.base % BSLAB_PAGE_SIZE || s.base >> ADDRESS_BITS ||
	    (s.state && s.state >> 2 != class) || s.nr_free < 0 || s.nr_free > (int)nr_objects)
		return false;
	copy->addr = addr;
	copy->base = s.base;
	copy->nr_objects = nr_objects;
	return heap_read(h, addr + offsetof(struct slab, free), copy->free, nr_words * sizeof copy->free[0]);
}

/* --- sheaves ------------------------------------------------------------------------------------------ */

static bool read_sheaf(struct heap *h, uint64_t addr, struct sheaf *s)
{
	return heap_read(h, addr, s, sizeof *s) && s->low_sentinel == (addr | 1) && s->capacity &&
	       s->capacity <= MAX_SHEAF_SLOTS;
}

static bool read_objects(struct heap *h, uint64_t addr, const struct sheaf *s, uint64_t nr, struct sheaf_copy *copy)
{
	copy->addr = addr;
	copy->capacity = s->capacity;
	copy->nr = (unsigned)nr;
	return nr <= s->capacity &&
	       heap_read(h, addr + offsetof(struct sheaf, slot), copy->object, nr * sizeof copy->object[0]);
}

/* The nearest odd word below the top, and so the sheaf; 0 when there is none. */
static uint64_t find_sentinel(struct heap *h, uint64_t top)
{
	uint64_t words[64], end = top;
	size_t n, nr_seen = 0;

	if (heap_read(h, top, words, sizeof words[0]) && words[0] & 1)
		return words[0] & ~1ull; /* full: the one above leads there too */
	while (nr_seen <= MAX_SHEAF_SLOTS) {
		for (n = 64; n && !heap_read(h, end - n * sizeof words[0], words, n * sizeof words[0]); n /= 4)
			;
		if (!n)
			return 0;
		nr_seen += n;
		end -= n * sizeof words[0];
		while (n--)
			if (words[n] & 1)
				return words[n] & ~1ull;
	}
	return 0;
}

bool heap_sheaf_of_top(struct heap *h, uint64_t top, struct sheaf_copy *copy)
{
	uint64_t addr, slots;
	struct sheaf s;

	copy->addr = 0;
	copy->nr = copy->capacity = 0;
	if (!top || top == h->none_top)
		return true;
	addr = find_sentinel(h, top);
	slots = addr + offsetof(struct sheaf, slot);
	if (addr && top >= slots && (top - slots) % sizeof(uint64_t) == 0 && read_sheaf(h, addr, &s) &&
	    read_objects(h, addr, &s, (top - slots) / sizeof(uint64_t), copy))
		return true;
	copy->addr = 0;
	copy->nr = copy->capacity = 0;
	h->nr_doubts++;
	return false;
}

bool heap_sheaf(struct heap *h, uint64_t addr, struct sheaf_copy *copy, uint64_t *next)
{
	struct sheaf s;

	if (!read_sheaf(h, addr, &s) || !read_objects(h, addr, &s, s.nr, copy)) {
		h->nr_doubts++;
		return false;
	}
	*next = (uintptr_t)s.next;
	return true;
}

static bool visit_orphans(struct heap *h, uint64_t first, heap_area_visit *visit, void *arg)
{
	struct percpu_area area;
	struct list_walk w;
	uint64_t addr;

	list_walk_begin(&w, h, first, offsetof(struct percpu_area, next_orphan), NR_CPU_SLOTS + 1);
	while ((addr = list_walk_next(&w)))
		if (heap_read(h, addr, &area, sizeof area) && !visit(arg, -1, &area))
			return false;
	return true;
}

void heap_areas(struct heap *h, heap_area_visit *visit, void *arg)
{
	uint64_t *slots, nr = min_size(h->percpu.nr_slots, NR_CPU_SLOTS + 1), i;
	struct percpu_area area;
	bool more = true;

	slots = calloc(nr + 1, sizeof *slots);
	if (slots && heap_read(h, h->root[ROOT_HOT] + offsetof(struct hot, area), slots, nr * sizeof *slots))
		for (i = 0; more && i < nr; i++)
			if (slots[i] && slots[i] != h->root[ROOT_NONE_AREA] && heap_read(h, slots[i], &area, sizeof area))
				more = visit(arg, (int)i, &area);
	free(slots);
	if (more && visit_orphans(h, (uintptr_t)h->percpu.orphans, visit, arg))
		visit_orphans(h, (uintptr_t)h->percpu.limbo, visit, arg);
}

/* --- all of it ------------------------------------------------------------------------------------------ */

/* The roots that are needed at once; a core may lack them. */
static bool read_roots(struct heap *h)
{
	if (heap_read(h, h->root[ROOT_OPTIONS], &h->options, sizeof h->options) &&
	    heap_read(h, h->root[ROOT_PERCPU], &h->percpu, sizeof h->percpu) && h->percpu.mode <= INDEX_THREAD &&
	    heap_read(h, h->root[ROOT_ZONE], &h->zone, sizeof h->zone))
		return true;
	h->memory->source->explain(h->memory);
	return memory_fail(h->memory, "%s: the heap's memory cannot be read", h->memory->name);
}

bool heap_open(struct heap *h, struct memory *memory)
{
	*h = (struct heap){.memory = memory};
	if (!memory->source->refresh(memory) || !heap_find_anchor(h) || !read_roots(h))
		return false;
	h->none_top = h->root[ROOT_NONE_WORDS] + sizeof(void *);
	return read_regions(h) && read_buddies(h);
}

void heap_close(struct heap *h)
{
	free(h->regions);
	free(h->buddies);
	h->regions = NULL;
	h->buddies = NULL;
}

bool heap_reopen(struct heap *h)
{
	struct heap found = *h;

	heap_close(h);
	*h = (struct heap){.memory = found.memory, .nr_heaps = found.nr_heaps, .none_top = found.none_top};
	memcpy(h->root, found.root, sizeof h->root);
	if (heap_read(h, h->root[ROOT_OPTIONS], &h->options, sizeof h->options) &&
	    heap_read(h, h->root[ROOT_PERCPU], &h->percpu, sizeof h->percpu) && h->percpu.mode != INDEX_AUTO &&
	    h->percpu.mode <= INDEX_THREAD && heap_read(h, h->root[ROOT_ZONE], &h->zone, sizeof h->zone) &&
	    read_regions(h) && read_buddies(h))
		return true;
	heap_close(h);
	return false;
}
