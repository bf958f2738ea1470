/* SPDX-License-Identifier: MIT */
/*
 * The shared library is linked without crtbegin.o: its destructor, which does
 * nothing for a library that is never unloaded, costs each process three page
 * faults at exit. What is left of it is this name, by whose address libc tells
 * apart who registered a callback. (A static program has its own crtbegin.o.)
 */
extern const char __dso_handle __attribute__((visibility("hidden")));
const char __dso_handle;
