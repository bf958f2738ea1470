/* SPDX-License-Identifier: MIT */
/*
 * The one place that knows which machine this is. Each arch folder gives, by
 * the same contract:
 *
 *   syscall.h  arch_syscall6(): a raw system call, -errno on failure, errno untouched
 *   counter.h  arch_counter(): what a counter of the CPU's says while the CPU is at work;
 *              arch_counter_span(): nanoseconds between two of these, rounded up, perhaps to several
 *              times as many; the longest span where it went back;
 *              ARCH_SPAN_BELOW_CALL: one in which no call can have changed a mapping
 *   percpu.h   arch_thread_pointer(); arch_thread_word(): the 32-bit word at an offset from it;
 *              cpu_relax(); the restartable sequences specified in arch/percpu.h, and
 *              hot_by_home(): bslab_hot, as percpu_push_home() wants it;
 *              add_local(), add_local16(), or_local(), and_local(): change a word; no signal handler of the thread
 *              comes in between, but other threads may (Linux: local_add());
 *              ARCH_RETURN_BELOW_CFA: how far below a frame's canonical address (the stack
 *              pointer before the call) its return address stands; 0 where that is not fixed;
 *              ARCH_DWARF_NR, ARCH_DWARF_SP, ARCH_DWARF_KEPT: how many registers the unwind
 *              tables number, the stack pointer's number, and a mask of those that a call keeps;
 *              arch_registers(): writes these, and returns an address in the code that is here
 */
#ifndef BSLAB_ARCH_H
#define BSLAB_ARCH_H

#if defined(__x86_64__)
#include "arch/x86_64/counter.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/syscall.h"
#elif defined(__aarch64__)
#include "arch/aarch64/counter.h"
#include "arch/aarch64/percpu.h"
#include "arch/aarch64/syscall.h"
#else
#error "bslab knows x86-64 and aarch64; a new one needs its own folder under src/arch"
#endif

#endif
