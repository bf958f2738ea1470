/* SPDX-License-Identifier: MIT */
/* dlopen LIBRARY: loads, uses and unloads the library in a process whose malloc is libc's and that has threads. */
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "life.h"

static void *(*lib_malloc)(size_t);
static void (*lib_free)(void *);

static void *use(void *arg)
{
	for (size_t size = 1; size < 5000000; size = size * 3 + 1) {
		char *p = lib_malloc(size);

		EXPECT(p);
		memset(p, 1, size);
		lib_free(p);
	}
	return arg;
}

static void *sleep_on(void *fd)
{
	char c;

	return read(*(int *)fd, &c, 1) == 1 ? fd : NULL;
}

static void use_in_thread(void)
{
	pthread_t thread;

	EXPECT(pthread_create(&thread, NULL, use, NULL) == 0);
	EXPECT(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
	pthread_t older[8];
	int fds[2];

	EXPECT(argc == 2 && pipe(fds) == 0);
	for (int i = 0; i < 8; i++)
		EXPECT(pthread_create(&older[i], NULL, sleep_on, &fds[0]) == 0);
	for (int i = 0; i < 100; i++) {
		void *lib = dlopen(argv[1], i % 2 ? RTLD_NOW | RTLD_LOCAL : RTLD_LAZY | RTLD_GLOBAL);

		if (!lib)
			fprintf(stderr, "%s\n", dlerror());
		EXPECT(lib);
		lib_malloc = (void *(*)(size_t))dlsym(lib, "bslab_malloc");
		lib_free = (void (*)(void *))dlsym(lib, "bslab_free");
		EXPECT(lib_malloc && lib_free);
		use(NULL);
		use_in_thread();
		EXPECT(dlclose(lib) == 0);
	}
	EXPECT(write(fds[1], "12345678", 8) == 8);
	for (int i = 0; i < 8; i++)
		pthread_join(older[i], NULL);
	EXPECT(use_malloc());
	return 0;
}
