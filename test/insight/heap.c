/* SPDX-License-Identifier: MIT */
/*
 * heap [--churn N] [--swap N] [--stir N] [--leave 1] [--library PATH]: a heap that a reader from outside knows, until its standard input ends.
 *
 * It writes lines of a name and an address, or a number, and then "ready". The objects of OBJECT_SIZE bytes are of a
 * size class that nothing else in the process uses. --churn: N threads that allocate and free other sizes all the
 * time. --swap: N threads whose large blocks come and go all the time. --stir: so many such steps at the start, so that there are many caches and all is quiet. --leave: the main thread ends, and another waits. --library: by the calls of a library that is loaded late.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OBJECT_SIZE 200
#define NR_OBJECTS 3000
#define RUN_SIZE (33 * 4096)
#define BLOCK_SIZE (3 << 20)	/* of pageblocks, where the option `large` is above it */
#define MAPPING_SIZE (5 << 20) /* a mapping of its own, where it is not */
#define NR_HELD 200

static void *(*allocate)(size_t) = malloc;
static void (*release)(void *) = free;

static uint32_t next_random(uint32_t *state)
{
	return *state = *state * 1664525 + 1013904223;
}

/* Sizes of all kinds but those in (128, 256]. */
static size_t random_size(uint32_t *state)
{
	uint32_t r = next_random(state) >> 8;

	switch (r % 16) {
	case 0:
		return 33000 + r % 200000;
	case 1:
		return r % 64 ? 20000 : 3000000;
	case 2:
	case 3:
		return 300 + r % 9000;
	default:
		return 1 + r % 128;
	}
}

static void churn_once(void **held, uint32_t *state)
{
	unsigned i = next_random(state) >> 16;

	i %= NR_HELD;
	release(held[i]);
	held[i] = allocate(random_size(state));
}

static void *churn(void *seed)
{
	uint32_t state = (uint32_t)(uintptr_t)seed;
	static __thread void *held[NR_HELD];

	for (;;)
		churn_once(held, &state);
	return NULL;
}

static void *swap(void *unused)
{
	void *p, *q;

	for (;;) {
		p = allocate(MAPPING_SIZE);
		q = allocate(2 * MAPPING_SIZE);
		release(p);
		release(q);
	}
	return unused;
}

static void stir(int nr_steps)
{
	static void *held[NR_HELD];
	uint32_t state = 1;

	while (nr_steps-- > 0)
		churn_once(held, &state);
}

#ifdef STATIC_PROGRAM
static void use_library(const char *path)
{
	fprintf(stderr, "%s: not in a static program\n", path);
	exit(1);
}
#else
static void use_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	allocate = (void *(*)(size_t))dlsym(library, "bslab_malloc");
	release = (void (*)(void *))dlsym(library, "bslab_free");
}
#endif

static void put(const char *name, void *p)
{
	printf("%s %p\n", name, p);
}

static void *wait_for_end(void *unused)
{
	char c;

	while (read(0, &c, 1) > 0)
		;
	_exit(0);
	return unused;
}

int main(int argc, char **argv)
{
	static void *object[NR_OBJECTS];
	int nr_threads = 0, nr_swappers = 0, nr_steps = 0, leaves = 0, i;
	pthread_t thread;
	char c;

	for (i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--churn"))
			nr_threads = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--swap"))
			nr_swappers = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--stir"))
			nr_steps = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--leave"))
			leaves = atoi(argv[i + 1]);
		else
			use_library(argv[i + 1]);
	}
	for (i = 0; i < NR_OBJECTS; i++) {
		object[i] = allocate(OBJECT_SIZE);
		memset(object[i], 0xa5, OBJECT_SIZE);
	}
	for (i = 0; i < NR_OBJECTS; i += 3)
		release(object[i]);
	printf("used %d\n", NR_OBJECTS - (NR_OBJECTS + 2) / 3);
	put("object", object[1001]);
	put("inside", (char *)object[1001] + 17);
	put("freed", object[NR_OBJECTS - 3]);
	put("run", allocate(RUN_SIZE));
	put("block", allocate(BLOCK_SIZE));
	put("mapping", allocate(MAPPING_SIZE));
	put("stack", &c);
	stir(nr_steps);
	for (i = 0; i < nr_threads + nr_swappers; i++)
		if (pthread_create(&thread, NULL, i < nr_threads ? churn : swap, (void *)(uintptr_t)(i + 1)) != 0)
			return 1;
	printf("ready\n");
	fflush(stdout);
	if (leaves && !pthread_create(&thread, NULL, wait_for_end, NULL))
		syscall(SYS_exit, 0); /* pthread_exit() would load a library first */
	wait_for_end(NULL);
}
