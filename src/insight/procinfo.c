/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "insight/procinfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "insight/memory.h"

bool procinfo_open(struct procinfo *p, int pid)
{
	char path[32];

	*p = (struct procinfo){.pid = pid, .pagemap = -1, .has_scan = true};
	snprintf(path, sizeof path, "/proc/%d", pid);
	p->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->dir >= 0;
}

void procinfo_close(struct procinfo *p)
{
	if (p->pagemap >= 0)
		close(p->pagemap);
	if (p->dir >= 0)
		close(p->dir);
	p->pagemap = p->dir = -1;
}

static bool read_fd(int fd, char *text, size_t size)
{
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	return n > 0;
}

static bool read_text(int dir, const char *name, char *text, size_t size)
{
	return read_fd(openat(dir, name, O_RDONLY | O_CLOEXEC), text, size);
}

/* --- threads ------------------------------------------------------------------------------------ */

static bool task_lives(int dir, const char *folder)
{
	char path[MAX_TASK_FOLDER + 8], text[256], *name_end;

	snprintf(path, sizeof path, "%s/stat", folder);
	name_end = read_text(dir, path, text, sizeof text) ? strrchr(text, ')') : NULL;
	return name_end && name_end[1] == ' ' && name_end[2] && !strchr("ZX", name_end[2]);
}

int proc_living_task(int dir, char folder[MAX_TASK_FOLDER])
{
	int fd = openat(dir, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), tid = 0;
	DIR *tasks = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	while (!tid && tasks && (e = readdir(tasks))) {
		char found[MAX_TASK_FOLDER];

		snprintf(found, sizeof found, "task/%.12s", e->d_name);
		if (e->d_name[0] == '.' || !task_lives(dir, found))
			continue;
		tid = atoi(e->d_name);
		memcpy(folder, found, sizeof found);
	}
	if (tasks)
		closedir(tasks);
	else if (fd >= 0)
		close(fd);
	return tid;
}

/* Of the process's own folder, or its thread's. */
static int open_task(const struct procinfo *p, const char *name)
{
	char path[MAX_TASK_FOLDER + 8];

	snprintf(path, sizeof path, "%s/%s", p->task, name);
	return openat(p->dir, path, O_RDONLY | O_CLOEXEC);
}

/* --- stat --------------------------------------------------------------------------------------- */

/* Fields of /proc/PID/stat as proc(5) numbers them; the first behind the name is 3. */
enum { STAT_STATE = 3, STAT_MINFLT = 10, STAT_MAJFLT = 12, STAT_NUM_THREADS = 20, STAT_STARTTIME = 22 };

static void take_name(struct procinfo *p, const char *name, size_t len)
{
	len = min_size(len, sizeof p->name - 1);
	memcpy(p->name, name, len);
	p->name[len] = 0;
	make_printable(p->name);
}

bool proc_stat_parse(const char *text, struct procinfo *p, uint64_t *start)
{
	const char *name = strchr(text, '('), *end = strrchr(text, ')'); /* the name may hold either */
	unsigned long long n[STAT_STARTTIME + 1] = {0};
	unsigned i;
	char *next;

	if (!name || !end || end < name || end[1] != ' ' || !end[2])
		return false;
	for (i = STAT_STATE + 1, next = (char *)(uintptr_t)end + 3; i <= STAT_STARTTIME && *next == ' '; i++)
		n[i] = strtoull(next + 1, &next, 10);
	if (i <= STAT_STARTTIME)
		return false;
	take_name(p, name + 1, (size_t)(end - name - 1));
	p->state = end[2];
	p->nr_faults = n[STAT_MINFLT] + n[STAT_MAJFLT];
	p->nr_threads = (unsigned)n[STAT_NUM_THREADS];
	*start = n[STAT_STARTTIME];
	return true;
}

static void take_uptime(struct procinfo *p, uint64_t start)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_BOOTTIME, &now);
	p->uptime = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)start / (double)sysconf(_SC_CLK_TCK);
	if (p->uptime < 0)
		p->uptime = 0;
}

