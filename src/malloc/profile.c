/* SPDX-License-Identifier: MIT */
#include "malloc/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/probe.h"
#include "bslab/profile.h"
#include "malloc/guarded.h"
#include "malloc/reports.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/options.h"
#include "os/os.h"
#include "os/thread.h"
#include "page/limit.h"
#include "page/runs.h"
#include "profile/dump.h"
#include "profile/sampler.h"
#include "slab/kept.h"

#define STDERR 2

/* --- samples of blocks --------------------------------------------------------------------- */

size_t sampled_size(const struct sample *s)
{
	return s->class ? class_size(s->class) : (size_t)s->nr_pages << PAGE_SHIFT;
}

/* Neither the unwinder's allocations, should there be any, nor a signal handler's are sampled meanwhile. */
static struct sample *sample_take(size_t size, size_t counted, const struct caller *by)
{
	size_t interval = sampler_interval();
	uintptr_t pc[MAX_FRAMES];
	struct sample *s = NULL;

	thread_state.in_profile = true;
	if (interval) /* stopped meanwhile */
		s = sample_create(pc, unwind(by, 0, pc), size, counted, interval);
	thread_state.in_profile = false;
	return s;
}

/* The block is there and this thread's. */
static void mark(struct sample *s, void *p)
{
	page_desc_t d = map_lookup((uintptr_t)p);
	struct vm_area *a = large_of(d);

	if (a)
		a->sample = s;
	else
		map_set((uintptr_t)p, desc_of_pointer(s, PAGE_SAMPLED, 0));
}

static unsigned pages_in(size_t size)
{
	return (unsigned)(align_up(size, BSLAB_PAGE_SIZE) >> PAGE_SHIFT);
}

/*
 * Pages for one small block. Not from the runs that are kept whole, which would be sent home for it. They live as long
 * as slabs of few objects.
 */
static void *small_alloc(size_t size, bool *zeroed)
{
	unsigned n = pages_in(size);
	void *p = limit_allows(n) ? pages_alloc(n, 0, MIGRATE_RECLAIMABLE, 0, zeroed) : NULL;

	if (p)
		run_describe(p, 1, n);
	return p;
}

static void *block_alloc(size_t size, size_t align, bool *zeroed)
{
	unsigned align_order = align > BSLAB_PAGE_SIZE ? ilog2(align) - PAGE_SHIFT : 0;

	if (size <= SMALL_MAX && align <= BSLAB_PAGE_SIZE)
		return small_alloc(size, zeroed);
	if (size <= PAGEBLOCK_SIZE && align <= PAGEBLOCK_SIZE) {
		kept_yield(pages_in(size));
		return run_alloc(pages_in(size), align_order, 0, zeroed);
	}
	return large_alloc(size, align, zeroed);
}

void *sampled_alloc(const struct alloc_request *r, size_t size, bool *zeroed)
{
	struct sample *s = sample_take(r->asked, sampler_bytes(r->size), &r->by);
	bool is_small = size <= SMALL_MAX && r->align <= BSLAB_PAGE_SIZE;
	void *p;

	if (!s)
		return NULL;
	p = block_alloc(size, r->align, zeroed);
	if (!p) {
		sample_destroy(s);
		sample_lost();
		return NULL;
	}
	PROBE(sample_alloc, p, r->asked, s);
	mark(s, p);
	sample_place(s, (uintptr_t)p, large_of(map_lookup((uintptr_t)p)) ? 0 : pages_in(size),
		     is_small ? size_class(size) : 0);
	return p;
}

void sampled_forget(struct sample *s)
{
	PROBE(sample_free, s->addr, s->size, s);
	sample_destroy(s);
}

bool sampled_free(page_desc_t d, void *ptr)
{
	struct sample *s = sampled_of(d);
	unsigned nr_pages;
	bool is_small;

	if (!s || (uintptr_t)ptr % BSLAB_PAGE_SIZE)
		return false;
	nr_pages = s->nr_pages;
	is_small = s->class;
	sampled_forget(s);
	if (is_small)
		pages_free(ptr, nr_pages);
	else
		run_free(ptr, nr_pages);
	return true;
}

