/* SPDX-License-Identifier: MIT */
/* What bslab-stat says when it is asked for nothing in particular. */
#ifndef BSLAB_INSIGHT_SUMMARY_H
#define BSLAB_INSIGHT_SUMMARY_H

#include <stdio.h>

#include "report/snapshot.h"

/* Where memory is, and the caches that hold most of it. */
void summary_write(const struct heap_report *r, FILE *out);

/* A table that grows by a line each sample: sizes, and what happened since the one before, per second. */
void samples_head(FILE *out);
/* before: NULL for the first, whose rates are since the start. */
void samples_line(const struct heap_report *r, const struct heap_report *before, double seconds, FILE *out);

#endif
