/* SPDX-License-Identifier: MIT */
/*
 * Allocates wherever a process can: in constructors of all priorities, through dlsym() and its errors, in a
 * thread started by a constructor, in atexit handlers and in destructors; frees late what was allocated early.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "life.h"

static char *early, *middle;

static void *in_thread(void *unused)
{
	EXPECT(use_malloc());
	return unused;
}

__attribute__((constructor(101))) static void first(void)
{
	pthread_t thread;

	early = malloc(100);
	EXPECT(early);
	strcpy(early, "early");
	/* dlsym() allocates its error message with calloc(). */
	EXPECT(!dlsym(RTLD_NEXT, "no_such_symbol_anywhere"));
	EXPECT(dlerror());
	EXPECT(pthread_create(&thread, NULL, in_thread, NULL) == 0);
	pthread_join(thread, NULL);
}

__attribute__((constructor)) static void second(void)
{
	middle = realloc(NULL, 50000);
	EXPECT(middle);
	EXPECT(use_malloc());
}

static void at_exit(void)
{
	EXPECT(use_malloc());
	free(middle);
}

__attribute__((destructor(101))) static void last(void)
{
	EXPECT(!strcmp(early, "early"));
	early = realloc(early, 100000);
	EXPECT(early && !strcmp(early, "early"));
	free(early);
	EXPECT(use_malloc());
	if (write(1, "last\n", 5) != 5)
		_exit(1);
}

int main(void)
{
	EXPECT(early && middle);
	atexit(at_exit);
	return 0;
}
