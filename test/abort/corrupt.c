/* SPDX-License-Identifier: MIT */
/*
 * One misuse of memory a case: what is written or read where it should not be, or freed and used on. `corrupt NAME`
 * prints the addresses that its message must name, commits the misuse, and says "went on" if it comes that far.
 * modes.py beside this file knows what each case has to say in which mode.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bslab/bslab.h"
#include "../signal_frame.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define SMALL 61 /* bytes: not a multiple of anything */
#define RUN (150 * KIB + 3)
#define BLOCKS (5 * MIB + 3)

/* Kept from the compiler, which would warn of, or remove, what is done here on purpose. */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static void say(const char *name, const void *p)
{
	printf("%s %p\n", name, p);
	fflush(stdout);
}

static char *block(size_t size)
{
	char *p = bslab_malloc(size);

	say("block", p);
	return hidden(p);
}

static void put(char *p, ptrdiff_t at, char c)
{
	say("byte", p + at);
	*(volatile char *)(p + at) = c;
}

static int get(const char *p, ptrdiff_t at)
{
	say("byte", p + at);
	return *(const volatile char *)(p + at);
}

/* So that what was freed serves again, whatever waits for how long. */
static void use_others(size_t size)
{
	for (int i = size <= 4096 ? 5000 : 500; i > 0; i--)
		bslab_free(hidden(bslab_malloc(size)));
}

/* --- overflow ------------------------------------------------------------------------------- */

static void overflow(size_t size, ptrdiff_t by, char c)
{
	char *p = block(size);

	put(p, (ptrdiff_t)size + by, c);
	bslab_free(p);
}

static void overflow_by_one(void)
{
	overflow(SMALL, 0, 1);
}

static void overflow_by_one_zero(void)
{
	overflow(SMALL, 0, 0);
}

static void overflow_by_one_full(void)
{
	overflow(64, 0, 0);
}

static void overflow_by_eight(void)
{
	overflow(SMALL, 8, 'x');
}

static void overflow_aligned(void)
{
	char *p = bslab_aligned_alloc(256, 300);

	say("block", p);
	put(hidden(p), 300, 0);
	bslab_free(p);
}

static void overflow_32k(void)
{
	overflow(32000, 0, 0);
}

static void overflow_run(void)
{
	overflow(RUN, 0, 0);
}

static void overflow_run_far(void)
{
	overflow(RUN, 4096, 0);
}

static void overflow_large(void)
{
	overflow(BLOCKS, 0, 0);
}

static void overflow_large_far(void)
{
	overflow(BLOCKS, 4096, 0);
}

static void overflow_realloc(void)
{
	char *p = block(SMALL);

	put(p, SMALL, 0);
	if (bslab_realloc(p, 500))
		puts("got a block");
}

static void overflow_after_realloc(void)
{
	char *p = bslab_realloc(hidden(bslab_malloc(100)), SMALL);

	say("block", p);
	put(hidden(p), SMALL, 0);
	bslab_free(p);
}

/* Appended to by a page each time; *nr_moves: how often its address changed. Its contents are looked at. */
static char *append(size_t end, unsigned *nr_moves)
{
	char *p = NULL;
	size_t size, i;

	*nr_moves = 0;
	for (size = 1; size <= end; size += 4096) {
		char *q = bslab_realloc(p, size);

		*nr_moves += q != p;
		p = hidden(q);
		if (bslab_malloc_usable_size(p) < size)
			fprintf(stderr, "too small\n");
		memset(p + (size > 4096 ? size - 4096 : 0), (int)(size / 4096 % 251), size > 4096 ? 4096 : size);
	}
	for (i = 0; i < end; i += 4096)
		if ((unsigned char)p[i] != i / 4096 % 251)
			fprintf(stderr, "other contents\n");
	return p;
}

