/* SPDX-License-Identifier: MIT */
/* Stacks are those that libgcc finds by itself; entries of the tables mean what they say. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include "profile/cfi.h"
#include "profile/unwind.h"

#define MAX_TRACE 100
#define STEP __attribute__((noinline))

static int nr_walks;

struct expected {
	uintptr_t caller, pc[MAX_TRACE];
	unsigned n;
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *arg)
{
	struct expected *e = arg;
	int before_insn = 0;
	uintptr_t ip = _Unwind_GetIPInfo(context, &before_insn);

	if (ip && (e->n || ip == e->caller))
		e->pc[e->n++] = ip - !before_insn;
	return e->n < MAX_TRACE ? _URC_NO_REASON : _URC_END_OF_STACK;
}

STEP static void check_walk(void)
{
	struct caller by = CALLER();
	struct expected e = {.caller = by.pc};
	uintptr_t pc[MAX_FRAMES];
	unsigned n = unwind(&by, pc);

	_Unwind_Backtrace(note_frame, &e);
	cr_assert_eq(n, min_size(e.n, MAX_FRAMES));
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(pc[i], e.pc[i], "frame %u", i);
	nr_walks++;
}

static void start(void)
{
	unwind_setup(false);
	if (strcmp(unwind_name(), "unwind tables"))
		cr_skip("no unwinder that takes no lock");
	check_walk();
}

static int compare_walking(const void *a, const void *b)
{
	check_walk();
	return *(const int *)a - *(const int *)b;
}

Test(unwind, through_a_library)
{
	int array[] = {3, 1, 2, 5, 4};

	start();
	qsort(array, sizeof array / sizeof *array, sizeof *array, compare_walking);
	cr_assert_gt(nr_walks, 5);
}

/* Frames of changing size, on a stack that is aligned by hand. */
STEP static void walk_aligned(size_t depth)
{
	volatile char aligned[64] __attribute__((aligned(64)));
	volatile char *room = __builtin_alloca(16 * depth + 1);

	aligned[0] = room[0] = 1;
	if (depth)
		walk_aligned(depth - 1);
	check_walk();
	cr_assert_eq(aligned[0], 1);
}

Test(unwind, aligned_frames)
{
	start();
	walk_aligned(80); /* more than are kept */
	cr_assert_eq(nr_walks, 82);
}

static void *walk_in_thread(void *arg)
{
	walk_aligned(3);
	return arg;
}

Test(unwind, to_the_start_of_a_thread)
{
	pthread_t thread;

	start();
	cr_assert_eq(pthread_create(&thread, NULL, walk_in_thread, NULL), 0);
	pthread_join(thread, NULL);
	cr_assert_eq(nr_walks, 5);
}

#ifdef __x86_64__ /* elsewhere the kernel's trampoline may have no entry, and ends the stack */
static void on_signal(int signal)
{
	(void)signal;
	check_walk();
}

Test(unwind, through_a_signal)
{
	start();
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	cr_assert_eq(nr_walks, 2);
}
#endif

/* --- entries ------------------------------------------------------------------------------------ */

/* A stack of words whose values are their indices times 100; register n is the address of word n. */
static uintptr_t stack[64];

static bool get_register(void *arg, unsigned number, uintptr_t *value)
{
	(void)arg;
	*value = (uintptr_t)&stack[number];
	return number < 32;
}

static bool read_word(void *arg, uintptr_t addr, uintptr_t *value)
{
	(void)arg;
	if (addr - (uintptr_t)stack >= sizeof stack)
		return false;
	*value = *(uintptr_t *)addr;
	return true;
}

/*
 * An entry for the addresses from 1000 on: a CIE with these instructions, augmentation "zR" or "zRS", code and data
 * aligned to 1 and -8, return address in register 16; and an FDE with those.
 */
struct entry {
	uint32_t cie_length, cie_id;
	uint8_t cie[32];
	uint32_t fde_length, cie_distance;
	uint64_t begin, range;
	uint8_t fde[32];
};

/* Whether the stack goes on behind a frame at pc. */
static bool step(uintptr_t pc, const char *cie, size_t cie_size, const char *fde, size_t fde_size, bool is_signal,
		 struct cfi_caller *caller)
{
	struct entry e = {.cie_length = 4 + sizeof e.cie,
			  .fde_length = 4 + 16 + sizeof e.fde,
			  .cie_distance = offsetof(struct entry, cie_distance),
			  .begin = 1000,
			  .range = 1000};
	const char *head = is_signal ? "\1zRS\0\1\x78\x10\1\0" : "\1zR\0\1\x78\x10\1\0";
	size_t head_size = is_signal ? 10 : 9;
	struct cfi_frame f = {&e.fde_length, 1000, pc, get_register, read_word, NULL};

