/* SPDX-License-Identifier: MIT */
/* Where memory is to stand: os.h's contract, and its fake in test/fake_os.c. */
#ifndef BSLAB_PLACE_H
#define BSLAB_PLACE_H

#include "base/base.h"

/*
 * As os_reserve(), wholly below 4 GiB; NULL where no such range is free, or the kernel refuses. From the top down, so that the
 * break of a program that stands low itself has room. A system call for each multiple of align that is not free.
 */
void *os_reserve_low(size_t size, size_t align);

/* --- NUMA nodes, by the kernel's numbers; a kernel without them has node 0 ----------------------------- */

#define MAX_NODE_ID 1023u

/* Of the CPU that this thread runs on. */
unsigned os_node(void);
/* Pages of the range that fault from now on are to come from the node, where it has some (mbind, MPOL_PREFERRED). */
int os_prefer_node(void *addr, size_t size, unsigned node);
/* Whether this thread has a policy of its own for where its memory is to come from (numactl, set_mempolicy). */
bool os_has_node_policy(void);
/* Whether no resident page of the range is known to be of another node (move_pages, which moves none). */
bool os_is_on_node(void *addr, size_t size, unsigned node);

/* --- explicit huge pages (hugetlb): of the kernel's pool, which somebody has filled -------------------- */

#define GIGANTIC_SIZE GIB

/*
 * Moves a mapping to the place of a part of a reservation: whole pageblocks that nobody has touched. Else an error; the mapping is
 * gone, and the range is reserved as before. is_lost: who has the range is not known any more, and nobody may use it.
 */
int os_move_over(void *from, void *to, size_t size, bool *is_lost);
/*
 * Puts huge pages of 2 MiB, which read as zero, in the place of a part of a reservation. They are set aside for it at once.
 * -ENOMEM where the pool has fewer, near vm.max_map_count, or where Linux is older than 5.16: the range is reserved as before.
 * -EEXIST: it is lost. os_seal() gives the pages back.
 */
int os_back_huge(void *addr, size_t size);
/* A mapping of its own, of pages of 2 MiB or GIGANTIC_SIZE; size is a multiple of it. NULL when refused. */
void *os_map_huge(size_t size, size_t page_size);

#endif
