/* SPDX-License-Identifier: MIT */
/* vfork and exec, posix_spawn, system and popen from several threads that allocate. */
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

extern char **environ;

static void expect_child(pid_t pid)
{
	int status;

	EXPECT(pid > 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(status == 0);
}

static void by_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	expect_child(pid);
}

static void by_spawn(void)
{
	char *const argv[] = {"true", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;

	EXPECT(posix_spawn_file_actions_init(&actions) == 0);
	EXPECT(posix_spawn_file_actions_addclose(&actions, 0) == 0); /* allocates */
	EXPECT(posix_spawn(&pid, "/bin/true", &actions, NULL, argv, environ) == 0);
	posix_spawn_file_actions_destroy(&actions);
	expect_child(pid);
}

static void by_popen(void)
{
	char line[32] = "";
	FILE *f = popen("echo hello", "r");

	EXPECT(f && fgets(line, sizeof line, f) && !strcmp(line, "hello\n"));
	EXPECT(pclose(f) == 0);
}

static void *start_many(void *unused)
{
	for (int i = 0; i < 15; i++) {
		EXPECT(use_malloc());
		by_vfork();
		EXPECT(use_malloc());
		by_spawn();
		by_popen();
		EXPECT(system("true") == 0);
	}
	return unused;
}

int main(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		EXPECT(pthread_create(&threads[i], NULL, start_many, NULL) == 0);
	start_many(NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
