/* SPDX-License-Identifier: MIT */
/*
 * Each name of libc's malloc, called as a program calls it that knows nothing of the library: it is the library's, and does
 * what it says. The unit tests do so by the names bslab_...
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <unistd.h>

#include "life.h"

/* C23's, and one that glibc's headers have no more. */
static void (*sized)(void *p, size_t size), (*aligned_sized)(void *p, size_t align, size_t size), (*old_free)(void *p);

static const char *file_of(const char *name)
{
	void *at = dlsym(RTLD_DEFAULT, name);
	Dl_info info;

	if (!at || !dladdr(at, &info))
		return "";
	return info.dli_fname;
}

static void all_are_the_librarys(void)
{
	static const char *const names[] = {
		"malloc", "free", "cfree", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc", "posix_memalign",
		"valloc", "pvalloc", "malloc_usable_size", "free_sized", "free_aligned_sized", "malloc_trim", "malloc_stats",
		"malloc_info", "mallinfo", "mallinfo2", "mallopt",
	};
	const char *library = file_of("bslab_malloc");
	size_t nr_others = 0;

	EXPECT(*library);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(file_of(names[i]), library)) {
			fprintf(stderr, "%s is of '%s'\n", names[i], file_of(names[i]));
			nr_others++;
		}
	EXPECT(nr_others == 0);
	*(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
	*(void **)&aligned_sized = dlsym(RTLD_DEFAULT, "free_aligned_sized");
	*(void **)&old_free = dlsym(RTLD_DEFAULT, "cfree");
}

static size_t in_use(void)
{
	return mallinfo2().uordblks;
}

static int is_aligned(const void *p, size_t align)
{
	return p && (uintptr_t)p % align == 0;
}

static void plain(void)
{
	volatile size_t half = SIZE_MAX / 2 + 1;
	char *p = malloc(1000);
	size_t usable = malloc_usable_size(p);

	EXPECT(p && usable >= 1000 && malloc_usable_size(NULL) == 0);
	memset(p, 1, usable);
	free(p);
	p = calloc(10, 100);
	EXPECT(p);
	for (int i = 0; i < 1000; i++)
		EXPECT(p[i] == 0);
	p[999] = 7;
	p = realloc(p, 100000);
	EXPECT(p && p[999] == 7 && malloc_usable_size(p) >= 100000);
	p = reallocarray(p, 3, 100000);
	EXPECT(p && p[999] == 7 && malloc_usable_size(p) >= 300000);
	errno = 0;
	EXPECT(!reallocarray(p, half, 2) && errno == ENOMEM && p[999] == 7);
	errno = 0;
	EXPECT(!calloc(half, 2) && errno == ENOMEM);
	errno = 0;
	EXPECT(!malloc(half) && errno == ENOMEM);
	EXPECT(!realloc(p, 0));
}

static void aligned(void)
{
	size_t page = (size_t)getpagesize(), before = in_use();
	volatile size_t no_power = 48;
	void *p = NULL;

	for (size_t align = 8; align <= 1 << 22; align *= 2) {
		EXPECT(is_aligned(p = memalign(align, 100), align));
		free(p);
		EXPECT(is_aligned(p = aligned_alloc(align, 3 * align), align));
		aligned_sized(p, align, 3 * align);
		EXPECT(posix_memalign(&p, align, 5000) == 0 && is_aligned(p, align));
		free(p);
	}
	EXPECT(is_aligned(p = memalign(no_power, 100), 64)); /* rounded up, as glibc does */
	free(p);
	errno = 0;
	EXPECT(!aligned_alloc(no_power, 96) && errno == EINVAL);
	EXPECT(posix_memalign(&p, 4, 100) == EINVAL);
	EXPECT(is_aligned(p = valloc(100), page) && malloc_usable_size(p) >= 100);
	free(p);
	EXPECT(is_aligned(p = pvalloc(page + 1), page) && malloc_usable_size(p) >= 2 * page);
	memset(p, 1, 2 * page);
	free(p);
	EXPECT(in_use() == before);
}

