/* SPDX-License-Identifier: MIT */
/* What the kernel says of a process. Its folder in /proc stays open, so the answers are of this process for ever. */
#ifndef BSLAB_INSIGHT_PROCINFO_H
#define BSLAB_INSIGHT_PROCINFO_H

#include "base/base.h"

#define MAX_TASK_FOLDER 24
/*
 * The kernel tells of a process's memory in the folder of each thread that has it: its own is the main thread's, which may
 * end while others go on. Looks for one that has not ended: its number, and its folder in that of the process; 0: there is none.
 */
int proc_living_task(int dir, char folder[MAX_TASK_FOLDER]);

struct procinfo {
	/* Private: */
	int dir;
	char task[MAX_TASK_FOLDER]; /* as above */
	int pagemap;   /* of the memory that the process had at the last look; -1: not open */
	bool has_scan; /* ioctl PAGEMAP_SCAN works (Linux 6.7) */
	/* Taken: */
	int pid;
	char name[32]; /* printable */
	char state;    /* the main thread's letter in /proc/PID/stat; 0: it is gone */
	unsigned nr_threads;
	double uptime;	    /* seconds */
	uint64_t nr_faults; /* minor and major */
	size_t rss;	    /* bytes */
	uint64_t image;	    /* another number when another program is executed */
};

/* False, with errno, when there is no such process. Nothing is taken yet. */
bool procinfo_open(struct procinfo *p, int pid);
void procinfo_close(struct procinfo *p);
/* False when the process has ended: what was taken before stays. */
bool procinfo_take(struct procinfo *p);

/* Pages of a range that are resident, and those of them in huge pages; nr_huge is 0 where the kernel does not tell. */
struct residence {
	size_t nr_resident, nr_huge;
};
/* False when the kernel does not say. */
bool procinfo_residence(struct procinfo *p, uint64_t addr, size_t size, struct residence *r);

/* Of the text of /proc/PID/stat: name, state, nr_threads, nr_faults, and the start in clock ticks since boot. */
bool proc_stat_parse(const char *text, struct procinfo *p, uint64_t *start);

#endif
