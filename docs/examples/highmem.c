/* SPDX-License-Identifier: MIT */
/*
 * More than the process has addresses for: records in a file without a name, of which 4 MiB are mapped at a time:
 * bslab/highmem.h. docs/handles.md tells the rest.
 *
 *     cc -D_GNU_SOURCE highmem.c $(pkg-config --cflags --libs bslab) -pthread && ./a.out
 */
#include <bslab/highmem.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { NR_RECORDS = 20000 };

struct record {
	unsigned key;
	char text[5000];
};

static bslab_handle_t record[NR_RECORDS];

static int record_make(struct bslab_highmem *pool, unsigned key)
{
	struct record *r;

	if (bslab_highmem_alloc(pool, sizeof *r, &record[key]))
		return -1;
	r = bslab_highmem_map(pool, record[key]);
	if (!r)
		return -1;
	r->key = key;
	snprintf(r->text, sizeof r->text, "record number %u", key);
	bslab_highmem_unmap(pool, record[key]); /* in the file from here on */
	return 0;
}

static int record_is(struct bslab_highmem *pool, unsigned key)
{
	const struct record *r = bslab_highmem_map(pool, record[key]);
	int good = r && r->key == key;

	if (r)
		bslab_highmem_unmap(pool, record[key]);
	return good;
}

int main(void)
{
	int fd = memfd_create("records", MFD_CLOEXEC); /* or a file on a disk */
	struct bslab_highmem *pool = bslab_highmem_create("records", fd, 1ull << 30, 4 << 20);
	struct bslab_highmem_info info;
	unsigned key;

	if (!pool) {
		perror("bslab_highmem_create");
		return 1;
	}
	for (key = 0; key < NR_RECORDS; key++)
		if (record_make(pool, key)) {
			perror("record_make");
			return 1;
		}
	for (key = 0; key < NR_RECORDS; key++)
		if (!record_is(pool, key))
			return 1;
	bslab_highmem_info(pool, &info);
	printf("%zu records in %llu MiB of the file, %zu MiB of addresses; %llu of %llu maps were of the file\n", info.nr_objects,
	       (unsigned long long)info.file_bytes >> 20, info.window_bytes >> 20, (unsigned long long)info.nr_misses,
	       (unsigned long long)(info.nr_hits + info.nr_misses));
	bslab_highmem_destroy(pool);
	return 0;
}
