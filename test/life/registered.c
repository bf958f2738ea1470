/* SPDX-License-Identifier: MIT */
/*
 * The process was registered for the barrier that empties other CPUs' caches while it had one thread. With more the kernel
 * takes milliseconds for it (synchronize_rcu()), in whichever thread is the first to need it.
 */
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "life.h"

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
	EXPECT(pthread_create(&thread, NULL, barrier, NULL) == 0);
	EXPECT(pthread_join(thread, NULL) == 0);
	return 0;
}