static void overflow_after_append(void)
{
	unsigned nr_moves;
	char *p = append(200 * KIB + 1, &nr_moves);

	say("block", p);
	put(p, 200 * KIB + 1, 0);
	bslab_free(p);
}

static void overflow_usable_size(void)
{
	char *p = block(SMALL);
	size_t size = bslab_malloc_usable_size(p);

	memset(p, 'x', size);
	put(p, (ptrdiff_t)size, 'x');
	bslab_free(p);
}

static void overflow_not_freed(void)
{
	put(block(SMALL), SMALL, 0);
}

static void overflow_large_not_freed(void)
{
	put(block(BLOCKS), BLOCKS, 0);
}

/* A whole word of zeros, the commonest store of all, where the block ends without a pad. */
static void zero_behind(char *p, size_t size)
{
	say("byte", p + size);
	memset(hidden(p + size), 0, 8);
}

static void overflow_zero_word(void)
{
	char *p = block(24);

	memset(p, 0, 24);
	zero_behind(p, 24);
	bslab_free(p);
}

static void overflow_zero_word_run(void)
{
	char *p = block(40 * KIB - 8);

	zero_behind(p, 40 * KIB - 8);
	bslab_free(p);
}

static void overflow_zero_word_large(void)
{
	char *p = block(5 * MIB - 8);

	zero_behind(p, 5 * MIB - 8);
	bslab_free(p);
}

static void overflow_zero_word_not_freed(void)
{
	char *p = block(24);

	memset(p, 0, 24);
	zero_behind(p, 24);
}

static void overflow_zero_word_run_not_freed(void)
{
	zero_behind(block(40 * KIB - 8), 40 * KIB - 8);
}

static void overflow_read_run(void)
{
	printf("read %d\n", get(block(128 * KIB), 128 * KIB + 4096));
}

/* --- underflow --------------------------------------------------------------------------------- */

static void underflow(size_t size, ptrdiff_t by)
{
	/* Not the first of its slab, before which another page is. */
	char *p = bslab_malloc(size);

	while (size < 4096 && (uintptr_t)p % 4096 < 128)
		p = hidden(bslab_malloc(size));
	say("block", p);
	/* A word's first and last byte may be any but 0. */
	put(hidden(p), -by, 0);
	bslab_free(p);
}

static void underflow_by_one(void)
{
	underflow(SMALL, 1);
}

static void underflow_by_eight(void)
{
	underflow(SMALL, 8);
}

static void underflow_zero_word(void)
{
	char *p = bslab_malloc(24);

	while ((uintptr_t)p % 4096 < 128)
		p = hidden(bslab_malloc(24));
	say("block", p);
	memset(hidden(p - 8), 0, 8);
	bslab_free(p);
}

static void underflow_large(void)
{
	underflow(BLOCKS, 1);
}

/* --- after free -------------------------------------------------------------------------------- */

static void write_after_free(size_t size)
{
	char *p = block(size);

	bslab_free(p);
	put(p, (ptrdiff_t)size / 2, 'x');
	use_others(size);
}

static void write_after_free_small(void)
{
	write_after_free(SMALL);
}

static void write_after_free_4k(void)
{
	write_after_free(4000);
}

static void write_after_free_40k(void)
{
	write_after_free(40 * KIB);
}

static void write_after_free_run(void)
{
	write_after_free(RUN);
}

static void write_after_free_large(void)
{
	write_after_free(BLOCKS);
}

/* At its end nothing waits any more. */
static void write_after_free_exit(void)
{
	char *p = block(SMALL);

	bslab_free(p);
	put(p, 8, 'x');
}

/* In a slab again, and no longer waiting. */
static void write_after_free_home(void)
{
	char *keep = bslab_malloc(SMALL), *p = block(SMALL);

	bslab_free(p);
	bslab_malloc_trim(0);
	put(p, 8, 'x');
	hidden(keep);
}

