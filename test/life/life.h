/* SPDX-License-Identifier: MIT */
/* What the programs of this folder share. */
#ifndef LIFE_H
#define LIFE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);         \
			_Exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* Exit status that CTest counts as skipped. */
#define SKIP(reason)                                                                               \
	do {                                                                                       \
		printf("skipped: %s\n", reason);                                                   \
		exit(77);                                                                          \
	} while (0)

/* Blocks of all kinds, written to and freed. False when one could not be had. */
static inline int use_malloc(void)
{
	static const size_t sizes[] = {1, 24, 100, 1000, 5000, 20000, 40000, 300000, 3000000};
	enum { N = sizeof sizes / sizeof *sizes };
	char *p[N];
	int ok = 1;

	for (int i = 0; i < N; i++) {
		p[i] = malloc(sizes[i]);
		ok = ok && p[i];
		if (p[i])
			memset(p[i], i, sizes[i]);
	}
	for (int i = 0; i < N; i++) {
		if (p[i] && (p[i][0] != i || p[i][sizes[i] - 1] != i))
			abort();
		free(p[i]);
	}
	return ok;
}

/* A number of /proc/self/status in KiB, or -1. */
static inline long status_kib(const char *name)
{
	char line[256];
	long value = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = atol(line + strlen(name) + 1);
	if (f)
		fclose(f);
	return value;
}

static inline int nr_mappings(void)
{
	int c, n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	while (f && (c = getc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

/* Exactly, as the counters of status are not. */
static inline long resident_kib(void)
{
	char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);
	char *line;

	EXPECT(n > 0);
	text[n] = '\0';
	close(fd);
	line = strstr(text, "\nRss:");
	EXPECT(line);
	return atol(line + 5);
}

#endif
