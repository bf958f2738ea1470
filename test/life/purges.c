/* SPDX-License-Identifier: MIT */
/*
 * purges MIB: under a hard limit of MIB, with a dirty size as large. While one thread gives back what it freed, which takes
 * milliseconds, another gets as much; and so does the child of a fork, for good.
 */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

enum { MIB = 1 << 20, BLOCK = 2 * MIB - 4096, MAX_BLOCKS = 1000, NR_ROUNDS = 20 };

static pthread_barrier_t turn;
static int nr_blocks; /* of nine tenths of the limit */

static void fill(char **blocks, int n)
{
	for (int i = 0; i < n; i++) {
		EXPECT((blocks[i] = malloc(BLOCK)));
		memset(blocks[i], 1, BLOCK);
	}
}

static void drop(char **blocks, int n)
{
	for (int i = 0; i < n; i++)
		free(blocks[i]);
}

static void *trim(void *arg)
{
	static char *blocks[MAX_BLOCKS];

	(void)arg;
	for (int round = 0; round < NR_ROUNDS; round++) {
		fill(blocks, nr_blocks);
		drop(blocks, nr_blocks);
		pthread_barrier_wait(&turn);
		malloc_trim(0);
		pthread_barrier_wait(&turn);
	}
	return NULL;
}

static void in_a_child(char **blocks)
{
	int status;
	pid_t child = fork();

	EXPECT(child >= 0);
	if (!child) {
		for (int i = 0; i < nr_blocks; i++)
			if (!(blocks[i] = malloc(BLOCK)))
				_exit(1);
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
	static char *blocks[MAX_BLOCKS];
	pthread_t other;

	EXPECT(argc == 2 && (nr_blocks = atoi(argv[1]) / 2 * 9 / 10) > 1 && nr_blocks <= MAX_BLOCKS);
	pthread_barrier_init(&turn, NULL, 2);
	EXPECT(!pthread_create(&other, NULL, trim, NULL));
	for (int round = 0; round < NR_ROUNDS; round++) {
		pthread_barrier_wait(&turn);
		usleep((useconds_t)(round % 8 * 500));
		if (round % 2) {
			in_a_child(blocks);
		} else {
			fill(blocks, nr_blocks);
			drop(blocks, nr_blocks);
		}
		pthread_barrier_wait(&turn);
	}
	pthread_join(other, NULL);
	return 0;
}
