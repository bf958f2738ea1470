/* SPDX-License-Identifier: MIT */
/*
 * step: every restartable sequence of the library, interrupted at each of its instructions (ptrace, x86-64).
 *
 * 1. The sequences are found by their descriptors (struct rseq_cs) in the library's mappings. Each abort handler has the
 *    signature before it: there are as many signatures in the text as descriptors, so none is missed. A sequence
 *    that has a home (5 in src/arch/percpu.h) has a copy of it there.
 * 2. A tracee (rounds.c) goes through all entry points. Where a sequence begins it is stepped by instruction, with
 *    rseq_cs cleared so that the kernel does not restart it: the instructions from start to end are then known, without
 *    a gap. A sequence that no round reaches is an error.
 * 3. Then, for each instruction and each kind of interruption, the tracee runs into a breakpoint there and is let go on:
 *      stop      as a preemption
 *      migrate   on another CPU
 *      signal    with a signal, whose handler must find the program at the abort handler
 *      malloc    the same, and the handler takes and frees objects of this very cache
 *    It must come to the sequence's abort handler, and all of its memory must be as it was before the sequence: but
 *    for a slot above the top, which push() writes before it commits, a value without a key, which put() does, and what
 *    the kernel writes. (Not compared: what the handler's malloc did.) The round then goes to its end, which finds lost and doubled objects.
 * 4. Just past the last instruction the same stop changes nothing: the sequence is whole, and nothing but its top, and
 *    push()'s slot or put()'s value, differs from before.
 *
 * Where the library does not go by rseq (index=thread), an interrupted sequence goes on at the next instruction instead,
 * and to its end.
 */
#include "rounds.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slab/percpu.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
struct rseq_configuration {
	uint64_t area;
	uint32_t size, signature, flags, pad;
};

#define SIGNATURE 0x53053053u
#define RSEQ_CS 8
#define RSEQ_CPU_ID 4
#define RSEQ_MM_CID 24
#define RSEQ_SIZE 32
#define MAX_SEQUENCES 256
#define MAX_INSTRUCTIONS 32
#define MAX_MAPPINGS 256
#define MAX_STOPS (2 * MAX_SEQUENCES)
#define RED_ZONE 128
#define FRAME ((uint64_t)16 << 10) /* of a signal, at most */
#define NR_TRIES 200 /* of rounds, if a sequence fails by itself each time, or is met by chance */

struct descriptor {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

struct sequence {
	uint64_t cs, enter, start, end, abort; /* enter: the instruction before the one that stores the descriptor's address */
	unsigned home_reg;		       /* 1 + the number of the register that has its home's address; 0: it has none */
	unsigned field;			       /* of struct rseq, that is its index */
	unsigned nr;
	uint64_t at[MAX_INSTRUCTIONS];
	bool rests, aborts_others; /* what a round needs to reach it */
	bool is_done;
};

struct mapping {
	uint64_t start, end;
};

struct memory {
	unsigned nr;
	struct mapping map[MAX_MAPPINGS];
	unsigned char *bytes;
	size_t size, room;
};

enum kind { STOP, MIGRATE, SIGNAL, SIGNAL_MALLOC, NR_KINDS };
static const char *const kind_names[] = {"stop", "migrate", "signal", "malloc"};

static pid_t tracee;
static bool by_rseq;
static unsigned field; /* of the sequences that are at work */
static struct sequence sequences[MAX_SEQUENCES];
static unsigned nr_sequences;
static struct rseq_configuration rseq;
static uint64_t talk, lib_base;
static unsigned nr_interrupted;

static void die(const char *what, const struct sequence *s, uint64_t at)
{
	fprintf(stderr, "step: %s", what);
	if (s)
		fprintf(stderr, ": sequence %#llx to %#llx, at %#llx, %s", (unsigned long long)(s->start - lib_base),
			(unsigned long long)(s->end - lib_base), (unsigned long long)(at - lib_base), s->field == RSEQ_CPU_ID ? "cpu_id" : "mm_cid");
	fprintf(stderr, "\n");
	if (tracee > 0)
		kill(tracee, SIGKILL);
	exit(1);
}

static void skip(const char *what)
{
	printf("skipped: %s\n", what);
	if (tracee > 0)
		kill(tracee, SIGKILL);
	exit(77);
}

/* --- the tracee's memory and registers -------------------------------------------------------- */

static void read_memory(uint64_t at, void *to, size_t size)
{
	struct iovec here = {to, size}, there = {(void *)at, size};

	if (process_vm_readv(tracee, &here, 1, &there, 1, 0) != (ssize_t)size)
		die("cannot read the tracee's memory", NULL, 0);
}

static uint64_t read_word(uint64_t at)
{
	uint64_t word;

	read_memory(at, &word, sizeof word);
	return word;
}

static void write_word(uint64_t at, uint64_t word)
{
	if (ptrace(PTRACE_POKEDATA, tracee, at, word))
		die("cannot write the tracee's memory", NULL, 0);
}

static struct user_regs_struct get_registers(void)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, tracee, 0, &r))
		die("PTRACE_GETREGS", NULL, 0);
	return r;
}

