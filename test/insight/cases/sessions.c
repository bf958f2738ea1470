/* SPDX-License-Identifier: MIT */
/*
 * sessions [--apart | --move]: blocks pinned by a few survivors. A peak of requests, each of which takes an object, and
 * one in fifty leaves a session behind, of the same size class. --apart: sessions stand in arrays of their own. --move:
 * when the peak is over, each session is asked whether it had better stand elsewhere. docs/insight.md looks at it.
 */
#include <bslab/insight.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_REQUESTS 400000
#define REQUESTS_PER_SESSION 50
#define SESSIONS_PER_ARRAY 64

struct request {
	char line[180];
};

struct session {
	struct session *next;
	char user[176];
};

struct session *sessions;
static struct request *requests[NR_REQUESTS];

static void *must(void *p)
{
	if (!p)
		exit(1);
	return p;
}

void request_parse(struct request **r)
{
	*r = must(malloc(sizeof **r));
	memset(*r, 'x', sizeof **r);
}

static void session_link(struct session *s)
{
	memset(s, 'x', sizeof *s);
	s->next = sessions;
	sessions = s;
}

void session_open(void)
{
	session_link(must(malloc(sizeof(struct session))));
}

void session_open_apart(void)
{
	static struct session *array;
	static int nr_left;

	if (!nr_left) {
		nr_left = SESSIONS_PER_ARRAY;
		array = must(malloc(SESSIONS_PER_ARRAY * sizeof *array));
	}
	session_link(&array[--nr_left]);
}

/* Only the list knows where they are. */
static int sessions_move(void)
{
	struct session **link, *moved;
	int n = 0;

	for (link = &sessions; *link; link = &(*link)->next) {
		moved = bslab_defrag_move(*link);
		if (moved) {
			*link = moved;
			n++;
		}
	}
	return n;
}

static bool is_asked(int argc, char **argv, const char *option)
{
	return argc > 1 && strcmp(argv[1], option) == 0;
}

int main(int argc, char **argv)
{
	void (*open)(void) = is_asked(argc, argv, "--apart") ? session_open_apart : session_open;
	sigset_t end;
	int i;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL);
	for (i = 0; i < NR_REQUESTS; i++) {
		request_parse(&requests[i]);
		if (i % REQUESTS_PER_SESSION == 0)
			open();
	}
	for (i = 0; i < NR_REQUESTS; i++)
		free(requests[i]);
	if (is_asked(argc, argv, "--move"))
		printf("sessions: %d moved\n", sessions_move());
	printf("sessions: the peak is over\n");
	fflush(stdout);
	sigwait(&end, &i);
	return 0; /* returns, so that there is a report at exit */
}
