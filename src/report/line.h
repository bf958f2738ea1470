/* SPDX-License-Identifier: MIT */
/* How the formatters make lines, and what they share. */
#ifndef BSLAB_LINE_H
#define BSLAB_LINE_H

#include "os/bug.h"
#include "report/format.h"

/* One line; `put` and `arg` are the caller's. */
#define LINE(...) report_line(put, arg, __VA_ARGS__)
/* The buffer is in its frame, and not in those of the functions that call others besides: a signal handler's stack may be small. */
void report_line(report_put *put, void *arg, const char *format, ...);

/* A line that grows: ROW(&row, ...) adds to it. */
struct row {
	size_t len;
	char text[MAX_REPORT_LINE + 1];
};
#define ROW(row, ...)                                                                              \
	((row)->len += bug_format((row)->text + (row)->len, sizeof(row)->text - (row)->len, __VA_ARGS__))

/* Tables hold their names in place: pointers would be relocated in every process. */
struct vm_event_text {
	char name[24];
	char help[76];
};
extern const struct vm_event_text vm_event_text[NR_VM_EVENTS] __attribute__((visibility("hidden")));

struct meminfo_item {
	char name[16], key[16];
	char help[80];
	uint32_t at; /* of the bytes in struct heap_report */
};
#define NR_MEMINFO 22
extern const struct meminfo_item meminfo_items[NR_MEMINFO] __attribute__((visibility("hidden")));

static inline size_t meminfo_bytes(const struct heap_report *r, unsigned i)
{
	return *(const size_t *)((const char *)r + meminfo_items[i].at);
}

/* The zones one by one; where none has been used, all as if they were one. A row is too large for the stack of a signal handler. */
unsigned nr_zone_rows(const struct heap_report *r);
const struct zone_row *zone_row_at(const struct heap_report *r, unsigned i);

/* Rows of pagetypeinfo: the migratetypes, and the zone's free pageblocks, which have none. */
#define NR_TYPE_ROWS (NR_MIGRATETYPES + 1)
const char *type_row_name(unsigned row);
/* Free page blocks of an order; resident ones: those with a page that may be. */
size_t type_row_free(const struct zone_row *z, unsigned row, unsigned order);
size_t type_row_resident(const struct zone_row *z, unsigned row, unsigned order);
/* Of all rows. */
size_t zone_row_free(const struct zone_row *z, unsigned order);
/* Pages, of buddies and of the zone, of all. */
size_t free_pages(const struct heap_report *r);

static inline size_t zone_row_free_pages(const struct zone_row *row)
{
	return row->nr_free + (row->nr_free_blocks << PAGEBLOCK_ORDER);
}

/* What slabinfo lists: malloc's caches and typed ones, then those of objects that have handles. Not used: size 0. */
#define NR_LISTED (NR_CACHES + NR_CLASSES)

static inline const struct class_report *listed_cache(const struct heap_report *r, unsigned i)
{
	return i < NR_CACHES ? &r->class[i] : &r->handle[i - NR_CACHES];
}

/* A typed cache's own name, or that of malloc's by their size, as the kernel's kmalloc-64. */
static inline void listed_name(char name[CACHE_NAME_SIZE], const struct heap_report *r, unsigned i)
{
	const struct cache_info *c = &listed_cache(r, i)->cache;

	__builtin_memcpy(name, c->name, CACHE_NAME_SIZE);
	name[CACHE_NAME_SIZE - 1] = '\0';
	if (i == NR_CACHES)
		bug_format(name, CACHE_NAME_SIZE, "handle-run");
	else if (!name[0])
		bug_format(name, CACHE_NAME_SIZE, i < NR_CACHES ? "bslab-%z" : "handle-%z", c->size);
}

/* Objects in CPUs' sheaves, or kept by threads. */
static inline size_t listed_cached(const struct heap_report *r, unsigned i)
{
	return i < NR_CACHES ? r->percpu.nr_cached[i] : r->handles.nr_cached[i - NR_CACHES];
}

/* Objects that one visit brings to a sheaf, when it is filled from slabs. */
static inline size_t batch_of(size_t capacity)
{
	return (capacity + 1) / 2;
}

void text_write(const struct heap_report *r, enum report_what what, report_put *put, void *arg);
void json_write(const struct heap_report *r, unsigned what, report_put *put, void *arg);
void prometheus_write(const struct heap_report *r, unsigned what, report_put *put, void *arg);

#endif
