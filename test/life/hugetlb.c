/* SPDX-License-Identifier: MIT */
/* Explicit huge pages, with a pool that is not empty: under sysctl.sh vm.nr_hugepages=12. */
#include <bslab/kmalloc.h>
#include <bslab/page.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_PAGES 12
#define MIB ((size_t)1 << 20)
#define HUGETLB (BSLAB_GFP_HUGETLB | BSLAB_GFP_NORETRY)

static void expect(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "hugetlb: %s\n", what);
	exit(1);
}

static long meminfo(const char *key)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[200];
	long n = -1;

	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, key, strlen(key)))
			n = atol(line + strlen(key) + 1);
	if (f)
		fclose(f);
	return n;
}

/* Pages of the pool that nobody has, nor has set aside. */
static long nr_left(void)
{
	return meminfo("HugePages_Free") - meminfo("HugePages_Rsvd");
}

/* The kB of the pages behind an address, as the kernel says. */
static long page_kb(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from = 0, to = 0;
	char line[300];
	long kb = 0;

	while (f && !kb && fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-%lx ", &from, &to) != 2 && (uintptr_t)p >= from && (uintptr_t)p < to)
			sscanf(line, "KernelPageSize: %ld", &kb);
	if (f)
		fclose(f);
	return kb;
}

static void blocks_of_any_size(void)
{
	static const size_t sizes[] = {1, 64, 5000, 100000, 2 * MIB, 5 * MIB};
	char *p[6], *q;

	for (int i = 0; i < 6; i++) {
		p[i] = bslab_kmalloc(sizes[i], HUGETLB | BSLAB_GFP_ZERO);
		expect(p[i] && page_kb(p[i]) == 2048, "a block of huge pages");
		for (size_t at = 0; at < sizes[i]; at++)
			expect(p[i][at] == 0, "zeros");
		memset(p[i], i + 1, sizes[i]);
	}
	expect(nr_left() <= NR_PAGES - 4, "the pool has less");
	q = bslab_kmalloc(100, 0);
	memset(q, 9, 100);
	q = bslab_krealloc(q, 90, HUGETLB);
	expect(q && page_kb(q) == 2048 && q[89] == 9, "realloc moves into huge pages");
	bslab_free(q);
	p[3] = bslab_krealloc(p[3], 200000, 0);
	expect(p[3][99999] == 4 && page_kb(p[3]) == 2048, "realloc stays in huge pages");
	for (int i = 0; i < 6; i++) {
		expect(p[i][0] == i + 1, "contents");
		bslab_free(p[i]);
	}
	bslab_malloc_trim(0);
	expect(nr_left() == NR_PAGES, "all of the pool is back");
}

static void until_it_is_empty(void)
{
	struct block {
		struct block *next;
	} *all = NULL, *b;
	int n = 0;
	char *p;

	while ((b = bslab_kmalloc(1 * MIB, HUGETLB))) {
		b->next = all;
		all = b;
		n++;
	}
	expect(errno == ENOMEM && n >= 2 * NR_PAGES - 1, "the end of the pool");
	p = bslab_kmalloc(5 * MIB, BSLAB_GFP_HUGE);
	expect(p && page_kb(p) == 4, "a hint goes without");
	memset(p, 1, 5 * MIB);
	bslab_free(p);
	p = bslab_kmalloc(10, BSLAB_GFP_HUGE);
	expect(p != NULL, "a small hint");
	bslab_free(p);
	while ((b = all)) {
		all = b->next;
		bslab_free(b);
	}
	p = bslab_pages_alloc(9, BSLAB_PAGES_HUGETLB);
	expect(p && page_kb(p) == 2048, "it is not empty any more");
	bslab_pages_free(p);
	bslab_malloc_trim(0);
	expect(nr_left() == NR_PAGES, "all of the pool is back, again");
}

/* A refusal in the midst of blocks of which some have their page takes none of them away, nor the program's mappings. */
static void refused_in_the_midst(void)
{
	char *p, *q, *mine[40];
	int i;

	p = bslab_kmalloc(3 * MIB, HUGETLB);
	expect(p != NULL, "3 MiB");
	memset(p, 1, 3 * MIB);
	bslab_free(p);
	for (i = 0; i < 40; i++) {
		expect(!bslab_kmalloc(2 * (NR_PAGES + 1) * MIB, HUGETLB), "more than the pool has");
		mine[i] = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(mine[i], i + 1, 2 * MIB);
	}
	p = bslab_kmalloc(3 * MIB, HUGETLB);
	q = bslab_kmalloc(9 * MIB, HUGETLB);
	expect(p && q && page_kb(p) == 2048 && page_kb(q) == 2048, "what it has");
	memset(p, 2, 3 * MIB);
	memset(q, 3, 9 * MIB);
	for (i = 0; i < 40; i++) {
		for (size_t at = 0; at < 2 * MIB; at += 4096)
			expect(mine[i][at] == i + 1, "the program's own memory");
		munmap(mine[i], 2 * MIB);
	}
	bslab_free(p);
	bslab_free(q);
	bslab_malloc_trim(0);
	expect(nr_left() == NR_PAGES, "all of the pool is back, after refusals");
}

/* As before Linux 5.16: nothing of the pool is held, and nothing broken. */
static void not_moved(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	pid_t child = fork();
	int status;

	if (!child) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
			_exit(0);
		for (int i = 0; i < 3; i++)
			expect(!bslab_kmalloc(1000, HUGETLB), "huge pages that cannot be moved");
		expect(nr_left() == NR_PAGES, "none is held");
		_exit(0);
	}
	waitpid(child, &status, 0);
	expect(status == 0, "the child whose pages are not moved");
}

static void hints_are_taken(void)
{
	const char *conf = getenv("BSLAB_CONF");
	char *p = NULL;

	for (int i = 0; i < 1000 && (!p || page_kb(p) != 2048); i++) {
		bslab_free(p);
		p = bslab_kmalloc(3 * MIB, BSLAB_GFP_HUGE);
	}
	if (strstr(conf ? conf : "", "hardened=yes"))
		expect(p && page_kb(p) != 2048, "checked blocks are malloc's");
	else
		expect(p && page_kb(p) == 2048, "after a while a hint asks again");
	bslab_free(p);
}

/* The child gets copies, of the same pool. */
static void forked(void)
{
	char *p = bslab_kmalloc(100000, HUGETLB);
	int status;
	pid_t child;

	memset(p, 7, 100000);
	child = fork();
	if (!child) {
		expect(p[99999] == 7, "the child's contents");
		p[0] = 8;
		bslab_free(p);
		p = bslab_kmalloc(1000, HUGETLB);
		expect(p && page_kb(p) == 2048, "the child's own");
		_exit(0);
	}
	waitpid(child, &status, 0);
	expect(status == 0, "the child");
	expect(p[0] == 7, "the parent's contents");
	bslab_free(p);
}

int main(void)
{
	if (meminfo("HugePages_Total") != NR_PAGES || nr_left() != NR_PAGES) {
		fprintf(stderr, "skipped: no pool of %d huge pages\n", NR_PAGES);
		return 77;
	}
	blocks_of_any_size();
	until_it_is_empty();
	refused_in_the_midst();
	not_moved();
	hints_are_taken();
	forked();
	return 0;
}