/* A block of fewer bytes holds a mark with a smaller chance: some of the samples have to go. */
static bool survives(const struct sample *s, size_t counted)
{
	return counted >= s->counted ||
	       sampler_chance(sampler_weight(s->counted, s->interval) / sampler_weight(counted, s->interval));
}

void sampled_resize(struct sample *s, void *p, size_t old_size, size_t size, struct caller by)
{
	struct vm_area *a = large_of(map_lookup((uintptr_t)p));
	size_t counted = align_up(size, BSLAB_PAGE_SIZE);
	unsigned nr_pages = a ? 0 : pages_in(size);

	if (s && !survives(s, counted)) {
		sampled_forget(s);
		if (a)
			a->sample = NULL;
	} else if (s) {
		sample_resize(s, (uintptr_t)p, nr_pages, size, counted);
		mark(s, p);
	} else if (counted > old_size && sampler_hits(counted - old_size)) {
		/* Right for a block whose other bytes were counted; one from before the start looks the same. */
		s = sample_take(size, counted, &by);
		if (!s)
			return;
		PROBE(sample_alloc, p, size, s);
		mark(s, p);
		sample_place(s, (uintptr_t)p, nr_pages, 0);
	}
}

/* --- what is pinned ------------------------------------------------------------------------- */

static double ratio(size_t a, size_t b)
{
	return (double)a / (double)(b ? b : 1);
}

/* Linux has no such number; view.h says what it is. */
static bool pinning_measure(struct pinning *p)
{
	struct heap_report *r = snapshot_take();
	size_t pages, unused;
	unsigned class;

	if (!r)
		return false;
	*p = (struct pinning){0};
	for (class = 1; class < NR_CLASSES; class++) {
		const struct class_report *c = &r->class[class];

		p->per_object[class] = ratio(c->cache.nr_free * c->cache.size, c->nr_used);
	}
	pages = r->pages.types.blocks[MIGRATE_MOVABLE] * PAGEBLOCK_PAGES;
	unused = r->pages.types.free_pages[MIGRATE_MOVABLE];
	p->per_run_page = ratio(r->pages.types.dirty_pages[MIGRATE_MOVABLE] << PAGE_SHIFT, pages > unused ? pages - unused : 1);
	snapshot_drop(r);
	return true;
}

/* --- calls -------------------------------------------------------------------------------------- */

/*
 * Nobody waits for who looks for the unwinder: that calls dlsym(), whose lock the one that waits may hold, and
 * which the child of a fork would wait for in vain.
 */
static bool get_ready(void)
{
	if (!samples_init())
		return false;
	unwind_setup(bslab_options.profile_frames);
	symbols_setup();
	return true;
}

/* Starting is two steps, and so is stopping: one thread's are not mixed with another's. */
static struct lock switch_lock;

int bslab_profile_start(size_t interval)
{
	if (interval > MAX_PROFILE_INTERVAL) {
		errno = EINVAL;
		return -1;
	}
	process_boot();
	if (bslab_options.hardened) { /* its blocks have no place for a sample */
		errno = ENOTSUP;
		return -1;
	}
	if (!get_ready()) {
		errno = ENOMEM;
		return -1;
	}
	lock_take(&switch_lock, RANK_PROFILE);
	sampler_start(interval ? interval : PROFILE_INTERVAL);
	slow_path_force(SLOW_PROFILE);
	lock_drop(&switch_lock, RANK_PROFILE);
	reports_poll();
	return 0;
}

void bslab_profile_stop(void)
{
	process_boot();
	lock_take(&switch_lock, RANK_PROFILE);
	sampler_stop();
	slow_path_allow(SLOW_PROFILE);
	lock_drop(&switch_lock, RANK_PROFILE);
	reports_poll();
}

void profile_fork_prepare(void)
{
	lock_take_nested(&switch_lock);
}

void profile_fork_done(bool child)
{
	if (child)
		lock_reset(&switch_lock);
	else
		lock_drop_nested(&switch_lock);
}

