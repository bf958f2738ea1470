/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/boot.h"
#include "fake_os.h"
#include "heap/pool.h"
#include "os/os.h"

#define SIZE 1000
#define NR 50

/* The first metadata is none of the fake OS's. */
static void setup(void)
{
	boot_alloc(64 * KIB, 64);
}

TestSuite(pool, .init = setup);

/* All elements can be had, each is written, and all go back. */
static void use(struct pool *p)
{
	char *element[NR];

	for (int i = 0; i < NR; i++) {
		element[i] = pool_take(p);
		cr_assert_not_null(element[i]);
		memset(element[i], i, SIZE);
	}
	cr_assert_null(pool_take(p));
	for (int i = 0; i < NR; i++)
		for (int j = 0; j < SIZE; j++)
			cr_assert_eq(element[i][j], i);
	for (int i = 0; i < NR; i++)
		cr_assert_eq(pool_give(p, element[i]), POOL_GOOD);
}

static const void *described_by(const struct pool *p)
{
	return map_slot(p->base);
}

static bool is_resident(const struct pool *p)
{
	size_t nr_pages = p->map_size / BSLAB_PAGE_SIZE;
	unsigned char there[64];

	cr_assert_leq(nr_pages, sizeof there);
	cr_assert_eq(mincore((void *)p->base, p->map_size, there), 0);
	for (size_t i = 0; i < nr_pages; i++)
		if (!(there[i] & 1))
			return false;
	return true;
}

/* Each page is resident, though the call that would make it so is not known. */
Test(pool, before_linux_5_14)
{
	struct pool *p;

	fake.populate_error = -EINVAL;
	fake_fail_at(1u << FAKE_POPULATE, 1, true);
	p = pool_create("old", SIZE, NR, POOL_MALLOCS);
	cr_assert_not_null(p);
	cr_assert(is_resident(p));
	use(p);
	pools_populate();
	cr_assert(pool_destroy(p));
}

/* No pool, and nothing kept of what was mapped for it. */
Test(pool, without_memory)
{
	struct pool *p = pool_create("first", SIZE, NR, 0); /* metadata is there from now on */
	size_t before;

	cr_assert(pool_destroy(p));
	before = fake_count(FAKE_COMMITTED);
	for (int call = FAKE_MAP; call <= FAKE_POPULATE; call++) {
		if (call != FAKE_MAP && call != FAKE_POPULATE)
			continue;
		fake_fail_at(1u << call, 1, true);
		cr_assert_null(pool_create("none", SIZE, NR, 0));
		fake_fail_at(0, 0, false);
		cr_assert_eq(fake_count(FAKE_COMMITTED), before);
		cr_assert_eq(pools_bytes(), 0);
	}
	p = pool_create("again", SIZE, NR, 0);
	use(p);
	cr_assert(pool_destroy(p));
}

Test(pool, locked)
{
	struct pool *p = pool_create("locked", SIZE, NR, POOL_LOCK), *q;

	cr_assert(p->is_locked);
	cr_assert(fake_is_locked((void *)p->base));
	cr_assert(fake_is_locked((char *)p->base + p->map_size - 1));
	cr_assert(fake_is_locked(p));
	cr_assert(fake_is_locked(described_by(p)));
	q = pool_create("not", SIZE, NR, 0);
	cr_assert_not(q->is_locked);
	cr_assert_not(fake_is_locked((void *)q->base));
	use(p);
	cr_assert(pool_destroy(p));
	cr_assert_not(fake_is_locked(described_by(q)));
	cr_assert(pool_destroy(q));
}

/* The kernel does not count locks: what describes two pools stays locked for the one that stays. */
Test(pool, of_two_that_are_locked_one_goes)
{
	struct pool *first = pool_create("first", SIZE, NR, 0); /* with it come pages of the map */
	struct pool *p = pool_create("goes", SIZE, NR, POOL_LOCK), *q = pool_create("stays", SIZE, NR, POOL_LOCK);

	cr_assert_eq(align_down((uintptr_t)described_by(p), BSLAB_PAGE_SIZE), align_down((uintptr_t)described_by(q), BSLAB_PAGE_SIZE));
	cr_assert(pool_destroy(p));
	cr_assert(fake_is_locked(described_by(q)));
	cr_assert(fake_is_locked((void *)q->base));
	cr_assert(pool_destroy(q));
	cr_assert(pool_destroy(first));
}

static struct pool *goes;
static _Atomic bool is_gone;

static void *destroy(void *p)
{
	pool_destroy(p);
	is_gone = true;
	return NULL;
}

/* Another thread destroys the other pool as soon as all is locked; where that waits for a lock, not for ever. */
static void destroy_meanwhile(void)
{
	static pthread_t t;
	unsigned i;

	if (!goes || fake.nr_calls[FAKE_LOCK] < 3)
		return;
	cr_assert_eq(pthread_create(&t, NULL, destroy, goes), 0);
	pthread_detach(t);
	goes = NULL;
	for (i = 0; i < 100 && !is_gone; i++)
		os_sleep_ms(1);
}

/* What describes both is unlocked with the first while the second is made: it is locked again. */
Test(pool, one_goes_while_one_is_locked)
{
	struct pool *first = pool_create("first", SIZE, NR, 0), *p;

	goes = pool_create("goes", SIZE, NR, POOL_LOCK);
	fake.nr_calls[FAKE_LOCK] = 0; /* then: elements, header, what describes them */
	fake.has_locked = destroy_meanwhile;
	p = pool_create("stays", SIZE, NR, POOL_LOCK);
	while (!is_gone)
		os_sleep_ms(1);
	cr_assert(p->is_locked);
	cr_assert(fake_is_locked(described_by(p)));
	fake.has_locked = NULL;
	cr_assert(pool_destroy(p));
	cr_assert(pool_destroy(first));
}

/* It serves all the same, and no page of it stays locked. */
Test(pool, that_cannot_be_locked)
{
	for (size_t n = 1; n <= 3; n++) {
		struct pool *p;

		fake_fail_at(1u << FAKE_LOCK, n, true);
		p = pool_create("unlocked", SIZE, NR, POOL_LOCK);
		fake_fail_at(0, 0, false);
		cr_assert_not(p->is_locked);
		cr_assert_not(fake_is_locked((void *)p->base));
		cr_assert_not(fake_is_locked(p));
		cr_assert_not(fake_is_locked(described_by(p)));
		use(p);
		cr_assert(pool_destroy(p));
	}
}

Test(pool, overlap)
{
	struct pool *p = pool_create("a", SIZE, NR, 0);
	uintptr_t end = p->base + p->map_size;

	cr_assert(pools_overlap(p->base, 1));
	cr_assert(pools_overlap(end - 1, 1));
	cr_assert(pools_overlap(p->base - 4096, 2 * 4096 + p->map_size));
	cr_assert_not(pools_overlap(p->base - 4096, 4096));
	cr_assert_not(pools_overlap(end, 4096));
	cr_assert(pool_destroy(p));
	cr_assert_not(pool_destroy(p), "was destroyed twice");
	cr_assert_not(pools_overlap(p->base, 1));
}
