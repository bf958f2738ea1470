/* SPDX-License-Identifier: MIT */
#ifndef BSLAB_CGROUP_H
#define BSLAB_CGROUP_H

#include "base/base.h"

/*
 * The lowest memory limit, high or max, of this process's cgroup and of those above it, version 2 or 1; in bytes,
 * SIZE_MAX when there is none or it cannot be told. Opens some files.
 */
size_t cgroup_limit(void);

#endif