struct dump_job {
	struct pinning pinning;
	struct view view;
	struct out out;
};

static int dump(enum dump_format format, int fd)
{
	struct dump_job *j;
	int result = -ENOMEM;

	process_boot();
	if (!samples_init())
		return -ENOMEM;
	j = os_map(sizeof *j);
	if (!j)
		return -ENOMEM;
	if (pinning_measure(&j->pinning) && view_take(&j->view, &j->pinning)) {
		result = dump_write(&j->out, &j->view, format, fd);
		view_drop(&j->view);
	}
	os_unmap(j, sizeof *j);
	reports_poll();
	return result;
}

int bslab_profile_dump(const char *format, int fd)
{
	int form = format ? dump_format_of(format) : -1, result;

	if (form < 0) {
		errno = EINVAL;
		return -1;
	}
	result = dump((enum dump_format)form, fd);
	if (result)
		errno = -result;
	return result ? -1 : 0;
}

/* --- as the options say ---------------------------------------------------------------------------- */

static const char *dump_path; /* NULL: none is asked for */
static unsigned starter;      /* the process that started by option */

void profile_configure(void)
{
	if (bslab_options.profile_to.text)
		dump_path = option_keep(bslab_options.profile_to);
}

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && memcmp(text + n - m, end, m) == 0;
}

static bool starts_with(const char *text, const char *start)
{
	for (; *start && *text == *start; start++)
		text++;
	return !*start;
}

static enum dump_format format_of_path(const char *path)
{
	return ends_in(path, ".gz") ? DUMP_PPROF : ends_in(path, ".folded") ? DUMP_FOLDED : DUMP_TEXT;
}

static int dump_to_path(const char *text, char path[MAX_PATH])
{
	int fd, result;

	if (!path_expand(path, text))
		return -ENAMETOOLONG;
	fd = os_open_new(path);
	if (fd < 0)
		return fd;
	result = dump(format_of_path(path), fd);
	os_close(fd);
	return result;
}

/* path: NULL for stderr, which cannot tell of itself. */
static void say_unwritten(const char *path, int result)
{
	if (result && (path || result == -ENOMEM))
		bug_say("profile: cannot write %s: %s (error %u)", path ? path : "stderr", error_text(-result), (unsigned)-result);
}

/* Whether the file is another for each process. */
static bool names_process(const char *path)
{
	for (; *path; path += path[0] == '%' && path[1] ? 2 : 1)
		if (path[0] == '%' && path[1] == 'p')
			return true;
	return false;
}

/*
 * The leak report, and the file. A file that is text is the leak report. A child of fork leaves its parent's file to
 * the parent.
 */
static void dump_at_exit(void)
{
	struct held_signals held;
	char path[MAX_PATH];

	os_hold_write_signals(&held);
	if (dump_path && (os_pid() == starter || names_process(dump_path)))
		say_unwritten(path, dump_to_path(dump_path, path));
	if (!dump_path || format_of_path(dump_path) != DUMP_TEXT)
		say_unwritten(NULL, dump(DUMP_TEXT, STDERR));
	os_release_write_signals(&held);
}

/*
 * Not at the first malloc, as everything else: that may be the loader's own, and the unwinder is looked for by dlsym().
 * A process without the option finds that in its environment and pays for no more.
 */
static void __attribute__((constructor)) start_by_option(void)
{
	const char *conf = os_env("BSLAB_CONF");

	while (conf && *conf && !starts_with(conf, "profile=") && !starts_with(conf, "guarded="))
		conf++;
	if (!conf || !*conf)
		return;
	process_boot();
	if (bslab_options.guarded_interval)
		guarded_start(bslab_options.guarded_interval);
	if (!bslab_options.profile_interval)
		return;
	starter = os_pid();
	if (bslab_profile_start(bslab_options.profile_interval) == 0)
		atexit(dump_at_exit);
	else
		bug_say("profile: %s", bslab_options.hardened ? "not in the hardened mode" : "no memory for its tables");
}
