/* SPDX-License-Identifier: MIT */
/*
 * The machine's NUMA nodes that have memory, as the kernel tells in /sys/devices/system/node.
 *
 * 1. They are numbered from 0 here, without gaps; at most MAX_NODES. What is not known, or beyond that, is the first
 *    node.
 * 2. They are read once, when nodes_read() is called first: three system calls, and one more for each node where there
 *    are several. Until then there is one, but to who waits.
 * 3. A program that was given a memory policy (numactl, set_mempolicy) keeps it: to bslab there is one node.
 *
 * 4. BSLAB_CONF=numa=fake:4 makes up four, for tests: CPU n is on node n modulo 4, and nothing is asked of the
 *    kernel. numa=off makes it one.
 */
#ifndef BSLAB_NODES_H
#define BSLAB_NODES_H

#include "base/base.h"

#define MAX_NODES 16u

/* Reads them if nobody has; from any thread. While another does, it returns. */
void nodes_read(void);
/* The same, and waits for another. Call with no lock held. */
void nodes_wait(void);
/* Who was reading them is not there. */
void nodes_fork_child(void);
/* How many: 1 before. */
unsigned nodes_nr(void);
/* They were read, and there is one. */
bool nodes_is_one(void);
/* They are made up: by the number of the CPU. */
bool nodes_are_fake(void);
/* That of the CPU that this thread runs on; false where that has no memory, or is beyond MAX_NODES: *node is the first. */
bool nodes_find_here(unsigned *node);
/* The same where both numbers of the kernel's, of CPU and node, are known. */
bool nodes_find(unsigned cpu, unsigned id, unsigned *node);
unsigned nodes_here(void);
/* The nodes by distance from one, itself first. */
unsigned nodes_by_distance(unsigned from, unsigned i);
/* Pages of a range that fault from now on are to come from the node. */
void nodes_prefer(void *addr, size_t size, unsigned node);
/*
 * Makes a range resident on the node. What is elsewhere is given back and made resident once more, if may_purge; it is zero then.
 * UNTOUCHED: there is nothing to be asked. FULL: it is resident nevertheless.
 */
enum node_result { NODE_UNTOUCHED, NODE_HAS_IT, NODE_HAS_IT_ZEROED, NODE_IS_FULL };
enum node_result nodes_hold(void *addr, size_t size, unsigned node, bool may_purge);

#endif
