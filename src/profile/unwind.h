/* SPDX-License-Identifier: MIT */
/*
 * Who called: the return addresses of the thread's stack.
 *
 * 1. Two ways. By the unwind tables, with the unwinder of libgcc_s.so.1, which the
 *    process has loaded already if it may throw or cancel threads; it is opened at
 *    the start of the first profile, never linked. Or by frame pointers, which finds the callers that
 *    were compiled with them (-fno-omit-frame-pointer).
 *
 * 2. What must not happen, and why it does not. Malloc is called with the loader's
 *    lock held (dlopen), by libgcc itself, in code that was interrupted, and
 *    at the ends of stacks.
 *
 *    Locks. An old unwinder finds the tables by dl_iterate_phdr(), under
 *    a lock of the loader, and may wait for a thread that waits for us. The one
 *    taken here calls _dl_find_object() (glibc 2.35, gcc 12), which takes none and
 *    may be called from anywhere; whether libgcc_s imports it is looked up in its symbols. An older
 *    one is left alone: frame pointers.
 *    What is left is the list of tables that JITs register by hand (__register_frame()): libgcc guards
 *    that by a mutex (gcc 12) or by a tree of locked nodes (gcc 13), and calls malloc with it held. So
 *    a malloc that libgcc_s itself calls is not unwound: its stack is the one return address. For any other caller
 *    the mutex is free or held by another thread, which never waits for
 *    us: bslab holds no lock while it unwinds.
 *
 *    Allocation. The unwinder works on the stack. Where it does allocate after all (tables registered by hand
 *    are sorted at the first search), thread_state.in_profile keeps the inner call from being sampled, and it is an
 *    ordinary malloc otherwise. What libgcc sets up once is set up by the unwinding that unwind_setup() does.
 *
 *    Time. A frame costs up to a microsecond, when the tables are cold; outer frames that still stand as they were at
 *    the thread's last sample are taken over (struct memo).
 *
 *    Faults. The tables of code are trusted, as they are when an exception is thrown. What stands on the stack is not:
 *    one that was made by hand, a coroutine's, may end in any word. libgcc looks at the code that a return address
 *    leads to where it finds no entry for it; so each of its steps is looked at before (cfi.h): it is taken only where
 *    the return address stands in memory that the kernel can read, and has an entry. The address of code without one, a
 *    JIT's or a signal's trampoline of a kernel that has no tables for it, is the last of the stack.
 *    Nor are frame pointers: a register that its code uses for something else is no pointer. Each is checked to be
 *    aligned, above the last and not far from it, and to point at memory that the kernel can read.
 *
 * 3. Which frames. The entries of bslab leave for their slow paths by jumps, so what those see is their own caller:
 *    struct caller, taken there. Frames below that one are bslab's own and are left out.
 */
#ifndef BSLAB_UNWIND_H
#define BSLAB_UNWIND_H

#include "base/base.h"

#define MAX_FRAMES 64

struct caller {
	uintptr_t pc; /* return address of the call into bslab */
	uintptr_t fp; /* its frame pointer register then: a frame, or anything */
};

/*
 * In a function that an entry point jumped to, or an entry point. Both machines keep the caller's frame pointer where
 * their own points.
 */
#define CALLER()                                                                                   \
	((struct caller){(uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0)),       \
			 *(uintptr_t *)__builtin_frame_address(0)})

/*
 * Looks for the unwinder, with no lock of bslab held, since it calls dlopen(). Several threads may do so at a time, and
 * the child of a fork that came between: what one of them has first counts. Stacks are walked by frame pointers until then.
 */
void unwind_setup(bool frames_only);
/* "unwind tables" or "frame pointers" */
const char *unwind_name(void);

/*
 * The stack from the caller on, innermost first: addresses in the calling instructions, so one below return addresses.
 * How many, 1 to MAX_FRAMES.
 */
unsigned unwind(const struct caller *by, uintptr_t pc[MAX_FRAMES]);

#endif
