/* SPDX-License-Identifier: MIT */
/*
 * Sampled guarding's side of malloc and free (docs/hardened.md, decisions/0019):
 * one allocation in some thousands gets a page of its own (guarded/pool.h).
 *
 * The descriptor of the page, PAGE_GUARDED, leads to the slot. Its class is 0, so free, realloc and sized free of such a
 * block come to the slow paths by themselves.
 */
#ifndef BSLAB_MALLOC_GUARDED_H
#define BSLAB_MALLOC_GUARDED_H

#include "guarded/pool.h"
#include "malloc/internal.h"

/* As the options say; not at boot, but once the loader is done: what stacks are found by is looked for by dlsym(). */
void guarded_start(size_t interval);

/* NULL: any other block will do. */
void *guarded_alloc(const struct alloc_request *r, bool *zeroed) __attribute__((cold));
/* Of a page whose descriptor is PAGE_GUARDED. To be left for by a jump: fast.h says why. */
void guarded_free(page_desc_t d, void *ptr) __attribute__((cold));
/* What was asked for. False after a report. */
bool guarded_size(page_desc_t d, void *ptr, const char *what, size_t *size) __attribute__((cold));

#endif
