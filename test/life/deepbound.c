/* SPDX-License-Identifier: MIT */
/* What deepbind.c loads. */
#include <stdlib.h>

void *make(size_t size)
{
	return malloc(size);
}

void take(void *p)
{
	free(p);
}