static unsigned list_mappings(struct mapping *map, bool writable, const char *file)
{
	char path[64], line[512], access[8], name[256];
	unsigned long long start, end;
	unsigned nr = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)tracee);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f)) {
		name[0] = '\0';
		if (sscanf(line, "%llx-%llx %7s %*s %*s %*s %255s", &start, &end, access, name) < 3)
			continue;
		if (access[0] != 'r' || (writable && access[1] != 'w') || (file && !strstr(name, file)) || nr == MAX_MAPPINGS)
			continue;
		map[nr++] = (struct mapping){start, end};
	}
	if (f)
		fclose(f);
	return nr;
}

/* Pages that trap, which the hardened mode has between slabs, are as good as empty. */
static void read_pages(uint64_t at, char *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		struct iovec here = {to + done, size - done}, there = {(void *)(uintptr_t)(at + done), size - done};
		ssize_t nr = process_vm_readv(tracee, &here, 1, &there, 1, 0);

		done += nr > 0 ? (size_t)nr : 0;
		if (done < size) {
			memset(to + done, 0, 4096);
			done += 4096;
		}
	}
}

static void take(struct memory *m)
{
	m->nr = list_mappings(m->map, true, NULL);
	m->size = 0;
	for (unsigned i = 0; i < m->nr; i++)
		m->size += m->map[i].end - m->map[i].start;
	if (m->size > m->room) {
		free(m->bytes);
		m->room = 2 * m->size;
		m->bytes = malloc(m->room);
	}
	for (size_t i = 0, done = 0; i < m->nr; i++) {
		read_pages(m->map[i].start, (char *)m->bytes + done, m->map[i].end - m->map[i].start);
		done += m->map[i].end - m->map[i].start;
	}
}

/* --- breakpoints -------------------------------------------------------------------------------- */

static struct {
	uint64_t at;
	uint64_t word; /* that stood there */
} stops[MAX_STOPS];
static unsigned nr_stops;

static void plant(uint64_t at)
{
	uint64_t word = read_word(at);

	for (unsigned i = 0; i < nr_stops; i++)
		if (stops[i].at == at)
			return;
	stops[nr_stops].at = at;
	stops[nr_stops++].word = word;
	write_word(at, (word & ~(uint64_t)0xff) | 0xcc);
}

static void unplant(uint64_t at)
{
	for (unsigned i = 0; i < nr_stops; i++) {
		if (stops[i].at != at)
			continue;
		write_word(at, (read_word(at) & ~(uint64_t)0xff) | (stops[i].word & 0xff));
		stops[i] = stops[--nr_stops];
		return;
	}
}

