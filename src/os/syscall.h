/* SPDX-License-Identifier: MIT */
/* A raw system call, for the os floor alone: a negative errno where it fails, and errno is not touched. */
#ifndef BSLAB_SYSCALL_H
#define BSLAB_SYSCALL_H

#include <sys/syscall.h>

#include "arch/arch.h"

#define SYS(nr, a, b, c, d, e, f)                                                                  \
	arch_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
