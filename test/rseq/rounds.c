/* SPDX-License-Identifier: MIT */
/*
 * The tracee: rounds through every entry point of the library, small blocks only. Each block is filled with a number
 * of its own and checked when it is freed: no object is given out twice. After a round all is freed, and the library
 * must count as many bytes in use as before: none is lost.
 */
#include "rounds.h"

#include <bslab/kmalloc.h>
#include <bslab/kmem.h>
#include <bslab/page.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define SIZE 64
#define MAX_HELD 6000
#define NR_BULK 600  /* exchanges sheaves with the barn */
#define NR_VISITS 5000 /* slow paths enough to look at the clock */
#define NR_EACH 3
#define NR_TYPED 40

static struct talk talk;
static uint64_t *held[MAX_HELD];
static unsigned nr_held;
static uint64_t *volatile kept; /* by the signal handler */

static void fail(const char *what)
{
	fprintf(stderr, "rounds: %s\n", what);
	_exit(1);
}

static void check(const uint64_t *p)
{
	for (unsigned i = 0; i < SIZE / sizeof *p; i++)
		if (p[i] != ((uint64_t)(uintptr_t)p ^ i))
			fail("an object was given out twice, or written to");
}

static void hold(void *block)
{
	uint64_t *p = block;

	if (!p)
		fail("no memory");
	for (unsigned i = 0; i < nr_held; i++)
		if (i + 32 > nr_held && held[i] == p)
			fail("an object was given out twice in a row");
	for (unsigned i = 0; i < SIZE / sizeof *p; i++)
		p[i] = (uint64_t)(uintptr_t)p ^ i;
	held[nr_held++] = p;
}

/* --- entry points --------------------------------------------------------------------------- */

typedef void *(*alloc_call)(size_t);
typedef void *(*alloc2_call)(size_t, size_t);
typedef void *(*new_call)(size_t, size_t, const void *);
typedef void (*free_call)(void *, size_t, size_t);

/* Which arguments, in which order. */
enum form { BY_SIZE, BY_COUNT, BY_ALIGN, BY_POINTER, BY_SIZE_ALIGN, BY_OUT, BY_GROWTH, BY_FLAGS };

static const struct {
	const char *name;
	enum form form;
} allocs[] = {
    {"malloc", BY_SIZE},
    {"bslab_malloc", BY_SIZE},
    {"bslab_kmalloc", BY_SIZE},
    {"bslab_kmalloc", BY_FLAGS},
    {"valloc", BY_SIZE},
    {"_Znwm", BY_SIZE},
    {"_ZnwmRKSt9nothrow_t", BY_SIZE},
    {"calloc", BY_COUNT},
    {"bslab_calloc", BY_COUNT},
    {"memalign", BY_ALIGN},
    {"bslab_memalign", BY_ALIGN},
    {"aligned_alloc", BY_ALIGN},
    {"bslab_aligned_alloc", BY_ALIGN},
    {"bslab_valloc", BY_SIZE},
    {"pvalloc", BY_SIZE},
    {"posix_memalign", BY_OUT},
    {"bslab_posix_memalign", BY_OUT},
    {"realloc", BY_POINTER},
    {"bslab_realloc", BY_POINTER},
    {"realloc", BY_GROWTH},
    {"_ZnwmSt11align_val_t", BY_SIZE_ALIGN},
    {"_ZnwmSt11align_val_tRKSt9nothrow_t", BY_SIZE_ALIGN},
};
static const char *const frees[] = {"free", "cfree", "bslab_free", "_ZdlPv", "_ZdlPvm", "_ZdlPvmSt11align_val_t", "free_sized",
				    "bslab_free_sized", "free_aligned_sized", "bslab_free_aligned_sized", "realloc"};
#define NR_ALLOCS (sizeof allocs / sizeof *allocs)
#define NR_FREES (sizeof frees / sizeof *frees)
static void *alloc_at[NR_ALLOCS], *free_at[NR_FREES];

static void *find(const char *name)
{
	void *p = dlsym(RTLD_DEFAULT, name);

	if (!p)
		fail(name);
	return p;
}

static void *alloc_by(unsigned which)
{
	void *call = alloc_at[which], *p = NULL;

	switch (allocs[which].form) {
	case BY_SIZE:
		return ((new_call)call)(SIZE, 0, NULL);
	case BY_COUNT:
		p = ((alloc2_call)call)(1, SIZE);
		for (unsigned i = 0; p && i < SIZE; i++)
			if (((char *)p)[i])
				fail("calloc is not zero");
		return p;
	case BY_ALIGN:
		return ((alloc2_call)call)(SIZE, SIZE);
	case BY_SIZE_ALIGN:
		return ((new_call)call)(SIZE, SIZE, NULL);
	case BY_GROWTH:
		return ((void *(*)(void *, size_t))call)(malloc(8), SIZE);
	case BY_FLAGS:
		return ((void *(*)(size_t, unsigned))call)(SIZE, BSLAB_GFP_ZERO);
	case BY_POINTER:
		return ((void *(*)(void *, size_t))call)(NULL, SIZE);
	default:
		return ((int (*)(void **, size_t, size_t))call)(&p, SIZE, SIZE) ? NULL : p;
	}
}

