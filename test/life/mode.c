/* SPDX-License-Identifier: MIT */
/*
 * mode MODE: that index mode is in use, which BSLAB_CONF asks for. Where it is not, this machine must be without what it
 * needs, as the kernel and libc say; else all tests of that name would test another one, and pass.
 */
#include <bslab/bslab.h>
#include <gnu/libc-version.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "life.h"

#define FEATURE_SIZE 27 /* AT_RSEQ_FEATURE_SIZE, Linux 6.3 */
#define END_OF_MM_CID 28

/* Whether libc has registered this thread: the kernel takes no second area then. */
static int is_registered(void)
{
	static struct {
		uint32_t words[8];
	} __attribute__((aligned(32))) area;

	if (syscall(SYS_rseq, &area, sizeof area, 0, 0x53053053) != 0)
		return errno == EINVAL || errno == EBUSY || errno == EPERM;
	EXPECT(syscall(SYS_rseq, &area, sizeof area, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053) == 0);
	return 0;
}

static const char *const modes[] = {"thread", "cpu_id", "mm_cid"};

static int rank(const char *mode)
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(mode, modes[i]))
			return i;
	return -1;
}

/* The last of `modes` that this machine has. */
static int best_rank(void)
{
	int major = 0, minor = 0;

	/* Others that register it do not tell where. */
	if (sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor) != 2 || major < 2 || (major == 2 && minor < 35))
		return 0;
	if (!is_registered())
		return 0;
	return getauxval(FEATURE_SIZE) >= END_OF_MM_CID ? 2 : 1;
}

int main(int argc, char **argv)
{
	const char *is = bslab_index_mode();
	int asked, best = best_rank();

	EXPECT(argc == 2);
	asked = rank(argv[1]);
	EXPECT(asked >= 0);
	printf("asked for %s, in use is %s, the best that could be is %s\n", argv[1], is, modes[best]);
	fflush(stdout);
	EXPECT(rank(is) == (asked < best ? asked : best));
	if (asked > best)
		SKIP("this machine does not have the mode, and all tests of its name run in another one");
	return 0;
}
