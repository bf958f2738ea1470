/* SPDX-License-Identifier: MIT */
/*
 * A cache of texts whose memory can be compacted, and which gives some of it back when memory is short: bslab/handle.h and
 * bslab/shrinker.h. docs/handles.md tells the rest.
 *
 *     cc handles.c -lbslab -pthread && ./a.out
 */
#include <bslab/handle.h>
#include <bslab/shrinker.h>
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

/* --- when memory is short ------------------------------------------------------------------------------------------- */

static unsigned nr_texts(void)
{
	unsigned i, n = 0;

	for (i = 0; i < NR_TEXTS; i++)
		n += text[i] != 0;
	return n;
}

static size_t count(struct bslab_shrinker *s, const struct bslab_shrink_control *sc)
{
	(void)s;
	(void)sc;
	return NR_TEXTS; /* at most; reading the table would need the lock */
}

static size_t scan(struct bslab_shrinker *s, struct bslab_shrink_control *sc)
{
	unsigned *hand = s->data;
	size_t i, freed = 0;

	/* malloc may have been called with the lock held. */
	if (pthread_mutex_trylock(&lock))
		return BSLAB_SHRINK_STOP;
	for (i = 0; i < sc->nr_to_scan; i++, *hand = (*hand + 1) % NR_TEXTS)
		if (text[*hand] && *hand % 2) { /* what may be dropped */
			bslab_handle_free(text[*hand]);
			text[*hand] = 0;
			freed++;
		}
	pthread_mutex_unlock(&lock);
	return freed;
}

int main(void)
{
	static unsigned hand;
	static struct bslab_shrinker shrinker = {.count = count, .scan = scan, .data = &hand};
	char value[1000];
	unsigned i;

	bslab_shrinker_register(&shrinker);
	memset(value, 'x', sizeof value);
	for (i = 0; i < NR_TEXTS; i++) {
		value[100 + i % 800] = '\0';
		if (text_put(i, value))
			return 1;
		value[100 + i % 800] = 'x';
	}
	printf("%u texts\n", nr_texts());
	bslab_malloc_trim(0); /* as a soft limit would, but all at once */
	printf("%u texts after a shrink; ", nr_texts());
	/* Nine of ten go, all over the heap: with malloc, nearly all of its pages would stay. */
	for (i = 0; i < NR_TEXTS; i++)
		if (i % 20) {
			bslab_handle_free(text[i]);
			text[i] = 0;
		}
	i = (unsigned)bslab_compact();
	printf("%u after the rest was freed\n", nr_texts());
	if (text_get(40, value, sizeof value) != 140 || strlen(value) != 140)
		return 1;
	bslab_shrinker_unregister(&shrinker);
	for (i = 0; i < NR_TEXTS; i++)
		bslab_handle_free(text[i]);
	return 0;
}
