/* SPDX-License-Identifier: MIT */
/*
 * Preloaded beside bslab: lets its N-th system call fail. The library is the one that is shipped.
 *
 *   INJECT_AT       which call fails, from 1; 0 or unset: none
 *   INJECT_FOREVER  set: all later ones fail, too
 *   INJECT_COUNTS   a file of two 64-bit numbers, which the process and its children raise: calls seen, calls refused
 *
 * 1. A seccomp filter traps the calls below if they are made from libbslab's code: the kernel tells it the address. The
 *    handler of SIGSYS then makes the call itself, or answers with an error that the kernel might give.
 * 2. munmap and FUTEX_WAKE never fail here. A refused munmap leaks addresses and no more (unit/malloc/failures), and no kernel refuses
 *    to wake a thread: nobody could make up for it.
 * 3. Thread starts are counted and refused in pthread_create().
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "arch/arch.h"

static const struct {
	long nr, error;
} calls[] = {
    {SYS_mmap, ENOMEM},	   {SYS_mprotect, ENOMEM}, {SYS_madvise, EAGAIN}, {SYS_mremap, ENOMEM},
    {SYS_futex, EINTR}, {SYS_prctl, ENOMEM},	   {SYS_membarrier, ENOMEM},
    {SYS_process_madvise, ENOMEM},
};
enum { NR_CALLS = sizeof calls / sizeof *calls };

static struct counts {
	_Atomic uint64_t nr_seen, nr_refused;
} *counts;
static uint64_t refuse_at = 0;
static bool forever;
static _Atomic bool ended;

static bool refuse(void)
{
	uint64_t n;

	if (atomic_load(&ended))
		return false;
	n = atomic_fetch_add(&counts->nr_seen, 1) + 1;
	if (!refuse_at || !(forever ? n >= refuse_at : n == refuse_at))
		return false;
	atomic_fetch_add(&counts->nr_refused, 1);
	return true;
}

/* For the program: from now on memory is back. */
void inject_end(void)
{
	atomic_store(&ended, true);
}

/* --- the trap --------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define RESULT(m) (m).gregs[REG_RAX]
#define ARGS(m) {(m).gregs[REG_RDI], (m).gregs[REG_RSI], (m).gregs[REG_RDX], (m).gregs[REG_R10], (m).gregs[REG_R8], (m).gregs[REG_R9]}
#else
#define RESULT(m) (m).regs[0]
#define ARGS(m) {(long)(m).regs[0], (long)(m).regs[1], (long)(m).regs[2], (long)(m).regs[3], (long)(m).regs[4], (long)(m).regs[5]}
#endif

static void on_trap(int sig, siginfo_t *info, void *context)
{
	mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
	long a[6] = ARGS(*m), nr = info->si_syscall, error = ENOSYS;
	bool wakes = nr == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE;

	(void)sig;
	for (int i = 0; i < NR_CALLS; i++)
		if (calls[i].nr == nr)
			error = calls[i].error;
	RESULT(*m) = !wakes && refuse() ? -error : arch_syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

struct range {
	uintptr_t from, to;
};

/* lld makes two segments of the code. */
static void extend(struct range *r, uintptr_t from, uintptr_t to)
{
	r->from = r->to && r->from < from ? r->from : from;
	r->to = r->to > to ? r->to : to;
}

static int find_code(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct range *r = arg;

	(void)size;
	if (!strstr(info->dlpi_name, "libbslab"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_X)
			extend(r, info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz);
	}
	return 1;
}

static void fail(const char *why)
{
	fprintf(stderr, "inject: %s\n", why);
	_exit(1);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define IF(test, value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_##test | BPF_K, (uint32_t)(value), then, otherwise)

static void trap_calls_of(struct range code)
{
	struct sock_filter filter[16 + NR_CALLS] = {
	    LOAD_HIGH(instruction_pointer), IF(JEQ, code.from >> 32, 0, 4 + NR_CALLS),
	    LOAD(instruction_pointer),	    IF(JGE, code.from, 0, 2 + NR_CALLS),
	    IF(JGE, code.to, 1 + NR_CALLS, 0), LOAD(nr),
	};
	struct sock_fprog program = {.filter = filter};
	int n = 6;

	if (code.from >> 32 != code.to >> 32)
		fail("the code crosses 4 GiB");
	for (int i = 0; i < NR_CALLS; i++)
		filter[n++] = (struct sock_filter)IF(JEQ, calls[i].nr, NR_CALLS - i, 0);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		fprintf(stderr, "inject: no seccomp filters here\n");
		_exit(77);
	}
}

static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static void __attribute__((constructor)) start(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
	const char *at = getenv("INJECT_AT"), *file = getenv("INJECT_COUNTS");
	int fd = file ? open(file, O_RDWR) : -1;
	struct range code = {0};

	refuse_at = at ? strtoull(at, NULL, 10) : 0;
	forever = getenv("INJECT_FOREVER") != NULL;
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS, fd, 0);
	if (counts == MAP_FAILED)
		fail("no memory for the counts");
	if (fd >= 0)
		close(fd);
	*(void **)&real_pthread_create = dlsym(RTLD_NEXT, "pthread_create");
	dl_iterate_phdr(find_code, &code);
	if (!code.to)
		fail("no libbslab in this process");
	sigaction(SIGSYS, &action, NULL);
	trap_calls_of(code);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return refuse() ? EAGAIN : real_pthread_create(thread, attr, run, arg);
}
