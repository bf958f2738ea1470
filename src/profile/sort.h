/* SPDX-License-Identifier: MIT */
/* Heapsort: in place, and libc's qsort() may allocate. */
#ifndef BSLAB_SORT_H
#define BSLAB_SORT_H

#include "base/base.h"

/* before: whether a comes before b. Items of at most MAX_SORTED bytes. */
#define MAX_SORTED 128
void sort(void *items, size_t n, size_t size, bool (*before)(const void *a, const void *b));

#endif
