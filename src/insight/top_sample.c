/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insight/top.h"

/* --- history ------------------------------------------------------------------------------------ */

void history_add(struct history *h, const struct moment *m)
{
	h->moment[h->nr++ % MAX_HISTORY] = *m;
}

size_t history_nr(const struct history *h)
{
	return min_size(h->nr, MAX_HISTORY);
}

const struct moment *history_at(const struct history *h, size_t nr, size_t i)
{
	return &h->moment[(h->nr - nr + i) % MAX_HISTORY];
}

static double seconds_between(const struct timespec *then, const struct timespec *now)
{
	return (double)(now->tv_sec - then->tv_sec) + (double)(now->tv_nsec - then->tv_nsec) / 1e9;
}

/* --- samples ------------------------------------------------------------------------------------ */

bool top_open(struct top *t, int pid, char fault[MAX_FAULT])
{
	t->process.dir = t->process.pagemap = -1;
	t->now = calloc(1, sizeof *t->now);
	t->before = calloc(1, sizeof *t->before);
	if (!t->now || !t->before) {
		snprintf(fault, MAX_FAULT, "out of memory");
		return false;
	}
	t->memory = process_open(pid, fault);
	if (!t->memory)
		return false;
	if (!procinfo_open(&t->process, pid)) {
		snprintf(fault, MAX_FAULT, "process %d: %s", pid, strerror(errno));
		return false;
	}
	if (top_sample(t))
		return true;
	memcpy(fault, t->message, MAX_FAULT);
	return false;
}

void top_close(struct top *t)
{
	if (t->is_open)
		heap_close(&t->heap);
	procinfo_close(&t->process);
	memory_close(t->memory);
	survey_free(&t->survey);
	free(t->now);
	free(t->before);
}

static bool note(struct top *t, const char *text)
{
	snprintf(t->message, sizeof t->message, "%s", text);
	return false;
}

static bool note_end(struct top *t)
{
	t->has_ended = true;
	snprintf(t->message, sizeof t->message, "process %d has ended", t->process.pid);
	return false;
}

/* Where it was found before, if it is the same program; else it is searched for. */
static bool open_heap(struct top *t, bool is_same)
{
	if (t->is_open && is_same && heap_reopen(&t->heap))
		return true;
	if (t->is_open && !is_same)
		heap_close(&t->heap);
	t->memory->fault[0] = 0;
	t->is_open = heap_open(&t->heap, t->memory);
	return t->is_open;
}

static void remember(struct top *t, const struct timespec *now)
{
	struct moment m = {seconds_between(&t->began, now), t->process.rss, t->now->used, t->now->committed, t->now->dirty_free};

	t->seconds = t->nr_samples ? seconds_between(&t->at, now) : 0;
	t->at = *now;
	t->clock = time(NULL);
	t->nr_samples++;
	history_add(&t->history, &m);
}

/* The first that is there is the newest; it becomes the one before. */
static void swap_reports(struct top *t)
{
	struct heap_report *other = t->before;

	t->before = t->now;
	t->now = other;
}

bool top_sample(struct top *t)
{
	uint64_t image = t->process.image, nr_faults = t->process.nr_faults;
	struct timespec now;

	if (t->has_ended)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!t->nr_samples)
		t->began = now;
	if (!procinfo_take(&t->process))
		return note_end(t);
	if (!open_heap(t, image == t->process.image))
		return procinfo_take(&t->process) ? note(t, t->memory->fault) : note_end(t);
	swap_reports(t);
	survey_take(&t->survey, &t->heap, t->now);
	t->nr_doubts = t->heap.nr_doubts;
	/* Half of a heap is no heap. */
	if (!procinfo_take(&t->process)) {
		swap_reports(t);
		return note_end(t);
	}
	t->nr_faults_before = nr_faults;
	t->message[0] = 0;
	remember(t, &now);
	return true;
}

void top_ask_residence(struct top *t, size_t first, size_t nr)
{
	struct residence r;
	size_t i;

	for (i = first; i < min_size(first + nr, t->survey.nr) && !t->has_ended; i++) {
		struct block_mark *b = &t->survey.block[i];

		if (b->nr_resident != RESIDENCE_UNKNOWN)
			continue;
		if (!procinfo_residence(&t->process, b->addr, PAGEBLOCK_SIZE, &r))
			return;
		b->nr_resident = (uint16_t)r.nr_resident;
		b->nr_huge = (uint16_t)r.nr_huge;
	}
}

double top_rate(const struct top *t, enum vm_event event)
{
	uint64_t now = t->now->vm_event[event], before = t->before->vm_event[event];

	return t->nr_samples > 1 && t->seconds > 0 && now > before ? (double)(now - before) / t->seconds : 0;
}