static void unplant_all(void)
{
	while (nr_stops)
		unplant(stops[0].at);
}

static bool is_planted(uint64_t at)
{
	for (unsigned i = 0; i < nr_stops; i++)
		if (stops[i].at == at)
			return true;
	return false;
}

/* Where the tracee stopped: at a breakpoint, with the pc on it; or 0, at the beginning of a round. */
static uint64_t wait_stop(void)
{
	struct user_regs_struct r;
	siginfo_t why;
	int status;

	if (waitpid(tracee, &status, 0) != tracee)
		die("waitpid", NULL, 0);
	if (!WIFSTOPPED(status)) {
		fprintf(stderr, "step: the tracee ended with status %#x\n", (unsigned)status);
		exit(WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 77 : 1);
	}
	r = get_registers();
	if (WSTOPSIG(status) != SIGTRAP) {
		fprintf(stderr, "step: the tracee gets signal %d at %#llx\n", WSTOPSIG(status), (unsigned long long)(r.rip - lib_base));
		die("unexpected signal", NULL, 0);
	}
	/* An int3, and not a step with what an earlier one left in the register. */
	if (r.rdx == ROUND_MARK && !is_planted(r.rip - 1) && ptrace(PTRACE_GETSIGINFO, tracee, 0, &why) == 0 && why.si_code == SI_KERNEL) {
		talk = r.rax;
		return 0;
	}
	if (is_planted(r.rip - 1)) {
		r.rip--;
		ptrace(PTRACE_SETREGS, tracee, 0, &r);
	}
	return r.rip;
}

static uint64_t resume(int signal)
{
	if (ptrace(PTRACE_CONT, tracee, 0, signal))
		die("PTRACE_CONT", NULL, 0);
	return wait_stop();
}

static uint64_t single_step(void)
{
	if (ptrace(PTRACE_SINGLESTEP, tracee, 0, 0))
		die("PTRACE_SINGLESTEP", NULL, 0);
	return wait_stop();
}

/* On the breakpoint: over the instruction, which is in no sequence, and the breakpoint stays. */
static void step_over(uint64_t at)
{
	unplant(at);
	single_step();
	plant(at);
}

/* --- the sequences ------------------------------------------------------------------------------- */

/*
 * "lea cs(%rip), reg", and "mov reg, %fs:8(reg)" of five bytes, or of six. Where it has a home, "mov offset(reg), reg", of four
 * bytes or of seven, in place of the first; and *reg says which the second stores.
 */
static uint64_t find_enter(const struct descriptor *d, uint64_t cs, unsigned *reg)
{
	unsigned char code[13];
	int32_t distance;

	read_memory(d->start - sizeof code, code, sizeof code);
	for (unsigned i = 0; i < 2; i++) {
		unsigned char *first = code + i, *mov = first + 7;

		if (mov[0] != 0x64 || (mov[1] & 0xfa) != 0x48 || mov[2] != 0x89 || code[sizeof code - 1] != RSEQ_CS)
			continue;
		memcpy(&distance, first + 3, sizeof distance);
		if (first[1] == 0x8d && (first[2] & 0xc7) == 5 && d->start - sizeof code + i + 7 + (uint64_t)(int64_t)distance == cs)
			return d->start - sizeof code + i;
		*reg = 1 + ((mov[3] >> 3 & 7) | (mov[1] & 4) << 1);
		if ((first[0] & 0xf8) == 0x48 && first[1] == 0x8b && first[2] >> 6 == 2)
			return d->start - sizeof code + i;
		if ((mov[-4] & 0xf8) == 0x48 && mov[-3] == 0x8b && mov[-2] >> 6 == 1)
			return d->start - sizeof code + i + 3;
	}
	return 0;
}

