/* SPDX-License-Identifier: MIT */
/* fork from any thread while all others allocate; children allocate, make threads, fork again, and exit in full. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

#define NR_THREADS 8
#define NR_FORKS 25

static atomic_bool stop;

static void *churn(void *unused)
{
	void *p[64] = {0};
	unsigned seed = (unsigned)(size_t)p;

	while (!atomic_load(&stop)) {
		int i = rand_r(&seed) % 64;

		free(p[i]);
		p[i] = malloc((size_t)1 << rand_r(&seed) % 17);
		EXPECT(p[i]);
	}
	for (int i = 0; i < 64; i++)
		free(p[i]);
	return unused;
}

static void *use(void *unused)
{
	EXPECT(use_malloc());
	return unused;
}

static void expect_child(pid_t pid)
{
	int status;

	EXPECT(pid > 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(status == 0);
}

/* What a child of a threaded process does. */
static void live_as_child(void *block)
{
	pthread_t threads[3];

	alarm(60); /* a deadlock ends as a signal, which the parent sees */
	free(block);
	EXPECT(use_malloc());
	for (int i = 0; i < 3; i++)
		EXPECT(pthread_create(&threads[i], NULL, use, NULL) == 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* A child and, from it, a grandchild; both end by exit(), with destructors. */
static void child(void *block)
{
	void *mine;
	pid_t pid;

	live_as_child(block);
	mine = malloc(100);
	pid = fork();
	if (pid == 0) {
		live_as_child(mine);
		exit(0);
	}
	free(mine);
	expect_child(pid);
	exit(0);
}

static void *fork_often(void *unused)
{
	for (int i = 0; i < NR_FORKS; i++) {
		void *block = malloc(1000);
		pid_t pid = fork();

		if (pid == 0)
			child(block);
		free(block);
		expect_child(pid);
	}
	return unused;
}

int main(void)
{
	pthread_t threads[NR_THREADS], forker;

	for (int i = 0; i < NR_THREADS; i++)
		EXPECT(pthread_create(&threads[i], NULL, churn, NULL) == 0);
	EXPECT(pthread_create(&forker, NULL, fork_often, NULL) == 0);
	pthread_join(forker, NULL);
	fork_often(NULL); /* from the main thread too */
	atomic_store(&stop, true);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
