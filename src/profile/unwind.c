/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "profile/unwind.h"

#include <dlfcn.h>
#include <string.h>

#include "arch/arch.h"
#include "boot/boot.h"
#include "os/os.h"
#include "os/thread.h"
#include "profile/cfi.h"
#include "profile/elf.h"

#pragma weak dlsym /* not in a static program */

#ifndef DLFO_STRUCT_HAS_EH_DBASE /* a libc before glibc 2.35: it has none to give, but a later one may be run with */
struct dl_find_object {
	unsigned long long dlfo_flags;
	void *dlfo_map_start, *dlfo_map_end;
	struct link_map *dlfo_link_map;
	void *dlfo_eh_frame;
	unsigned long long reserved[8];
};
#endif

struct memos;

/* What was found at the start of the first profile. */
struct unwinder {
	uintptr_t own_start, own_end; /* of bslab, where it is a library; else both 0 */
	/* libc's: which object an address is in, and where its tables are. NULL: frame pointers. */
	int (*find_object)(void *pc, struct dl_find_object *);
	struct memos *memos; /* or NULL; not in .bss, of which each process touches the pages */
};

/* Published whole, by whoever has it first. NULL: frame pointers, and nothing is known. */
static _Atomic(const struct unwinder *) unwinder;

static const struct unwinder *unwinder_get(void)
{
	return atomic_load_explicit(&unwinder, memory_order_acquire);
}

const char *unwind_name(void)
{
	const struct unwinder *u = unwinder_get();

	return u && u->find_object ? "unwind tables" : "frame pointers";
}

/* --- by frame pointers -------------------------------------------------------------- */

#define MAX_FRAME_SIZE MIB

static uintptr_t plain_address(uintptr_t pc)
{
	return pc & (((uintptr_t)1 << ADDRESS_BITS) - 1); /* aarch64 may sign what it returns to */
}

/* A frame begins with the caller's frame pointer and the return address. */
static bool frame_is_good(uintptr_t fp, uintptr_t below)
{
	return fp % sizeof(uintptr_t) == 0 && fp > below && fp - below < MAX_FRAME_SIZE && os_is_readable(fp) &&
	       os_is_readable(fp + sizeof(uintptr_t));
}

/* A call is one below where it returns to; what trapped, whose stack is another one's, is itself where it goes on. */
static uintptr_t address_in(const struct caller *by, uintptr_t sp)
{
	return plain_address(by->pc) - !sp;
}

static unsigned walk_frames(const struct caller *by, uintptr_t sp, uintptr_t pc[MAX_FRAMES])
{
	uintptr_t fp = by->fp, below = sp ? sp - 1 : (uintptr_t)__builtin_frame_address(0);
	unsigned n = 0;

	pc[n++] = address_in(by, sp);
	while (n < MAX_FRAMES && frame_is_good(fp, below)) {
		const uintptr_t *frame = (const uintptr_t *)fp;

		if (plain_address(frame[1]) < BSLAB_PAGE_SIZE)
			break;
		pc[n++] = plain_address(frame[1]) - 1;
		below = fp;
		fp = frame[0];
	}
	return n;
}

/* --- by the tables ------------------------------------------------------------------- */

/*
 * What a thread's samples have in common is remembered, in one of a few places, by thread; whoever finds its place in
 * use, by another thread or by a fork long ago, does without.
 *
 * 1. Its outer frames are mostly those of its last sample. So the last stack is kept, with each frame's stack pointer. When
 *    a walk comes to one of its frames, and every return address further out still stands where it stood, the rest is
 *    taken from there.
 *    (A frame that has grown by alloca() since, without a word of the new room written, may be taken for the old one: that
 *    stack is then wrong further out.)
 * 2. Its other frames are mostly at addresses that were seen. What the tables say of these is kept, by address; a
 *    row takes some 1,500 instructions to find, a step by it 300. Libraries come and go: before a row is used, its entry is
 *    looked at, whether it is still there and says the same.
 */
#define NR_MEMOS 16
#define NR_ROWS 128

struct known_row {
	uintptr_t pc;
	const void *tables;
	struct eh_mark mark;
	struct cfi_row row;
};

struct memo {
	bool is_cut; /* the stack had more frames */
	unsigned n;
	uintptr_t pc[MAX_FRAMES], sp[MAX_FRAMES]; /* sp rises, but where a signal changed stacks */
	struct known_row row[NR_ROWS];
};

struct memos {
	_Atomic bool is_busy[NR_MEMOS];
	struct memo memo[NR_MEMOS];
};

