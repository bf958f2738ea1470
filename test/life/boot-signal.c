/* SPDX-License-Identifier: MIT */
/*
 * A signal comes while the first call of all is within libc, and its handler allocates and ends the process: it runs once the
 * call is over. The signal is raised by what stands in libc's place where the library asks for a key.
 */
#include <bslab/bslab.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t is_within, nr_raised;

static void handle(int signal)
{
	void *p;

	(void)signal;
	if (is_within)
		_exit(3);
	p = bslab_malloc(100);
	bslab_free(p);
	exit(p ? 0 : 4);
}

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
	int (*libc)(pthread_key_t *, void (*)(void *)) = dlsym(RTLD_NEXT, "pthread_key_create");
	int error;

	is_within = 1;
	nr_raised++;
	raise(SIGUSR1);
	error = libc(key, destructor);
	is_within = 0;
	return error;
}

int main(void)
{
	signal(SIGUSR1, handle);
	alarm(60);
	bslab_free(bslab_malloc(1));
	printf("%s\n", nr_raised ? "the signal was lost" : "the library asked for no key");
	return 2;
}
