/* SPDX-License-Identifier: MIT */
/* Process life: boot at the first call, threads that end, fork. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "base/probe.h"
#include "boot/boot.h"
#include "bslab/bslab.h"
#include "guarded/count.h"
#include "guarded/pool.h"
#include "handle/compact.h"
#include "handle/handle.h"
#include "heap/heap.h"
#include "heap/highmem.h"
#include "heap/pool.h"
#include "large/large.h"
#include "malloc/hardened.h"
#include "malloc/internal.h"
#include "malloc/profile.h"
#include "malloc/reports.h"
#include "malloc/shrinkers.h"
#include "map/map.h"
#include "os/bug.h"
#include "os/lock.h"
#include "os/nodes.h"
#include "os/options.h"
#include "os/os.h"
#include "page/huge.h"
#include "page/buddy.h"
#include "page/contig.h"
#include "page/limit.h"
#include "page/purging.h"
#include "page/zone.h"
#include "profile/sampler.h"
#include "profile/samples.h"
#include "profile/unwind.h"
#include "slab/percpu.h"

enum { NOT_BOOTED, BOOTING, BOOTED };

static _Atomic int boot_state;
static pthread_key_t thread_key;
static _Atomic bool thread_key_made;

static void read_options(void)
{
	const char *text = os_env("BSLAB_CONF");
	char fault[160];
	bool good = true;

	bslab_options = bslab_option_defaults;
	if (text)
		good = options_parse(&bslab_options, text, fault, sizeof fault);
	bug_set_fatal(!bslab_options.warn);
	if (!reports_configure(fault, good ? sizeof fault : 0)) /* only the first fault is told */
		good = false;
	profile_configure();
	if (!good)
		bug_caller("%s", fault);
}

static void stats_at_exit(void)
{
	struct held_signals held;

	os_hold_write_signals(&held);
	bslab_malloc_stats();
	os_release_write_signals(&held);
}

static void fork_prepare(void);
static void fork_parent(void);
static void fork_child(void);
static void thread_exit(void *unused);

/*
 * Earlier than others, whose prepare handlers may allocate: they run last registered first, so all locks are taken behind the last of
 * them, and dropped before the first of the parent's and the child's. At the first
 * allocation, or before: the library asks for its constructors to run first (-z initfirst), the archive for this one.
 */
