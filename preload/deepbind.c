/* SPDX-License-Identifier: MIT */
/*
 * libbslab-deepbind.so: a dlopen() without RTLD_DEEPBIND, to be preloaded behind libbslab.so. bslab-run does it.
 *
 * A library that is loaded with this flag finds its names in what it depends on before it finds them in what was preloaded: its
 * malloc() and free() are libc's, and a block that the program made and it frees, or the other way round, ends the process. So
 * does PHP with most of its modules, under any malloc that is preloaded. (AddressSanitizer refuses the flag, for the same
 * reason.) libbslab.so itself exports what allocates and nothing else; hence a library of its own.
 *
 * dlopen() looks for a name without a slash in the RUNPATH of its caller, and in the caller's namespace, both by its return
 * address: libc's is jumped to. The compiler is told to in CMakeLists.txt, and test/life/deepbind.c sees whether it does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

typedef void *dlopen_function(const char *file, int mode);

static dlopen_function *next_dlopen; /* whoever comes first stores it, and all the same */

/* Not by a constructor: another library's may come first, and load something. */
static __attribute__((noinline, cold)) dlopen_function *find_next(void)
{
	dlopen_function *next = (dlopen_function *)dlsym(RTLD_NEXT, "dlopen");

	__atomic_store_n(&next_dlopen, next, __ATOMIC_RELAXED);
	return next;
}

__attribute__((visibility("default"))) void *dlopen(const char *file, int mode)
{
	dlopen_function *next = __atomic_load_n(&next_dlopen, __ATOMIC_RELAXED);

	if (__builtin_expect(!next, 0))
		next = find_next();
	return next(file, mode & ~RTLD_DEEPBIND);
}
