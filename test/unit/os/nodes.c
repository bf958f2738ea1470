/* SPDX-License-Identifier: MIT */
/* What is read of the machine's nodes, once in each process; test/unit/page/zonelist.c has what is made of it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "fake_os.h"
#include "os/nodes.h"
#include "os/options.h"

#define NODES "/sys/devices/system/node/"

static void expect_row(unsigned from, unsigned nr, const unsigned *order)
{
	for (unsigned i = 0; i < nr; i++)
		cr_assert_eq(nodes_by_distance(from, i), order[i], "%u: %u", from, i);
}

Test(nodes, one_before_they_are_read_and_without_files)
{
	cr_assert_eq(nodes_nr(), 1);
	cr_assert_eq(nodes_here(), 0);
	nodes_read();
	cr_assert_eq(nodes_nr(), 1);
	nodes_prefer((void *)4096, 4096, 0);
	cr_assert_eq(fake.nr_prefers, 0);
	cr_assert_eq(nodes_hold((void *)4096, 4096, 0, true), NODE_UNTOUCHED);
}

Test(nodes, one)
{
	static const struct fake_file files[] = {{NODES "has_memory", "0\n"}, {0}};

	fake.files = files;
	cr_assert_not(nodes_is_one(), "not read yet");
	nodes_read();
	cr_assert(nodes_is_one());
	cr_assert_eq(nodes_nr(), 1);
	cr_assert_eq(nodes_by_distance(0, 0), 0);
}

/* Neither which are online nor how far they are: the order of their numbers, with the own one first. */
Test(nodes, distances_that_are_not_told)
{
	static const struct fake_file files[] = {{NODES "has_memory", "1-2,5\n"}, {0}};
	unsigned node;

	fake.files = files;
	nodes_read();
	cr_assert_eq(nodes_nr(), 3);
	expect_row(0, 3, (const unsigned[]){0, 1, 2});
	expect_row(1, 3, (const unsigned[]){1, 0, 2});
	expect_row(2, 3, (const unsigned[]){2, 0, 1});
	fake.node = 5;
	cr_assert_eq(nodes_here(), 2);
	cr_assert(nodes_find_here(&node));
	cr_assert_eq(node, 2);
	fake.node = 7;
	cr_assert_eq(nodes_here(), 0);
	cr_assert_not(nodes_find_here(&node), "without memory");
	cr_assert_eq(node, 0);
	cr_assert(nodes_find(0, 2, &node) && node == 1);
	cr_assert_not(nodes_find(0, 3, &node));
	cr_assert_not(nodes_is_one());
	nodes_read(); /* once */
}

Test(nodes, files_that_make_no_sense)
{
	static const struct fake_file files[] = {{NODES "has_memory", "0-1\n"},
						 {NODES "online", "3\n"},
						 {NODES "node0/distance", "10 20\n"},
						 {0}};

	fake.files = files;
	nodes_read();
	cr_assert_eq(nodes_nr(), 2);
	expect_row(1, 2, (const unsigned[]){1, 0});
}

Test(nodes, more_than_there_is_room_for)
{
	static const struct fake_file files[] = {{NODES "has_memory", "0-999999999999999\n"}, {0}};

	fake.files = files;
	nodes_read();
	cr_assert_eq(nodes_nr(), MAX_NODES);
}

Test(nodes, faked)
{
	unsigned node;

	bslab_options.numa_nodes = 4;
	nodes_read();
	cr_assert_eq(nodes_nr(), 4);
	fake.cpu = 1 + 6;
	cr_assert_eq(nodes_here(), 2);
	cr_assert(nodes_find(7, 0, &node) && node == 3);
	expect_row(2, 4, (const unsigned[]){2, 0, 1, 3});
	nodes_prefer((void *)4096, 4096, 1);
	cr_assert_eq(fake.nr_prefers, 0);
	cr_assert_eq(nodes_hold((void *)4096, 4096, 1, true), NODE_UNTOUCHED);
}

Test(nodes, off)
{
	static const struct fake_file files[] = {{NODES "has_memory", "0-1\n"}, {0}};

	fake.files = files;
	bslab_options.numa_nodes = 1;
	nodes_read();
	cr_assert_eq(nodes_nr(), 1);
}

/* numactl's word stands: mbind() would take it back for each region. */
Test(nodes, a_policy_of_the_program)
{
	static const struct fake_file files[] = {{NODES "has_memory", "0-1\n"}, {0}};

	fake.files = files;
	fake.has_policy = true;
	nodes_read();
	cr_assert_eq(nodes_nr(), 1);
	nodes_prefer((void *)4096, 4096, 0);
	cr_assert_eq(fake.nr_prefers, 0);
}

/* --- while another thread reads them ------------------------------------------------------------------ */

static const struct fake_file two[] = {{NODES "has_memory", "0-1\n"}, {0}};
static _Atomic int stage;

/* The first one to ask stays there for a while. */
static void stay(void)
{
	int first = 0;

	if (!atomic_compare_exchange_strong(&stage, &first, 1))
		return;
	while (stage != 2)
		usleep(100);
}

static void *reads(void *arg)
{
	(void)arg;
	nodes_read();
	return NULL;
}

static void *waits(void *nr)
{
	nodes_wait();
	*(unsigned *)nr = nodes_nr();
	return NULL;
}

static void begin_to_read(pthread_t *thread)
{
	fake.files = two;
	fake.file_asked = stay;
	pthread_create(thread, NULL, reads, NULL);
	while (stage != 1)
		usleep(100);
}

Test(nodes, who_needs_them_waits)
{
	pthread_t reader, waiter;
	unsigned nr = 0;

	begin_to_read(&reader);
	nodes_read();
	cr_assert_eq(nodes_nr(), 1, "others do not wait");
	pthread_create(&waiter, NULL, waits, &nr);
	usleep(10000);
	stage = 2;
	pthread_join(waiter, NULL);
	pthread_join(reader, NULL);
	cr_assert_eq(nr, 2);
}

/* In the child of a fork nobody reads on. */
Test(nodes, fork_while_they_are_read)
{
	pthread_t reader;

	begin_to_read(&reader);
	nodes_fork_child();
	nodes_wait();
	cr_assert_eq(nodes_nr(), 2);
	nodes_fork_child();
	cr_assert_eq(nodes_nr(), 2);
	stage = 2;
	pthread_join(reader, NULL);
}