static void __attribute__((constructor(101))) register_for_fork(void)
{
	static _Atomic bool is_registered;

	if (!atomic_exchange(&is_registered, true))
		pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* What is called at the end, and how many; the last first. */
static void (*at_end[MAX_AT_END])(void);
static unsigned nr_at_end;
static bool end_is_hooked;

static void end(void *unused)
{
	unsigned i = nr_at_end;

	(void)unused;
	while (i-- > 0)
		at_end[i]();
}

#pragma weak dlsym /* not in a static program */
extern void *__dso_handle __attribute__((weak, visibility("hidden")));
/* What atexit() is made of (Itanium C++ ABI, 3.3.5.3). */
int __cxa_atexit(void (*call)(void *), void *arg, void *dso);

/*
 * atexit(), but libc's own: a program with a malloc of its own may have that, too, and not be ready for a call of it (ThreadSanitizer's).
 */
static void hook_end(void)
{
	__typeof__(&__cxa_atexit) hook = NULL;

	if (end_is_hooked)
		return;
	end_is_hooked = true;
	if (dlsym)
		hook = (__typeof__(hook))dlsym(RTLD_NEXT, "__cxa_atexit");
	(hook ? hook : __cxa_atexit)(end, NULL, &__dso_handle ? __dso_handle : NULL);
}

/* Before the first allocation, which may be atexit()'s own, under its lock; where an option may want it. */
static void __attribute__((constructor(102))) hook_end_early(void)
{
	if (unlikely(os_env("BSLAB_CONF")))
		hook_end();
}

void process_at_end(void (*call)(void))
{
	bslab_assert(nr_at_end < MAX_AT_END);
	at_end[nr_at_end++] = call;
	hook_end();
}

/*
 * Keys are numbered by each copy of libc (dlmopen, LD_AUDIT) and their values lie in the thread: who has the same number in another
 * copy finds ours. So not one of the first, which others have: the last for which a thread needs no memory of its own (glibc).
 */
#define LAST_INLINE_KEY 31

static out_of_line bool thread_key_create(void)
{
	pthread_key_t key[LAST_INLINE_KEY + 1];
	unsigned nr = 0;

	while (nr <= LAST_INLINE_KEY && (!nr || key[nr - 1] < LAST_INLINE_KEY) && pthread_key_create(&key[nr], thread_exit) == 0)
		nr++;
	if (!nr)
		return false;
	thread_key = key[--nr];
	while (nr-- > 0)
		pthread_key_delete(key[nr]);
	return true;
}

/*
 * What libc calls us back for, else. Registered at the first allocation, so that a process that never allocates pays for nothing.
 * These calls may allocate themselves (musl): we are ready by now.
 */
static void register_callbacks(void)
{
	register_for_fork();
	if (thread_key_create())
		atomic_store_explicit(&thread_key_made, true, memory_order_release);
	if (bslab_options.hardened)
		hardened_at_exit();
	if (bslab_options.stats)
		process_at_end(stats_at_exit);
	reports_start();
}

static void boot(void)
{
	read_options();
	if (bslab_options.hardened)
		hardened_start();
	percpu_boot();
	limit_set(bslab_options.soft_limit, bslab_options.hard_limit);
	if (bslab_options.reserve_size)
		pages_reserve_highatomic((unsigned)((bslab_options.reserve_size + PAGEBLOCK_SIZE - 1) >> PAGEBLOCK_SHIFT));
	atomic_store(&boot_state, BOOTED);
	if (bslab_options.check)
		slow_path_force(SLOW_CHECK);
	if (bslab_options.hardened)
		slow_path_force(SLOW_HARDENED);
	if (!bslab_options.check && !bslab_options.hardened)
		slow_path_allow(SLOW_CHECK);
	register_callbacks();
}

/*
 * A handler that interrupts this would find libc's locks held, as exit() takes them, and wait for ever for the boot if it
 * allocates. Programs may do neither, and many do both.
 */
static cold_path void boot_once(void)
{
	int state = NOT_BOOTED;
	struct held_signals held;
	bool is_first;

	os_hold_signals(&held);
	is_first = atomic_compare_exchange_strong(&boot_state, &state, BOOTING);
	if (is_first)
		boot();
	os_release_signals(&held);
	if (is_first) { /* not within: a filter may answer a system call by a signal */
		percpu_prepare_drains();
		if (bslab_options.hard_limit)
			percpu_find_reach();
	}
	/* Two threads can only meet here when libc made them without malloc. */
	while (atomic_load(&boot_state) != BOOTED)
		os_yield();
}

void process_boot(void)
{
	if (unlikely(atomic_load_explicit(&boot_state, memory_order_acquire) != BOOTED))
		boot_once();
}

/* --- threads ---------------------------------------------------------------------------- */

static void thread_exit(void *unused)
{
	(void)unused;
	PROBE(thread_exit, thread_state.index, thread_state.buddy);
	/* First: later destructors, and libc's own clean-up, allocate and free again. */
	thread_state.exit_hooked = THREAD_ENDED;
	handles_thread_exit();
	percpu_thread_exit();
	if (pages_thread_exit())
		percpu_threads_fell();
	reports_poll();
}

void process_hook_thread(void)
{
	if (likely(thread_state.exit_hooked != THREAD_UNKNOWN) || (!thread_state.buddy && !thread_state.index && !thread_state.handles) ||
	    !atomic_load_explicit(&thread_key_made, memory_order_acquire))
		return;
	thread_state.exit_hooked = THREAD_HOOKED; /* first: pthread_setspecific() may call calloc() */
	pthread_setspecific(thread_key, &thread_state);
}

/* --- fork ---------------------------------------------------------------------------------- */

/*
 * glibc's lock over the list of streams. Who holds it may wait for a stream's lock, and who holds that allocates (getline()): so it comes
 * before all of ours, and glibc's fork(), which takes it behind the handlers, has it again. musl has none; libc.a where fork() is linked.
 */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
extern void _IO_list_resetlock(void) __attribute__((weak));

static bool has_streams_lock(void)
{
	return _IO_list_lock && _IO_list_unlock && _IO_list_resetlock;
}

static void streams_fork_prepare(void)
{
	if (has_streams_lock())
		_IO_list_lock();
}

/* In the child it is reset already, if libc, too, knows of several threads. */
static void streams_fork_done(bool child)
{
	if (has_streams_lock())
		(child ? _IO_list_resetlock : _IO_list_unlock)();
}

/*
 * Every lock, in the order in which a thread may hold them, so that the child
 * finds no structure half changed; but for those of what is off, whose pages would
 * be copied for nothing. Sheaves that other threads had detached are
 * lost to the child: a few objects each.
 */
static void locks_prepare(void)
{
	contig_fork_wait(); /* first: the program's function may use streams */
	streams_fork_prepare();
	purging_fork_prepare();
	lock_count_up();
	heap_fork_prepare();
	pool_fork_prepare();
	highmem_fork_prepare();
	shrinkers_fork_prepare();
	percpu_fork_prepare();
	slab_fork_prepare();
	handles_fork_prepare();
	if (bslab_options.hardened)
		hardened_fork_prepare();
	large_fork_prepare();
	pages_fork_prepare();
	contig_fork_prepare();
	zone_fork_prepare();
	map_fork_prepare();
	profile_fork_prepare();
	samples_fork_prepare();
	if (guarded_is_on())
		guarded_pool_fork_prepare();
	boot_fork_prepare();
}

static void fork_done(bool child)
{
	boot_fork_done(child);
	if (guarded_is_on())
		guarded_pool_fork_done(child);
	samples_fork_done(child);
	profile_fork_done(child);
	map_fork_done(child);
	zone_fork_done(child);
	contig_fork_done(child);
	pages_fork_done(child);
	large_fork_done(child);
	if (bslab_options.hardened)
		hardened_fork_done(child);
	handles_fork_done(child);
	slab_fork_done(child);
	percpu_fork_done(child);
	shrinkers_fork_done(child);
	highmem_fork_done(child);
	pool_fork_done(child);
	heap_fork_done(child);
	if (child) {
		compact_fork_child();
		huge_fork_child();
		nodes_fork_child();
	}
	lock_count_down();
	purging_fork_done(child);
	streams_fork_done(child);
	contig_fork_end();
}

/*
 * Where there is one thread, and it is here, no structure is half changed, and no lock is held. To take and drop them all
 * would copy a dozen pages in the parent and again in the child: half of what a fork costs a shell.
 */
static void fork_prepare(void)
{
	thread_state.fork_alone = os_is_single_threaded();
	if (thread_state.fork_alone)
		return;
	process_boot();
	locks_prepare();
}

static void fork_parent(void)
{
	if (!thread_state.fork_alone)
		fork_done(false);
	pools_populate();
	reports_poll();
}

static void fork_child(void)
{
	if (atomic_load(&report_is_due))
		atomic_store(&report_is_due, false); /* the parent was asked */
	if (!thread_state.fork_alone)
		fork_done(true);
	if (sampler_interval() || guarded_is_on())
		sampler_fork_child();
	guarded_fork_child();
	if (!thread_state.in_profile)
		unwind_fork_child();
}

const char *bslab_index_mode(void)
{
	process_boot();
	return index_mode_name(percpu_mode());
}
