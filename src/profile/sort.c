/* SPDX-License-Identifier: MIT */
#include "profile/sort.h"

#include <string.h>

static void sift(char *items, size_t root, size_t n, size_t size, bool (*before)(const void *, const void *))
{
	char item[MAX_SORTED];
	size_t child;

	memcpy(item, items + root * size, size);
	for (; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && before(items + child * size, items + (child + 1) * size))
			child++;
		if (!before(item, items + child * size))
			break;
		memcpy(items + root * size, items + child * size, size);
	}
	memcpy(items + root * size, item, size);
}

void sort(void *items, size_t n, size_t size, bool (*before)(const void *a, const void *b))
{
	char *p = items, item[MAX_SORTED];
	size_t i;

	for (i = n / 2; i-- > 0;)
		sift(p, i, n, size, before);
	for (i = n; i-- > 1;) {
		memcpy(item, p, size);
		memcpy(p, p + i * size, size);
		memcpy(p + i * size, item, size);
		sift(p, 0, i, size, before);
	}
}
