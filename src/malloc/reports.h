/* SPDX-License-Identifier: MIT */
/* Reports on their way out: by a call, at exit, on a signal. */
#ifndef BSLAB_REPORTS_H
#define BSLAB_REPORTS_H

#include "os/options.h"
#include "report/report.h"

/* A snapshot in pages of its own; NULL where the kernel has none. Boots. */
struct heap_report *snapshot_take(void);
void snapshot_drop(struct heap_report *r);

/* Reads the options report, report_to and report_signal, if they are given; false: `fault` says what is wrong, and
 * the others count. */
bool reports_configure(char *fault, size_t fault_size);
/* Sees to it that the report which the options ask for is written. Once libc can register handlers. */
void reports_start(void);

/* For files that options name: %p in `text` is the process's number, %% a percent sign. False when it does not fit. */
#define MAX_PATH 512
bool path_expand(char path[MAX_PATH], const char *text);
/* What an unwritable file comes to; libc's texts are not for signal handlers. */
const char *error_text(int error);
/* A copy that stays: the environment is the program's to overwrite. */
const char *option_keep(struct option_text t);

extern _Atomic bool report_is_due __attribute__((visibility("hidden")));
void report_due(void) __attribute__((visibility("hidden"), cold));

/*
 * At the end of what may hold locks: writes the report that a signal asked for meanwhile (see reports.c). Holds no
 * lock when it is called.
 */
static inline void reports_poll(void)
{
	if (unlikely(atomic_load_explicit(&report_is_due, memory_order_relaxed)))
		report_due();
}

#endif
