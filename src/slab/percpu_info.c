/* SPDX-License-Identifier: MIT */
/* What areas hold, for reports. */
#include <string.h>

#include "slab/area.h"
#include "slab/kept.h"
#include "slab/quarantine.h"

/* Another CPU's sheaf, that may be at work or on its way to another: an odd word is at its lower end in any case. */
static looks_at_others void snapshot_sheaf(void **top, unsigned *nr, unsigned *capacity)
{
	struct sheaf *s;
	unsigned n = 0;
	void *word;

	while (!((uintptr_t)(word = READ_ONCE(top[-1 - (ptrdiff_t)n])) & 1))
		n++;
	s = sheaf_of_sentinel(word);
	*capacity = s ? READ_ONCE(s->capacity) : 0;
	*nr = n < *capacity ? n : *capacity; /* its memory may have begun a smaller life */
}

static void snapshot_area(struct percpu_area *a, struct percpu_info *info, struct cpu_info *cpu)
{
	unsigned class, nr, capacity;

	info->nr_kept_pages += kept_nr_pages(a);
	for (class = 1; class < caches_end(); class++) {
		snapshot_sheaf(READ_ONCE(a->top[class]), &nr, &capacity);
		if (is_pcp_cache(class)) {
			info->nr_kept_pages += (size_t)nr << (class - PCP_CACHE);
			continue;
		}
		info->nr_cached[class] += nr;
		if (!cpu)
			continue;
		cpu->nr[class] = (uint16_t)nr;
		cpu->capacity[class] = (uint16_t)capacity;
		cpu->nr_objects += nr;
		cpu->nr_slots += capacity;
		cpu->bytes += nr * cache_size(class);
	}
	for (class = 1; bslab_options.hardened && class < NR_CLASSES; class++) {
		snapshot_sheaf(READ_ONCE(*area_top(a, FREED_TOPS + class)), &nr, &capacity);
		info->nr_cached[class] += nr;
	}
}

/* In the barns of page runs. */
static size_t barn_pages(void)
{
	struct cache_info info;
	size_t nr_pages = 0;
	unsigned order;

	for (order = 0; order <= PCP_MAX_ORDER; order++) {
		struct kmem_cache *c = cache_if_used(PCP_CACHE + order);

		info.nr_barn_objects = 0;
		if (c)
			barn_snapshot(&c->barn, &info);
		nr_pages += info.nr_barn_objects << order;
	}
	return nr_pages;
}

void percpu_snapshot(struct percpu_info *info)
{
	unsigned slot, nr_slots = READ_ONCE(percpu.nr_slots);

	memset(info, 0, offsetof(struct percpu_info, cpu));
	info->mode = percpu.mode;
	for (slot = 0; slot < nr_slots; slot++) {
		struct percpu_area *a = area_load(slot);
		struct cpu_info *cpu = NULL;

		if (!a || a == &none_area)
			continue;
		if (info->nr_areas++ < MAX_REPORT_CPUS) {
			cpu = &info->cpu[info->nr_listed++];
			*cpu = (struct cpu_info){0};
			cpu->index = percpu.mode == INDEX_CPU_ID ? slot - 1 : slot;
		}
		snapshot_area(a, info, cpu);
	}
	/* What fork left behind, and what a drain could not give back, is nobody's, but free. */
	lock_take(&percpu.lock, RANK_THREAD);
	for (struct percpu_area *a = percpu.orphans; a; a = a->next_orphan)
		snapshot_area(a, info, NULL);
	for (struct percpu_area *a = percpu.limbo; a; a = a->next_orphan)
		snapshot_area(a, info, NULL);
	lock_drop(&percpu.lock, RANK_THREAD);
	info->nr_kept_pages += barn_pages();
	quarantine_count(info->nr_cached);
	info->nr_sheaf_reaps = atomic_load_explicit(&percpu.nr_sheaf_reaps, memory_order_relaxed);
	info->nr_barn_reaps = atomic_load_explicit(&percpu.nr_barn_reaps, memory_order_relaxed);
	info->nr_drains = atomic_load_explicit(&percpu.nr_drains, memory_order_relaxed);
}

static size_t nr_in_area(struct percpu_area *a, unsigned number)
{
	unsigned nr, capacity;

	snapshot_sheaf(READ_ONCE(a->top[number]), &nr, &capacity);
	return nr;
}

size_t percpu_nr_cached(unsigned number)
{
	struct percpu_area *a;
	size_t sum = 0;
	unsigned slot;

	for (slot = 0; slot < READ_ONCE(percpu.nr_slots); slot++) {
		a = area_load(slot);
		if (a && a != &none_area)
			sum += nr_in_area(a, number);
	}
	lock_take(&percpu.lock, RANK_THREAD);
	for (a = percpu.orphans; a; a = a->next_orphan)
		sum += nr_in_area(a, number);
	for (a = percpu.limbo; a; a = a->next_orphan)
		sum += nr_in_area(a, number);
	lock_drop(&percpu.lock, RANK_THREAD);
	return sum;
}
