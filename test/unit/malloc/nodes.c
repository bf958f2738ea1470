/* SPDX-License-Identifier: MIT */
/* kmalloc of this node where the kernel knows several: which that is is told by rseq, or by a call. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bslab/kmalloc.h"
#include "fake_os.h"
#include "malloc/explicit.h"
#include "map/pageblock.h"
#include "region/region.h"
#include "slab/percpu.h"

#define NODES "/sys/devices/system/node/"

/* Node 1 has CPUs only. */
static const struct fake_file machine[] = {{NODES "has_memory", "0,2-3\n"}, {NODES "online", "0-3\n"}, {0}};
/* Node 0, of which this thread is to the real kernel, is one without memory. */
static const struct fake_file others[] = {{NODES "has_memory", "2-3\n"}, {NODES "online", "0-3\n"}, {0}};

static void use(const struct fake_file *files, const char *options)
{
	fake.files = files;
	setenv("BSLAB_CONF", options, 1);
}

static unsigned node_at(const void *p)
{
	return zone_node_of(map_pageblock((uintptr_t)p)->region->zone);
}

/* Of kernel's node `node`, which is `index` here; before it is known and after, and when it was free. */
static void expect_node(unsigned node, unsigned index, unsigned gfp)
{
	char *p[3];

	fake.node = node;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++) {
			p[i] = bslab_kmalloc(64, gfp);
			cr_assert_eq(node_at(p[i]), index);
			cr_assert_geq(desc_class(map_lookup((uintptr_t)p[i])), NR_CLASSES);
		}
		for (int i = 0; i < 3; i++)
			bslab_free(p[i]);
	}
}

static void expect_none(unsigned node, unsigned gfp)
{
	fake.node = node;
	for (int round = 0; round < 3; round++) {
		errno = 0;
		cr_assert_null(bslab_kmalloc(64, gfp));
		cr_assert_eq(errno, ENOMEM);
	}
}

Test(nodes, told_by_a_call)
{
	static const unsigned gfp[] = {BSLAB_GFP_THISNODE, BSLAB_GFP_THISNODE | BSLAB_GFP_DMA32};

	use(machine, "index=thread");
	for (int i = 0; i < 4; i++) {
		expect_node(2, 1, gfp[i % 2]);
		expect_none(1, gfp[i % 2]);
		expect_node(0, 0, gfp[i % 2]);
		expect_node(3, 2, gfp[i % 2]);
	}
}

/* The real kernel's word: node 0, on a machine of one. */
static bool is_told_by_rseq(void)
{
	unsigned cpu, node;

	bslab_free(bslab_kmalloc(1, 0));
	return percpu_is_on(&cpu, &node) && node == 0;
}

Test(nodes, told_by_rseq)
{
	use(machine, "index=auto");
	if (!is_told_by_rseq())
		cr_skip("no mm_cid, or several nodes");
	expect_node(3, 0, BSLAB_GFP_THISNODE);
	cr_assert_neq(atomic_load(&explicit_hot.here), 0);
	expect_node(3, 0, BSLAB_GFP_THISNODE | BSLAB_GFP_DMA32);
}

Test(nodes, told_by_rseq_and_without_memory)
{
	use(others, "index=auto");
	if (!is_told_by_rseq())
		cr_skip("no mm_cid, or several nodes");
	bslab_free(bslab_kmalloc(64, BSLAB_GFP_DMA32));
	expect_none(2, BSLAB_GFP_THISNODE | BSLAB_GFP_DMA32);
	expect_none(2, BSLAB_GFP_THISNODE);
	cr_assert_not_null(bslab_kmalloc(64, BSLAB_GFP_DMA32), "of another");
}

/* What is not on the node is not handed out. */
Test(nodes, a_node_that_is_full)
{
	use(machine, "index=thread");
	fake.node = 2;
	fake.nr_elsewhere = SIZE_MAX;
	cr_assert_null(bslab_kmalloc(64, BSLAB_GFP_THISNODE | BSLAB_GFP_NORETRY));
	fake.nr_elsewhere = 0;
	expect_node(2, 1, BSLAB_GFP_THISNODE);
}
