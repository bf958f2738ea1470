/* SPDX-License-Identifier: MIT */
/* The module of plugins.c: allocates when it is loaded, in each thread, and on request; frees when it is unloaded. */
#include <stdlib.h>
#include <string.h>

#define NR_OWN 64

static char *own[NR_OWN];
static __thread char *of_thread; /* in a block that the loader allocates at the first use */

static __attribute__((constructor)) void load(void)
{
	for (size_t i = 0; i < NR_OWN; i++) {
		own[i] = malloc(16 + i * 40);
		if (own[i])
			memset(own[i], (int)i, 16 + i * 40);
	}
}

static __attribute__((destructor)) void unload(void)
{
	for (size_t i = 0; i < NR_OWN; i++) {
		if (!own[i] || own[i][15 + i * 40] != (char)i)
			abort();
		free(own[i]);
	}
}

/* The caller's to free. */
char *plugin_make(size_t size);
char *plugin_make(size_t size)
{
	char *p = realloc(of_thread, size);

	of_thread = NULL;
	if (p)
		memset(p, 'x', size);
	return p;
}

/* Kept in the thread's own variable for the next call of plugin_make(). */
void plugin_keep(size_t size);
void plugin_keep(size_t size)
{
	of_thread = malloc(size);
}
