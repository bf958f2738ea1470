/* SPDX-License-Identifier: MIT */
/*
 * Signal handlers that call malloc and free, thousands of times a second.
 *
 *   handler outside    when the program is not within a call: as good as any other place
 *   handler inside     at any moment, against the contract. It may hang, as a lock may be held. Nothing else may happen: no
 *                      damage, no crash, no object given out twice. (Where sequences are restarted: in mode thread an interrupted one goes
 *                      on, and may give out what the handler was given.)
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "life.h"

#define NR_BLOCKS 512
#define NR_CHILDREN 6
#define SIGNALS_EACH 150
/* Without a signal that was handled, or an end that was asked for, until that counts as a hang: where it is allowed, and where not. */
#define HANG_MS 600
#define NO_HANG_MS 60000
#define MAX_HUNG 200

struct shared {
	atomic_uint nr_signals, is_ready;
};

static struct shared *shared;
static int from_anywhere;
static volatile sig_atomic_t is_within;
static atomic_bool is_over;

struct owner {
	uint64_t *block[NR_BLOCKS];
	size_t size[NR_BLOCKS];
	unsigned seed;
	uint64_t mark;
};
static struct owner of_program = {.seed = 1, .mark = 0x1111111111111111}, of_handler = {.seed = 2, .mark = 0x2222222222222222};

/* Frees one block, checked, or makes one. */
static void step(struct owner *o)
{
	unsigned r = (unsigned)rand_r(&o->seed), i = r % NR_BLOCKS;
	uint64_t *p = o->block[i];
	size_t n = o->size[i];

	if (p) {
		for (size_t k = 0; k < n; k++)
			EXPECT(p[k] == (o->mark ^ (uintptr_t)p));
		o->block[i] = NULL;
		free(p);
		return;
	}
	n = o->size[i] = 1 + (r >> 9) % (r % 16 ? 30 : 3000);
	p = malloc(n * sizeof *p);
	EXPECT(p);
	for (size_t k = 0; k < n; k++)
		p[k] = o->mark ^ (uintptr_t)p;
	o->block[i] = p;
}

static void on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	if (is_within && !from_anywhere)
		return;
	for (int i = 0; i < 3; i++)
		step(&of_handler);
	atomic_fetch_add(&shared->nr_signals, 1);
	errno = saved;
}

static void on_end(int sig)
{
	(void)sig;
	atomic_store(&is_over, true);
}

static void live(void)
{
	struct sigaction action = {.sa_handler = on_signal}, end = {.sa_handler = on_end};

	EXPECT(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGUSR2, &end, NULL) == 0);
	atomic_store(&shared->is_ready, 1);
	while (!atomic_load(&is_over)) {
		is_within = 1;
		step(&of_program);
		is_within = 0;
		for (volatile int i = 0; i < 500; i++)
			;
	}
	signal(SIGUSR1, SIG_IGN);
	for (struct owner *o = &of_program; o; o = o == &of_program ? &of_handler : NULL)
		for (int i = 0; i < NR_BLOCKS; i++)
			while (o->block[i])
				step(o);
	EXPECT(use_malloc());
	_exit(0);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int hang_ms(void)
{
	return from_anywhere ? HANG_MS : NO_HANG_MS;
}

/* It must not have ended, or must have ended well. */
static int has_ended(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return 0;
	if (status)
		fprintf(stderr, "ended with status %#x\n", (unsigned)status);
	EXPECT(status == 0);
	return 1;
}

static void wait_us(long us)
{
	nanosleep(&(struct timespec){0, us * 1000}, NULL);
}

/* Sends signals until so many more were handled; false when it hangs. */
static int send_signals(pid_t pid, unsigned nr)
{
	unsigned first = shared->nr_signals, seen = first;
	double end = now_ms() + hang_ms();

	while (shared->nr_signals - first < nr) {
		if (shared->nr_signals != seen) {
			seen = shared->nr_signals;
			end = now_ms() + hang_ms();
		}
		EXPECT(!has_ended(pid));
		if (now_ms() > end)
			return 0;
		kill(pid, SIGUSR1);
		wait_us(20);
	}
	return 1;
}

static int ends(pid_t pid)
{
	double end = now_ms() + hang_ms();

	do {
		if (has_ended(pid))
			return 1;
		wait_us(1000);
	} while (now_ms() < end);
	return 0;
}

/* False when it hung. */
static int run_child(void)
{
	pid_t pid = fork();

	EXPECT(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		live();
	}
	while (!atomic_load(&shared->is_ready)) {
		EXPECT(!has_ended(pid));
		wait_us(100);
	}
	atomic_store(&shared->is_ready, 0);
	if (send_signals(pid, SIGNALS_EACH) && kill(pid, SIGUSR2) == 0 && ends(pid))
		return 1;
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, NULL, 0) == pid);
	return 0;
}

int main(int argc, char **argv)
{
	int nr_run = 0, nr_hung = 0;

	EXPECT(argc == 2);
	from_anywhere = !strcmp(argv[1], "inside");
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(shared != MAP_FAILED);
	/* Those that hang handle fewer. */
	for (; nr_run < NR_CHILDREN || shared->nr_signals < NR_CHILDREN * SIGNALS_EACH; nr_run++) {
		nr_hung += !run_child();
		EXPECT(nr_hung <= (from_anywhere ? MAX_HUNG : 0));
	}
	printf("%u signals, %d of %d processes hung\n", shared->nr_signals, nr_hung, nr_run);
	return 0;
}