/* The displacement in "mov %fs:index(reg), reg", the first instruction. */
static unsigned find_field(const struct descriptor *d)
{
	unsigned char code[8];
	unsigned i = 1;

	read_memory(d->start, code, sizeof code);
	if ((code[i] & 0xf0) == 0x40)
		i++;
	if (code[0] != 0x64 || code[i] != 0x8b || code[i + 1] >> 6 != 1)
		return 0;
	return code[i + 2 + ((code[i + 1] & 7) == 4)];
}

static bool is_mapped(const struct mapping *map, unsigned nr, uint64_t at)
{
	for (unsigned i = 0; i < nr; i++)
		if (at >= map[i].start && at < map[i].end)
			return true;
	return false;
}

static void find_sequences(void)
{
	struct mapping map[MAX_MAPPINGS];
	unsigned nr = list_mappings(map, false, "libbslab"), nr_signatures = 0;
	static const unsigned char handler[] = {0x0f, 0xb9, 0x3d, 0x53, 0x30, 0x05, 0x53};
	struct descriptor d;

	nr_sequences = 0;
	lib_base = nr ? map[0].start : 0;
	for (unsigned i = 0; i < nr; i++) {
		size_t size = map[i].end - map[i].start;
		unsigned char *bytes = malloc(size);

		read_memory(map[i].start, bytes, size);
		for (size_t at = 0; at + sizeof handler <= size; at++)
			nr_signatures += memcmp(bytes + at, handler, sizeof handler) == 0;
		for (size_t at = 0; at + sizeof d <= size; at += 32) {
			struct sequence *s = &sequences[nr_sequences];

			memcpy(&d, bytes + at, sizeof d);
			if (d.version || d.flags || !d.length || d.length > 256 || !is_mapped(map, nr, d.start) || !is_mapped(map, nr, d.abort) ||
			    (uint32_t)read_word(d.abort - 4) != SIGNATURE)
				continue;
			*s = (struct sequence){.cs = map[i].start + at, .start = d.start, .end = d.start + d.length, .abort = d.abort};
			s->enter = find_enter(&d, s->cs, &s->home_reg);
			s->field = find_field(&d);
			if (!s->enter || (s->field != RSEQ_CPU_ID && s->field != RSEQ_MM_CID))
				die("a sequence does not begin as it should", s, s->start);
			if (++nr_sequences == MAX_SEQUENCES)
				die("too many sequences", NULL, 0);
		}
		free(bytes);
	}
	if (!nr_sequences || nr_signatures != nr_sequences) {
		fprintf(stderr, "step: %u descriptors, %u abort handlers\n", nr_sequences, nr_signatures);
		exit(1);
	}
}

/* --- instructions ---------------------------------------------------------------------------------- */

static void begin_round(const struct sequence *s, bool handler_mallocs)
{
	write_word(talk + offsetof(struct talk, rests), s->rests);
	write_word(talk + offsetof(struct talk, handler_mallocs), handler_mallocs);
	write_word(talk + offsetof(struct talk, interrupted_at), 0);
	/* Interrupted once each, they fail, and leave for slow paths whose sequences would not be reached otherwise. */
	for (unsigned i = 0; s->aborts_others && i < nr_sequences; i++)
		if (&sequences[i] != s && sequences[i].field == s->field)
			plant(sequences[i].start);
}

/* To the next stop at any of a, b, c, or 0: others on the way happen once. */
static uint64_t run_to(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t at;

	while ((at = resume(0)) && at != a && at != b && at != c)
		unplant(at);
	return at;
}

static void end_round(void)
{
	unplant_all();
	while (resume(0))
		;
}

/* On its first instruction, with the descriptor stored: records all that are executed. */
static bool step_through(struct sequence *s)
{
	uint64_t at = s->start;
	struct user_regs_struct r = get_registers();

	if (r.rip != s->start)
		die("does not begin behind its descriptor", s, r.rip);
	if (by_rseq)
		write_word(rseq.area + RSEQ_CS, 0);
	for (s->nr = 0; at >= s->start && at < s->end; at = single_step()) {
		if (s->nr == MAX_INSTRUCTIONS || (s->nr && at <= s->at[s->nr - 1]))
			die("is not straight", s, at);
		s->at[s->nr++] = at;
	}
	return at == s->end;
}