/* More runs are freed than wait. */
static void write_after_free_40k_goes(void)
{
	char *p = block(40 * KIB), *other[100];

	for (int i = 0; i < 100; i++)
		other[i] = bslab_malloc(40 * KIB);
	bslab_free(p);
	put(p, 8, 'x');
	for (int i = 0; i < 100; i++)
		bslab_free(hidden(other[i]));
}

static void *sleep_on(void *unused)
{
	pause();
	return unused;
}

/* The same while another thread may be at work. */
static void write_after_free_thread_exit(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, sleep_on, NULL);
	write_after_free_exit();
}

static void allocate_on_abort(int signal)
{
	size_t size;

	(void)signal;
	for (size = 1; size < 8 * MIB; size += size / 4 + 1)
		bslab_free(hidden(bslab_malloc(size)));
	puts("allocated");
	fflush(stdout);
}

/* Who collects crashes allocates. */
static void write_after_free_handled(void)
{
	signal(SIGABRT, allocate_on_abort);
	write_after_free_exit();
}

static void write_after_free_thread_handled(void)
{
	signal(SIGABRT, allocate_on_abort);
	write_after_free_thread_exit();
}

static void overflow_large_handled(void)
{
	signal(SIGABRT, allocate_on_abort);
	put(block(BLOCKS), BLOCKS, 0);
}

/* The parent's, and not its children's. */
static void overflow_fork(void)
{
	int i, status = -1;

	put(block(SMALL), SMALL, 0);
	for (i = 0; i < 2; i++) {
		if (fork() == 0)
			exit(0);
		wait(&status);
		printf("child %d\n", status);
		fflush(stdout);
	}
}

/* The block has another owner by now, were it not for the quarantine. */
static void write_after_free_reused(void)
{
	char *p = block(SMALL), *q;

	bslab_free(p);
	q = bslab_calloc(1, SMALL);
	put(p, 3, 'x');
	puts(q[3] ? "changed another block" : "no other block");
	use_others(SMALL);
}

static void read_after_free(size_t size)
{
	char *p = block(size);

	memset(p, 'x', size);
	bslab_free(p);
	printf("read %d\n", get(p, (ptrdiff_t)size / 2));
}

static void read_after_free_small(void)
{
	read_after_free(SMALL);
}

static void read_after_free_40k(void)
{
	read_after_free(40 * KIB);
}

static void write_after_free_40k_exit(void)
{
	char *p = block(40 * KIB);

	bslab_free(p);
	put(p, 8, 'x');
}

static void read_after_free_run(void)
{
	read_after_free(RUN);
}

static void read_after_free_large(void)
{
	read_after_free(BLOCKS);
}

static void read_after_free_large_reused(void)
{
	char *p = block(BLOCKS);

	bslab_free(p);
	hidden(bslab_malloc(BLOCKS));
	printf("read %d\n", get(p, 0));
}

/* --- freed before ----------------------------------------------------------------------------------- */

static void double_free(size_t size)
{
	char *p = block(size), *q = bslab_malloc(size);

	bslab_free(p);
	bslab_free(q);
	bslab_free(hidden(p));
}

static void double_free_small(void)
{
	double_free(SMALL);
}

static void double_free_run(void)
{
	double_free(RUN);
}

static void double_free_large(void)
{
	double_free(BLOCKS);
}

static void double_free_zero(void)
{
	double_free(0);
}

static void double_free_late(void)
{
	char *p = block(SMALL);

	bslab_free(p);
	for (int i = 0; i < 50; i++)
		bslab_free(hidden(bslab_malloc(SMALL)));
	bslab_free(hidden(p));
}

static void realloc_freed(void)
{
	char *p = block(SMALL);

	bslab_free(p);
	if (bslab_realloc(hidden(p), 10))
		puts("got a block");
}

static void usable_size_freed(void)
{
	char *p = block(SMALL);

	bslab_free(p);
	if (!bslab_malloc_usable_size(hidden(p)))
		puts("zero");
}

