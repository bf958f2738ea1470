/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
/* A live process, by process_vm_readv(2), or where that is refused by /proc/PID/mem. Paths in it are never followed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "insight/maps.h"
#include "insight/memory.h"
#include "insight/procinfo.h"

#define MAPS_STEP (64 * KIB)

struct process {
	struct memory memory;
	int dir; /* /proc/PID: refers to this process for ever, whoever gets the number next */
	int tid; /* of a thread that has the memory, and its folder in dir */
	char task[MAX_TASK_FOLDER];
	int mem; /* its file mem, or -1 */
	bool by_mem;
	struct mappings maps;
};

static struct process *process_of(struct memory *m)
{
	return container_of(m, struct process, memory);
}

/* A whole file of /proc/PID as text, to be freed; NULL with errno. */
static char *read_text(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), error = errno;
	size_t len = 0, size = 0;
	char *text = NULL, *more;
	ssize_t n = fd >= 0;

	while (n > 0) {
		if (size - len < MAPS_STEP) {
			size = 2 * size + 2 * MAPS_STEP;
			more = realloc(text, size);
			if (!more) {
				n = -1;
				error = ENOMEM;
				break;
			}
			text = more;
		}
		n = read(fd, text + len, size - len - 1);
		error = errno;
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (fd < 0 || n < 0) {
		free(text);
		errno = error;
		return NULL;
	}
	text[len] = 0;
	return text;
}

/* Of /proc/PID/stat; state 0 when it is gone. */
struct process_life {
	char state;
	bool is_kernels; /* PF_KTHREAD of include/linux/sched.h, in proc(5)'s ninth field */
};
#define PF_KTHREAD 0x00200000u

static struct process_life process_life(const struct process *p)
{
	char *text = read_text(p->dir, "stat"), *name_end = text ? strrchr(text, ')') : NULL;
	struct process_life life = {0};
	unsigned flags;

	if (name_end && sscanf(name_end, ") %c %*d %*d %*d %*d %*d %u", &life.state, &flags) == 2)
		life.is_kernels = flags & PF_KTHREAD;
	free(text);
	return life;
}

static bool fail_ended(struct process *p)
{
	return memory_fail(&p->memory, "%s has ended", p->memory.name);
}