/* On its first: what stands at the home must be the descriptor. */
static void find_home(struct sequence *s)
{
	struct user_regs_struct r = get_registers();
	const unsigned long long reg[] = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
	struct descriptor d;

	s->cs = reg[s->home_reg - 1];
	read_memory(s->cs, &d, sizeof d);
	if (d.version || d.flags || d.start != s->start || d.length != s->end - s->start || d.abort != s->abort)
		die("its home has another's descriptor", s, s->start);
}

static bool map_in_round(struct sequence *s)
{
	bool whole = false;

	begin_round(s, false);
	plant(s->enter);
	while (!whole && run_to(s->enter, 0, 0) == s->enter) {
		unplant(s->enter);
		if (s->home_reg)
			find_home(s);
		single_step();
		single_step();
		whole = step_through(s);
		if (!whole)
			plant(s->enter);
	}
	if (whole || nr_stops)
		unplant_all();
	if (whole)
		end_round();
	return whole;
}

/* Another kind of round for the next try. What chance led to once, on a machine that is busy, may need another. */
static void vary(struct sequence *s)
{
	unsigned how = (s->aborts_others | s->rests << 1) + 1;

	s->aborts_others = how & 1;
	s->rests = how & 2;
}

static bool map_sequence(struct sequence *s)
{
	for (unsigned how = 0; how < 4; how++, vary(s))
		for (unsigned i = 0; i < 3; i++)
			if (map_in_round(s))
				return true;
	return false;
}

/* --- interruptions ------------------------------------------------------------------------------------ */

/* The value is what the registers say, and it went to where they point: push()'s slot, or what put() has no key for yet. */
static bool is_slot(const struct user_regs_struct *r, uint64_t at, uint64_t value)
{
	const unsigned long long *reg = (const unsigned long long *)r;
	bool points = false, has = false;

	for (unsigned i = 0; i < sizeof *r / sizeof *reg; i++) {
		points |= reg[i] == at || reg[i] == at + 8 || reg[i] + KEPT_VALUE * sizeof(void *) == at;
		has |= reg[i] == value;
	}
	return points && has;
}

/* How many words differ that the interruption explains by nothing; one slot above the top may. */
static unsigned nr_changed(const struct memory *before, const struct memory *after, const struct sequence *s,
			   const struct user_regs_struct *r, unsigned *nr_slots)
{
	unsigned nr = 0;
	size_t offset = 0;

	*nr_slots = 0;
	if (before->nr != after->nr || memcmp(before->map, after->map, before->nr * sizeof *before->map))
		return 1;
	for (unsigned i = 0; i < before->nr; i++) {
		uint64_t start = before->map[i].start, size = before->map[i].end - start;

		for (uint64_t page = 0; page < size; page += 4096) {
			if (memcmp(before->bytes + offset + page, after->bytes + offset + page, 4096) == 0)
				continue;
			for (uint64_t k = page; k < page + 4096; k += 8) {
				uint64_t at = start + k, was, is;

				memcpy(&was, before->bytes + offset + k, 8);
				memcpy(&is, after->bytes + offset + k, 8);
				if (was == is || is == s->cs || (at >= rseq.area && at < rseq.area + RSEQ_SIZE) ||
				    (at >= talk && at < talk + sizeof(struct talk)) || (at < r->rsp - RED_ZONE && at >= r->rsp - RED_ZONE - FRAME))
					continue;
				if (is_slot(r, at, is))
					(*nr_slots)++;
				else
					nr++;
			}
		}
		offset += size;
	}
	return nr;
}

static int tracee_cpu; /* that it was moved to last */

