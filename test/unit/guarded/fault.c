/* SPDX-License-Identifier: MIT */
/* Faults of the kernel's own, with a handler that was there before: what is said, and what that handler then finds. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guarded/fault.h"
#include "guarded/pool.h"
#include "has_shadow.h"
#include "os/os.h"
#include "signal_frame.h"

#define SIZE 48 /* of 16 each, so that a block ends with its page, or begins with it */

static const struct caller nobody;
static sigjmp_buf back;
static volatile sig_atomic_t nr_signals, others_blocked, itself_blocked;
static void *volatile fault_addr;
static int said = -1;

static void note_mask(void)
{
	sigset_t mask;

	nr_signals++;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	others_blocked = sigismember(&mask, SIGUSR1);
	itself_blocked = sigismember(&mask, SIGSEGV);
	siglongjmp(back, 1);
}

static void on_signal(int signal)
{
	cr_assert_eq(signal, SIGSEGV);
	note_mask();
}

static void on_info(int signal, siginfo_t *info, void *context)
{
	cr_assert_eq(signal, SIGSEGV);
	cr_assert_not_null(context);
	fault_addr = info->si_addr;
	note_mask();
}

static void start(int flags)
{
	struct sigaction before = {.sa_flags = flags};

	if (flags & SA_SIGINFO)
		before.sa_sigaction = on_info;
	else
		before.sa_handler = on_signal;
	sigaddset(&before.sa_mask, SIGUSR1);
	sigaction(SIGSEGV, &before, NULL);
	cr_assert(guarded_pool_start());
	fault_handle();
	said = memfd_create("said", 0);
	cr_assert_eq(dup2(said, 2), 2);
}

/* Criterion's child has handlers of its own at exit. */
static const char *text(void)
{
	static char buf[256 << 10];
	ssize_t n = pread(said, buf, sizeof buf - 1, 0);

	buf[n < 0 ? 0 : n] = '\0';
	cr_assert_eq(ftruncate(said, 0), 0);
	lseek(said, 0, SEEK_SET);
	return buf;
}

static void touch(volatile char *p)
{
	int before = nr_signals;

	if (!sigsetjmp(back, 1))
		*p = 'x';
	cr_assert_eq(nr_signals, before + 1);
}

static void expect_line(const char *format, const char *at, size_t by, const char *p)
{
	char line[200];
	const char *got = text();

	snprintf(line, sizeof line, format, (void *)at, by, (size_t)SIZE, (void *)p);
	cr_assert_eq(strncmp(got, line, strlen(line)), 0, "not '%s' but '%s'", line, got);
	cr_assert_not_null(strstr(got, "  accessed by thread "));
}

static char *alloc_at(bool is_start)
{
	for (;;) {
		char *p = guarded_pool_alloc(SIZE, 1, &nobody);

		if (((uintptr_t)p % BSLAB_PAGE_SIZE == 0) == is_start)
			return p;
	}
}

Test(fault, is_told_and_handed_on)
{
	char *first, *last;
	uintptr_t damage;

	start(SA_SIGINFO);
	first = alloc_at(true);
	last = alloc_at(false);
	touch(last + SIZE);
	expect_line("bslab: overflow at %p: %zu bytes behind a block of %zu bytes at %p\n", last + SIZE, 0, last);
	cr_assert_eq(fault_addr, last + SIZE);
	cr_assert(others_blocked && itself_blocked);
	touch(first - 1);
	expect_line("bslab: underflow at %p: %zu bytes before a block of %zu bytes at %p\n", first - 1, 1, first);
	cr_assert(guarded_pool_free(guarded_pool_find((uintptr_t)first), (uintptr_t)first, &nobody, &damage));
	touch(first + 7);
	expect_line("bslab: use after free at %p: %zu bytes into a block of %zu bytes at %p\n", first + 7, 7, first);
	touch((char *)64);
	cr_assert_str_eq(text(), "", "a fault elsewhere is nobody's block");
	cr_assert_eq(fault_addr, (char *)64);
}

/* One that takes no more than the signal's number, and may be called while it runs. */
Test(fault, old_handler_has_its_mask)
{
	start(SA_NODEFER);
	touch(alloc_at(false) + SIZE);
	cr_assert(others_blocked);
	cr_assert_not(itself_blocked);
}

/* Ignored at the start, it stays ignored. */
Test(fault, ignored)
{
	struct sigaction now;

	signal(SIGSEGV, SIG_IGN);
	fault_handle();
	sigaction(SIGSEGV, NULL, &now);
	cr_assert_eq(now.sa_handler, SIG_IGN);
	raise(SIGSEGV);
}

/* Each on its own, at the same moment: one after the other is told, and each handler called. */
#define ROUNDS 20

static pthread_barrier_t together;
static __thread sigjmp_buf own_back;
static atomic_int nr_back;

