/* SPDX-License-Identifier: MIT */
#include "insight/summary.h"

#include <stdlib.h>

#include "report/format.h"

/* Caches of the summary: those that hold most, up to so many, as long as each holds more than a 100th of them all. */
#define MAX_CACHES 12
#define MIN_SHARE 100

static void put_line(const char *text, void *out)
{
	fprintf(out, "%s\n", text);
}

static size_t cache_bytes(const struct class_report *c)
{
	return c->cache.nr_pages << PAGE_SHIFT;
}

struct ranked {
	const struct class_report *cache;
	size_t bytes;
};

static int compare_bytes(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void put_caches(const struct heap_report *r, FILE *out)
{
	size_t total = r->slab_pages << PAGE_SHIFT;
	struct ranked rank[NR_CACHES];
	unsigned class, i, n = 0;

	for (class = 1; class < NR_CACHES; class++)
		if (r->class[class].cache.nr_slabs)
			rank[n++] = (struct ranked){&r->class[class], cache_bytes(&r->class[class])};
	qsort(rank, n, sizeof *rank, compare_bytes);
	if (!n)
		return;
	fprintf(out, "\n%8s %10s %10s %10s %8s %10s %6s\n", "size", "used", "cached", "free", "slabs", "kB", "use%");
	for (i = 0; i < n && i < MAX_CACHES; i++) {
		const struct class_report *c = rank[i].cache;
		size_t bytes = rank[i].bytes;

		if (i && bytes < total / MIN_SHARE)
			break;
		fprintf(out, "%8zu %10zu %10zu %10zu %8zu %10zu %5zu%%\n", c->cache.size, c->nr_used, c->nr_cached,
			c->cache.nr_free, c->cache.nr_slabs, bytes / KIB, bytes ? 100 * c->nr_used * c->cache.size / bytes : 0);
	}
	if (i < n)
		fprintf(out, "and %u smaller ones: slabinfo has them all\n", n - i);
	if (r->handles.nr_entries)
		fprintf(out, "handles: %zu kB of objects in %zu kB of slabs; compactions released %zu pageblocks\n",
			r->handle_used / KIB, (r->handle_pages << PAGE_SHIFT) / KIB, (size_t)r->compact.nr_released);
}

void summary_write(const struct heap_report *r, FILE *out)
{
	report_write(r, REPORT_MEMINFO, REPORT_TEXT, put_line, out);
	put_caches(r, out);
}

/* --- samples ------------------------------------------------------------------------------------ */

void samples_head(FILE *out)
{
	fprintf(out, "%-43s %-53s\n", "---------------- KiB ----------------", "---------------- per second ----------------");
	fprintf(out, "%10s %8s %8s %10s %8s %8s %8s %8s %8s %8s %8s\n", "used", "cached", "slabfree", "dirty", "refill",
		"flush", "slab+", "slab-", "pgalloc", "pgfree", "purge");
}

static double rate(const struct heap_report *r, const struct heap_report *before, enum vm_event event, double seconds)
{
	uint64_t from = before ? before->vm_event[event] : 0, to = r->vm_event[event];

	return to > from ? (double)(to - from) / seconds : 0;
}

void samples_line(const struct heap_report *r, const struct heap_report *before, double seconds, FILE *out)
{
	static const enum vm_event events[] = {SHEAF_REFILL, SHEAF_FLUSH, SLAB_CREATE, SLAB_DESTROY, PGALLOC, PGFREE, PURGE_PAGES};
	unsigned i;

	fprintf(out, "%10zu %8zu %8zu %10zu", r->used / KIB, r->cached / KIB, r->slab_free / KIB, r->dirty_free / KIB);
	for (i = 0; i < sizeof events / sizeof *events; i++)
		fprintf(out, " %8.0f", rate(r, before, events[i], seconds));
	fputc('\n', out);
}
