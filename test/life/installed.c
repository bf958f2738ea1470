/* SPDX-License-Identifier: MIT */
/* A program as life/install.sh builds it in each way, as C and as C++: all public headers, and bslab is the malloc. */
#include <bslab/bslab.h>
#include <bslab/contig.h>
#include <bslab/handle.h>
#include <bslab/heap.h>
#include <bslab/highmem.h>
#include <bslab/insight.h>
#include <bslab/kmalloc.h>
#include <bslab/kmem.h>
#include <bslab/page.h>
#include <bslab/profile.h>
#include <bslab/shrinker.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef __cplusplus
#include <new>
#include <stdexcept>
#include <string>

static bool is_cxx_ours(void)
{
	size_t before = bslab_mallinfo2().uordblks;
	char *volatile p = new char[100000]; // volatile: else the compiler leaves out new and delete
	bool grew = bslab_mallinfo2().uordblks >= before + 100000, caught = false;
	volatile size_t huge = PTRDIFF_MAX;

	delete[] p;
	try {
		p = new char[huge];
	} catch (const std::bad_alloc &) {
		caught = true;
	}
	return grew && caught && std::string(1000, 'x').size() == 1000;
}
#endif

int main(void)
{
	size_t before = bslab_mallinfo2().uordblks;
	char *p = (char *)malloc(100000);
	int ok = p && bslab_mallinfo2().uordblks >= before + 100000;

	bslab_free(p); /* where it is the malloc, of either set of names */
	ok = ok && bslab_mallinfo2().uordblks == before;
	before = bslab_mallinfo2().uordblks;
	free(bslab_malloc(100000));
	ok = ok && bslab_mallinfo2().uordblks == before;
#ifdef __cplusplus
	ok = ok && is_cxx_ours();
#endif
	if (!ok || puts("bslab is the malloc") < 0)
		return 1;
	return 0;
}