/* Each way to free frees: else, after so many, there were more in use. */
static void freed(void)
{
	size_t before = in_use();

	for (int i = 0; i < 1000; i++) {
		old_free(malloc(20000));
		sized(malloc(20000), 20000);
		sized(malloc(200000), 200000);
		aligned_sized(aligned_alloc(512, 2048), 512, 2048);
	}
	old_free(NULL);
	sized(NULL, 5);
	aligned_sized(NULL, 16, 5);
	EXPECT(in_use() == before);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void counted(void)
{
	struct mallinfo2 before = mallinfo2(), now;
	struct mallinfo narrow;
	void *p = malloc(1 << 20), *q = malloc(300 << 20); /* from 256 MiB on a mapping of its own */

	EXPECT(p && q);
	now = mallinfo2();
	narrow = mallinfo();
	EXPECT(now.uordblks == before.uordblks + (1 << 20)); /* as with glibc, without the mappings */
	EXPECT(now.hblks == before.hblks + 1 && now.hblkhd == before.hblkhd + (300 << 20));
	EXPECT(now.arena > 0 && now.usmblks == 0);
	EXPECT(narrow.uordblks == (int)now.uordblks && narrow.hblks == (int)now.hblks && narrow.hblkhd == (int)now.hblkhd);
	EXPECT(narrow.arena == (int)now.arena && narrow.fordblks == (int)now.fordblks);
	free(p);
	free(q);
	EXPECT(mallinfo2().uordblks == before.uordblks);
}

static void told(void)
{
	char text[1 << 16];
	FILE *f = tmpfile();
	int saved = dup(2);
	size_t n;

	EXPECT(f && saved >= 0 && malloc_info(0, f) == 0);
	rewind(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	EXPECT(!strncmp(text, "<malloc version=\"bslab-1\">\n", 27) && strstr(text, "</malloc>\n"));
	errno = 0;
	EXPECT(malloc_info(1, f) == -1 && errno == EINVAL);
	rewind(f);
	dup2(fileno(f), 2);
	malloc_stats();
	dup2(saved, 2);
	close(saved);
	rewind(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	EXPECT(!strncmp(text, "bslab: caches by ", 17) && strstr(text, "\nused "));
	fclose(f);
}

static void trimmed(void)
{
	enum { N = 4000 };
	static void *p[N];
	size_t before;

	for (int i = 0; i < N; i++)
		memset(p[i] = malloc(100 + i % 900), 1, 100);
	for (int i = 0; i < N; i++)
		free(p[i]);
	before = mallinfo2().fsmblks + mallinfo2().keepcost;
	EXPECT(before > 0);
	EXPECT(malloc_trim(0) == 1);
	EXPECT(mallinfo2().fsmblks + mallinfo2().keepcost < before / 4);
	EXPECT(malloc_trim(0) == 0);
}

static void changed(void)
{
	size_t before = mallinfo2().hblks;
	unsigned char *p;
	void *q;

	EXPECT(mallopt(M_MMAP_THRESHOLD, 4 << 20) == 1 && mallopt(12345, 1) == 0);
	EXPECT((q = malloc(5 << 20)) && mallinfo2().hblks == before + 1);
	free(q);
	EXPECT(mallopt(M_PERTURB, 0x55) == 1);
	EXPECT((p = malloc(100)) && p[0] == 0xaa && p[99] == 0xaa);
	free(p);
	EXPECT((p = calloc(1, 100)) && p[0] == 0 && p[99] == 0);
	free(p);
	EXPECT(mallopt(M_PERTURB, 0) == 1);
}

int main(void)
{
	all_are_the_librarys();
	plain();
	aligned();
	freed();
	counted();
	told();
	trimmed();
	changed();
	return 0;
}
