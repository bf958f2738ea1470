/* SPDX-License-Identifier: MIT */
/* The first allocation of the process is atexit()'s own, under a lock of libc's: ours must not be called from it. */
#include <stdlib.h>
#include <unistd.h>

enum { NR_HANDLERS = 100 }; /* glibc has room for 32 */

static int nr_called;

static void handler(void)
{
	if (++nr_called == NR_HANDLERS)
		_exit(0);
}

int main(void)
{
	alarm(10);
	for (int i = 0; i < NR_HANDLERS; i++)
		if (atexit(handler))
			return 2;
	return 1;
}
