/* SPDX-License-Identifier: MIT */
/*
 * kmalloc with flags: an audio thread that takes its messages from a resident pool, where malloc might wait or fault; a
 * mempool that always has its elements; what a function allocates is freed however it ends; a key that leaves no trace.
 *
 *     cc kmalloc.c $(pkg-config --cflags --libs bslab) -lpthread && ./a.out
 */
#include <bslab/kmalloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct note {
	struct note *next;
	int key, velocity;
};

enum { NOTES = 64 };

/* The thread with the deadline: a note more, or, when the pool is out, one less; never a wait. */
static void *play(void *dropped)
{
	struct note *chord = NULL, *n;
	int i;

	for (i = 0; i < 2 * NOTES; i++) {
		n = bslab_kmalloc(sizeof *n, BSLAB_GFP_NOWAIT);
		if (!n) {
			++*(int *)dropped;
			continue;
		}
		*n = (struct note){chord, i % 128, 100};
		chord = n;
	}
	while (chord) {
		n = chord;
		chord = n->next;
		bslab_free(n); /* to its pool; as little work */
	}
	return NULL;
}

static int use_nowait(void)
{
	pthread_t audio;
	int dropped = 0;

	/* While there is time; with 1 as the last argument the pages would be locked, too. */
	if (bslab_nowait_pool(sizeof(struct note), NOTES, 0) != 0 || pthread_create(&audio, NULL, play, &dropped) != 0)
		return 1;
	pthread_join(audio, NULL);
	printf("%d of %d notes\n", 2 * NOTES - dropped, 2 * NOTES);
	return dropped > NOTES;
}

/* Those who write a log out when memory is short must not be short of it. */
static int use_mempool(void)
{
	struct bslab_mempool *pool = bslab_mempool_create(4, 512);
	void *record;

	if (!pool)
		return 1;
	record = bslab_mempool_alloc(pool, BSLAB_GFP_NOFAIL);
	memset(record, 0, 512);
	bslab_mempool_free(pool, record);
	return bslab_mempool_destroy(pool) != 0;
}

static int use_sizes(void)
{
	long *table = bslab_kmalloc_array(1000, sizeof *table, BSLAB_GFP_ZERO), *larger;
	char *key = bslab_kmalloc(32, 0), *big = bslab_kvmalloc(6 << 20, 0);
	int fails = 1;

	larger = table ? bslab_krealloc(table, 2000 * sizeof *table, BSLAB_GFP_ZERO) : NULL;
	if (larger && key && big) {
		table = larger;
		fails = table[1999] != 0; /* zeros behind what was there, too */
		memset(key, 'k', 32);
	}
	bslab_free(table);
	bslab_kfree_sensitive(key);
	bslab_free(big);
	return fails;
}

static void say_closed(void *name)
{
	printf("%s closed\n", (char *)name);
}

static int use_scope(int fails)
{
	BSLAB_SCOPE(scope);
	char *buffer = bslab_scope_alloc(&scope, 1000, BSLAB_GFP_ZERO);

	if (!buffer || bslab_scope_add(&scope, say_closed, fails ? "first" : "second"))
		return 1;
	if (fails)
		return 0; /* no clean-up to forget */
	buffer[0] = 1;
	return 0;
}

int main(void)
{
	return use_nowait() || use_mempool() || use_sizes() || use_scope(1) || use_scope(0);
}
