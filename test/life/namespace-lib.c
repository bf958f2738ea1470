/* SPDX-License-Identifier: MIT */
/* Of namespace.c: as other libraries do, it keeps something for each thread. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_key_t key[8];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_keys(void)
{
	for (unsigned i = 0; i < sizeof key / sizeof *key; i++)
		pthread_key_create(&key[i], free);
}

/* 0, or what is wrong. */
const char *use_keys(void)
{
	pthread_once(&once, make_keys);
	for (unsigned i = 0; i < sizeof key / sizeof *key; i++) {
		char *mine = strdup("mine");

		if (pthread_getspecific(key[i]))
			return "a value that nobody set";
		pthread_setspecific(key[i], mine);
		if (pthread_getspecific(key[i]) != mine)
			return "another value than was set";
		if (i % 2) {
			pthread_setspecific(key[i], NULL);
			free(mine);
		}
	}
	return NULL;
}
