/* SPDX-License-Identifier: MIT */
/*
 * reports.c: what reports.py asks for.
 *
 *   print WHAT FORMAT    some blocks, then the report on stdout
 *   exit                 some blocks, then exit()
 *   raise SIGNAL         the same, and the signal before
 *   wait                 says "ready" and sleeps until stdin ends
 *   churn SIGNAL N       four threads churn; each gets N signals, 1 ms apart, and the process N more
 *   own SIGNAL           has a handler of its own, which says "mine"
 *   pending SIGNAL       reports on a broken pipe, without and with a SIGPIPE that is pending already
 *   stack SIGNAL         how much of an alternate stack one report takes beside the kernel's frame, and how much it may
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bslab/insight.h>
#include <bslab/kmalloc.h>

#define NR_THREADS 4
#define NR_SLOTS 200

static volatile int over;

static void some_blocks(void)
{
	for (size_t size = 1; size < 3 << 20; size += 1 + size / 3) {
		void *p = malloc(size), *q = malloc(size);

		if (!p || !q)
			abort();
		free(q);
	}
	if (!malloc((size_t)300 << 20))
		abort();
}

static void *churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	void *slot[NR_SLOTS] = {0};

	while (!over) {
		unsigned i = (unsigned)rand_r(&seed) % NR_SLOTS, kind = (unsigned)rand_r(&seed) % 32;
		size_t size = kind == 0 ? (size_t)3 << 20 : kind < 4 ? 100000 : (unsigned)rand_r(&seed) % 4000;

		slot[i] = realloc(slot[i], size + 1);
		if (!slot[i])
			abort();
		if (kind & 1) {
			free(slot[i]);
			slot[i] = NULL;
		}
	}
	for (int i = 0; i < NR_SLOTS; i++)
		free(slot[i]);
	return NULL;
}

static int churn_under_signals(int signal, int n)
{
	pthread_t thread[NR_THREADS];

	for (uintptr_t i = 0; i < NR_THREADS; i++)
		if (pthread_create(&thread[i], NULL, churn, (void *)(i + 1)) != 0)
			return 1;
	for (int round = 0; round < n; round++) {
		for (int i = 0; i < NR_THREADS; i++) {
			pthread_kill(thread[i], signal);
			usleep(1000);
		}
		kill(getpid(), signal);
		free(malloc(50000));
	}
	over = 1;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	puts("done");
	return 0;
}

static void mine(int signal)
{
	(void)signal;
	if (write(1, "mine\n", 5) != 5)
		_exit(1);
}

static int is_pending(int signal)
{
	sigset_t set;

	return sigpending(&set) == 0 && sigismember(&set, signal);
}

static int pending_stays(int signal)
{
	struct timespec now = {0};
	sigset_t set;

	if (raise(signal) != 0 || is_pending(SIGPIPE))
		return 1;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (raise(signal) != 0 || is_pending(SIGPIPE))
		return 2;
	if (raise(SIGPIPE) != 0 || raise(signal) != 0 || !is_pending(SIGPIPE))
		return 3;
	return sigtimedwait(&set, NULL, &now) == SIGPIPE ? 0 : 4;
}

static char stack[64 << 10] __attribute__((aligned(64)));

static size_t stack_taken_by(int signal)
{
	size_t n = 0;

	memset(stack, 0x5a, sizeof stack);
	if (raise(signal) != 0)
		abort();
	while (n < sizeof stack && stack[n] == 0x5a)
		n++;
	return sizeof stack - n;
}

static void nothing(int signal)
{
	(void)signal;
}

/* docs/options.md promises it. */
static int say_stack(int signal)
{
	struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_ONSTACK};
	size_t most = 2048;

#ifndef NDEBUG
	most = 3072;
#endif
	if (!bslab_kmalloc(64, BSLAB_GFP_DMA32) || sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL) != 0 ||
	    sigaction(SIGURG, &action, NULL) != 0)
		return 1;
	printf("%zu %zu\n", stack_taken_by(signal) - stack_taken_by(SIGURG), most);
	return 0;
}

int main(int argc, char **argv)
{
	char line[16];

	if (argc < 2)
		return 2;
	if (strcmp(argv[1], "churn") == 0 && argc == 4)
		return churn_under_signals(atoi(argv[2]), atoi(argv[3]));
	some_blocks();
	if (strcmp(argv[1], "print") == 0 && argc == 4)
		return bslab_report(argv[2], argv[3], 1) == 0 ? 0 : errno;
	if (strcmp(argv[1], "exit") == 0)
		return 0;
	if (strcmp(argv[1], "raise") == 0 && argc == 3)
		return raise(atoi(argv[2]));
	if (strcmp(argv[1], "pending") == 0 && argc == 3)
		return pending_stays(atoi(argv[2]));
	if (strcmp(argv[1], "stack") == 0 && argc == 3)
		return say_stack(atoi(argv[2]));
	if (strcmp(argv[1], "own") == 0 && argc == 3) {
		signal(atoi(argv[2]), mine);
		return raise(atoi(argv[2]));
	}
	if (strcmp(argv[1], "wait") == 0) {
		puts("ready");
		fflush(stdout);
		while (read(0, line, sizeof line) > 0)
			;
		return 0;
	}
	return 2;
}
