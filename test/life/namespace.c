/* SPDX-License-Identifier: MIT */
/*
 * namespace LIBRARY: it is loaded with a libc of its own (dlmopen), whose keys have the same numbers as those of ours, and their values the
 * same places in a thread. Threads that both use end in good order, and leave nothing.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "life.h"

#define NR_THREADS 400
#define MAX_GROWTH_KIB 8192

static const char *(*use_keys)(void);

static void *work(void *arg)
{
	const char *fault;

	EXPECT(use_malloc());
	fault = use_keys();
	if (fault)
		puts(fault);
	EXPECT(!fault);
	EXPECT(use_malloc());
	return arg;
}

int main(int argc, char **argv)
{
	long before = 0;
	void *lib;

	EXPECT(argc == 2 && use_malloc());
	lib = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
	if (!lib)
		puts(dlerror());
	EXPECT(lib && (use_keys = (const char *(*)(void))dlsym(lib, "use_keys")));
	for (int i = 0; i < NR_THREADS; i++) {
		pthread_t thread;

		EXPECT(pthread_create(&thread, NULL, work, NULL) == 0);
		pthread_join(thread, NULL);
		if (i == NR_THREADS / 10)
			before = resident_kib();
	}
	EXPECT(resident_kib() <= before + MAX_GROWTH_KIB);
	return 0;
}
