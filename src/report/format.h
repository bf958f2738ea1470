/* SPDX-License-Identifier: MIT */
/*
 * Reports as text. Pure functions of a snapshot: no locks, no allocation, no
 * state. They need nothing of the library but os/bug.c (bug_format()) with
 * os/os.c behind it, os/options.c (index_mode_name()) and slab/sizes.c, so that
 * a tool that fills a snapshot from elsewhere prints the same.
 *
 *   text        the kernel's formats where they exist: docs/statistics.md
 *   json        one object: docs/insight-formats.md
 *   prometheus  text exposition format 0.0.4
 */
#ifndef BSLAB_FORMAT_H
#define BSLAB_FORMAT_H

#include "report/snapshot.h"

/* Lines have no newline and at most MAX_REPORT_LINE bytes. */
#define MAX_REPORT_LINE 255
typedef void report_put(const char *line, void *arg);

enum report_what {
	REPORT_BUDDYINFO = 1 << 0,
	REPORT_PAGETYPEINFO = 1 << 1,
	REPORT_SLABINFO = 1 << 2,
	REPORT_ZONEINFO = 1 << 3,
	REPORT_VMSTAT = 1 << 4,
	REPORT_VMALLOCINFO = 1 << 5,
	REPORT_MEMINFO = 1 << 6,
	REPORT_ALL = (1 << 7) - 1,
};
#define NR_REPORTS 7

enum report_format { REPORT_TEXT, REPORT_JSON, REPORT_PROMETHEUS };

/* Names joined by '+', len bytes: a mask of enum report_what, 0 when one is unknown. "all" is all of them. */
unsigned report_what_of(const char *text, size_t len);
/* "text", "json", "prometheus": an enum report_format, or -1. */
int report_format_of(const char *text, size_t len);
/* The name of one bit of enum report_what. */
const char *report_name(enum report_what what);

/* The reports of the mask, in the order above; several texts each with a line "==> NAME <==" before. */
void report_write(const struct heap_report *r, unsigned what, enum report_format format, report_put *put, void *arg);

/* For malloc_stats. */
void report_text(const struct heap_report *r, report_put *put, void *arg);
/* XML for malloc_info. */
void report_xml(const struct heap_report *r, report_put *put, void *arg);

#endif
