/* SPDX-License-Identifier: MIT */
/*
 * Who called: the return addresses of the thread's stack.
 *
 * 1. Two ways. By the unwind tables that compilers write for exceptions and debuggers
 *    (eh_frame.h, cfi.h). Or by frame pointers, which finds the callers that
 *    were compiled with them (-fno-omit-frame-pointer).
 *
 * 2. What must not happen, and why it does not. Malloc is called with the loader's
 *    lock held (dlopen), in code that was interrupted, and at the ends of stacks.
 *
 *    Locks. The tables are found by _dl_find_object() (glibc 2.35), which takes none and may be called from
 *    anywhere. Without it, frame pointers. libgcc's unwinder is not used: it guards the tables that JITs register
 *    by hand by a mutex, calls malloc with that held, and reads the code at whatever address a
 *    stack ends with. It takes three times the instructions as well.
 *
 *    Allocation. There is none.
 *
 *    Time. A step takes up to half a microsecond, when the tables are cold; outer frames that still stand as they were at
 *    the thread's last sample are taken over (struct memo).
 *
 *    Faults. The tables of code are trusted, as they are when an exception is thrown. What stands on the stack is not:
 *    one that was made by hand, a coroutine's, may end in any word. The kernel is asked before a page of it is
 *    read. (Such a word may also name code of a library that another thread is closing, and its tables may go while they are
 *    read; no way is known to prevent that without a lock.) Code without an entry, a JIT's or a signal's trampoline of a kernel that has no tables for it, is the last
 *    of the stack, with its address.
 *    Nor are frame pointers trusted: a register that its code uses for something else is no pointer. Each is checked to be
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
 * Looks for what libc has, with no lock of bslab held, since dlsym() takes the loader's. Several threads may do so at a time,
 * and the child of a fork that came between: what one of them has first counts. Stacks are walked by frame pointers until then.
 */
void unwind_setup(bool frames_only);
/* The child has the parent's memory of stacks; no thread of its own is unwinding. */
void unwind_fork_child(void);
/* "unwind tables" or "frame pointers" */
const char *unwind_name(void);

/*
 * The stack from the caller on, innermost first: addresses in the calling instructions, so one below return addresses.
 * How many, 1 to MAX_FRAMES. sp: where the caller's stack ends, if not here but on a stack that a signal left, whose pc is
 * that of an instruction; else 0.
 */
unsigned unwind(const struct caller *by, uintptr_t sp, uintptr_t pc[MAX_FRAMES]);

#endif