static void interior(void)
{
	char *p = block(SMALL);

	say("byte", p + 16);
	bslab_free(hidden(p + 16));
}

/* A slab of one object, behind which its page goes on. */
static void interior_behind_last(void)
{
	char *p = block(3000);

	say("byte", p + 3072 + 16);
	bslab_free(hidden(p + 3072 + 16));
}

static void interior_zero(void)
{
	char *p = block(0);

	say("byte", p + 8);
	bslab_free(hidden(p + 8));
}

static void never_allocated(void)
{
	char *p = block(40), *q = p + (p - (char *)((uintptr_t)p & ~(uintptr_t)4095) < 2048 ? 48 * 20 : -48 * 20);

	say("byte", q);
	bslab_free(hidden(q));
}

/* --- sizes ---------------------------------------------------------------------------------------- */

static void sized_off_by_one(void)
{
	bslab_free_sized(block(SMALL), SMALL + 1);
}

static void sized_zero(void)
{
	bslab_free_sized(block(0), 100);
}

static void sized_run(void)
{
	bslab_free_sized(block(RUN), RUN - 1);
}

static void sized_misaligned(void)
{
	char *p;

	do
		p = block(SMALL + 11);
	while ((uintptr_t)p % 64 == 0);
	bslab_free_aligned_sized(p, 64, SMALL + 11);
}

static void zero_write(void)
{
	put(block(0), 0, 'x');
}

static void zero_read(void)
{
	printf("read %d\n", get(block(0), 0));
}

/* --- uninitialised ---------------------------------------------------------------------------------- */

static void uninitialised(size_t size)
{
	char *p = hidden(bslab_malloc(size));
	size_t i, sum = 0;

	memset(p, 'x', size);
	bslab_free(p);
	use_others(size);
	p = block(size);
	for (i = 0; i < size; i++)
		sum += ((unsigned char *)hidden(p))[i];
	printf("sum %zu\n", sum);
}

static void uninitialised_small(void)
{
	uninitialised(SMALL);
}

static void uninitialised_run(void)
{
	uninitialised(40 * KIB);
}

/* --- faults that are nobody's block ------------------------------------------------------------------- */

static void segv_elsewhere(void)
{
	put(hidden((char *)64), 0, 'x');
}

static void segv_raised(void)
{
	raise(SIGSEGV);
}

static void segv_sent(void)
{
	kill(getpid(), SIGSEGV);
}

/* What is ignored stays so over execve(); what is handled does not. */
static void segv_ignored_exec(void)
{
	bslab_free(hidden(bslab_malloc(SMALL)));
	execl("/bin/sh", "sh", "-c", "kill -SEGV $$; echo went on", NULL);
}

#define NR_TOGETHER 6

static pthread_barrier_t together;

static void *fault_together(void *p)
{
	pthread_barrier_wait(&together);
	printf("read %d\n", *(volatile char *)p);
	return NULL;
}

/* One speaks, and none of the others ends the process before it is done. */
static void segv_together(void)
{
	pthread_t thread[NR_TOGETHER];
	char *p = block(SMALL);

	pthread_barrier_init(&together, NULL, NR_TOGETHER);
	bslab_free(p);
	say("byte", p + 30);
	for (int i = 0; i < NR_TOGETHER; i++)
		pthread_create(&thread[i], NULL, fault_together, p + 30);
	for (int i = 0; i < NR_TOGETHER; i++)
		pthread_join(thread[i], NULL);
}

static void fault_on_stack(size_t room)
{
	char *p = block(SMALL);

	if (!signal_stack(room))
		exit(1);
	bslab_free(p);
	put(p, 30, 'x');
}

/* As SIGSTKSZ was for long, beside the registers that the kernel stores. */
static void segv_small_stack(void)
{
	fault_on_stack(4096);
}

static void segv_large_stack(void)
{
	fault_on_stack(64 * KIB);
}

static void *fault_in_thread(void *p)
{
	return (void *)(uintptr_t) * (volatile char *)p;
}