static void on_own_signal(int signal)
{
	(void)signal;
	atomic_fetch_add(&nr_back, 1);
	siglongjmp(own_back, 1);
}

static void *touch_together(void *p)
{
	for (volatile int i = 0; i < ROUNDS; i++) { /* siglongjmp() */
		pthread_barrier_wait(&together);
		if (!sigsetjmp(own_back, 1))
			*(volatile char *)p = 'x';
	}
	return NULL;
}

Test(fault, of_threads_together)
{
	enum { NR = 4 };
	pthread_t thread[NR];
	int nr_lines = 0;
	const char *at;

	start(0);
	signal(SIGSEGV, SIG_DFL);
	sigaction(SIGSEGV, &(struct sigaction){.sa_handler = on_own_signal}, NULL);
	fault_handle();
	pthread_barrier_init(&together, NULL, NR);
	for (int i = 0; i < NR; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, touch_together, alloc_at(false) + SIZE), 0);
	for (int i = 0; i < NR; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(nr_back, NR * ROUNDS);
	for (at = text(); (at = strstr(at, "bslab: overflow at ")); at++)
		nr_lines++;
	cr_assert_eq(nr_lines, NR * ROUNDS);
}

/* SIGSEGV that was sent is none of a block. */
Test(fault, sent)
{
	start(0);
	if (!sigsetjmp(back, 1))
		raise(SIGSEGV);
	cr_assert_eq(nr_signals, 1);
	cr_assert_str_eq(text(), "");
}

/* The handler serves once: the next fault ends the process, and says so first. */
Test(fault, old_handler_is_reset)
{
	char *p;
	int status;
	pid_t pid;

	start(SA_RESETHAND);
	p = alloc_at(false);
	touch(p + SIZE);
	text();
	pid = fork();
	if (!pid) {
		p[SIZE] = 'x';
		_exit(1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	expect_line("bslab: overflow at %p: %zu bytes behind a block of %zu bytes at %p\n", p + SIZE, 0, p);
}

/* The same by raise(), which the kernel does not do again at the return. */
Test(fault, sent_and_without_a_handler)
{
	int status;
	pid_t pid;

	signal(SIGSEGV, SIG_DFL);
	fault_handle();
	pid = fork();
	if (!pid) {
		raise(SIGSEGV);
		_exit(1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* On a small alternate stack no stack of the access is said, but those that were kept. */
Test(fault, on_a_small_stack)
{
	struct caller here = CALLER();
	const char *got;
	char *p;

	if (HAS_SHADOW)
		cr_skip("a sanitizer's code takes more of the stack");
	cr_assert(signal_stack(4096));
	start(SA_ONSTACK);
	do
		p = guarded_pool_alloc(SIZE, 1, &here);
	while ((uintptr_t)p % BSLAB_PAGE_SIZE == 0);
	touch(p + SIZE);
	got = text();
	cr_assert_not_null(strstr(got, "bslab: overflow at "), "%s", got);
	cr_assert_null(strstr(got, "accessed by"), "%s", got);
	cr_assert_not_null(strstr(got, "allocated by thread "), "%s", got);
}

/* No memory for names: the addresses alone. */
Test(fault, without_memory)
{
	const struct rlimit none = {1, RLIM_INFINITY};
	struct rlimit was;
	const char *got;
	char *p;

	if (HAS_SHADOW)
		cr_skip("a sanitizer maps as it likes");
	start(SA_SIGINFO);
	p = alloc_at(false);
	getrlimit(RLIMIT_AS, &was);
	setrlimit(RLIMIT_AS, &none);
	touch(p + SIZE);
	setrlimit(RLIMIT_AS, &was);
	got = strstr(text(), "accessed by thread ");
	cr_assert_not_null(got);
	got = strchr(got, '\n');
	cr_assert_eq(strncmp(got, "\nbslab:     0x", 14), 0, "%s", got);
	cr_assert_null(strchr(got, '('), "%s", got);
}

#ifdef __x86_64__
/* Code that a JIT wrote is no module's. The instruction that traps is the function's first: one below would be another's. */
static void store_from_code(void)
{
	static const unsigned char store[] = {0x88, 0x07, 0xc3}; /* mov %al,(%rdi); ret */
	unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char want[40], *p;
	const char *got;

	memcpy(code, store, sizeof store);
	start(SA_SIGINFO);
	p = alloc_at(false);
	if (!sigsetjmp(back, 1))
		((void (*)(char *))(uintptr_t)code)(p + SIZE);
	cr_assert_eq(nr_signals, 1);
	snprintf(want, sizeof want, "bslab:     %p\n", (void *)code);
	got = text();
	cr_assert_not_null(strstr(got, want), "no '%s' in '%s'", want, got);
}

Test(fault, from_code_of_no_module)
{
	store_from_code();
}

Test(fault, from_code_of_no_module_by_tables)
{
	unwind_setup(false);
	store_from_code();
}
#endif
