/* SPDX-License-Identifier: MIT */
/*
 * What a signal interrupted (ucontext): each arch folder's context.h gives
 *
 *   arch_context_caller()  the interrupted instruction and its frame pointer and stack pointer registers
 */
#ifndef BSLAB_ARCH_CONTEXT_H
#define BSLAB_ARCH_CONTEXT_H

#include <ucontext.h>

#include "base/base.h"

#if defined(__x86_64__)
#include "arch/x86_64/context.h"
#elif defined(__aarch64__)
#include "arch/aarch64/context.h"
#endif

#endif
