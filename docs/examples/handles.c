/* SPDX-License-Identifier: MIT */
/*
 * A cache of texts whose memory can be compacted: bslab/handle.h. docs/handles.md tells the rest.
 *
 *     cc handles.c $(pkg-config --cflags --libs bslab) -pthread && ./a.out
 */
#include <bslab/handle.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { NR_TEXTS = 100000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bslab_handle_t text[NR_TEXTS]; /* 0: not in the cache */

static int text_put(unsigned key, const char *value)
{
	bslab_handle_t h = bslab_handle_alloc(strlen(value) + 1);

	if (!h)
		return -1;
	strcpy(bslab_handle_map(h), value);
	bslab_handle_unmap(h); /* from here on it may move */
	pthread_mutex_lock(&lock);
	bslab_handle_free(text[key]);
	text[key] = h;
	pthread_mutex_unlock(&lock);
	return 0;
}

/* The length; 0: there is none. The map ends before the lock is left, so nobody frees it meanwhile. */
static size_t text_get(unsigned key, char *value, size_t size)
{
	size_t len = 0;

	pthread_mutex_lock(&lock);
	if (text[key]) {
		len = bslab_handle_size(text[key]) - 1;
		snprintf(value, size, "%s", (const char *)bslab_handle_map(text[key]));
		bslab_handle_unmap(text[key]);
	}
	pthread_mutex_unlock(&lock);
	return len;
}

static unsigned nr_texts(void)
{
	unsigned i, n = 0;

	for (i = 0; i < NR_TEXTS; i++)
		n += text[i] != 0;
	return n;
}

int main(void)
{
	char value[1000];
	unsigned i;

	memset(value, 'x', sizeof value);
	for (i = 0; i < NR_TEXTS; i++) {
		value[100 + i % 800] = '\0';
		if (text_put(i, value))
			return 1;
		value[100 + i % 800] = 'x';
	}
	printf("%u texts\n", nr_texts());
	/* One of twenty stays, all over the heap: with malloc, nearly all of its pages would stay. */
	for (i = 0; i < NR_TEXTS; i++)
		if (i % 20) {
			bslab_handle_free(text[i]);
			text[i] = 0;
		}
	i = (unsigned)bslab_compact();
	printf("%u texts are left; the call released %u pageblocks\n", nr_texts(), i);
	if (text_get(40, value, sizeof value) != 140 || strlen(value) != 140)
		return 1;
	for (i = 0; i < NR_TEXTS; i++)
		bslab_handle_free(text[i]);
	return 0;
}
