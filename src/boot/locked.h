/* SPDX-License-Identifier: MIT */
/*
 * What the files of boot/ share: with the meta lock held.
 */
#ifndef BSLAB_BOOT_LOCKED_H
#define BSLAB_BOOT_LOCKED_H

#include "boot/boot.h"

extern struct boot boot reader_root(boot);

void *boot_alloc_locked(size_t size, size_t align);
void *boot_pool_get_locked(struct boot_pool *pool, size_t size, size_t align);
void boot_pool_put_locked(struct boot_pool *pool, void *obj);
/* Memory that was handed out is in use again, or less of it (modulo 2^64): it went back to the kernel. */
void boot_count_used(size_t by);

#endif