/* The kernel lets look whom it lets attach: ptrace(2), PTRACE_MODE_ATTACH_REALCREDS. */
static bool fail_permission(struct process *p, int error)
{
	char *scope = read_text(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope");
	struct stat st = {0};

	fstat(p->dir, &st);
	if (st.st_uid != geteuid())
		memory_fail(&p->memory,
			    "cannot read %s: %s; it is another user's (uid %u) or not dumpable: run as that user or as root",
			    p->memory.name, strerror(error), (unsigned)st.st_uid);
	else if (scope && *scope > '0')
		memory_fail(&p->memory,
			    "cannot read %s: %s; kernel.yama.ptrace_scope is %c, which lets only its parents or root look",
			    p->memory.name, strerror(error), *scope);
	else
		memory_fail(&p->memory, "cannot read %s: %s; it is not dumpable, or a security policy forbids it%s",
			    p->memory.name, strerror(error), geteuid() ? ": run as root" : "");
	free(scope);
	return false;
}

/* Whose file mem stays open has the memory of before execve(2). */
static void forget_memory(struct process *p)
{
	mappings_free(&p->maps);
	if (p->mem >= 0)
		close(p->mem);
	p->mem = -1;
}

/* 0, or an error. No mappings: the thread has ended, or is about to. */
static int read_maps(struct process *p)
{
	char path[MAX_TASK_FOLDER + 8], *text;
	bool good;

	snprintf(path, sizeof path, "%s/maps", p->task);
	text = read_text(p->dir, path);
	if (!text)
		return errno == ESRCH || errno == ENOENT ? 0 : errno;
	good = mappings_parse(&p->maps, text);
	free(text);
	return good ? 0 : ENOMEM;
}

/* Another thread, where the one that was looked at has ended. */
static bool find_living_task(struct process *p)
{
	int tid = proc_living_task(p->dir, p->task);

	if (tid)
		p->tid = tid;
	return tid != 0;
}

static bool process_refresh(struct memory *m)
{
	struct process *p = process_of(m);
	struct process_life life;
	int error;

	forget_memory(p);
	error = read_maps(p);
	if (!error && !p->maps.nr && find_living_task(p))
		error = read_maps(p);
	if (error == ENOMEM)
		return memory_fail(m, "out of memory");
	if (error)
		return fail_permission(p, error);
	if (p->maps.nr)
		return true;
	life = process_life(p);
	if (life.is_kernels)
		return memory_fail(m, "%s has no memory of its own: a thread of the kernel", m->name);
	if (life.state == 'Z')
		return memory_fail(m, "%s has ended, and waits for its parent to notice", m->name);
	return fail_ended(p);
}

static int open_mem(const struct process *p)
{
	char path[MAX_TASK_FOLDER + 8];

	snprintf(path, sizeof path, "%s/mem", p->task);
	return openat(p->dir, path, O_RDONLY | O_CLOEXEC);
}

static bool read_by_mem(struct process *p, uint64_t addr, void *buf, size_t size)
{
	if (p->mem < 0)
		p->mem = open_mem(p);
	return p->mem >= 0 && addr <= INT64_MAX && pread(p->mem, buf, size, (off_t)addr) == (ssize_t)size;
}

static ssize_t read_of_task(const struct process *p, uint64_t addr, void *buf, size_t size)
{
	struct iovec local = {buf, size}, remote = {(void *)(uintptr_t)addr, size};

	return process_vm_readv(p->tid, &local, 1, &remote, 1, 0);
}

static bool process_read(struct memory *m, uint64_t addr, void *buf, size_t size)
{
	struct process *p = process_of(m);
	ssize_t n;

	if (!p->by_mem) {
		n = read_of_task(p, addr, buf, size);
		if (n < 0 && errno == ESRCH && find_living_task(p)) /* this one has ended amid a look */
			n = read_of_task(p, addr, buf, size);
		if (n >= 0 || errno == EFAULT || errno == ESRCH)
			return n == (ssize_t)size;
		p->by_mem = true; /* not in this kernel, or a seccomp filter forbids it */
	}
	return read_by_mem(p, addr, buf, size);
}

/* False, with a fault, when nothing at all may be read. */
static bool may_read(struct process *p)
{
	char byte;

	if (process_read(&p->memory, p->maps.map[0].start, &byte, 1) || !p->by_mem || p->mem >= 0)
		return true;
	return errno == EACCES || errno == EPERM ? fail_permission(p, errno) : true;
}

static void process_images(struct memory *m, memory_image *visit, void *arg)
{
	struct process *p = process_of(m);
	bool more = true;
	size_t i;

	for (i = 0; more && i < p->maps.nr; i++)
		if (p->maps.map[i].readable && p->maps.map[i].has_file && !p->maps.map[i].offset)
			more = visit(arg, p->maps.map[i].start);
	for (i = 0; more && i < p->maps.nr; i++)
		if (p->maps.map[i].readable && (!p->maps.map[i].has_file || p->maps.map[i].offset))
			more = visit(arg, p->maps.map[i].start);
}

static void process_explain(struct memory *m)
{
	process_refresh(m);
}

static void process_close(struct memory *m)
{
	struct process *p = process_of(m);

	forget_memory(p);
	if (p->dir >= 0)
		close(p->dir);
	free(p);
}

static const struct memory_source process_source = {process_read, process_refresh, process_images, process_explain,
						    process_close};

static bool process_start(struct process *p)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/%d", p->tid);
	p->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0 && errno == ENOENT)
		return memory_fail(&p->memory, "there is no process %d", p->tid);
	if (p->dir < 0)
		return memory_fail(&p->memory, "%s: %s", path, strerror(errno));
	return process_refresh(&p->memory) && may_read(p);
}

struct memory *process_open(int pid, char *fault)
{
	struct process *p = calloc(1, sizeof *p);

	if (!p) {
		snprintf(fault, MAX_FAULT, "out of memory");
		return NULL;
	}
	p->memory.source = &process_source;
	p->memory.is_live = true;
	snprintf(p->memory.name, sizeof p->memory.name, "process %d", pid);
	p->tid = pid;
	strcpy(p->task, ".");
	p->dir = p->mem = -1;
	if (process_start(p))
		return &p->memory;
	memcpy(fault, p->memory.fault, MAX_FAULT);
	process_close(&p->memory);
	return NULL;
}