static char *freed_block;

/* Called by a constructor in a library that is opened, which waits for a thread that faults. */
void in_constructor(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, fault_in_thread, freed_block + 30);
	pthread_join(thread, NULL);
}

static void segv_in_dlopen(void)
{
	char *p = block(SMALL), path[500];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 50);

	path[n > 0 ? n : 0] = 0;
	strcat(path, "-constructor.so");
	bslab_free(p);
	freed_block = p;
	say("byte", p + 30);
	if (!dlopen(path, RTLD_NOW))
		puts(dlerror());
}

static void own_handler(int signal)
{
	(void)signal;
	puts("own handler");
	fflush(stdout);
	_exit(3);
}

static void segv_handled(void)
{
	char *p = block(SMALL);

	signal(SIGSEGV, own_handler);
	bslab_free(p);
	put(p, 0, 'x');
}

/* --- nothing wrong -------------------------------------------------------------------------------------- */

/* Locked memory refuses guard markers. More blocks than are guarded at a time. Where it may not be locked: as ever. */
static void sound_locked(void)
{
	for (int i = 0; i < 6; i++) {
		if (i == 2)
			mlockall(MCL_CURRENT);
		if (i == 4)
			munlockall();
		use_others(SMALL);
		use_others(RUN);
	}
}

/* Not copied at each step: three times to a doubling, and from some size on not at all (mremap may move it still). */
static void sound_append(void)
{
	unsigned nr_moves;

	bslab_free(append(200 * KIB + 1, &nr_moves));
	if (nr_moves > 25)
		fprintf(stderr, "moved %u times\n", nr_moves);
	bslab_free(append(4 * MIB + 1, &nr_moves));
	/* Shrinks, mostly in place, to nothing. */
	for (size_t size = 3 * MIB; size; size -= size / 8 + 1) {
		char *p = bslab_realloc(bslab_malloc(size), size - size / 16);

		if (bslab_malloc_usable_size(p) < size - size / 16)
			fprintf(stderr, "too small\n");
		bslab_free(hidden(p));
	}
}

/* Where one kind of block gives way to the next. */
static void sound_sizes(void)
{
	static const size_t ends[] = {32 * KIB, 128 * KIB, 2 * MIB};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		for (size_t size = ends[i] - 20000; size < ends[i] + 20000; size += 61) {
			char *p = hidden(bslab_malloc(size));

			p[size - 1] = 'x';
			bslab_free(p);
		}
}

/* What M_PERTURB fills is the block, not the pattern behind it. */
static void sound_perturbed(void)
{
	bslab_mallopt(M_PERTURB, 0x31);
	for (int i = 0; i < 1000; i++) {
		bslab_free(hidden(bslab_aligned_alloc(64, 100)));
		bslab_free(hidden(bslab_realloc(bslab_malloc(100), 120)));
	}
}

static void exit_now(int signal)
{
	(void)signal;
	if (write(1, "went on\n", 8) == 8)
		exit(0);
}

/* What a handler interrupts that ends the process is neither free nor in use. At another moment in each process. */
static void sound_exit_in_handler(void)
{
	struct itimerval soon = {.it_value.tv_usec = 500 + (unsigned)getpid() * 7919 % 1000};

	signal(SIGALRM, exit_now);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (;;) {
		bslab_free(hidden(bslab_malloc(100 * KIB)));
		bslab_free(hidden(bslab_malloc(4000)));
		bslab_free(hidden(bslab_realloc(bslab_malloc(30 * KIB), 20 * KIB)));
	}
}

