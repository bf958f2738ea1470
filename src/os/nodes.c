/* SPDX-License-Identifier: MIT */
#include "os/nodes.h"

#include "os/bug.h"
#include "os/options.h"
#include "os/os.h"
#include "os/place.h"

#define FOLDER "/sys/devices/system/node/"
#define MAX_ONLINE 64
#define MAX_TEXT 512 /* three digits and a space for each of them, and more */

enum { UNKNOWN, READING, KNOWN };

static struct {
	_Atomic int state;
	_Atomic unsigned nr; /* 0: not known yet */
	/* Constant once nr is set: */
	bool is_fake;
	uint16_t id[MAX_NODES];		      /* the kernel's numbers, rising */
	uint8_t by_distance[MAX_NODES][MAX_NODES];
} nodes;

static const char *read_number(const char *text, unsigned *n)
{
	*n = 0;
	while (*text >= '0' && *text <= '9' && *n <= MAX_NODE_ID)
		*n = *n * 10 + (unsigned)(*text++ - '0');
	return text;
}

/* "0-1,4": how many there were, of which no more than max are told. */
static unsigned read_ids(const char *path, uint16_t *id, unsigned max)
{
	char list[MAX_TEXT];
	const char *text = list;
	unsigned from, to, nr = 0;

	if (!os_read_file(path, list, sizeof list))
		return 0;
	while (*text >= '0' && *text <= '9') {
		text = read_number(text, &from);
		to = from;
		if (*text == '-')
			text = read_number(text + 1, &to);
		for (; from <= to && from <= MAX_NODE_ID && nr < max; from++)
			id[nr++] = (uint16_t)from;
		if (*text == ',')
			text++;
	}
	return nr;
}

/* A row has a distance for each node that is online, with memory or without: those are counted along. */
static bool read_row(unsigned from, unsigned nr, const uint16_t *online, unsigned nr_online, unsigned distance[MAX_NODES])
{
	char path[64], text[MAX_TEXT];
	const char *at = text;
	unsigned i = 0, k, d;

	bug_format(path, sizeof path, FOLDER "node%u/distance", (unsigned)nodes.id[from]);
	if (!os_read_file(path, text, sizeof text))
		return false;
	for (k = 0; k < nr_online && i < nr; k++) {
		while (*at == ' ')
			at++;
		at = read_number(at, &d);
		if (online[k] == nodes.id[i])
			distance[i++] = d;
	}
	return i == nr;
}

/* Stable: of nodes that are as far the lower comes first. */
static void sort_row(unsigned from, unsigned nr, const unsigned distance[MAX_NODES])
{
	uint8_t *row = nodes.by_distance[from];
	unsigned i, k;

	for (i = 0; i < nr; i++) {
		unsigned d = i == from ? 0 : distance[i];

		for (k = i; k && (row[k - 1] == from ? 0 : distance[row[k - 1]]) > d; k--)
			row[k] = row[k - 1];
		row[k] = (uint8_t)i;
	}
}

static void read_distances(unsigned nr, const uint16_t *online, unsigned nr_online)
{
	unsigned distance[MAX_NODES], i, k;

	for (i = 0; i < nr; i++) {
		if (!nr_online || !read_row(i, nr, online, nr_online, distance))
			for (k = 0; k < MAX_NODES; k++)
				distance[k] = 20;
		sort_row(i, nr, distance);
	}
}

static unsigned read_kernels(void)
{
	unsigned nr = read_ids(FOLDER "has_memory", nodes.id, MAX_NODES);
	uint16_t online[MAX_ONLINE];

	if (nr <= 1 || os_has_node_policy())
		return 1;
	read_distances(nr, online, read_ids(FOLDER "online", online, MAX_ONLINE));
	return nr;
}

void nodes_read(void)
{
	int unknown = UNKNOWN;
	unsigned nr;

	if (likely(atomic_load_explicit(&nodes.state, memory_order_relaxed) != UNKNOWN) ||
	    !atomic_compare_exchange_strong(&nodes.state, &unknown, READING))
		return;
	nr = (unsigned)bslab_options.numa_nodes;
	nodes.is_fake = nr != 0;
	if (nr)
		read_distances(nr, NULL, 0);
	else
		nr = read_kernels();
	atomic_store_explicit(&nodes.nr, nr, memory_order_release);
	atomic_store(&nodes.state, KNOWN);
}

void nodes_wait(void)
{
	for (nodes_read(); atomic_load(&nodes.state) != KNOWN; nodes_read())
		os_sleep_ms(1);
}

void nodes_fork_child(void)
{
	int reading = READING;

	atomic_compare_exchange_strong(&nodes.state, &reading, UNKNOWN);
}

unsigned nodes_nr(void)
{
	unsigned nr = atomic_load_explicit(&nodes.nr, memory_order_acquire);

	return nr ? nr : 1;
}

bool nodes_is_one(void)
{
	return atomic_load_explicit(&nodes.nr, memory_order_acquire) == 1;
}

bool nodes_are_fake(void)
{
	return nodes_nr() > 1 && nodes.is_fake;
}

/* The node's index, or the number of nodes. */
static unsigned index_of(unsigned id)
{
	unsigned nr = nodes_nr(), i = 0;

	while (i < nr && nodes.id[i] != id)
		i++;
	return i;
}

bool nodes_find(unsigned cpu, unsigned id, unsigned *node)
{
	unsigned nr = nodes_nr(), i = nodes.is_fake ? cpu % nr : index_of(id);

	*node = i < nr ? i : 0;
	return i < nr;
}

bool nodes_find_here(unsigned *node)
{
	unsigned nr = nodes_nr();

	*node = 0;
	if (nr == 1)
		return true;
	if (nodes.is_fake)
		return nodes_find((unsigned)(os_cpu() + (int)nr), 0, node); /* -1: not known */
	return nodes_find(0, os_node(), node);
}

unsigned nodes_here(void)
{
	unsigned node;

	nodes_find_here(&node);
	return node;
}

unsigned nodes_by_distance(unsigned from, unsigned i)
{
	return nodes.by_distance[from][i];
}

void nodes_prefer(void *addr, size_t size, unsigned node)
{
	if (nodes_nr() > 1 && !nodes.is_fake)
		os_prefer_node(addr, size, nodes.id[node]);
}

enum node_result nodes_hold(void *addr, size_t size, unsigned node, bool may_purge)
{
	if (nodes.is_fake || nodes_nr() == 1)
		return NODE_UNTOUCHED;
	os_populate(addr, size); /* where the kernel cannot, or will not, the preference has to do */
	if (os_is_on_node(addr, size, nodes.id[node]))
		return NODE_HAS_IT;
	if (!may_purge || os_purge(addr, size) != 0)
		return NODE_IS_FULL;
	os_populate(addr, size);
	return os_is_on_node(addr, size, nodes.id[node]) ? NODE_HAS_IT_ZEROED : NODE_IS_FULL;
}
