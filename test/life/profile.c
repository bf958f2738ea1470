/* SPDX-License-Identifier: MIT */
/*
 * profile.c: what profile.py asks for. The functions whose names begin with site_ are what it looks for in the stacks.
 *
 *   sites DIR INTERVAL    known bytes from known places; dumps at several moments, in each format
 *   entries DIR           each entry point from one place
 *   realloc DIR           a block that is resized in all ways; a dump behind each
 *   grow DIR              blocks that grow by a page at a time
 *   threads DIR           allocated by four threads, freed by another
 *   fork DIR              a child frees what its parent holds
 *   same                  sampled blocks behave as others do: sizes, alignment, zeros, sized frees
 *   dlopen                modules come and go in two threads, each allocation is sampled
 *   frames                malloc called with anything for a frame pointer
 *   paths DIR             the same place by many ways, in turns
 *   deep DIR              from 200 frames down
 *   leak                  12 MB held at exit
 *   coroutine DIR         from stacks that were made by hand, and end in anything
 *   first-start           a thread starts the profile, and a child is forked and does, while another is about it
 *   edge                  from a stack that ends where its memory does, and did not the last time
 *   restarts              a thread starts it again and again, others allocate
 *   reload FILE FILE      two libraries, one after the other at the same place, each calls back and allocates
 *   starts                two threads start and stop, again and again; then it is on, and then off
 *   children              a child ends by exit(), its parent does not
 *   misuse N              the N-th of some misuses, of sampled blocks
 *   errors                what the calls refuse
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bslab/profile.h>

#define KEEP(p) __asm__ volatile("" : "+r"(p) : : "memory")
#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #cond);                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
#define SITE __attribute__((noinline))

extern void *_Znwm(size_t size); /* operator new */
extern void *_ZnwmSt11align_val_t(size_t size, size_t align);
extern void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
extern void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag);
extern void _ZdlPvm(void *ptr, size_t size);

SITE void *site_malloc(size_t size)
{
	void *p = malloc(size);

	KEEP(p);
	return p;
}

SITE void *site_calloc(size_t size)
{
	void *p = calloc(1, size);

	KEEP(p);
	return p;
}

SITE void *site_new(size_t size)
{
	void *p = _Znwm(size);

	KEEP(p);
	return p;
}

SITE void *site_aligned(size_t size)
{
	void *p = NULL;

	EXPECT(posix_memalign(&p, 64, size) == 0);
	KEEP(p);
	return p;
}

SITE void *site_large(size_t size)
{
	void *p = malloc(size);

	KEEP(p);
	return p;
}

SITE void *site_late(size_t size)
{
	void *p = malloc(size);

	KEEP(p);
	return p;
}

SITE void *site_realloc(void *ptr, size_t size)
{
	void *p = realloc(ptr, size);

	KEEP(p);
	return p;
}

static void dump(const char *dir, const char *name, const char *format)
{
	char path[512];
	int fd;

	snprintf(path, sizeof path, "%s/%s.%s", dir, name, format);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	EXPECT(fd >= 0);
	EXPECT(bslab_profile_dump(format, fd) == 0);
	close(fd);
}

static void dump_all(const char *dir, const char *name)
{
	dump(dir, name, "text");
	dump(dir, name, "folded");
	dump(dir, name, "pprof");
}

/* Each entry point, once; 4096 bytes each. */
SITE void site_entry(void)
{
	void *p[] = {
	    malloc(4096),
	    calloc(2, 2048),
	    realloc(NULL, 4096),
	    reallocarray(NULL, 2, 2048),
	    aligned_alloc(256, 4096),
	    memalign(256, 4096),
	    valloc(4096),
	    pvalloc(4000),
	    _Znwm(4096),
	    _ZnwmSt11align_val_t(4096, 64),
	    _ZnwmRKSt9nothrow_t(4096, ""),
	    _ZnwmSt11align_val_tRKSt9nothrow_t(4096, 64, ""),
	    bslab_malloc(4096),
	    bslab_calloc(1, 4096),
	    bslab_realloc(NULL, 4096),
	    bslab_aligned_alloc(64, 4096),
	    bslab_memalign(64, 4096),
	    realloc(malloc(100), 4096),
	};
	void *q = NULL;

	EXPECT(posix_memalign(&q, 64, 4096) == 0);
	for (size_t i = 0; i < sizeof p / sizeof p[0]; i++)
		EXPECT(p[i]);
}