	for (uintptr_t i = 0; i < 64; i++)
		stack[i] = 100 * i;
	memcpy(e.cie, head, head_size);
	memcpy(e.cie + head_size, cie, cie_size);
	memcpy(e.fde + 1, fde, fde_size); /* behind the size of the augmentation, which is 0 */
	return cfi_caller(&f, caller);
}

/* def_cfa r7+8; the return address at CFA - 8 */
#define USUAL "\x0c\7\x08\x90\1"
#define STEP_AT(pc, cie, fde, is_signal, caller) step(pc, cie, sizeof(cie) - 1, fde, sizeof(fde) - 1, is_signal, caller)

static void expect(uintptr_t pc, bool found, uintptr_t cfa_word, uintptr_t ip, const char *fde, size_t fde_size)
{
	struct cfi_caller c;

	cr_expect_eq(step(pc, USUAL, sizeof USUAL - 1, fde, fde_size, false, &c), found, "at %zu", pc);
	if (found) {
		cr_expect_eq(c.cfa, (uintptr_t)&stack[cfa_word], "at %zu", pc);
		cr_expect_eq(c.ip, ip, "at %zu", pc);
		cr_expect(!c.is_interrupted);
	}
}
#define EXPECT_AT(pc, found, cfa_word, ip, fde) expect(pc, found, cfa_word, ip, fde, sizeof(fde) - 1)

Test(cfi, rows_hold_from_their_addresses_on)
{
	/* advance 4: def_cfa_offset 16; advance1 10: def_cfa_register 6; advance2 100: def_cfa r3+24 */
	static const char fde[] = "\x44\x0e\x10\2\x0a\x0d\6\3\x64\0\x0c\3\x18";

	EXPECT_AT(1000, true, 8, 700, fde);
	EXPECT_AT(1003, true, 8, 700, fde);
	EXPECT_AT(1004, true, 9, 800, fde);
	EXPECT_AT(1014, true, 8, 700, fde);
	EXPECT_AT(1113, true, 8, 700, fde);
	EXPECT_AT(1114, true, 6, 500, fde);
}

Test(cfi, states_are_remembered)
{
	/* advance 1: remember, def_cfa_offset 80, undefined r16; advance 1: restore_state; advance 1: offset r16 3, restore r16 */
	static const char fde[] = "\x41\x0a\x0e\x50\7\x10\x41\x0b\x41\x90\3\x41\xd0";

	EXPECT_AT(1001, false, 0, 0, fde);
	EXPECT_AT(1002, true, 8, 700, fde);
	EXPECT_AT(1003, true, 8, 500, fde);
	EXPECT_AT(1004, true, 8, 700, fde);
	EXPECT_AT(1000, false, 0, 0, "\x0b"); /* none is there */
	EXPECT_AT(1000, false, 0, 0, "\x0a\x0a\x0a\x0a\x0a");
}

Test(cfi, expressions)
{
	/* def_cfa_expression: breg6 - 8; offset_extended_sf r16 2, expression r16: the CFA + 16 */
	EXPECT_AT(1000, true, 5, 400, "\x0f\2\x76\x78");
	EXPECT_AT(1000, true, 8, 1000, "\x11\x10\x7e");
	EXPECT_AT(1000, true, 8, 1000, "\x10\x10\2\x23\x10");
	/* what stands in word 6 is no address of the stack's */
	EXPECT_AT(1000, false, 0, 0, "\x0f\3\x76\0\6");
	/* a literal is not understood; nor is a value that is nowhere */
	EXPECT_AT(1000, false, 0, 0, "\x0f\1\x31");
	EXPECT_AT(1000, false, 0, 0, "\x14\x10\1");
	EXPECT_AT(1000, false, 0, 0, "\x3f");
	/* other registers' rules are passed over */
	EXPECT_AT(1000, true, 8, 700, "\x86\2\x16\3\1\x31\x10\3\1\x31\x14\3\1\x2e\x10");
}

Test(cfi, registers_and_signals)
{
	struct cfi_caller c;

	cr_assert(STEP_AT(1000, "\x0c\7\x08", "", true, &c)); /* nothing is said of the return address */
	cr_expect(c.is_interrupted);
	cr_expect_eq(c.ip, (uintptr_t)&stack[16]);
	cr_assert(STEP_AT(1000, "\x0c\7\x08\x09\x10\x03", "", false, &c));
	cr_expect_eq(c.ip, (uintptr_t)&stack[3]);
	cr_assert(STEP_AT(1000, USUAL, "\x2d", false, &c)); /* signed */
	cr_expect_eq(c.ip, 700);
	cr_expect(!STEP_AT(1000, "", "", false, &c));
}
