/* SPDX-License-Identifier: MIT */
/*
 * With libbslab-deepbind.so preloaded, too: a library that is loaded with RTLD_DEEPBIND and the program free each other's blocks. It
 * is found in this program's RUNPATH, which libc's dlopen() knows by who called it.
 */
#include <dlfcn.h>

#include "life.h"

int main(void)
{
	void *lib = dlopen("libdeepbound.so", RTLD_NOW | RTLD_DEEPBIND);
	void *(*make)(size_t);
	void (*take)(void *);

	if (!lib)
		puts(dlerror());
	EXPECT(lib);
	make = (void *(*)(size_t))dlsym(lib, "make");
	take = (void (*)(void *))dlsym(lib, "take");
	EXPECT(make && take);
	for (size_t size = 1; size < 4000000; size *= 3) {
		char *mine = malloc(size), *theirs = make(size);

		EXPECT(mine && theirs);
		memset(theirs, 1, size);
		take(mine);
		free(theirs);
	}
	EXPECT(!dlopen("no-such-library.so", RTLD_NOW | RTLD_DEEPBIND) && dlerror());
	EXPECT(dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND));
	return 0;
}
