/* SPDX-License-Identifier: MIT */
/*
 * Runs a command and moves all its threads, and those of its descendants, from CPU to CPU, thousands of times a second: what a
 * busy machine does now and then. For tests that assert what one CPU has cached (test/stay.h).
 *
 *     storm ctest -j2 --repeat until-fail:20 -R ^unit/
 *
 * A thread is moved by a mask of one CPU, and has its own mask again at once. One that chose its CPUs is left alone: its mask is
 * not that of the storm, or its name says that it stays. The name is looked at after each move too, since it may have come to
 * stay within one.
 */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stay.h"

#define TICK_NS 100000

static cpu_set_t all;
static unsigned long nr_moves;

/* The first line of a file in /proc; false where it is gone. */
static int read_line(char *line, size_t size, const char *path)
{
	FILE *f = fopen(path, "re");
	int is_read = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	return is_read;
}

/* The CPU on which a thread stays, or -1. */
static int stays_on(const char *task)
{
	char path[300], name[32];
	int cpu;

	snprintf(path, sizeof path, "%s/comm", task);
	return read_line(name, sizeof name, path) && sscanf(name, STAY_NAME, &cpu) == 1 ? cpu : -1;
}

static int random_cpu(void)
{
	int cpu;

	do
		cpu = rand() % CPU_SETSIZE;
	while (!CPU_ISSET(cpu, &all));
	return cpu;
}

static void move(pid_t tid, const char *task)
{
	cpu_set_t mask;
	int cpu;

	if (stays_on(task) >= 0 || sched_getaffinity(tid, sizeof mask, &mask) || !CPU_EQUAL(&mask, &all))
		return;
	stay_mask(&mask, random_cpu());
	sched_setaffinity(tid, sizeof mask, &mask);
	sched_setaffinity(tid, sizeof all, &all);
	nr_moves++;
	cpu = stays_on(task);
	if (cpu < 0)
		return;
	stay_mask(&mask, cpu);
	sched_setaffinity(tid, sizeof mask, &mask);
}

static void move_process(pid_t pid)
{
	char path[100], task[400], children[4096], *child, *end;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (!tid)
			continue;
		snprintf(task, sizeof task, "%s/%d", path, (int)tid);
		if (pid != getpid())
			move(tid, task);
		strcat(task, "/children");
		if (!read_line(children, sizeof children, task))
			continue;
		for (child = children; (pid_t)strtol(child, &end, 10) > 0; child = end)
			move_process((pid_t)strtol(child, &end, 10));
	}
	if (dir)
		closedir(dir);
}

int main(int argc, char **argv)
{
	struct timespec tick = {.tv_nsec = TICK_NS};
	pid_t pid, ended;
	int status;

	if (argc < 2 || sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) < 2) {
		fputs("usage: storm COMMAND [ARGUMENT ...], where there are two CPUs\n", stderr);
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* who loses its parent is ours */
	pid = fork();
	if (pid == 0) {
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	for (;;) {
		while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
			if (ended == pid) {
				fprintf(stderr, "storm: %lu moves\n", nr_moves);
				return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
			}
		move_process(getpid());
		nanosleep(&tick, NULL);
	}
}
