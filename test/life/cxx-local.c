/* SPDX-License-Identifier: MIT */
/* cxx-local MODULE: a C program that loads a C++ library for itself alone, as Python does its extensions. */
#include <dlfcn.h>

#include "life.h"

int main(int argc, char **argv)
{
	int (*run)(void), failed;
	void *module;

	EXPECT(argc == 2);
	module = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	if (!module)
		fprintf(stderr, "%s\n", dlerror());
	EXPECT(module);
	run = (int (*)(void))dlsym(module, "module_run");
	EXPECT(run);
	failed = run();
	if (failed)
		fprintf(stderr, "module_run: %d\n", failed);
	return failed;
}