static void move_tracee(void)
{
	cpu_set_t all, one;
	int nr = 0, which;

	if (sched_getaffinity(getpid(), sizeof all, &all))
		die("sched_getaffinity", NULL, 0);
	CPU_CLR(tracee_cpu, &all); /* another one, if there is one */
	nr = CPU_COUNT(&all);
	if (nr == 0)
		return;
	which = rand() % nr;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && which-- == 0) {
			CPU_SET(cpu, &one);
			tracee_cpu = cpu;
		}
	if (sched_setaffinity(tracee, sizeof one, &one))
		die("sched_setaffinity", NULL, 0);
}

/* To the instruction, natively, with memory taken before the sequence. False when this round does not come there. */
static bool run_into(const struct sequence *s, uint64_t at, struct memory *before)
{
	uint64_t stop;

	plant(s->enter);
	while ((stop = run_to(s->enter, at, 0)) == s->enter) {
		take(before);
		step_over(s->enter);
		plant(at);
	}
	return stop == at;
}

static bool interrupt_in_round(const struct sequence *s, unsigned i, enum kind kind)
{
	static struct memory before, after;
	uint64_t at = s->at[i], next = i + 1 < s->nr ? s->at[i + 1] : s->end, stop;
	struct user_regs_struct r;
	unsigned nr, nr_slots;

	begin_round(s, kind == SIGNAL_MALLOC);
	if (!run_into(s, at, &before)) {
		unplant_all();
		return false;
	}
	unplant_all();
	r = get_registers();
	if (by_rseq && read_word(rseq.area + RSEQ_CS) != s->cs)
		die("its descriptor is not in force", s, at);
	plant(by_rseq ? s->abort : next);
	if (kind == MIGRATE)
		move_tracee();
	stop = resume(kind >= SIGNAL ? SIGUSR1 : 0);
	if (stop != (by_rseq ? s->abort : next)) {
		if (!by_rseq && !stop) /* a branch out of it, as it may */
			return unplant_all(), true;
		die(by_rseq ? "interrupted, it was not aborted" : "interrupted, it did not go on", s, at);
	}
	if (kind >= SIGNAL && read_word(talk + offsetof(struct talk, interrupted_at)) != (by_rseq ? s->abort : at))
		die("a signal's handler found the program elsewhere", s, at);
	if (by_rseq && kind != SIGNAL_MALLOC) {
		take(&after);
		nr = nr_changed(&before, &after, s, &r, &nr_slots);
		if (nr || nr_slots > 1)
			die("aborted, it left something behind", s, at);
	}
	nr_interrupted++;
	end_round();
	return true;
}

/* Stopped just past the final store, it is whole. */
static bool commit_in_round(const struct sequence *s)
{
	static struct memory before, after;
	struct user_regs_struct r;
	unsigned nr, nr_slots;

	begin_round(s, false);
	if (!run_into(s, s->end, &before)) {
		unplant_all();
		return false;
	}
	unplant_all();
	r = get_registers();
	take(&after);
	nr = nr_changed(&before, &after, s, &r, &nr_slots);
	if (nr + nr_slots == 0 || nr > 1 || nr_slots > 2)
		die("committed, it changed more or less than its top", s, s->end);
	plant(s->abort);
	for (int i = 0; i < 3; i++)
		if (single_step() == s->abort)
			die("aborted behind its final store", s, s->end);
	end_round();
	return true;
}

/* False where it is not met again: in mode thread, by chance; elsewhere that is an error. */
static bool try_each(struct sequence *s)
{
	unsigned tries;

	for (unsigned i = 0; i < s->nr; i++)
		for (enum kind kind = STOP; kind < (by_rseq ? NR_KINDS : SIGNAL_MALLOC); kind++)
			for (tries = 0; !interrupt_in_round(s, i, kind); vary(s))
				if (++tries == NR_TRIES) {
					if (by_rseq)
						die(kind_names[kind], s, s->at[i]);
					return false;
				}
	for (tries = 0; !commit_in_round(s); vary(s))
		if (++tries == NR_TRIES) {
			if (by_rseq)
				die("does not come to its end", s, s->end);
			return false;
		}
	return true;
}

