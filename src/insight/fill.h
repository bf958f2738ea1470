/* SPDX-License-Identifier: MIT */
/* The snapshot that the library takes of itself (report/report.h), taken from outside. */
#ifndef BSLAB_INSIGHT_FILL_H
#define BSLAB_INSIGHT_FILL_H

#include "insight/heap.h"
#include "report/snapshot.h"

void report_fill(struct heap *h, struct heap_report *r);

#endif