static struct memo *memo_get(struct memos *all)
{
	unsigned i = (arch_thread_pointer() >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 60;

	return all && !atomic_exchange_explicit(&all->is_busy[i], true, memory_order_acquire) ? &all->memo[i] : NULL;
}

_Static_assert(NR_MEMOS == 1 << 4, "the upper four bits of the hash are the place");

static void memo_put(struct memos *all, struct memo *m, const uintptr_t *pc, const uintptr_t *sp, unsigned n, bool is_cut)
{
	if (ARCH_RETURN_BELOW_CFA) {
		m->n = n;
		m->is_cut = is_cut;
		memcpy(m->pc, pc, n * sizeof *pc);
		memcpy(m->sp, sp, n * sizeof *sp);
	}
	atomic_store_explicit(&all->is_busy[m - all->memo], false, memory_order_release);
}

/* The frames outside of the i-th, which is live, are as they were. The kernel is asked before another page is read. */
static bool memo_holds(const struct memo *m, unsigned i)
{
	uintptr_t page = align_down(m->sp[i] - ARCH_RETURN_BELOW_CFA, BSLAB_PAGE_SIZE); /* where its own was read */

	for (; i + 1 < m->n; i++) {
		uintptr_t slot = m->sp[i + 1] - ARCH_RETURN_BELOW_CFA;

		if (slot % sizeof slot || (align_down(slot, BSLAB_PAGE_SIZE) != page && !os_is_readable(slot)))
			return false;
		page = align_down(slot, BSLAB_PAGE_SIZE);
		if (*(const uintptr_t *)slot != m->pc[i + 1] + 1)
			return false;
	}
	return true;
}

/* More than bslab's own frames ever are, below the caller's. */
#define MAX_OWN_FRAMES 16

struct trace {
	const struct unwinder *unwinder;
	uintptr_t *pc;
	uintptr_t sp[MAX_FRAMES];
	struct memo *memo; /* or NULL */
	unsigned memo_at;
	unsigned n;
	bool is_cut;
	uintptr_t page; /* of the stack, that was read last */
	struct dl_find_object object; /* that was looked up last */
	struct known_row row;	      /* without a memo */
};

static void trace_add(struct trace *t, uintptr_t pc, uintptr_t sp)
{
	t->pc[t->n] = pc;
	t->sp[t->n++] = sp;
	t->is_cut = t->n == MAX_FRAMES;
}

static const uint8_t *find_tables(struct trace *t, uintptr_t pc)
{
	uintptr_t start = (uintptr_t)t->object.dlfo_map_start;

	if (pc - start >= (uintptr_t)t->object.dlfo_map_end - start && t->unwinder->find_object((void *)pc, &t->object))
		t->object = (struct dl_find_object){0};
	return t->object.dlfo_eh_frame;
}

/* What the tables say of this address; NULL: nothing. Good until the next call. */
static const struct cfi_row *find_row(struct trace *t, uintptr_t pc)
{
	const uint8_t *tables = find_tables(t, pc);
	struct known_row *k = t->memo ? &t->memo->row[pc * 0x9e3779b97f4a7c15ull >> 57] : &t->row;
	struct eh_entry e;

	if (!tables)
		return NULL;
	if (k->pc != pc || k->tables != tables || !eh_is_there(tables, &k->mark)) {
		k->pc = 0;
		if (!eh_find(tables, pc, &e, &k->mark) || !cfi_row(&e, pc, &k->row))
			return NULL;
		k->pc = pc;
		k->tables = tables;
	}
	return &k->row;
}

_Static_assert(NR_ROWS == 1 << (64 - 57), "the upper bits of the hash are the place");

/* The kernel is asked before another page is read. */
static bool read_stack(void *trace, uintptr_t addr, uintptr_t *value)
{
	struct trace *t = trace;
	uintptr_t page = align_down(addr, BSLAB_PAGE_SIZE);

	if (addr % sizeof addr || (page != t->page && !os_is_readable(addr)))
		return false;
	t->page = page;
	*value = *(const uintptr_t *)addr;
	return true;
}

/* The rest of the stack, if the memo has it. What was cut there may only be cut here. */
static bool trace_rest(struct trace *t, uintptr_t pc, uintptr_t sp)
{
	const struct memo *m = t->memo;
	unsigned i = t->memo_at, nr_more;

	while (i < m->n && m->sp[i] < sp)
		i++;
	t->memo_at = i;
	if (i == m->n || m->sp[i] != sp || m->pc[i] != pc || (m->is_cut && t->n + m->n - i < MAX_FRAMES) || !memo_holds(m, i))
		return false;
	nr_more = (unsigned)min_size(m->n - i, MAX_FRAMES - t->n);
	memcpy(t->pc + t->n, m->pc + i, nr_more * sizeof *t->pc);
	memcpy(t->sp + t->n, m->sp + i, nr_more * sizeof *t->sp);
	t->is_cut = m->is_cut || nr_more < m->n - i;
	t->n += nr_more;
	return true;
}

/* From here to the program's own call: its frame. */
static bool leave_own(struct trace *t, struct cfi_frame *f, uintptr_t caller)
{
	const struct cfi_row *row;
	unsigned n = 0;

	f->pc = arch_registers(f->reg);
	f->known = ARCH_DWARF_KEPT | (uint64_t)1 << ARCH_DWARF_SP;
	do {
		row = n++ < MAX_OWN_FRAMES ? find_row(t, f->pc) : NULL;
		if (!row || !cfi_step(f, row, read_stack, t))
			return false;
	} while (f->ip != caller);
	return true;
}

static void walk_out(struct trace *t, struct cfi_frame *f)
{
	while (!ARCH_RETURN_BELOW_CFA || !t->memo || !trace_rest(t, f->pc, f->reg[ARCH_DWARF_SP])) {
		const struct cfi_row *row = find_row(t, f->pc);

		/* Code without an entry, such as a JIT's, is the last of the stack. */
		if (!row && t->n && !os_is_readable(align_down(f->pc, sizeof f->pc)))
			return;
		trace_add(t, f->pc, f->reg[ARCH_DWARF_SP]);
		if (!row || t->is_cut || !cfi_step(f, row, read_stack, t))
			return;
	}
}

/* Not part of its caller: its own frame is what it begins with. */
static out_of_line unsigned walk_tables(const struct unwinder *u, const struct caller *by, uintptr_t sp, uintptr_t pc[MAX_FRAMES])
{
	struct cfi_frame f;
	struct trace t;

	t.unwinder = u;
	t.pc = pc;
	t.memo_at = t.n = 0;
	t.is_cut = false;
	t.page = align_down((uintptr_t)__builtin_frame_address(0), BSLAB_PAGE_SIZE);
	t.object = (struct dl_find_object){0};
	t.row.pc = 0;
	t.memo = memo_get(u->memos);
	if (leave_own(&t, &f, plain_address(by->pc)))
		walk_out(&t, &f);
	if (t.memo)
		memo_put(u->memos, t.memo, pc, t.sp, t.n, t.is_cut);
	if (!t.n)
		pc[t.n++] = address_in(by, sp);
	return t.n;
}

unsigned unwind(const struct caller *by, uintptr_t sp, uintptr_t pc[MAX_FRAMES])
{
	const struct unwinder *u = unwinder_get();
	unsigned n = u && u->find_object ? walk_tables(u, by, sp, pc) : walk_frames(by, sp, pc), nr_own = 0;

	/* Debug builds call where others jump, and operator new tries again on its own behalf. */
	while (u && nr_own < n - 1 && pc[nr_own] - u->own_start < u->own_end - u->own_start)
		nr_own++;
	memmove(pc, pc + nr_own, (n - nr_own) * sizeof *pc);
	return n - nr_own;
}

void unwind_fork_child(void)
{
	const struct unwinder *u = unwinder_get();

	for (int i = 0; u && u->memos && i < NR_MEMOS; i++)
		atomic_store_explicit(&u->memos->is_busy[i], false, memory_order_relaxed);
}

/* --- looking around --------------------------------------------------------------- */

static void *find(const char *name)
{
	return dlsym ? dlsym(RTLD_DEFAULT, name) : NULL;
}

/* Of a library that is loaded: it begins with its headers, and is linked to address 0. */
static const ElfW(Phdr) *headers(uintptr_t base, size_t *n)
{
	const ElfW(Ehdr) *ehdr = (const ElfW(Ehdr) *)base;

	*n = ehdr->e_phnum;
	return (const ElfW(Phdr) *)(base + ehdr->e_phoff);
}

static uintptr_t library_end(uintptr_t base)
{
	size_t n, i;
	const ElfW(Phdr) *phdr = headers(base, &n);
	uintptr_t end = base;

	for (i = 0; i < n; i++)
		if (phdr[i].p_type == PT_LOAD)
			end = max_size(end, base + phdr[i].p_vaddr + phdr[i].p_memsz);
	return end;
}

/* The linker's: where what bslab is linked into begins. Weak, for there need not be one. */
extern const char own_headers[] __asm__("__ehdr_start") __attribute__((weak, visibility("hidden")));

/* preload/dso_handle.c: in libbslab.so, and in nothing that libbslab.a is linked into, whose own functions stand beside ours. */
extern const char bslab_is_library __attribute__((weak, visibility("hidden")));

static void look_around(struct unwinder *u, bool frames_only)
{
	uintptr_t base = (uintptr_t)own_headers;

	if (base && &bslab_is_library) {
		u->own_start = base;
		u->own_end = library_end(base);
	}
	if (frames_only)
		return;
	u->find_object = (int (*)(void *, struct dl_find_object *))find("_dl_find_object");
	if (u->find_object)
		u->memos = boot_alloc(sizeof *u->memos, _Alignof(struct memos));
}

void unwind_setup(bool frames_only)
{
	const struct unwinder *none = NULL;
	struct unwinder *u = unwinder_get() ? NULL : boot_alloc(sizeof *u, _Alignof(struct unwinder));

	if (!u)
		return;
	look_around(u, frames_only);
	atomic_compare_exchange_strong_explicit(&unwinder, &none, u, memory_order_release, memory_order_relaxed);
}
