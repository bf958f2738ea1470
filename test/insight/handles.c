/* SPDX-License-Identifier: MIT */
/*
 * A heap of objects with handles, to be looked at: `handles FILE` writes what it says of itself, as JSON, to a file, then what
 * is where, a name and a number a line, then "ready", and waits for the end of its input.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bslab/handle.h"
#include "bslab/insight.h"
#include "bslab/kmem.h"

enum { N = 30000, NR_RUNS = 5 };

static void say(const char *name, uint64_t n)
{
	printf("%s %#llx\n", name, (unsigned long long)n);
}

/* Two of one number, one after the other: what they counted stays in the sums. */
static void use_caches(void)
{
	static void *obj[1000];
	int i;

	for (i = 0; i < 2; i++) {
		struct bslab_cache *c = bslab_cache_create("gone", 1000, 0, BSLAB_CACHE_NO_MERGE, NULL);

		bslab_cache_alloc_bulk(c, 1000, obj);
		bslab_cache_free_bulk(c, 1000, obj);
		bslab_cache_destroy(c);
	}
}

int main(int argc, char **argv)
{
	static bslab_handle_t h[N], run[NR_RUNS];
	int i, fd;
	char c;

	for (i = 0; i < N; i++)
		h[i] = bslab_handle_alloc(500);
	for (i = 0; i < NR_RUNS; i++)
		run[i] = bslab_handle_alloc(100000);
	for (i = 0; i < N; i++)
		if (i % 8)
			bslab_handle_free(h[i]);
	use_caches();
	bslab_compact();
	bslab_handle_free(h[8]); /* kept by the thread */
	for (i = 0; i < 3; i++)
		say("mapped", (uintptr_t)bslab_handle_map(h[80]));
	say("handle", h[80]);
	say("run", (uintptr_t)bslab_handle_map(run[2]));
	say("run_handle", run[2]);
	fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
	if (fd < 0 || bslab_report("all", "json", fd) != 0)
		return 1;
	close(fd);
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0) /* not getchar(), which allocates while the test looks */
		;
	return 0;
}
