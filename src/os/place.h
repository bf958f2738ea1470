/* SPDX-License-Identifier: MIT */
/* Where memory is to stand: os.h's contract, and its fake in test/fake_os.c. */
#ifndef BSLAB_PLACE_H
#define BSLAB_PLACE_H

#include "base/base.h"

/*
 * As os_reserve(), wholly below 4 GiB; NULL where no such range is free, or the kernel refuses. From the top down, so that the
 * break of a program that stands low itself has room. A system call for each multiple of align that is not free.
 */
void *os_reserve_low(size_t size, size_t align);

#endif