static void free_by(unsigned which, uint64_t *p)
{
	check(p);
	if (!strcmp(frees[which], "realloc"))
		((void *(*)(void *, size_t))free_at[which])(p, 0);
	else
		((free_call)free_at[which])(p, SIZE, SIZE);
}

/* --- a typed cache ---------------------------------------------------------------------------- */

static struct {
	struct bslab_cache *cache;
	__typeof__(bslab_cache_create) *create;
	__typeof__(bslab_cache_alloc) *alloc, *zalloc;
	__typeof__(bslab_cache_free) *free;
	__typeof__(bslab_cache_alloc_bulk) *alloc_bulk;
	__typeof__(bslab_cache_free_bulk) *free_bulk;
} typed;

static void typed_find(void)
{
	typed.create = find("bslab_cache_create");
	typed.alloc = find("bslab_cache_alloc");
	typed.zalloc = find("bslab_cache_zalloc");
	typed.free = find("bslab_cache_free");
	typed.alloc_bulk = find("bslab_cache_alloc_bulk");
	typed.free_bulk = find("bslab_cache_free_bulk");
	typed.cache = typed.create("rounds", SIZE, 0, BSLAB_CACHE_NO_MERGE, NULL);
	if (!typed.cache)
		fail("no cache");
}

static void typed_round(void)
{
	void *bulk[NR_TYPED];
	unsigned first = nr_held, i;

	for (i = 0; i < NR_EACH; i++) {
		hold(typed.alloc(typed.cache));
		hold(typed.zalloc(typed.cache));
	}
	if (typed.alloc_bulk(typed.cache, NR_TYPED, bulk) != NR_TYPED)
		fail("no memory");
	for (i = 0; i < NR_TYPED; i++)
		hold(bulk[i]);
	for (i = 0; i < NR_TYPED; i++)
		check(bulk[i] = held[--nr_held]);
	typed.free_bulk(typed.cache, NR_TYPED, bulk);
	while (nr_held > first) {
		check(held[--nr_held]);
		typed.free(typed.cache, held[nr_held]);
	}
}

/* --- page runs -------------------------------------------------------------------------------- */

#define RUN_SIZE (64 * 1024)

/* The run freed last is taken again, but for those that came between. */
static void run_round(void)
{
	for (unsigned i = 0; i < NR_EACH; i++) {
		uint64_t *run = i % 2 ? memalign(SIZE, RUN_SIZE) : malloc(RUN_SIZE), *other = malloc(RUN_SIZE);

		if (!run || !other)
			fail("no memory");
		run[0] = 1;
		other[0] = 2;
		run[RUN_SIZE / sizeof *run - 1] = other[RUN_SIZE / sizeof *run - 1] = 3;
		if (run[0] != 1 || other[0] != 2)
			fail("a run is there twice");
		free(other);
		free(run);
	}
}

/* --- pages, zones, scopes ----------------------------------------------------------------------- */

#define NR_PAGES 12

static struct {
	__typeof__(bslab_pages_alloc) *alloc;
	__typeof__(bslab_pages_alloc_exact) *alloc_exact;
	__typeof__(bslab_pages_free) *free;
	__typeof__(bslab_pages_alloc_bulk) *alloc_bulk;
	__typeof__(bslab_pages_free_bulk) *free_bulk;
	__typeof__(bslab_kmalloc) *kmalloc;
	__typeof__(bslab_free) *kfree;
	__typeof__(bslab_scope_add) *scope_add;
	__typeof__(bslab_scope_end) *scope_end;
} calls;

static void calls_find(void)
{
	calls.alloc = find("bslab_pages_alloc");
	calls.alloc_exact = find("bslab_pages_alloc_exact");
	calls.free = find("bslab_pages_free");
	calls.alloc_bulk = find("bslab_pages_alloc_bulk");
	calls.free_bulk = find("bslab_pages_free_bulk");
	calls.kmalloc = find("bslab_kmalloc");
	calls.kfree = find("bslab_free");
	calls.scope_add = find("bslab_scope_add");
	calls.scope_end = find("bslab_scope_end");
}

static void *page_of(unsigned i)
{
	switch (i % 4) {
	case 0:
		return calls.alloc_exact(7 * BSLAB_PAGE_BYTES, 0);
	case 1:
		return calls.alloc(4, 0);
	case 2:
		return calls.alloc(0, BSLAB_PAGES_ZERO);
	default:
		return calls.alloc(i % 3, 0);
	}
}

static void pages_round(void)
{
	uint64_t *page[NR_PAGES];
	unsigned i;

	for (i = 0; i < NR_PAGES; i++) {
		page[i] = page_of(i);
		if (!page[i] || (i % 4 == 2 && (page[i][0] || page[i][511])))
			fail("no pages, or no zeros");
		page[i][0] = page[i][511] = i;
	}
	for (i = NR_PAGES; i-- > 0; calls.free(page[i]))
		if (page[i][0] != i || page[i][511] != i)
			fail("a page was given out twice");
	if (calls.alloc_bulk(NR_PAGES, (void **)page, 0) != NR_PAGES)
		fail("no pages");
	calls.free_bulk(NR_PAGES, (void **)page);
}

