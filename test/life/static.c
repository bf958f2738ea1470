/* SPDX-License-Identifier: MIT */
/*
 * A whole program linked statically with libbslab.a: threads, fork, misuse seen. With the argument "setuid" only says
 * what BSLAB_CONF made of it, for setuid.sh.
 */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "life.h"

static void *use(void *unused)
{
	for (int i = 0; i < 200; i++)
		EXPECT(use_malloc());
	return unused;
}

/* A function, and a frame, for the profile. */
static __attribute__((noinline)) void *hold(size_t size)
{
	void *p = malloc(size);

	EXPECT(p);
	return p;
}

int main(int argc, char **argv)
{
	pthread_t threads[4];
	int status;
	pid_t pid;

	if (argc == 2 && !strcmp(argv[1], "setuid")) {
		EXPECT(use_malloc());
		printf("uid %d, effective %d\n", (int)getuid(), (int)geteuid());
		return 0;
	}
	/* 132 KiB take 33 pages here and in no other malloc. */
	EXPECT(malloc_usable_size(hold(132 << 10)) == 33 * 4096);
	printf("%s\n", bslab_index_mode());
	for (int i = 0; i < 4; i++)
		EXPECT(pthread_create(&threads[i], NULL, use, NULL) == 0);
	pid = fork();
	if (pid == 0) {
		use(NULL);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