/* The same of runs that trap when they are free, and of mappings that grow, shrink and move. */
static void sound_exit_in_handler_larger(void)
{
	struct itimerval soon = {.it_value.tv_usec = 500 + (unsigned)getpid() * 7919 % 9000};
	char *p = NULL;

	signal(SIGALRM, exit_now);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (unsigned i = 0;; i++) {
		bslab_free(hidden(bslab_malloc(140 * KIB + i * 7919 % (60 * KIB))));
		p = hidden(bslab_realloc(p, 300 * KIB + i * 104729 % (400 * KIB)));
		bslab_free(hidden(bslab_malloc(3 * MIB)));
	}
}

/* And of slabs that come and go: their pages are used ones, which are cleared. */
static void sound_exit_in_handler_slabs(void)
{
	struct itimerval soon = {.it_value.tv_usec = 500 + (unsigned)getpid() * 7919 % 3000};
	char *p[64];

	signal(SIGALRM, exit_now);
	for (unsigned round = 0;; round++) {
		for (unsigned i = 0; i < 64; i++) {
			p[i] = hidden(bslab_malloc(30000 - round % 8 * 2000));
			memset(p[i], 'x', 100);
		}
		for (unsigned i = 0; i < 64; i++)
			bslab_free(p[i]);
		if (round == 20)
			setitimer(ITIMER_REAL, &soon, NULL);
	}
}

#define CASE(name) {#name, name}
static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    CASE(overflow_by_one), CASE(overflow_by_one_zero), CASE(overflow_by_one_full),
    CASE(overflow_by_eight), CASE(overflow_aligned), CASE(overflow_32k),
    CASE(overflow_run), CASE(overflow_run_far), CASE(overflow_large),
    CASE(overflow_large_far), CASE(overflow_realloc), CASE(overflow_after_realloc),
    CASE(overflow_after_append), CASE(overflow_usable_size), CASE(overflow_not_freed),
    CASE(overflow_large_not_freed), CASE(overflow_zero_word), CASE(overflow_zero_word_run),
    CASE(overflow_zero_word_large), CASE(overflow_zero_word_not_freed), CASE(overflow_zero_word_run_not_freed),
    CASE(overflow_read_run), CASE(underflow_by_one), CASE(underflow_by_eight),
    CASE(underflow_zero_word), CASE(underflow_large), CASE(write_after_free_small),
    CASE(write_after_free_4k), CASE(write_after_free_40k), CASE(write_after_free_run),
    CASE(write_after_free_large), CASE(write_after_free_exit), CASE(write_after_free_home),
    CASE(write_after_free_40k_goes), CASE(write_after_free_thread_exit),
    CASE(write_after_free_handled), CASE(write_after_free_thread_handled), CASE(overflow_large_handled),
    CASE(overflow_fork), CASE(write_after_free_reused), CASE(read_after_free_small),
    CASE(read_after_free_40k), CASE(write_after_free_40k_exit), CASE(read_after_free_run),
    CASE(read_after_free_large), CASE(read_after_free_large_reused), CASE(double_free_small),
    CASE(double_free_run), CASE(double_free_large), CASE(double_free_zero),
    CASE(double_free_late), CASE(realloc_freed), CASE(usable_size_freed),
    CASE(interior), CASE(interior_behind_last), CASE(interior_zero),
    CASE(never_allocated), CASE(sized_off_by_one), CASE(sized_zero), CASE(sized_run),
    CASE(sized_misaligned), CASE(zero_write), CASE(zero_read),
    CASE(uninitialised_small), CASE(uninitialised_run), CASE(segv_elsewhere),
    CASE(segv_raised), CASE(segv_sent), CASE(segv_together),
    CASE(segv_small_stack), CASE(segv_large_stack), CASE(segv_in_dlopen),
    CASE(segv_handled), CASE(sound_locked), CASE(sound_append),
    CASE(sound_sizes), CASE(sound_perturbed), CASE(sound_exit_in_handler),
    CASE(sound_exit_in_handler_larger), CASE(sound_exit_in_handler_slabs), CASE(segv_ignored_exec),
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			puts("went on");
			return 0;
		}
	fprintf(stderr, "usage: corrupt CASE\n");
	return 2;
}
