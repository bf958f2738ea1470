/* SPDX-License-Identifier: MIT */
/*
 * The shared library is linked without crtbegin.o: its destructor, which does
 * nothing for a library that is never unloaded, costs each process three page
 * faults at exit. What is left of it is this word, by whose value libc tells
 * apart who registered a callback. (A static program has its own crtbegin.o.)
 */
extern void *const __dso_handle __attribute__((visibility("hidden")));
void *const __dso_handle = (void *)&__dso_handle;

/* Tells the unwinder that all of this object is bslab's own: profile/unwind.c. */
extern const char bslab_is_library __attribute__((visibility("hidden")));
const char bslab_is_library = 1;
