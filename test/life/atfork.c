/* SPDX-License-Identifier: MIT */
/* Handlers of fork that allocate, registered before the first malloc, and other threads that do meanwhile. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

enum { NR_FORKS = 50 };

int atfork_nr_calls(void);

static volatile int stop;

static void *use(void *arg)
{
	(void)arg;
	while (!stop)
		EXPECT(use_malloc());
	return NULL;
}

int main(void)
{
	pthread_t other;
	int status;

	EXPECT(!pthread_create(&other, NULL, use, NULL));
	for (int i = 0; i < NR_FORKS; i++) {
		pid_t child = fork();

		EXPECT(child >= 0);
		if (!child)
			_exit(!use_malloc());
		EXPECT(waitpid(child, &status, 0) == child && status == 0);
	}
	EXPECT(atfork_nr_calls() == 2 * NR_FORKS);
	stop = 1;
	pthread_join(other, NULL);
	return 0;
}
