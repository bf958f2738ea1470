/* SPDX-License-Identifier: MIT */
/*
 * Reports on their way out. insight.h documents the calls, docs/options.md the options.
 *
 * 1. A report is made in a mapping of its own, which holds the snapshot and a
 *    buffer for its text: nothing is allocated, and no stack is outgrown. While
 *    text is formatted and written, no lock is held.
 *
 * 2. On a signal. The handler may have interrupted anything. What a report
 *    calls is system calls and the snapshots' locks, so all that forbids it
 *    is a lock that the interrupted thread itself holds: waiting for that one
 *    would be for ever. So each thread counts the locks that it holds or is
 *    about to take (thread_state.nr_locks):
 *
 *      none   the handler writes the report, at once. Locks of other threads it
 *             waits for as any thread does: their holders run on, or are in the
 *             same handler, which then only sets the flag.
 *      some   the thread is within a slow path. The handler sets report_is_due, and
 *             whoever comes first to the end of one writes the report: this
 *             thread, in a moment, or another.
 *
 *    Sequences are no obstacle: the kernel restarts what a signal interrupted,
 *    and the snapshots only read the areas. Nor is a report that was interrupted: the
 *    second has a mapping of its own. All other signals are blocked meanwhile, so that
 *    no handler of the program can leave this one by a jump with a lock held.
 *
 * 3. A report by option must not end the process: what a write to a pipe without a
 *    reader, or beyond a limit, raises is taken back.
 */
#include "malloc/reports.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "bslab/insight.h"
#include "malloc/internal.h"
#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"

#define STDERR 2

typedef int put_text(const char *text, size_t len, void *arg);

/* Text is gathered, so that a report of usual size is one write and not mixed with others'. */
struct job {
	struct heap_report report;
	put_text *put;
	void *arg;
	int result; /* of put; once it is not 0 the rest is left out */
	size_t len;
	char text[64 * KIB];
};

static struct job *job_create(void)
{
	struct job *j = os_map(sizeof *j);
	struct heap_report *r;

	if (!j)
		return NULL;
	r = &j->report;
	report_take(r);
	r->nr_reclaims = counts.nr_reclaims;
	r->nr_failures = counts.nr_failures;
	report_derive(r);
	return j;
}

static void job_destroy(struct job *j)
{
	os_unmap(j, sizeof *j);
}

struct heap_report *snapshot_take(void)
{
	struct job *j;

	process_boot();
	j = job_create();
	return j ? &j->report : NULL;
}

void snapshot_drop(struct heap_report *r)
{
	job_destroy(container_of(r, struct job, report));
	reports_poll();
}

static void job_flush(struct job *j)
{
	if (j->len && !j->result)
		j->result = j->put(j->text, j->len, j->arg);
	j->len = 0;
}

static void job_line(const char *line, void *arg)
{
	struct job *j = arg;
	size_t len = strlen(line);

	if (j->len + len + 1 > sizeof j->text)
		job_flush(j);
	memcpy(j->text + j->len, line, len);
	j->len += len;
	j->text[j->len++] = '\n';
}

/* False where there is no memory. *result: what put returned last. */
static bool job_run(unsigned what, enum report_format format, put_text *put, void *arg, int *result)
{
	struct job *j = job_create();

	if (!j)
		return false;
	j->put = put;
	j->arg = arg;
	report_write(&j->report, what, format, job_line, j);
	job_flush(j);
	*result = j->result;
	job_destroy(j);
	return true;
}

/* --- calls ----------------------------------------------------------------------------------- */

static bool parse(const char *what, const char *format, unsigned *mask, int *form)
{
	*mask = what ? report_what_of(what, strlen(what)) : 0;
	*form = format ? report_format_of(format, strlen(format)) : -1;
	return *mask && *form >= 0;
}

int bslab_report_to(const char *what, const char *format, int (*put)(const char *text, size_t len, void *arg), void *arg)
{
	unsigned mask;
	int form, result;

	if (!parse(what, format, &mask, &form) || !put) {
		errno = EINVAL;
		return -1;
	}
	process_boot();
	if (!job_run(mask, (enum report_format)form, put, arg, &result)) {
		errno = ENOMEM;
		return -1;
	}
	reports_poll();
	return result ? -1 : 0;
}

static int put_fd(const char *text, size_t len, void *fd)
{
	return os_write(*(int *)fd, text, len);
}

/* 0, or a negative errno. */
static int write_fd(unsigned what, enum report_format format, int fd)
{
	int result;

	return job_run(what, format, put_fd, &fd, &result) ? result : -ENOMEM;
}

int bslab_report(const char *what, const char *format, int fd)
{
	unsigned mask;
	int form, result;

	if (!parse(what, format, &mask, &form)) {
		errno = EINVAL;
		return -1;
	}
	process_boot();
	result = write_fd(mask, (enum report_format)form, fd);
	reports_poll();
	if (result)
		errno = -result;
	return result ? -1 : 0;
}

