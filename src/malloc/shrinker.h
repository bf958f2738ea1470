/* SPDX-License-Identifier: MIT */
/* The programs' shrinkers; bslab/shrinker.h says what they are. */
#ifndef BSLAB_MALLOC_SHRINKER_H
#define BSLAB_MALLOC_SHRINKER_H

#include "malloc/internal.h"

/* Calls each, holding no lock. Does nothing while one is running, in this thread or another. */
void shrinkers_call(enum pressure why);

void shrinkers_fork_prepare(void);
void shrinkers_fork_done(bool child);

#endif
