/* SPDX-License-Identifier: MIT */
/*
 * resolver [--bounded]: a cache that grew. Names are looked up, and the answers remembered; there are always new names.
 * --bounded: of 5,000 the oldest is forgotten. docs/insight.md looks at it.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_ANSWERS 5000
#define NR_AT_START 20000
#define NR_A_TICK 200
#define TICK_NS 10000000 /* 10 ms */
#define MAX_TICKS 60000	 /* ten minutes: by then it has 5 GB, and whoever looked at it is gone */

struct answer {
	struct answer *next;
	char name[300];
};

static struct answer *oldest, **newest = &oldest;
static unsigned nr_answers;
static bool is_bounded;

static void answer_forget(void)
{
	struct answer *a = oldest;

	oldest = a->next;
	if (!oldest)
		newest = &oldest;
	nr_answers--;
	free(a);
}

void answer_remember(const char *name)
{
	struct answer *a = malloc(sizeof *a);

	if (!a)
		exit(1);
	a->next = NULL;
	snprintf(a->name, sizeof a->name, "%s", name);
	*newest = a;
	newest = &a->next;
	nr_answers++;
	if (is_bounded && nr_answers > MAX_ANSWERS)
		answer_forget();
}

void query_handle(unsigned number)
{
	char *name = malloc(100);

	if (!name)
		exit(1);
	snprintf(name, 100, "host-%u.example", number);
	answer_remember(name);
	free(name);
}

int main(int argc, char **argv)
{
	const struct timespec tick = {0, TICK_NS};
	unsigned number = 0, tick_nr = 0, i;
	sigset_t end;

	is_bounded = argc > 1 && strcmp(argv[1], "--bounded") == 0;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	while (number < NR_AT_START)
		query_handle(number++);
	printf("resolver: at work\n");
	fflush(stdout);
	while (tick_nr++ < MAX_TICKS && sigtimedwait(&end, NULL, &tick) < 0)
		for (i = 0; i < NR_A_TICK; i++)
			query_handle(number++);
	return 0; /* returns, so that there is a report at exit */
}