static void zone_round(void)
{
	uint64_t *low[NR_EACH];
	unsigned i;

	for (i = 0; i < NR_EACH; i++) {
		low[i] = calls.kmalloc(SIZE, BSLAB_GFP_DMA32);
		if (low[i])
			low[i][0] = i;
	}
	for (i = 0; i < NR_EACH; i++) {
		if (low[i] && low[i][0] != i)
			fail("a block of a zone was given out twice");
		calls.kfree(low[i]);
	}
}

static void forget(void *unused)
{
	(void)unused;
}

#define ENTRY_SIZE 32 /* of a scope */

/* The slow path joins the quick one where its sequence ends: an object is at hand, so that the end means a commit. */
static void scope_round(void)
{
	struct bslab_scope scope = {0};

	calls.kfree(calls.kmalloc(ENTRY_SIZE, 0));
	if (calls.scope_add(&scope, forget, NULL) != 0)
		fail("no memory");
	calls.scope_end(&scope);
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void release(unsigned which)
{
	uint64_t *p = held[--nr_held];
	size_t usable = malloc_usable_size(p);

	if (usable < SIZE)
		fail("usable size is too small");
	/* A whole page has another size than we would name; in the hardened mode it need not be so much aligned. */
	if (usable > 2 * SIZE || ((uintptr_t)p % SIZE && strstr(frees[which], "lign")))
		which = 0;
	free_by(which, p);
}

/* Objects to take in this CPU's sheaf, and places for more. */
static void half_fill(void)
{
	for (unsigned i = 0; i < 24; i++)
		hold(malloc(SIZE));
	for (unsigned i = 0; i < 12; i++)
		release(0);
}

static void pause_and_visit(void)
{
	nanosleep(&(struct timespec){0, 45000000}, NULL);
	for (unsigned i = 0; i < NR_VISITS; i++)
		hold(malloc(SIZE));
	while (nr_held)
		release(0);
	malloc_trim(0);
}

static void round_once(void)
{
	unsigned a, f, i;

	half_fill();
	for (a = 0; a < NR_ALLOCS; a++) {
		for (i = 0; i < NR_EACH; i++)
			hold(alloc_by(a));
		for (i = 0; i < NR_EACH - 1; i++)
			release(a % NR_FREES);
	}
	for (f = 0; f < NR_FREES; f++)
		release(f);
	typed_round();
	run_round();
	pages_round();
	zone_round();
	scope_round();
	for (i = 0; i < NR_BULK; i++)
		hold(malloc(SIZE));
	while (nr_held)
		release(nr_held % NR_FREES);
	if (talk.rests)
		pause_and_visit();
	if (kept) {
		check(kept);
		free(kept);
		kept = NULL;
	}
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *c = context;
	uint64_t *p, *was = kept;

	(void)sig;
	(void)info;
	talk.interrupted_at = (uint64_t)c->uc_mcontext.gregs[REG_RIP];
	if (!talk.handler_mallocs)
		return;
	if (was) {
		check(was);
		free(was);
	}
	p = malloc(SIZE);
	for (unsigned i = 0; i < SIZE / sizeof *p; i++)
		p[i] = (uint64_t)(uintptr_t)p ^ i;
	kept = p;
	free(malloc(SIZE));
	typed.free(typed.cache, typed.alloc(typed.cache));
}

/* Of the mode in force, which must be the one asked for. */
static uint64_t mode_field(void)
{
	const char *mode = ((const char *(*)(void))find("bslab_index_mode"))(), *conf = getenv("BSLAB_CONF");

	if (strncmp(conf, "index=", 6) == 0 && strncmp(conf + 6, "auto", 4) && strncmp(conf + 6, mode, strlen(mode)))
		_exit(77);
	return !strcmp(mode, "mm_cid") ? 24 : !strcmp(mode, "cpu_id") ? 4 : 0;
}

static void refuse_barrier(void)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77); /* no seccomp filters here */
}

void rounds(bool refuses_barrier)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
	const char *conf = getenv("BSLAB_CONF");
	bool is_hardened = conf && strstr(conf, "hardened=yes");
	size_t before = 0, now;

	for (unsigned i = 0; i < NR_ALLOCS; i++)
		alloc_at[i] = find(allocs[i].name);
	for (unsigned i = 0; i < NR_FREES; i++)
		free_at[i] = find(frees[i]);
	typed_find();
	calls_find();
	sigaction(SIGUSR1, &action, NULL);
	if (refuses_barrier)
		refuse_barrier();
	talk.field = mode_field();
	for (;;) {
		__asm__ volatile("int3" ::"a"(&talk), "d"((uint64_t)ROUND_MARK) : "memory");
		round_once();
		if (is_hardened)
			malloc_trim(0); /* what waits in the quarantine counts as in use */
		now = mallinfo2().uordblks;
		if (before && now != before)
			fail(now > before ? "an object was lost" : "an object is counted twice");
		before = now;
	}
}
