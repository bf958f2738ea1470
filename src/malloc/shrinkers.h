/* SPDX-License-Identifier: MIT */
/*
 * What programs give back under pressure; bslab/shrinker.h documents the calls.
 *
 * The list is under a lock, which is dropped while a program's function runs. One that is running is pinned by a count,
 * and stays in the list as long; who takes it out waits for that. Structs come from a pool and are shrinkers for ever.
 */
#ifndef BSLAB_SHRINKERS_H
#define BSLAB_SHRINKERS_H

#include "base/base.h"

/* Asks for so many bytes; how many were given back. Call without a lock. A load where there is no shrinker. */
size_t shrinkers_run(size_t nr_bytes);

/* fork: the lock is taken before and freed after on both sides. */
void shrinkers_fork_prepare(void);
void shrinkers_fork_done(bool child);

#endif
