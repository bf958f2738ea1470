/* SPDX-License-Identifier: MIT */
/*
 * limits as|data|heap MIB: under RLIMIT_AS, RLIMIT_DATA or a hard limit of bslab's own (BSLAB_CONF), a fifth of the limit can be used in blocks of all sizes; beyond
 * it malloc returns NULL with ENOMEM, again and again, and what was allocated can be freed and used anew.
 */
#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "life.h"

#define MAX_BLOCKS 400000

struct node {
	struct node *next;
};

static size_t take(struct node **list, size_t block, size_t total)
{
	size_t done;

	for (done = 0; done < total; done += block) {
		struct node *n = malloc(block);

		if (!n) {
			EXPECT(errno == ENOMEM);
			break;
		}
		n->next = *list;
		*list = n;
	}
	return done;
}

static void release(struct node **list)
{
	while (*list) {
		struct node *n = *list;

		*list = n->next;
		free(n);
	}
}

int main(int argc, char **argv)
{
	static const size_t blocks[] = {64, 1000, 9000, 50000, 700000, 3000000};
	struct node *list = NULL;
	size_t limit;
	long before;

	EXPECT(argc == 3);
	limit = (size_t)atol(argv[2]) << 20;
	/* Started again under the limit, so that the library is loaded under it. */
	if (argv[1][0] != '-' && strcmp(argv[1], "heap")) {
		struct rlimit r = {limit, limit};
		char name[16] = "-";

		EXPECT(setrlimit(!strcmp(argv[1], "as") ? RLIMIT_AS : RLIMIT_DATA, &r) == 0);
		strcat(name, argv[1]);
		execl("/proc/self/exe", argv[0], name, argv[2], (char *)NULL);
		EXPECT(!"exec");
	}
	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
		size_t got = take(&list, blocks[i], limit / 5);

		if (got < limit / 5)
			fprintf(stderr, "%zu of %zu bytes in blocks of %zu\n", got, limit / 5, blocks[i]);
		EXPECT(got >= limit / 5);
		release(&list);
		malloc_trim(0);
	}
	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
		EXPECT(take(&list, blocks[i], 2 * limit) < limit);
		errno = 0;
		EXPECT(!malloc(limit) && errno == ENOMEM);
		release(&list);
		EXPECT(use_malloc());
	}
	EXPECT(take(&list, 1000, 2 * limit) < limit);
	before = status_kib("VmSize");
	for (int i = 0; i < 2000; i++)
		EXPECT(!malloc(50 << 20));
	EXPECT(status_kib("VmSize") < before + (64 << 10));
	release(&list);
	EXPECT(use_malloc());
	return 0;
}
