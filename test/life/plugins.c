/* SPDX-License-Identifier: MIT */
/*
 * plugins MODULE: modules that allocate come and go by dlopen() and dlclose(), while threads that use them come and go. What they
 * handed out outlives them; memory does not grow with their number.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "life.h"

#define NR_ROUNDS 400
#define NR_THREADS 3
#define NR_KEPT 32
#define MAX_GROWTH_KIB 4096

static char *(*make)(size_t);
static void (*keep)(size_t);

static void *use(void *arg)
{
	for (size_t size = 10; size < 500000; size *= 3) {
		char *p;

		keep(size / 2 + 1);
		p = make(size);
		EXPECT(p && p[0] == 'x' && p[size - 1] == 'x');
		free(p);
	}
	return arg;
}

static void come_and_go(const char *module, int nr_rounds)
{
	static char *kept[NR_KEPT];

	for (int i = 0; i < nr_rounds; i++) {
		pthread_t threads[NR_THREADS];
		void *lib = dlopen(module, i % 2 ? RTLD_NOW | RTLD_LOCAL : RTLD_LAZY | RTLD_LOCAL);

		EXPECT(lib);
		make = (char *(*)(size_t))dlsym(lib, "plugin_make");
		keep = (void (*)(size_t))dlsym(lib, "plugin_keep");
		EXPECT(make && keep);
		for (int t = 0; t < NR_THREADS; t++)
			EXPECT(pthread_create(&threads[t], NULL, use, NULL) == 0);
		use(NULL);
		for (int t = 0; t < NR_THREADS; t++)
			EXPECT(pthread_join(threads[t], NULL) == 0);
		if (kept[i % NR_KEPT])
			EXPECT(kept[i % NR_KEPT][99] == 'x'); /* of a module that is gone */
		free(kept[i % NR_KEPT]);
		kept[i % NR_KEPT] = make(100);
		EXPECT(dlclose(lib) == 0);
		EXPECT(!dlopen(module, RTLD_NOW | RTLD_NOLOAD)); /* it is gone indeed */
	}
}

int main(int argc, char **argv)
{
	long before, after;

	EXPECT(argc == 2);
	come_and_go(argv[1], NR_ROUNDS / 4);
	malloc_trim(0);
	before = status_kib("VmRSS");
	come_and_go(argv[1], NR_ROUNDS);
	malloc_trim(0);
	after = status_kib("VmRSS");
	printf("VmRSS %ld KiB, then %ld KiB\n", before, after);
	EXPECT(after < before + MAX_GROWTH_KIB);
	EXPECT(use_malloc());
	return 0;
}
