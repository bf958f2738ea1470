/* SPDX-License-Identifier: MIT */
/*
 * fork() while another thread writes out all streams, and the function behind one of them allocates: as glibc's own malloc must, the
 * library takes its locks behind that of the list of streams, or each of the two waits for the other for ever.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

enum { NR_FORKS = 5, WAIT_US = 100000 };

static FILE *stream;
static sem_t is_flushing, is_forking;
static atomic_bool is_armed;

/* Behind fflush(NULL), which holds the lock of the list. By the time that it allocates, the fork is past its handlers, or waits for us. */
static ssize_t write_out(void *unused, const char *text, size_t size)
{
	(void)unused;
	(void)text;
	if (atomic_exchange(&is_armed, false)) {
		sem_post(&is_flushing);
		sem_wait(&is_forking);
		usleep(WAIT_US);
	}
	EXPECT(use_malloc());
	return (ssize_t)size;
}

static void before_fork(void)
{
	sem_post(&is_forking);
}

static void *flush(void *unused)
{
	EXPECT(fputs("text", stream) >= 0);
	atomic_store(&is_armed, true);
	EXPECT(fflush(NULL) == 0);
	return unused;
}

/* Takes the lock, and allocates. */
static void *open_and_close(void *unused)
{
	FILE *f = fopen("/dev/null", "w");

	EXPECT(f && fputs("text", f) >= 0 && fflush(NULL) == 0 && fclose(f) == 0);
	return unused;
}

static void open_in_thread(void)
{
	pthread_t thread;

	EXPECT(pthread_create(&thread, NULL, open_and_close, NULL) == 0);
	pthread_join(thread, NULL);
}

int main(void)
{
	cookie_io_functions_t functions = {.write = write_out};
	pthread_t thread;
	int status;

	alarm(60); /* a deadlock ends as a signal */
	EXPECT(sem_init(&is_flushing, 0, 0) == 0 && sem_init(&is_forking, 0, 0) == 0);
	stream = fopencookie(NULL, "w", functions);
	EXPECT(stream);
	EXPECT(pthread_atfork(before_fork, NULL, NULL) == 0); /* the last registered runs first */
	for (int i = 0; i < NR_FORKS; i++) {
		pid_t pid;

		EXPECT(pthread_create(&thread, NULL, flush, NULL) == 0);
		sem_wait(&is_flushing);
		pid = fork();
		if (pid == 0) {
			alarm(60);
			open_and_close(NULL);
			open_in_thread();
			_exit(0);
		}
		EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
		pthread_join(thread, NULL);
		open_in_thread();
	}
	return 0;
}
