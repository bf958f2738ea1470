/* SPDX-License-Identifier: MIT */
/*
 * sigkill PROGRAM ARGS...: a process that is killed at any moment leaves nothing outside itself. PROGRAM is killed again and
 * again, some moments after its start; and a filter of system calls ends it at the first one that makes what outlives it: a
 * file or a name of one, System V or POSIX IPC, a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "life.h"

#define NR_KILLS 40
#define MAX_LIFE_US 60000

static const unsigned lasting[] = {
#ifdef SYS_creat
    SYS_creat,	SYS_mkdir,	SYS_mknod,    SYS_link,	     SYS_symlink, SYS_rename,	SYS_unlink,   SYS_rmdir,
    SYS_chmod,	SYS_chown,	SYS_fork,     SYS_vfork,
#endif
    SYS_mkdirat, SYS_mknodat,	SYS_linkat,   SYS_symlinkat, SYS_renameat2, SYS_unlinkat, SYS_fchmodat, SYS_fchownat,
    SYS_shmget,	SYS_semget,	SYS_msgget,   SYS_mq_open,   SYS_bind,	  SYS_kill,	SYS_ptrace,   SYS_setxattr,
    SYS_add_key, SYS_truncate,
};
#define NR_LASTING (sizeof lasting / sizeof *lasting)
#define MAX_FILTER (3 * NR_LASTING + 32)

static struct sock_filter filter[MAX_FILTER];
static unsigned short nr_filter;

static void add(struct sock_filter f)
{
	EXPECT(nr_filter < MAX_FILTER);
	filter[nr_filter++] = f;
}

static void load(size_t offset)
{
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

static void answer(unsigned what)
{
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what));
}

/* The call with a flag set, or not set, in an argument. */
static void end_at(unsigned call, int argument, unsigned flag, int when_set)
{
	load(offsetof(struct seccomp_data, nr));
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3));
	load(offsetof(struct seccomp_data, args[argument])); /* its lower half, on both machines */
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, when_set ? 0 : 1, when_set ? 1 : 0));
	answer(SECCOMP_RET_KILL_PROCESS);
}

static void make_filter(void)
{
	load(offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < NR_LASTING; i++) {
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lasting[i], 0, 1));
		answer(SECCOMP_RET_KILL_PROCESS);
	}
	/* It hides its flags; libc then calls clone. */
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1));
	answer(SECCOMP_RET_ERRNO | ENOSYS);
	end_at(SYS_clone, 0, CLONE_THREAD, 0);
#ifdef SYS_open
	end_at(SYS_open, 1, O_CREAT, 1);
#endif
	end_at(SYS_openat, 2, O_CREAT, 1);
	answer(SECCOMP_RET_ALLOW);
}

static void run_filtered(char **argv)
{
	struct sock_fprog program = {.len = nr_filter, .filter = filter};

	dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(77);
	execv(argv[0], argv);
	_exit(2);
}

/* How the program ends when it is killed after some microseconds, with all its threads. */
static int kill_after(char **argv, long us)
{
	pid_t pid = fork();
	int status;

	EXPECT(pid >= 0);
	if (pid == 0) {
		setpgid(0, 0);
		run_filtered(argv);
	}
	setpgid(pid, pid);
	nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(kill(-pid, 0) < 0 && errno == ESRCH); /* nobody of its group is left */
	return status;
}

/* The filter does what it says: a program that makes a file, and one that makes a process. */
static void expect_caught(const char *shell)
{
	char *const argv[] = {"/bin/sh", "-c", (char *)shell, NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		unsetenv("LD_PRELOAD");
		run_filtered((char **)argv);
	}
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no seccomp filters here");
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

int main(int argc, char **argv)
{
	const char *text = getenv("SIGKILL_SEED"); /* the same moments again, as far as there are such */
	unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)time(NULL);
	int nr_killed = 0;

	EXPECT(argc >= 2);
	printf("SIGKILL_SEED=%u\n", seed);
	fflush(stdout);
	make_filter();
	expect_caught("(exit 0); exit 0");
	expect_caught("exec 3>/tmp/bslab-sigkill-$$; exit 0");
	for (int i = 0; i < NR_KILLS; i++) {
		int status = kill_after(argv + 1, rand_r(&seed) % MAX_LIFE_US);

		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
			fprintf(stderr, "a system call whose effect outlives the process (see dmesg, or strace -f)\n");
		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		nr_killed++;
	}
	printf("%d processes killed\n", nr_killed);
	return 0;
}
