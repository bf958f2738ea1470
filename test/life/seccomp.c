/* SPDX-License-Identifier: MIT */
/* seccomp CALL,... PROGRAM ARGS...: runs the program under a filter that answers EPERM to the named calls. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "life.h"

#ifndef SYS_rseq
#define SYS_rseq 334
#endif

#define CALL(name) {#name, SYS_##name}
static const struct {
	const char *name;
	unsigned nr;
} calls[] = {
    CALL(prctl),	  CALL(madvise), CALL(membarrier),    CALL(rseq),	   CALL(mremap),
    CALL(sched_getaffinity), CALL(getcpu),  CALL(clock_gettime), CALL(sched_yield), CALL(prlimit64),
    CALL(mincore),	  CALL(process_madvise),
};

static unsigned number_of(const char *name)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!strcmp(calls[i].name, name))
			return calls[i].nr;
	fprintf(stderr, "seccomp: unknown call %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	struct sock_filter filter[64] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = {.filter = filter};
	unsigned short n = 1;

	EXPECT(argc >= 3);
	for (char *name = strtok(argv[1], ","); name; name = strtok(NULL, ",")) {
		filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(name), 0, 1);
		filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		SKIP("no seccomp filters here");
	execv(argv[2], argv + 2);
	perror("seccomp: exec");
	return 2;
}
