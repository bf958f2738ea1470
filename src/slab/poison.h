/* SPDX-License-Identifier: MIT */
/*
 * Poison and red zones (Linux: mm/slub.c, include/linux/poison.h): what a free object and the bytes behind each object
 * must read. Faults are reported with the first byte that differs.
 *
 *      state   object, if poisoned     red zone, if there is one
 *      ------  ----------------------  -------------------------
 *      free    6b 6b 6b ... 6b a5      bb bb ... bb
 *      live    the program's           cc cc ... cc
 */
#ifndef BSLAB_POISON_H
#define BSLAB_POISON_H

#include "slab/typed.h"

/* Writes the pattern of a free object. */
void poison_set_free(const struct kmem_cache *c, void *obj);
/* Looks at one that was free, and makes it live. */
void poison_take(const struct kmem_cache *c, void *obj);
/* Looks at one that was live, and makes it free. */
void poison_give(const struct kmem_cache *c, void *obj);

#endif
