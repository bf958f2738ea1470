/* SPDX-License-Identifier: MIT */
/* Under overcommit_memory=2: what the kernel accounts for this process is what it uses, not what is reserved. */
#include "life.h"

/* KiB of the mappings that are accounted for ("ac"). */
static long accounted_kib(void)
{
	char line[512];
	long size = 0, sum = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	EXPECT(f);
	while (fgets(line, sizeof line, f)) {
		sscanf(line, "Size: %ld kB", &size);
		if (!strncmp(line, "VmFlags:", 8) && strstr(line, " ac"))
			sum += size;
	}
	fclose(f);
	return sum;
}

int main(void)
{
	static char *p[100];
	long before = accounted_kib(), after;

	for (int i = 0; i < 100; i++) {
		p[i] = malloc(1 << 20);
		EXPECT(p[i]);
		memset(p[i], 1, 1 << 20);
	}
	after = accounted_kib();
	printf("accounted: %ld KiB, with 100 MiB in use %ld KiB\n", before, after);
	EXPECT(before > 0); /* else the setting is not in force */
	EXPECT(before < 32 << 10);
	EXPECT(after < 200 << 10);
	EXPECT(use_malloc());
	return 0;
}
