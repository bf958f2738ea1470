/* SPDX-License-Identifier: MIT */
/*
 * What the library maps for blocks has its name in /proc/PID/maps, where the kernel has names of anonymous memory
 * (CONFIG_ANON_VMA_NAME). That the names are given is tested on any kernel: a filter traps the calls, whose handler notes
 * them and refuses, as a kernel without them does. BSLAB_CONF has region=4M.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "life.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#define REGION ((size_t)4 << 20)
#define NR_BLOCKS 64 /* of 1 MiB: 16 regions at least */

#if defined(__x86_64__)
#define RESULT(m) (m).gregs[REG_RAX]
#define ARGS(m) {(m).gregs[REG_RDI], (m).gregs[REG_RSI], (m).gregs[REG_RDX], (m).gregs[REG_R10], (m).gregs[REG_R8]}
#else
#define RESULT(m) (m).regs[0]
#define ARGS(m) {(long)(m).regs[0], (long)(m).regs[1], (long)(m).regs[2], (long)(m).regs[3], (long)(m).regs[4]}
#endif

static struct named {
	uintptr_t addr;
	size_t size;
	char name[80]; /* the kernel's limit */
} named[256];
static size_t nr_named;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
	long a[5] = ARGS(*m);

	(void)sig, (void)info;
	if (a[0] == PR_SET_VMA && a[1] == PR_SET_VMA_ANON_NAME && nr_named < sizeof named / sizeof *named) {
		struct named *n = &named[nr_named++];

		n->addr = (uintptr_t)a[2];
		n->size = (size_t)a[3];
		strncpy(n->name, (const char *)a[4], sizeof n->name - 1);
	}
	RESULT(*m) = -EINVAL;
}

static int trap_names(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_VMA, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};

	sigaction(SIGSYS, &action, NULL);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static const char *name_given(const void *p)
{
	for (size_t i = nr_named; i-- > 0;) /* the last one that it got */
		if ((uintptr_t)p - named[i].addr < named[i].size)
			return named[i].name;
	return "";
}

/* What stands behind the mapping's numbers in maps. */
static const char *name_in_maps(const void *p)
{
	static char line[512], name[256];
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;

	EXPECT(f);
	name[0] = '\0';
	while (fgets(line, sizeof line, f)) {
		char text[256] = "";

		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %255s", &from, &to, text) >= 2 && (uintptr_t)p >= from && (uintptr_t)p < to)
			strcpy(name, text);
	}
	fclose(f);
	return name;
}

static int kernel_has_names(void)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ok = p != MAP_FAILED && prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4096, "tried") == 0;

	munmap(p, 4096);
	return ok;
}

static void blocks_have_names(const char *(*name_of)(const void *p), const char *heap, const char *large)
{
	char *p[NR_BLOCKS], *mapping = malloc(300 << 20);
	int nr_others = 0;

	EXPECT(mapping && !strcmp(name_of(mapping), large));
	for (int i = 0; i < NR_BLOCKS; i++) {
		p[i] = malloc(1 << 20);
		EXPECT(p[i]);
	}
	for (int i = 0; i < NR_BLOCKS; i++)
		if (strcmp(name_of(p[i]), heap))
			nr_others++;
	/* In the region that was there before names were looked for. */
	EXPECT(nr_others <= (int)(REGION >> 20));
	for (int i = 0; i < NR_BLOCKS; i++)
		free(p[i]);
	free(mapping);
}

static void each_is_whole(void)
{
	size_t nr_regions = 0;

	for (size_t i = 0; i < nr_named; i++)
		if (!strcmp(named[i].name, "bslab:heap")) {
			EXPECT(named[i].size == REGION && named[i].addr % (2 << 20) == 0);
			nr_regions++;
		}
	printf("%zu names, %zu of regions\n", nr_named, nr_regions);
	EXPECT(nr_regions >= NR_BLOCKS / (REGION >> 20) - 1);
}

int main(int argc, char **argv)
{
	free(malloc(1)); /* the first region is there */
	if (argc > 1 && !strcmp(argv[1], "maps")) {
		if (!kernel_has_names())
			SKIP("this kernel has no names for anonymous memory");
		blocks_have_names(name_in_maps, "[anon:bslab:heap]", "[anon:bslab:large]");
		EXPECT(!strcmp(name_in_maps(malloc(1)), "[anon:bslab:heap]")); /* the first one, too */
		return 0;
	}
	if (!trap_names())
		SKIP("no seccomp filters here");
	blocks_have_names(name_given, "bslab:heap", "bslab:large");
	each_is_whole();
	return 0;
}
