/* SPDX-License-Identifier: MIT */
/* fork in a process with one thread, as shells do: few pages are copied for it, and the child can do all that its parent can. */
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

#define NR_FORKS 50
#define NR_OBJECTS 200
/*
 * Beside what libc and the kernel need: 2 in the parent, 16 in the child. Where the library stands by chance, its code is in more
 * or fewer of the 64 KiB that a fault maps: 20 to 23.
 */
#define MAX_PARENT_FAULTS 6
#define MAX_CHILD_FAULTS 24

static char *object[NR_OBJECTS];

static void expect_good_end(pid_t pid)
{
	int status;

	EXPECT(pid > 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(status == 0);
}

static long faults(int who)
{
	struct rusage u;

	EXPECT(getrusage(who, &u) == 0);
	return u.ru_minflt;
}

static void few_faults(void)
{
	long parent = faults(RUSAGE_SELF), child = faults(RUSAGE_CHILDREN);

	for (int i = 0; i < NR_FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		expect_good_end(pid);
	}
	parent = faults(RUSAGE_SELF) - parent;
	child = faults(RUSAGE_CHILDREN) - child;
	printf("page faults of a fork: %.1f in the parent, %.1f in the child\n", (double)parent / NR_FORKS, (double)child / NR_FORKS);
	EXPECT(parent <= MAX_PARENT_FAULTS * NR_FORKS);
	EXPECT(child <= MAX_CHILD_FAULTS * NR_FORKS);
}

static void *thread(void *unused)
{
	EXPECT(use_malloc());
	return unused;
}

static void fork_once(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		EXPECT(use_malloc());
		exit(0);
	}
	expect_good_end(pid);
}

/* Frees what its parent made, forks alone, with threads, and from a thread, and ends in full. */
static void live_as_child(void)
{
	pthread_t t[4];

	for (int i = 0; i < NR_OBJECTS; i++) {
		EXPECT(object[i][0] == (char)i);
		free(object[i]);
	}
	EXPECT(use_malloc());
	fork_once();
	for (int i = 0; i < 4; i++)
		EXPECT(pthread_create(&t[i], NULL, thread, NULL) == 0);
	fork_once();
	for (int i = 0; i < 4; i++)
		EXPECT(pthread_join(t[i], NULL) == 0);
	fork_once();
	exit(0);
}

int main(void)
{
	for (int i = 0; i < NR_OBJECTS; i++) {
		object[i] = malloc(16 + (size_t)i * 50);
		EXPECT(object[i]);
		object[i][0] = (char)i;
	}
	few_faults();
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (pid == 0)
			live_as_child();
		expect_good_end(pid);
		EXPECT(use_malloc());
	}
	live_as_child();
}
