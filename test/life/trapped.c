/* SPDX-License-Identifier: MIT */
/* A sandbox answers system calls by SIGSYS, those of the first allocation, too: a handler says that there is no such call. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "life.h"

#ifdef __x86_64__
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#else
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#endif

static volatile sig_atomic_t nr_traps;

static void on_trap(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info;
	nr_traps = nr_traps + 1;
	RESULT((ucontext_t *)context) = -38; /* ENOSYS */
}

#define TRAP(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    TRAP(SYS_getcpu), TRAP(SYS_sched_getaffinity), TRAP(SYS_membarrier), TRAP(SYS_prlimit64), TRAP(SYS_prctl), TRAP(SYS_getrandom),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};

	EXPECT(sigaction(SIGSYS, &action, NULL) == 0);
	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	EXPECT(use_malloc());
	EXPECT(nr_traps > 0);
	return 0;
}
