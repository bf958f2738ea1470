/* SPDX-License-Identifier: MIT */
/*
 * idle-threads LIBRARY: a thousand threads that have worked, each with 400 objects, keep 5 of them and sleep. The process has at most
 * half of the memory that it has with libc's malloc, measured in the same run.
 *
 * What is compared is all that is resident, the stacks too, two pages for each thread under both. Of threads that had no more
 * than they keep, nobody saves half: those pages and the objects are most of it.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

#define NR_THREADS 1000
#define NR_MADE 400
#define NR_KEPT 5

static sem_t asleep, wake;

/* 16 to 8192 bytes, half of them below 48. */
static size_t draw(uint64_t *state)
{
	unsigned octave;

	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	octave = (unsigned)__builtin_ctzl((*state >> 40) | 256);
	return ((size_t)16 << octave) + (*state & 0xffff) * ((size_t)16 << octave) / 65536;
}

static void *live(void *arg)
{
	uint64_t state = ((uint64_t)(size_t)arg + 1) * UINT64_C(0x9E3779B97F4A7C15);
	void *made[NR_MADE]; /* less than the page of the stack that is touched anyway */

	for (int i = 0; i < NR_MADE; i++) {
		size_t size = draw(&state);

		made[i] = malloc(size);
		EXPECT(made[i]);
		memset(made[i], 1, size);
	}
	for (int i = NR_KEPT; i < NR_MADE; i++)
		free(made[i]);
	sem_post(&asleep);
	while (sem_wait(&wake))
		;
	return NULL;
}

/* The figure goes to stdout; the process ends with its threads asleep. */
static int measured(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	sem_init(&asleep, 0, 0);
	sem_init(&wake, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (size_t i = 0; i < NR_THREADS; i++) {
		if (pthread_create(&thread, &attr, live, (void *)i))
			return 77;
		while (sem_wait(&asleep))
			;
	}
	dprintf(1, "%ld\n", resident_kib());
	_exit(0);
}

static long measure(const char *program, const char *library)
{
	char text[32] = "";
	int ends[2], status;
	pid_t pid;

	EXPECT(pipe(ends) == 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], 1);
		if (library)
			setenv("LD_PRELOAD", library, 1);
		execl(program, program, "measured", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		SKIP("a thousand threads cannot be started");
	EXPECT(WEXITSTATUS(status) == 0 && read(ends[0], text, sizeof text - 1) > 0);
	close(ends[0]);
	return atol(text);
}

int main(int argc, char **argv)
{
	long ours, libcs;

	EXPECT(argc == 2);
	if (!strcmp(argv[1], "measured"))
		return measured();
	libcs = measure("/proc/self/exe", NULL);
	ours = measure("/proc/self/exe", argv[1]);
	printf("%ld KiB with libc's malloc, %ld with bslab: %.2f\n", libcs, ours, (double)ours / (double)libcs);
	fflush(stdout);
	EXPECT(ours <= libcs / 2);
	return 0;
}
