/* SPDX-License-Identifier: MIT */
/* Stacks are those that libgcc finds; entries of the tables mean what they say. */
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
	unsigned n = unwind(&by, 0, pc);

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

static bool read_word(void *arg, uintptr_t addr, uintptr_t *value)
{
	(void)arg;
	if (addr - (uintptr_t)stack >= sizeof stack)
		return false;
	*value = *(uintptr_t *)addr;
	return true;
}

/*
 * An entry for the addresses from 1000 to 1999: a CIE with these instructions, augmentation "zR" or "zRS", code and data
 * aligned to 1 and -8, return address in register 16; and an FDE with those.
 */
struct entry {
	uint32_t cie_length, cie_id;
	uint8_t cie[32];
	uint32_t fde_length, cie_distance;
	uint64_t begin, range;
	uint8_t fde[32];
};

static void make_entry(struct entry *e, const char *cie, size_t cie_size, const char *fde, size_t fde_size, bool is_signal)
{
	const char *head = is_signal ? "\1zRS\0\1\x78\x10\1\0" : "\1zR\0\1\x78\x10\1\0";
	size_t head_size = is_signal ? 10 : 9;

	*e = (struct entry){.cie_length = 4 + sizeof e->cie,
			    .fde_length = 4 + 16 + sizeof e->fde,
			    .cie_distance = offsetof(struct entry, cie_distance),
			    .begin = 1000,
			    .range = 1000};
	memcpy(e->cie, head, head_size);
	memcpy(e->cie + head_size, cie, cie_size);
	memcpy(e->fde + 1, fde, fde_size); /* behind the size of the augmentation, which is 0 */
}

/* Whether the stack goes on behind a frame at pc, which becomes its caller. */
static bool step(uintptr_t pc, const char *cie, size_t cie_size, const char *fde, size_t fde_size, bool is_signal,
		 struct cfi_frame *f)
{
	struct eh_entry found;
	struct cfi_row row;
	struct entry e;

	make_entry(&e, cie, cie_size, fde, fde_size, is_signal);
	for (uintptr_t i = 0; i < 64; i++)
		stack[i] = 100 * i;
	*f = (struct cfi_frame){.pc = pc, .known = ((uint64_t)1 << ARCH_DWARF_NR) - 1};
	for (unsigned i = 0; i < ARCH_DWARF_NR; i++)
		f->reg[i] = (uintptr_t)&stack[i];
	cr_assert(eh_parse((const uint8_t *)&e.fde_length, 1000, pc, &found));
	return cfi_row(&found, pc, &row) && cfi_step(f, &row, read_word, NULL);
}

/* def_cfa r7+8; the return address at CFA - 8 */
#define USUAL "\x0c\7\x08\x90\1"
#define STEP_AT(pc, cie, fde, is_signal, f) step(pc, cie, sizeof(cie) - 1, fde, sizeof(fde) - 1, is_signal, f)
#define SP ARCH_DWARF_SP

