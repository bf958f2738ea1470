/* SPDX-License-Identifier: MIT */
/*
 * tight as|data MIB: how much of its address space a process can use, in blocks that fill no power of two of pages. When it is full a
 * block can be made smaller yet.
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

enum { LEAST_PERCENT = 60, MAX_BLOCKS = 1 << 20 };

static void fill(size_t size, size_t limit)
{
	static char *block[MAX_BLOCKS];
	int n = 0;

	while (n < MAX_BLOCKS && (block[n] = malloc(size)))
		memset(block[n++], 1, size);
	if ((size_t)n * size < limit / 100 * LEAST_PERCENT) {
		fprintf(stderr, "%d blocks of %zu bytes in %zu\n", n, size, limit);
		_exit(1);
	}
	for (int i = 0; i < n; i += 2) {
		EXPECT((block[i] = realloc(block[i], size / 10 * 9)));
		EXPECT(block[i][size / 10 * 9 - 1] == 1);
	}
	while (n)
		free(block[--n]);
	_exit(!use_malloc());
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {5000, 70000, 150000, 300000, 700000, 1100000, 1700000};
	struct rlimit limit;
	int status;

	EXPECT(argc == 3);
	limit.rlim_cur = limit.rlim_max = (rlim_t)atol(argv[2]) << 20;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		pid_t child = fork();

		EXPECT(child >= 0);
		if (!child) {
			EXPECT(!setrlimit(strcmp(argv[1], "as") ? RLIMIT_DATA : RLIMIT_AS, &limit));
			fill(sizes[i], (size_t)limit.rlim_cur);
		}
		EXPECT(waitpid(child, &status, 0) == child && status == 0);
	}
	return 0;
}
