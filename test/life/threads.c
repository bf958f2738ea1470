/* SPDX-License-Identifier: MIT */
/*
 * Ten thousand threads come and go, some dozen at a time. Each allocates in its destructors, and leaves to libc what
 * libc frees after the last destructor (the block of its keys beyond 32, the text of strerror()). Neither memory nor
 * caches may grow with their number.
 *
 *   threads [MIB]    how much memory may grow: 4; where none can be given back, what all use at the same time
 */
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "life.h"

#define NR_THREADS 10000
#define AT_A_TIME 20
#define NR_KEYS 40

static pthread_key_t keys[NR_KEYS];

static void destroy(void *p)
{
	void *q = malloc(200);

	EXPECT(q);
	free(q);
	free(p);
}

static void *live(void *arg)
{
	for (int i = 0; i < NR_KEYS; i++)
		EXPECT(pthread_setspecific(keys[i], malloc(50)) == 0);
	EXPECT(strerror(123456 + (int)(size_t)arg));
	EXPECT(use_malloc());
	return arg;
}

/* The number behind "caches by MODE, " in malloc_stats(), which goes to stderr; -1 where there is none. */
static int nr_caches(void)
{
	char line[256];
	int n = -1;
	FILE *f = tmpfile();
	int saved = dup(2);

	EXPECT(f && saved >= 0);
	fflush(stderr);
	dup2(fileno(f), 2);
	malloc_stats();
	dup2(saved, 2);
	close(saved);
	rewind(f);
	while (n < 0 && fgets(line, sizeof line, f))
		if (sscanf(line, "bslab: caches by %*[^,], %d in use", &n) != 1)
			n = -1;
	fclose(f);
	return n;
}

static void come_and_go(int nr_rounds)
{
	pthread_t threads[AT_A_TIME];

	for (int round = 0; round < nr_rounds; round++) {
		for (size_t i = 0; i < AT_A_TIME; i++)
			EXPECT(pthread_create(&threads[i], NULL, live, (void *)i) == 0);
		for (int i = 0; i < AT_A_TIME; i++)
			pthread_join(threads[i], NULL);
	}
}

int main(int argc, char **argv)
{
	long before, after, growth = argc > 1 ? atol(argv[1]) : 4;
	int caches;

	for (int i = 0; i < NR_KEYS; i++)
		EXPECT(pthread_key_create(&keys[i], destroy) == 0);
	come_and_go(25);
	malloc_trim(0);
	before = status_kib("VmRSS");
	come_and_go(NR_THREADS / AT_A_TIME);
	malloc_trim(0);
	after = status_kib("VmRSS");
	caches = nr_caches();
	printf("VmRSS %ld KiB, then %ld KiB, %d caches\n", before, after, caches);
	EXPECT(after < before + growth * 1024);
	EXPECT(caches >= 1 && caches <= 4 * AT_A_TIME);
	return 0;
}