static void expect(uintptr_t pc, bool found, uintptr_t cfa_word, uintptr_t ip, const char *fde, size_t fde_size)
{
	struct cfi_frame f;

	cr_expect_eq(step(pc, USUAL, sizeof USUAL - 1, fde, fde_size, false, &f), found, "at %zu", pc);
	if (found) {
		cr_expect_eq(f.reg[SP], (uintptr_t)&stack[cfa_word], "at %zu", pc);
		cr_expect_eq(f.ip, ip, "at %zu", pc);
		cr_expect_eq(f.pc, ip - 1);
	} else { /* as it was */
		cr_expect_eq(f.pc, pc);
		cr_expect_eq(f.reg[SP], (uintptr_t)&stack[SP]);
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
	/* a literal is not understood; nor are operations that there are none of, and offsets beyond all stacks */
	EXPECT_AT(1000, false, 0, 0, "\x0f\1\x31");
	EXPECT_AT(1000, false, 0, 0, "\x3f");
	EXPECT_AT(1000, false, 0, 0, "\x0e\x80\x80\x80\x80\x10");
	EXPECT_AT(1000, false, 0, 0, "\x0d\x80\x04");
	/* what is not understood of another register costs that one, and not the stack */
	EXPECT_AT(1000, true, 8, 700, "\x86\2\x16\3\1\x31\x10\3\1\x31\x14\3\1\x2e\x10\x05\x40\1\7\x41\x08\x42");
}

Test(cfi, registers_and_signals)
{
	struct cfi_frame f;

	cr_assert(STEP_AT(1000, "\x0c\7\x08", "", true, &f)); /* nothing is said of the return address */
	cr_expect_eq(f.ip, (uintptr_t)&stack[16]);
	cr_expect_eq(f.pc, f.ip);
	cr_assert(STEP_AT(1000, "\x0c\7\x08\x09\x10\x03", "", false, &f));
	cr_expect_eq(f.ip, (uintptr_t)&stack[3]);
	cr_assert(STEP_AT(1000, USUAL, "\x2d", false, &f)); /* signed */
	cr_expect_eq(f.ip, 700);
	cr_expect(!STEP_AT(1000, "", "", false, &f));
}

#ifdef __x86_64__ /* whose registers these are */
Test(cfi, the_callers_registers)
{
	struct cfi_frame f;

	/* At CFA - 16: rbx; in r12: rbp; r13 is the CFA - 24, r14 the CFA + 8; of rcx, what is said; rbx restored */
	cr_assert(STEP_AT(1000, USUAL, "\x83\2\x09\6\x0c\x14\x0d\3\x16\x0e\2\x23\x08\x82\3\x07\x0f", false, &f));
	cr_expect_eq(f.reg[3], 600);
	cr_expect_eq(f.reg[6], (uintptr_t)&stack[12]);
	cr_expect_eq(f.reg[12], (uintptr_t)&stack[12]);
	cr_expect_eq(f.reg[13], (uintptr_t)&stack[5]);
	cr_expect_eq(f.reg[14], (uintptr_t)&stack[9]);
	cr_expect_eq(f.reg[2], 500);
	cr_expect_eq(f.known, 1u << 3 | 1u << 6 | 1u << 7 | 7u << 12 | 1u << 2); /* not r15, nor the return address */
	cr_assert(STEP_AT(1000, USUAL, "\x83\2\xc3", false, &f));
	cr_expect_eq(f.reg[3], (uintptr_t)&stack[3]);
	/* A slot that cannot be read costs the register alone; one by a register that is not known is the end. */
	cr_assert(STEP_AT(1000, USUAL, "\x83\x40", false, &f));
	cr_expect_eq(f.known, 1u << 6 | 1u << 7 | 0xfu << 12);
	cr_expect(!STEP_AT(1000, USUAL, "\x0c\x11\0", false, &f));
	/* The stack pointer, where it is said, is not the CFA: a signal's frame. */
	cr_assert(STEP_AT(1000, USUAL, "\x87\2", true, &f));
	cr_expect_eq(f.reg[SP], 600);
	cr_expect_eq(f.pc, 700);
}
#endif

Test(cfi, the_entry_of_an_address)
{
	/* A header as linkers write it, for entries at 1000 to 1999, 3000 to 3999, and 5000 to 5999 from it on. */
	struct {
		uint8_t head[4];
		int32_t eh_frame;
		uint32_t n;
		int32_t place[3][2];
		struct entry entry[3];
	} table = {.head = {1, 0x1b, 3, 0x3b}, .n = 3};
	const uint8_t *header = table.head;
	struct eh_mark mark;
	struct eh_entry e;

	for (int i = 0; i < 3; i++) {
		make_entry(&table.entry[i], USUAL, sizeof USUAL - 1, "", 0, i == 1);
		table.place[i][0] = 1000 + 2000 * i;
		table.place[i][1] = (int32_t)((const uint8_t *)&table.entry[i].fde_length - header);
	}
	for (uintptr_t at = 0; at < 7000; at++) {
		bool is_there = at / 1000 % 2 && at < 6000;

		cr_expect_eq(eh_find(header, (uintptr_t)header + at, &e, &mark), is_there, "%zu", at);
		if (is_there) {
			cr_expect_eq(e.start, (uintptr_t)header + at / 1000 * 1000, "%zu", at);
			cr_expect_eq(e.is_signal_frame, at / 1000 == 3, "%zu", at);
		}
	}
	/* The entry of 3000 is known again, until it says something else, or is elsewhere. */
	cr_assert(eh_find(header, (uintptr_t)header + 3000, &e, &mark) && eh_is_there(header, &mark));
	table.entry[1].fde[31]++;
	cr_expect(!eh_is_there(header, &mark));
	table.entry[1].fde[31]--;
	table.entry[1].cie[31]++;
	cr_expect(!eh_is_there(header, &mark));
	table.entry[1].cie[31]--;
	table.place[1][0]++;
	cr_expect(!eh_is_there(header, &mark));
	table.place[1][0]--;
	cr_assert(eh_is_there(header, &mark));
	table.n = 1;
	cr_expect(!eh_is_there(header, &mark));
	table.n = 3;
	cr_expect(!eh_find(header, (uintptr_t)header - 1, &e, &mark));
	table.n = 0;
	cr_expect(!eh_find(header, (uintptr_t)header + 1000, &e, &mark));
	table.n = 3;
	table.head[3] = 0x1b; /* not sorted by what this looks for */
	cr_expect(!eh_find(header, (uintptr_t)header + 1000, &e, &mark));
}

Test(cfi, rarer_forms)
{
	/* The CFA: def_cfa_sf r7 - 2, and def_cfa_offset_sf - 3, times the data alignment of - 8. */
	EXPECT_AT(1000, true, 9, 800, "\x12\7\x7e");
	EXPECT_AT(1000, true, 10, 900, "\x13\x7d");
	/* The return address: offset_extended r16 3; the same and restore_extended r16; same_value r16. */
	EXPECT_AT(1000, true, 8, 500, "\5\x10\3");
	EXPECT_AT(1000, true, 8, 700, "\5\x10\3\6\x10");
	EXPECT_AT(1000, true, 8, (uintptr_t)&stack[16], "\x08\x10");
	/* val_offset_sf r16 - 2: the CFA and 16 */
	EXPECT_AT(1000, true, 8, (uintptr_t)&stack[10], "\x15\x10\x7e");
	/* advance4 16: def_cfa_offset 16 */
	EXPECT_AT(1015, true, 8, 700, "\4\x10\0\0\0\x0e\x10");
	EXPECT_AT(1016, true, 9, 800, "\4\x10\0\0\0\x0e\x10");
}

/* Of 64 bits, of another version, with an augmentation that is not known, or an address of no known size. */
Test(cfi, no_entry)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} changes[] = {{offsetof(struct entry, cie), 2}, {offsetof(struct entry, cie) + 2, 'X'}, {offsetof(struct entry, cie) + 8, 0x0f}};
	struct eh_entry found;
	struct entry e;

	make_entry(&e, USUAL, sizeof USUAL - 1, "", 0, false);
	cr_assert(eh_parse((const uint8_t *)&e.fde_length, 1000, 1000, &found));
	cr_expect(!eh_parse((const uint8_t *)&e.fde_length, 1000, 2000, &found));
	e.fde_length = UINT32_MAX;
	cr_expect(!eh_parse((const uint8_t *)&e.fde_length, 1000, 1000, &found));
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		make_entry(&e, USUAL, sizeof USUAL - 1, "", 0, false);
		((uint8_t *)&e)[changes[i].at] = changes[i].byte;
		cr_expect(!eh_parse((const uint8_t *)&e.fde_length, 1000, 1000, &found), "%zu", i);
	}
}