static int run_entries(const char *dir)
{
	EXPECT(bslab_profile_start(1) == 0);
	site_entry();
	dump(dir, "entries", "folded");
	return 0;
}

/* --- sites ------------------------------------------------------------------------------- */

struct site {
	void *(*alloc)(size_t size);
	size_t size, count;
	void **held;
};

static struct site sites[] = {
    {site_malloc, 100, 200000, NULL}, {site_calloc, 1000, 20000, NULL}, {site_new, 40, 300000, NULL},
    {site_aligned, 3000, 6000, NULL}, {site_large, 150000, 150, NULL},
};
#define NR_SITES (sizeof sites / sizeof sites[0])

static void site_fill(struct site *s)
{
	s->held = mmap(NULL, s->count * sizeof(void *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(s->held != MAP_FAILED);
	for (size_t i = 0; i < s->count; i++) {
		s->held[i] = s->alloc(s->size);
		free(s->alloc(s->size)); /* as much again comes and goes */
	}
}

/* Each step-th from the first on. */
static void site_empty(struct site *s, size_t first, size_t step)
{
	for (size_t i = first; i < s->count; i += step)
		free(s->held[i]);
}

static int run_sites(const char *dir, size_t interval)
{
	if (interval)
		EXPECT(bslab_profile_start(interval) == 0);
	for (size_t i = 0; i < NR_SITES; i++)
		site_fill(&sites[i]);
	dump_all(dir, "held");
	for (size_t i = 0; i < NR_SITES; i++)
		site_empty(&sites[i], 0, 2);
	dump_all(dir, "half");
	bslab_profile_stop();
	for (int i = 0; i < 2000; i++)
		EXPECT(site_late(10000));
	dump(dir, "stopped", "folded");
	dump(dir, "stopped", "text");
	for (size_t i = 0; i < NR_SITES; i++)
		site_empty(&sites[i], 1, 2);
	dump_all(dir, "empty");
	EXPECT(bslab_profile_start(10000) == 0);
	for (int i = 0; i < 2000; i++)
		EXPECT(site_late(10000));
	dump_all(dir, "again");
	return 0;
}

/* --- realloc -------------------------------------------------------------------------------- */

static int run_realloc(const char *dir)
{
	static const size_t sizes[] = {100,	 105,	   60,	    500,      5000,	 20000,	   60000,    65000,   40000,
				       200000,	 400000,   900000,  3000000,  5000000,	 9000000, 3000000,  300000000, 500000000,
				       280000000, 2500000, 700000,   100000,   33000,	 30000,	   10,	     300000,   2000000};
	unsigned char *p = NULL;
	char name[32];

	EXPECT(bslab_profile_start(1) == 0);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		size_t old = i ? sizes[i - 1] : 0, both = old < sizes[i] ? old : sizes[i];

		p = site_realloc(p, sizes[i]);
		EXPECT(p);
		EXPECT(!old || (p[0] == 1 && p[both - 1] == (both == old ? 2 : p[both - 1])));
		memset(p, 3, sizes[i] < 5000 ? sizes[i] : 5000);
		p[0] = 1;
		p[sizes[i] - 1] = 2;
		snprintf(name, sizeof name, "%zu-%zu", i, sizes[i]);
		dump(dir, name, "folded");
	}
	free(p);
	dump(dir, "end", "folded");
	return 0;
}

/* --- threads, fork ------------------------------------------------------------------------------ */

#define NR_THREADS 4
#define NR_BLOCKS 40000
static void *blocks[NR_THREADS][NR_BLOCKS];

static void *fill_blocks(void *arg)
{
	void **mine = blocks[(uintptr_t)arg];

	for (int i = 0; i < NR_BLOCKS; i++) {
		mine[i] = site_malloc(200);
		free(site_malloc(200));
	}
	return NULL;
}

static void fill_by_threads(void)
{
	pthread_t thread[NR_THREADS];

	for (uintptr_t i = 0; i < NR_THREADS; i++)
		EXPECT(pthread_create(&thread[i], NULL, fill_blocks, (void *)i) == 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
}

static atomic_bool is_filled, is_seen;

/* On a busy machine a hundred may be done before there is anything, and all may be freed before the next. */
static void *dump_for_long(void *text)
{
	int null = open("/dev/null", O_WRONLY);

	for (int i = 0; i < 100 || !is_seen; i++) {
		bool was_filled = is_filled;

		EXPECT(bslab_profile_dump("text", (int)(intptr_t)text) == 0);
		EXPECT(bslab_profile_dump("pprof", null) == 0);
		is_seen = was_filled;
	}
	close(null);
	return NULL;
}

static int run_threads(const char *dir)
{
	char path[512];
	pthread_t dumper;
	int fd;

	snprintf(path, sizeof path, "%s/meanwhile.text", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	EXPECT(fd >= 0 && bslab_profile_start(16384) == 0);
	EXPECT(pthread_create(&dumper, NULL, dump_for_long, (void *)(intptr_t)fd) == 0);
	fill_by_threads();
	dump(dir, "held", "folded");
	is_filled = true;
	while (!is_seen)
		usleep(1000);
	for (int i = 0; i < NR_THREADS; i++)
		for (int j = 0; j < NR_BLOCKS; j++)
			free(blocks[i][j]);
	pthread_join(dumper, NULL);
	dump(dir, "freed", "folded");
	return 0;
}

static void *fork_for_long(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		int status;
		pid_t child = fork();

		if (child == 0) {
			for (int j = 0; j < 1000; j++)
				free(site_malloc(1000));
			_exit(0);
		}
		EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	}
	return NULL;
}

static int run_fork(const char *dir)
{
	pthread_t forker;
	int status;
	pid_t child;

	EXPECT(bslab_profile_start(16384) == 0);
	EXPECT(pthread_create(&forker, NULL, fork_for_long, NULL) == 0);
	fill_by_threads();
	pthread_join(forker, NULL);
	child = fork();
	EXPECT(child >= 0);
	if (child == 0) {
		dump(dir, "child-held", "folded");
		for (int i = 0; i < NR_THREADS; i++)
			for (int j = 0; j < NR_BLOCKS; j++)
				free(blocks[i][j]);
		for (int i = 0; i < 1000; i++)
			EXPECT(site_late(10000));
		dump(dir, "child-freed", "folded");
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
	dump(dir, "parent", "folded");
	return 0;
}

/* --- blocks are the same --------------------------------------------------------------------------- */

static int run_same(void)
{
	for (int i = 0; i < 3; i++) { /* large blocks that are kept as they are when they are freed */
		char *p = malloc(40 << 20), *q;

		memset(p, 1, 40 << 20);
		free(p);
		EXPECT(bslab_profile_start(1) == 0);
		q = site_malloc(5 << 20);
		free(q);
		bslab_profile_stop();
		p = malloc(5 << 20);
		EXPECT(p == q); /* else this tests nothing */
		free(p);
	}
	for (size_t size = 0; size < 3000000; size += 1 + size / 7) {
		void *plain = malloc(size), *sampled, *p;
		size_t usable = bslab_malloc_usable_size(plain);

		EXPECT(bslab_profile_start(1) == 0);
		sampled = site_malloc(size);
		EXPECT(bslab_malloc_usable_size(sampled) == usable);
		memset(sampled, 7, usable);
		bslab_free_sized(sampled, size);
		p = site_calloc(size);
		EXPECT(bslab_malloc_usable_size(p) == usable);
		for (size_t i = 0; i < size; i += 1 + i / 64)
			EXPECT(((char *)p)[i] == 0);
		free(p);
		p = site_new(size);
		_ZdlPvm(p, size);
		for (size_t align = 8; align <= 1 << 16; align *= 2) {
			p = _ZnwmSt11align_val_t(size, align);
			EXPECT(p && (uintptr_t)p % align == 0 && bslab_malloc_usable_size(p) >= size);
			bslab_free_aligned_sized(p, align, size);
			p = aligned_alloc(align, size);
			EXPECT(p && (uintptr_t)p % align == 0);
			p = realloc(p, size + 1);
			free(p);
		}
		free(plain);
		bslab_profile_stop();
	}
	return 0;
}

/* --- hard places to unwind from ------------------------------------------------------------------------ */

static void *open_and_close(void *name)
{
	for (int i = 0; i < 300; i++) {
		void *library = dlopen(name, RTLD_NOW);

		free(site_malloc(100));
		if (library)
			dlclose(library);
		dlopen("no-such-library.so", RTLD_NOW); /* an error's text is allocated */
	}
	return NULL;
}

static int run_dlopen(void)
{
	pthread_t thread[2];

	EXPECT(bslab_profile_start(1) == 0);
	pthread_create(&thread[0], NULL, open_and_close, "libstdc++.so.6");
	pthread_create(&thread[1], NULL, open_and_close, "libanl.so.1");
	open_and_close("libm.so.6");
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	puts("done");
	return 0;
}

static void *malloc_with_frame(uintptr_t frame)
{
	void *p = NULL;

#ifdef __x86_64__
	/* Past the red zone, the stack aligned. */
	__asm__ volatile("push %%rbp; mov %%rsp, %%rbx; sub $128, %%rsp; and $-16, %%rsp; mov %1, %%rbp\n\t"
			 "mov $100, %%edi; call malloc@PLT; mov %%rbx, %%rsp; pop %%rbp"
			 : "=a"(p)
			 : "r"(frame)
			 : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
#else
	(void)frame;
	p = malloc(100);
#endif
	return p;
}

static int run_frames(void)
{
	char *hole = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t here = (uintptr_t)&hole, loop[4] = {(uintptr_t)loop, 0x1000, 0, 0};
	uintptr_t values[] = {0,	  1,	      8,	   4096,	  here + 1,
			      here,	  here + 64,  here + 4096, here + 500000, here + 2000000,
			      here - 200, UINTPTR_MAX, UINTPTR_MAX - 7, 0x800000000000, (uintptr_t)hole + 4096 - 8,
			      (uintptr_t)hole + 4096, (uintptr_t)loop, (uintptr_t)1 << 63};

	mprotect(hole + 4096, 4096, PROT_NONE);
	EXPECT(bslab_profile_start(1) == 0);
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
		free(malloc_with_frame(values[i]));
	puts("done");
	return 0;
}

/* --- a stack without a beginning --- */

static jmp_buf back;

SITE void coroutine(void)
{
	EXPECT(site_malloc(1000));
	longjmp(back, 1);
}

/*
 * Enters it as hand-made switches do: its return address and its caller's frame pointer are whatever was there. Each time
 * elsewhere on its stack, so that no walk is like another.
 */
static void enter_coroutine(size_t nr, uintptr_t ret, uintptr_t frame)
{
#ifdef __x86_64__
	static uintptr_t stack[8192] __attribute__((aligned(16)));
	uintptr_t *sp = stack + 8000 - 2 * nr;

	memset(stack, 0x5a, sizeof stack);
	*--sp = ret;
	if (!_setjmp(back))
		__asm__ volatile("mov %0, %%rsp; mov %2, %%rbp; jmp *%1" : : "a"(sp), "d"(coroutine), "c"(frame) : "memory");
#else
	(void)nr;
	(void)ret;
	(void)frame;
	if (!_setjmp(back))
		coroutine();
#endif
}

static int run_coroutine(const char *dir)
{
	char *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t values[] = {0,	      1,	 8,
			      4096,	      UINTPTR_MAX,	 0xdeaddeaddeaddead,
			      0x5a5a5a5a5a5a, (uintptr_t)&values, (uintptr_t)hole + 8};
	static volatile size_t i;

	EXPECT(bslab_profile_start(1) == 0);
	for (i = 0; i < sizeof values / sizeof values[0]; i++)
		enter_coroutine(i, values[i], values[(i + 1) % (sizeof values / sizeof values[0])]);
	dump(dir, "coroutine", "folded");
	return 0;
}

/* Its last word is the return address into code with an entry; what is above is looked for, first there and then not. */
SITE void *site_grow(void *ptr, size_t size)
{
	void *p = realloc(ptr, size);

	KEEP(p);
	return p;
}

static int run_grow(const char *dir)
{
	enum { NR_GROWN = 16, GROWN = 8 << 20 };
	void *p[NR_GROWN];

	EXPECT(bslab_profile_start(1 << 20) == 0);
	for (int i = 0; i < NR_GROWN; i++) {
		p[i] = NULL;
		for (size_t size = 4096; size <= GROWN; size += 4096)
			EXPECT((p[i] = site_grow(p[i], size)));
	}
	dump(dir, "grown", "folded");
	for (int i = 0; i < NR_GROWN; i++)
		free(p[i]);
	return 0;
}

int main(int argc, char **argv);

SITE void site_edge(void)
{
}

static int run_edge(void)
{
#ifdef __x86_64__
	char *memory = mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *top = memory + 16384;
	static volatile int i;

	EXPECT(bslab_profile_start(1) == 0);
	for (i = 0; i < 3; i++) {
		if (i == 2)
			EXPECT(munmap(top, 16384) == 0);
		else
			*(uintptr_t *)top = (uintptr_t)main + 4; /* what stands where the next return address would */
		*((uintptr_t *)top - 1) = (uintptr_t)site_edge + 1; /* at its start: its CFA is 8 above */
		if (!_setjmp(back))
			__asm__ volatile("mov %0, %%rsp; xor %%ebp, %%ebp; jmp *%1" : : "a"(top - 8), "d"(coroutine) : "memory");
	}
#endif
	puts("done");
	return 0;
}

SITE void *site_deep(int depth)
{
	void *p = depth ? site_deep(depth - 1) : malloc(1000);

	KEEP(p);
	return p;
}

static int run_deep(const char *dir)
{
	EXPECT(bslab_profile_start(1) == 0);
	EXPECT(site_deep(200));
	dump(dir, "deep", "folded");
	return 0;
}

/*
 * Two ways to a site that look alike on the stack, recursion of changing depth between, frames of changing size. 1,000
 * bytes at a time; even ones by way_a, of which each third has way_c in its stack.
 */
#define NR_WALKS 3000

SITE void *way_down(int depth, size_t room)
{
	char *stack = __builtin_alloca(room);
	void *p;

	KEEP(stack);
	p = depth ? way_down(depth - 1, room) : site_malloc(1000);
	KEEP(p);
	return p;
}

SITE void *way_a(int depth, size_t room)
{
	void *p = way_down(depth, room);

	KEEP(p);
	return p;
}

SITE void *way_b(int depth, size_t room)
{
	void *p = way_down(depth, room);

	KEEP(p);
	return p;
}

SITE void *way_c(int depth, size_t room)
{
	void *p = way_a(depth, room);

	KEEP(p);
	return p;
}

static int run_paths(const char *dir)
{
	EXPECT(bslab_profile_start(1) == 0);
	for (int i = 0; i < NR_WALKS; i++)
		EXPECT((i % 2 ? way_b : i % 3 ? way_a : way_c)(i % 7 % 4 * (i % 50 == 0 ? 30 : 1), (size_t)(i % 5) * 48));
	dump(dir, "paths", "folded");
	return 0;
}

static void *start_for_long(void *arg)
{
	for (int i = 0; i < 20000; i++)
		EXPECT(bslab_profile_start(1) == 0);
	return arg;
}

static void *stop_for_long(void *arg)
{
	for (int i = 0; i < 20000; i++)
		bslab_profile_stop();
	return arg;
}

static int run_starts(const char *dir)
{
	pthread_t thread[2];

	EXPECT(pthread_create(&thread[0], NULL, start_for_long, NULL) == 0);
	EXPECT(pthread_create(&thread[1], NULL, stop_for_long, NULL) == 0);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	EXPECT(bslab_profile_start(1) == 0);
	EXPECT(site_malloc(100));
	bslab_profile_stop();
	EXPECT(site_late(100));
	dump(dir, "starts", "folded");
	return 0;
}

/* --- the first start --- */

static void (*during_setup)(void);

/* By which the library looks around. libc's own goes by the version that its machine began with, or that of 2.34. */
void *dlsym(void *handle, const char *name)
{
	static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
	void *(*real)(void *, const char *) = NULL;
	void (*hook)(void) = during_setup;

	for (int i = 0; i < 3 && !real; i++)
		real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", versions[i]);
	during_setup = NULL;
	if (hook)
		hook();
	return real(handle, name);
}

static void *start_once(void *arg)
{
	EXPECT(bslab_profile_start(1) == 0);
	EXPECT(site_malloc(100));
	return arg;
}

static void start_otherwise(void)
{
	pthread_t thread;
	int status;
	pid_t child = fork();

	if (child == 0) {
		alarm(20);
		start_once(NULL);
		_exit(0);
	}
	EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	EXPECT(pthread_create(&thread, NULL, start_once, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static int run_first_start(void)
{
	alarm(60);
	during_setup = start_otherwise;
	start_once(NULL);
	EXPECT(!during_setup);
	puts("done");
	return 0;
}

static atomic_bool is_over;

static void *allocate_all_along(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)&arg | 1;

	while (!is_over) {
		size_t size = 36000 + ((random = random * 1103515245 + 12345) >> 8) % 90000;
		void *small = malloc(16), *p = malloc(size);

		KEEP(p);
		KEEP(small);
		EXPECT(malloc_usable_size(p) >= size);
		free(p);
		free(small);
	}
	return arg;
}

/* Whatever a thread has seen of a start, it gets what it asked for. */
static int run_restarts(void)
{
	struct timespec begin, now;
	pthread_t thread[4];

	EXPECT(bslab_profile_start(1 << 29) == 0);
	for (int size = 1; size < 40000; size *= 2) /* so that there are free ones of each class */
		free(site_malloc((size_t)size));
	for (int i = 0; i < 4; i++)
		EXPECT(pthread_create(&thread[i], NULL, allocate_all_along, NULL) == 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		for (size_t i = 0; i < 1000; i++)
			EXPECT(bslab_profile_start(((size_t)1 << 29) + i) == 0);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < 3);
	is_over = true;
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	puts("done");
	return 0;
}

/* --- libraries that come and go --- */

static void call_back(void)
{
	EXPECT(site_malloc(1000));
}

static int run_reload(const char *first, const char *second)
{
	const char *names[] = {first, second};
	void *at[2];

	EXPECT(bslab_profile_start(1) == 0);
	for (int i = 0; i < 2; i++) {
		void *library = dlopen(names[i], RTLD_NOW);
		void (*plugin)(void (*)(void));

		EXPECT(library);
		plugin = (void (*)(void (*)(void)))dlsym(library, "plugin");
		EXPECT(plugin);
		at[i] = (void *)plugin;
		plugin(call_back);
		EXPECT(bslab_profile_dump("folded", 1) == 0);
		EXPECT(dlclose(library) == 0);
	}
	puts(at[0] == at[1] ? "at the same place" : "elsewhere");
	return 0;
}

/* --- exit, misuse, errors -------------------------------------------------------------------------------- */

static int run_leak(void)
{
	for (int i = 0; i < 12000; i++)
		EXPECT(site_malloc(1000));
	for (int i = 0; i < 12000; i++)
		free(site_calloc(1000));
	return 0;
}

static int run_children(void)
{
	int status;
	pid_t child;

	EXPECT(site_malloc(2000000));
	child = fork();
	EXPECT(child >= 0);
	if (child == 0) {
		EXPECT(site_late(3000000));
		exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
	_exit(0); /* what there is now, the child wrote */
}

static int run_misuse(int n)
{
	char *p, *q;

	EXPECT(bslab_profile_start(1) == 0);
	p = site_malloc(100);
	q = site_malloc(50000);
	switch (n) {
	case 0:
		free(p);
		free(p);
		break;
	case 1:
		free(p + 16);
		break;
	case 2:
		free(q);
		free(q);
		break;
	case 3:
		free(q + 8192);
		break;
	case 4:
		bslab_free_sized(p, 1000);
		break;
	}
	return 0;
}

static int run_errors(void)
{
	int full = open("/dev/full", O_WRONLY), fd = open("/dev/null", O_WRONLY);

	EXPECT(bslab_profile_dump("folded", fd) == 0); /* nothing yet */
	errno = 0;
	EXPECT(bslab_profile_start(((size_t)1 << 30) + 1) == -1 && errno == EINVAL);
	EXPECT(bslab_profile_start(0) == 0);
	EXPECT(bslab_profile_dump("xml", fd) == -1 && errno == EINVAL);
	EXPECT(bslab_profile_dump(NULL, fd) == -1 && errno == EINVAL);
	EXPECT(bslab_profile_dump("text", full) == -1 && errno == ENOSPC);
	EXPECT(bslab_profile_dump("pprof", full) == -1 && errno == ENOSPC);
	EXPECT(bslab_profile_dump("text", -1) == -1 && errno == EBADF);
	bslab_profile_stop();
	bslab_profile_stop();
	/* M_PERTURB wants the slow path too, and is not disturbed. */
	EXPECT(bslab_mallopt(-6, 0x55) == 1 && bslab_profile_start(0) == 0);
	bslab_profile_stop();
	EXPECT(*(unsigned char *)site_malloc(10) == 0xaa);
	EXPECT(bslab_profile_start(0) == 0 && *(unsigned char *)site_malloc(10) == 0xaa);
	EXPECT(bslab_mallopt(-6, 0) == 1);
	puts("done");
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *dir = argc > 2 ? argv[2] : "";

	if (strcmp(what, "sites") == 0 && argc == 4)
		return run_sites(dir, (size_t)atol(argv[3]));
	if (strcmp(what, "entries") == 0)
		return run_entries(dir);
	if (strcmp(what, "realloc") == 0)
		return run_realloc(dir);
	if (strcmp(what, "grow") == 0)
		return run_grow(dir);
	if (strcmp(what, "threads") == 0)
		return run_threads(dir);
	if (strcmp(what, "fork") == 0)
		return run_fork(dir);
	if (strcmp(what, "same") == 0)
		return run_same();
	if (strcmp(what, "dlopen") == 0)
		return run_dlopen();
	if (strcmp(what, "frames") == 0)
		return run_frames();
	if (strcmp(what, "paths") == 0)
		return run_paths(dir);
	if (strcmp(what, "deep") == 0)
		return run_deep(dir);
	if (strcmp(what, "leak") == 0)
		return run_leak();
	if (strcmp(what, "coroutine") == 0)
		return run_coroutine(dir);
	if (strcmp(what, "first-start") == 0)
		return run_first_start();
	if (strcmp(what, "edge") == 0)
		return run_edge();
	if (strcmp(what, "restarts") == 0)
		return run_restarts();
	if (strcmp(what, "reload") == 0 && argc == 4)
		return run_reload(argv[2], argv[3]);
	if (strcmp(what, "starts") == 0)
		return run_starts(dir);
	if (strcmp(what, "children") == 0)
		return run_children();
	if (strcmp(what, "misuse") == 0)
		return run_misuse(atoi(dir));
	if (strcmp(what, "errors") == 0)
		return run_errors();
	return 2;
}
