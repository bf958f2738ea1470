/* SPDX-License-Identifier: MIT */
/*
 * The process was registered for the barrier that empties other CPUs' caches while it had one thread. With more the kernel
 * takes milliseconds for it (synchronize_rcu()), in whichever thread is the first to need it.
 */
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "life.h"

#define MEMBARRIER_CMD_QUERY 0
#define MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ (1 << 7) /* linux/membarrier.h, Linux 5.10 */

extern const char *bslab_index_mode(void) __attribute__((weak));

static void *barrier(void *arg)
{
	(void)arg;
	EXPECT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0) == 0);
	return NULL;
}

int main(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
	pthread_t thread;

	if (commands < 0 || !(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ))
		SKIP("no membarrier for restartable sequences");
	EXPECT(use_malloc());
	if (bslab_index_mode && !strcmp(bslab_index_mode(), "thread"))
		SKIP("no restartable sequences");
	EXPECT(pthread_create(&thread, NULL, barrier, NULL) == 0);
	EXPECT(pthread_join(thread, NULL) == 0);
	return 0;
}