static uint64_t image_of(const struct procinfo *p)
{
	char path[MAX_TASK_FOLDER + 8];
	struct stat st = {0};

	snprintf(path, sizeof path, "%s/exe", p->task);
	fstatat(p->dir, path, &st, 0);
	return (uint64_t)st.st_dev * 0x9e3779b97f4a7c15u + st.st_ino;
}

bool procinfo_take(struct procinfo *p)
{
	unsigned long long size, resident;
	uint64_t start;
	char text[1024];

	if (!read_text(p->dir, "stat", text, sizeof text)) {
		p->state = 0;
		return false;
	}
	if (!proc_stat_parse(text, p, &start))
		return false;
	strcpy(p->task, ".");
	if ((p->state == 'Z' || p->state == 'X') && !proc_living_task(p->dir, p->task))
		return false;
	take_uptime(p, start);
	if (read_fd(open_task(p, "statm"), text, sizeof text) && sscanf(text, "%llu %llu", &size, &resident) == 2)
		p->rss = (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
	p->image = image_of(p);
	if (p->pagemap >= 0)
		close(p->pagemap); /* the memory may be gone, after execve(2) */
	p->pagemap = -1;
	return true;
}

/* --- residence ---------------------------------------------------------------------------------- */

/* linux/fs.h since Linux 6.7 */
struct page_region_of_kernel {
	uint64_t start, end, categories;
};
struct scan_of_kernel {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_OF_KERNEL _IOWR('f', 16, struct scan_of_kernel)
#define SCAN_PRESENT ((uint64_t)1 << 3)
#define SCAN_PFNZERO ((uint64_t)1 << 5) /* the page of zeros, which is in nobody's RSS */
#define SCAN_HUGE ((uint64_t)1 << 6)
/* /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT ((uint64_t)1 << 63)

static bool scan(const struct procinfo *p, uint64_t addr, size_t size, struct residence *r)
{
	struct page_region_of_kernel region[64];
	struct scan_of_kernel s = {.size = sizeof s, .start = addr, .end = addr + size, .vec = (uintptr_t)region,
				   .vec_len = sizeof region / sizeof *region, .category_inverted = SCAN_PFNZERO,
				   .category_mask = SCAN_PRESENT | SCAN_PFNZERO, .return_mask = SCAN_HUGE};
	int n, i;

	while (s.start < s.end) {
		n = ioctl(p->pagemap, PAGEMAP_SCAN_OF_KERNEL, &s);
		if (n < 0)
			return false;
		for (i = 0; i < n; i++) {
			size_t nr = (region[i].end - region[i].start) >> PAGE_SHIFT;

			r->nr_resident += nr;
			r->nr_huge += region[i].categories & SCAN_HUGE ? nr : 0;
		}
		if (s.walk_end <= s.start)
			return true;
		s.start = s.walk_end;
	}
	return true;
}

static bool read_pagemap(const struct procinfo *p, uint64_t addr, size_t size, struct residence *r)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), left = size / page, want, i;
	off_t at = (off_t)(addr / page * sizeof(uint64_t));
	uint64_t entry[PAGEBLOCK_PAGES];
	ssize_t n;

	for (; left; left -= want) {
		want = min_size(left, PAGEBLOCK_PAGES);
		n = pread(p->pagemap, entry, want * sizeof *entry, at);
		if (n != (ssize_t)(want * sizeof *entry))
			return false;
		for (i = 0; i < want; i++)
			r->nr_resident += entry[i] & PAGEMAP_PRESENT ? page / BSLAB_PAGE_SIZE : 0;
		at += n;
	}
	return true;
}

bool procinfo_residence(struct procinfo *p, uint64_t addr, size_t size, struct residence *r)
{
	*r = (struct residence){0};
	if (p->pagemap < 0)
		p->pagemap = open_task(p, "pagemap");
	if (p->pagemap < 0)
		return false;
	if (p->has_scan && scan(p, addr, size, r))
		return true;
	p->has_scan = p->has_scan && errno != ENOTTY && errno != EINVAL;
	*r = (struct residence){0};
	return read_pagemap(p, addr, size, r);
}
