/* SPDX-License-Identifier: MIT */
/*
 * Typed caches: a queue of requests whose objects are made once, live often, and come and go in bulk.
 *
 *     cc caches.c $(pkg-config --cflags --libs bslab) && ./a.out
 *
 * Ends with the cache's line of slabinfo, and with what destroy says of an object that was forgotten.
 */
#include <bslab/insight.h>
#include <bslab/kmem.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct request {
	pthread_mutex_t lock; /* set up once, by the constructor; free when the request is */
	unsigned long nr_served;
	char text[160];
};

static void request_construct(void *obj)
{
	struct request *r = obj;

	pthread_mutex_init(&r->lock, NULL);
	r->nr_served = 0;
	r->text[0] = '\0';
}

static void serve(struct request *r)
{
	pthread_mutex_lock(&r->lock);
	snprintf(r->text, sizeof r->text, "served %lu times", ++r->nr_served);
	pthread_mutex_unlock(&r->lock);
}

static int put(const char *text, size_t len, void *unused)
{
	const char *line = strstr(text, "\nrequest ");

	(void)unused;
	if (line && line < text + len)
		printf("%.*s\n", (int)strcspn(line + 1, "\n"), line + 1);
	return 0;
}

int main(void)
{
	struct bslab_cache *requests =
	    bslab_cache_create("request", sizeof(struct request), 0, BSLAB_CACHE_HWALIGN, request_construct);
	struct request *batch[64], *forgotten;
	size_t nr_live;
	int round, i;

	if (!requests)
		return 1;
	for (round = 0; round < 1000; round++) {
		if (!bslab_cache_alloc_bulk(requests, 64, (void **)batch))
			return 1;
		for (i = 0; i < 64; i++)
			serve(batch[i]);
		bslab_cache_free_bulk(requests, 64, (void **)batch);
	}
	forgotten = bslab_cache_alloc(requests);
	if (!forgotten)
		return 1;
	printf("a request that is handed out again was %s\n", forgotten->text);
	bslab_report_to("slabinfo", "text", put, NULL);
	nr_live = bslab_cache_destroy(requests); /* says which one, on stderr */
	printf("%zu live\n", nr_live);
	bslab_cache_free(requests, forgotten);
	return nr_live != 1 || bslab_cache_destroy(requests) != 0;
}