/* --- as the options say ------------------------------------------------------------------------- */

static struct {
	unsigned what; /* 0: none is asked for */
	enum report_format format;
	const char *path; /* NULL: stderr */
	int signal;	  /* 0: at exit */
} configured;

_Atomic bool report_is_due;

bool path_expand(char path[MAX_PATH], const char *text)
{
	char number[12];
	size_t len = 0, width = bug_format(number, sizeof number, "%u", os_pid());

	for (; *text && len + 1 < MAX_PATH; text++) {
		if (*text == '%' && text[1] == 'p') {
			if (len + width >= MAX_PATH)
				break;
			memcpy(path + len, number, width);
			len += width;
			text++;
		} else {
			text += *text == '%' && text[1] == '%';
			path[len++] = *text;
		}
	}
	path[len] = '\0';
	return !*text;
}

const char *error_text(int error)
{
	switch (error) {
	case ENOSPC:
		return "no space left on device";
	case EDQUOT:
		return "disk quota exceeded";
	case EACCES:
	case EPERM:
		return "permission denied";
	case ENOENT:
		return "no such directory";
	case ENOTDIR:
		return "not a directory";
	case ELOOP:
		return "too many symbolic links";
	case EISDIR:
		return "is a directory";
	case EROFS:
		return "read-only file system";
	case EFBIG:
		return "file too large";
	case EAGAIN:
		return "nobody reads it";
	case EPIPE:
		return "broken pipe";
	case EBADF:
		return "not open for writing";
	case EMFILE:
	case ENFILE:
		return "too many open files";
	case ENOMEM:
		return "out of memory";
	case ENAMETOOLONG:
		return "name too long";
	default:
		return "input/output error";
	}
}

static int write_to_path(const char *text, char *path)
{
	int fd, result;

	if (!path_expand(path, text))
		return -ENAMETOOLONG;
	fd = os_open_append(path);
	if (fd < 0)
		return fd;
	result = write_fd(configured.what, configured.format, fd);
	os_close(fd);
	return result;
}

static void write_configured(void)
{
	char path[MAX_PATH] = "stderr";
	struct held_signals held;
	int result;

	os_hold_write_signals(&held);
	result = configured.path ? write_to_path(configured.path, path)
				 : write_fd(configured.what, configured.format, STDERR);
	if (result && (configured.path || result == -ENOMEM)) /* stderr cannot tell of itself */
		bug_say("report: cannot write %s: %s (error %u)", path, error_text(-result), (unsigned)-result);
	os_release_write_signals(&held);
}

void report_due(void)
{
	if (atomic_exchange(&report_is_due, false))
		write_configured();
}

static void on_signal(int signal)
{
	(void)signal;
	if (thread_state.nr_locks)
		atomic_store(&report_is_due, true);
	else
		write_configured();
}

/* A program that has a handler for the signal by now keeps it; one that sets its own later replaces ours. */
static void handle_signal(void)
{
	struct sigaction old, new = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};

	memset(&new.sa_mask, 0xff, sizeof new.sa_mask);
	if (sigaction(configured.signal, NULL, &old) != 0 ||
	    (!(old.sa_flags & SA_SIGINFO) && (old.sa_handler == SIG_DFL || old.sa_handler == SIG_IGN)))
		if (sigaction(configured.signal, &new, NULL) != 0)
			bug_say("report_signal: cannot handle signal %u", (unsigned)configured.signal);
}

void reports_start(void)
{
	if (configured.signal)
		handle_signal();
	else if (configured.what)
		process_at_end(write_configured);
}

/* WHAT[:FORMAT] */
static bool parse_report(const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);
	size_t n = colon ? (size_t)(colon - text) : len;
	int format = colon ? report_format_of(colon + 1, len - n - 1) : REPORT_TEXT;
	unsigned what = report_what_of(text, n);

	if (!what || format < 0)
		return false;
	configured.what = what;
	configured.format = (enum report_format)format;
	return true;
}

const char *option_keep(struct option_text t)
{
	char *copy = boot_alloc(t.len + 1, 1);

	if (copy)
		memcpy(copy, t.text, t.len);
	return copy;
}

bool reports_configure(char *fault, size_t fault_size)
{
	const struct options *o = &bslab_options;
	bool good = !o->report.text || parse_report(o->report.text, o->report.len);

	if (!good) {
		char value[32] = {0};

		memcpy(value, o->report.text, min_size(o->report.len, sizeof value - 1));
		bug_format(fault, fault_size, "BSLAB_CONF: bad value '%s' for 'report'", value);
	}
	if (o->report_signal && !configured.what)
		configured.what = REPORT_ALL;
	configured.signal = o->report_signal;
	if (configured.what && o->report_to.text)
		configured.path = option_keep(o->report_to);
	return good;
}
