/* SPDX-License-Identifier: MIT */
#include "os/cgroup.h"

#include <string.h>

#include "os/bug.h"
#include "os/os.h"

/* How much of /proc/self/cgroup is read, and the longest path that is followed. */
#define MAX_TEXT 4096
#define MAX_PATH 512

/* In a mapping of its own for the time of a look: coroutines call malloc on stacks of 8 KiB. */
struct buffers {
	char text[MAX_TEXT], directory[MAX_PATH + 32], path[MAX_PATH + 64];
};

/* Where a hierarchy is mounted, what begins its line in /proc/self/cgroup behind the number, and its files. */
struct hierarchy {
	char line[16], mount[32], high[32], max[32];
};

static const struct hierarchy hierarchies[] = {
    {"::", "/sys/fs/cgroup", "memory.high", "memory.max"},
    {":memory:", "/sys/fs/cgroup/memory", "memory.soft_limit_in_bytes", "memory.limit_in_bytes"},
};

/* "max" is no limit, nor is a number beyond all addresses: version 1 says it so. */
static size_t parse_limit(const char *text)
{
	size_t n = 0;
	int i;

	if (text[0] < '0' || text[0] > '9')
		return SIZE_MAX;
	for (i = 0; text[i] >= '0' && text[i] <= '9' && n >> ADDRESS_BITS == 0; i++)
		n = n * 10 + (size_t)(text[i] - '0');
	return n >> ADDRESS_BITS ? SIZE_MAX : n;
}

static size_t read_limit(struct buffers *b, const char *file)
{
	char text[32];

	bug_format(b->path, sizeof b->path, "%s/%s", b->directory, file);
	return os_read_file(b->path, text, sizeof text) ? parse_limit(text) : SIZE_MAX;
}

/* Of the group that b->directory names and of all above it. */
static size_t lowest_limit(const struct hierarchy *h, struct buffers *b)
{
	char *directory = b->directory;
	size_t len = strlen(directory), mount_len = strlen(h->mount), limit = SIZE_MAX;

	for (;;) {
		limit = min_size(limit, min_size(read_limit(b, h->high), read_limit(b, h->max)));
		while (len > mount_len && directory[len] != '/')
			len--;
		if (len < mount_len || directory[len] != '/')
			return limit;
		directory[len] = '\0';
		if (len == mount_len)
			len--; /* the root is the last */
	}
}

/* The path of the hierarchy's line in `text`; NULL when it has none. */
static const char *find_path(const struct hierarchy *h, const char *text, size_t *len)
{
	size_t line_len = strlen(h->line);

	while (*text) {
		const char *rest = text + strcspn(text, ":\n");

		text += strcspn(text, "\n");
		if ((size_t)(text - rest) >= line_len && memcmp(rest, h->line, line_len) == 0) {
			*len = (size_t)(text - rest) - line_len;
			return rest + line_len;
		}
		text += *text == '\n';
	}
	return NULL;
}

static size_t limit_with(struct buffers *b)
{
	size_t limit = SIZE_MAX, i, len;

	if (!os_read_file("/proc/self/cgroup", b->text, sizeof b->text))
		return SIZE_MAX;
	for (i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
		const struct hierarchy *h = &hierarchies[i];
		const char *path = find_path(h, b->text, &len);

		if (!path || len >= MAX_PATH)
			continue;
		while (len && path[len - 1] == '/')
			len--;
		memcpy(b->directory, h->mount, strlen(h->mount));
		memcpy(b->directory + strlen(h->mount), path, len);
		b->directory[strlen(h->mount) + len] = '\0';
		limit = min_size(limit, lowest_limit(h, b));
	}
	return limit;
}

size_t cgroup_limit(void)
{
	size_t size = align_up(sizeof(struct buffers), os_page_size()), limit;
	struct buffers *b = os_map(size);

	if (!b)
		return SIZE_MAX;
	limit = limit_with(b);
	os_unmap(b, size);
	return limit;
}