/* --- what the machine allows --- */

static bool may_trace(void)
{
	int word = 1, seen = 0, status;
	struct iovec here = {&seen, sizeof seen}, there = {&word, sizeof word};
	pid_t pid = fork();

	if (pid == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, 0, 0) ? 1 : 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 &&
	       process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)sizeof word;
}

/* --- a run ---------------------------------------------------------------------------------------------- */

/*
 * What malloc jumps to while the heap profile counts bytes or blocks are guarded, what trims where no barrier is to be had, and the hardened mode have
 * sequences of their own.
 */
static const struct way {
	const char *options;
	bool refuses_barrier;
} ways[] = {{"", false}, {",profile=1G,profile_to=/dev/null", false}, {"", true}, {",hardened=yes", false}, {",guarded=1000000", false},
	  {",hardened=yes,guarded=1000000", false}};

static void start_tracee(const struct way *way)
{
	const char *outside = getenv("BSLAB_CONF");
	char conf[256];

	snprintf(conf, sizeof conf, "%s%s", outside ? outside : "index=auto", way->options);
	tracee = fork();
	if (tracee == 0) {
		setenv("BSLAB_CONF", conf, 1);
		personality(ADDR_NO_RANDOMIZE);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execl("/proc/self/exe", "step", "--rounds", way->refuses_barrier ? "--no-barrier" : NULL, (char *)NULL);
		_exit(1);
	}
	if (tracee < 0 || wait_stop() == 0)
		die("cannot start the tracee", NULL, 0);
	ptrace(PTRACE_SETOPTIONS, tracee, 0, PTRACE_O_EXITKILL);
	for (int i = 0; i < 4; i++) /* the first rounds make slabs, and sheaves grow */
		if (resume(0))
			die("the tracee does not begin its rounds", NULL, 0);
	field = (unsigned)read_word(talk + offsetof(struct talk, field));
	by_rseq = field != 0;
	memset(&rseq, 0, sizeof rseq);
	if (by_rseq && ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tracee, sizeof rseq, &rseq) < 0)
		skip("no PTRACE_GET_RSEQ_CONFIGURATION (Linux 5.13)");
	if (!by_rseq)
		field = RSEQ_MM_CID;
}

static void end_tracee(void)
{
	kill(tracee, SIGKILL);
	waitpid(tracee, NULL, 0);
}

int main(int argc, char **argv)
{
	unsigned nr = 0, nr_done = 0, nr_instructions = 0;

	(void)argv;
	if (argc > 1)
		rounds(argc > 2);
	if (!may_trace())
		skip("no child may be traced, or its memory read");
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		start_tracee(&ways[i]);
		if (!nr_sequences)
			find_sequences();
		for (struct sequence *s = sequences; s < sequences + nr_sequences; s++) {
			if (s->field != field || s->is_done || !map_sequence(s))
				continue;
			if (!try_each(s))
				continue;
			s->is_done = true;
			nr_instructions += s->nr;
		}
		end_tracee();
	}
	for (struct sequence *s = sequences; s < sequences + nr_sequences; s++) {
		nr += s->field == field;
		nr_done += s->is_done;
		if (s->field == field && !s->is_done)
			fprintf(by_rseq ? stderr : stdout, "step: no round reaches the sequence at %#llx%s\n", (unsigned long long)(s->start - lib_base),
				by_rseq ? "" : ": only an abort leads there");
	}
	printf("step: %u of %u sequences go by %s%s: %u of them, %u instructions, %u interruptions\n", nr, nr_sequences,
	       field == RSEQ_CPU_ID ? "cpu_id" : "mm_cid", by_rseq ? "" : " (the thread's own slot)", nr_done, nr_instructions, nr_interrupted);
	return nr_done == 0 || (by_rseq && nr_done < nr);
}
