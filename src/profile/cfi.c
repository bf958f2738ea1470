/* SPDX-License-Identifier: MIT */
#include "profile/cfi.h"

/* DWARF 5, table 7.29, and those of GNU. The first three have an operand in their lower six bits. */
enum {
	CFA_ADVANCE_LOC = 0x40,
	CFA_OFFSET = 0x80,
	CFA_RESTORE = 0xc0,
	CFA_NOP = 0,
	CFA_ADVANCE_LOC1 = 2,
	CFA_ADVANCE_LOC2,
	CFA_ADVANCE_LOC4,
	CFA_OFFSET_EXTENDED,
	CFA_RESTORE_EXTENDED,
	CFA_UNDEFINED,
	CFA_SAME_VALUE,
	CFA_REGISTER,
	CFA_REMEMBER_STATE,
	CFA_RESTORE_STATE,
	CFA_DEF_CFA,
	CFA_DEF_CFA_REGISTER,
	CFA_DEF_CFA_OFFSET,
	CFA_DEF_CFA_EXPRESSION,
	CFA_EXPRESSION,
	CFA_OFFSET_EXTENDED_SF,
	CFA_DEF_CFA_SF,
	CFA_DEF_CFA_OFFSET_SF,
	CFA_VAL_OFFSET,
	CFA_VAL_OFFSET_SF,
	CFA_VAL_EXPRESSION,
	CFA_AARCH64_NEGATE_RA_STATE = 0x2d,
	CFA_GNU_ARGS_SIZE,
};
enum { OP_DEREF = 0x06, OP_PLUS_UCONST = 0x23, OP_BREG0 = 0x70, OP_BREG31 = 0x8f };

#define MAX_STATES 2 /* remembered; compilers nest none */

struct machine {
	const struct eh_entry *e;
	struct cfi_row row, initial; /* as the common instructions have it */
	struct cfi_row state[MAX_STATES];
	unsigned nr_states;
	uintptr_t at, pc; /* instructions count up to pc */
	bool is_beyond; /* an offset does not fit */
};

/* --- instructions ------------------------------------------------------------------------------ */

static void set_rule(struct machine *m, uint64_t reg, struct cfi_rule r)
{
	if (reg < ARCH_DWARF_NR) {
		m->row.reg[reg] = r;
		m->row.said |= (uint64_t)1 << reg;
	}
}

static struct cfi_rule rule_of(struct machine *m, unsigned kind, uint64_t reg, int64_t offset)
{
	struct cfi_rule r = {.reg = (uint8_t)reg, .offset = (int32_t)offset};

	r.kind = kind;
	m->is_beyond |= reg > UINT8_MAX || offset != r.offset;
	return r;
}

static void set_factored(struct machine *m, uint64_t reg, unsigned kind, int64_t factored)
{
	set_rule(m, reg, rule_of(m, kind, 0, factored * m->e->data_align));
}

static struct cfi_rule expression(struct machine *m, unsigned kind, const uint8_t **p)
{
	struct cfi_rule r = rule_of(m, kind, 0, *p - m->e->own);
	uint64_t size = eh_unsigned(p);

	*p += size;
	return r;
}

static void restore(struct machine *m, uint64_t reg)
{
	uint64_t bit;

	if (reg < ARCH_DWARF_NR) {
		bit = (uint64_t)1 << reg;
		m->row.reg[reg] = m->initial.reg[reg];
		m->row.said = (m->row.said & ~bit) | (m->initial.said & bit);
	}
}

static void advance(struct machine *m, uint64_t factored)
{
	m->at += factored * m->e->code_align;
}

static bool remember(struct machine *m)
{
	if (m->nr_states == MAX_STATES)
		return false;
	m->state[m->nr_states++] = m->row;
	return true;
}

static bool restore_state(struct machine *m)
{
	if (!m->nr_states)
		return false;
	m->row = m->state[--m->nr_states];
	return true;
}

/* Those of the CFA; false for any other. */
static bool step_cfa(struct machine *m, uint8_t op, const uint8_t **p)
{
	struct cfi_rule *cfa = &m->row.cfa;
	uint64_t reg;

	switch (op) {
	case CFA_DEF_CFA:
		reg = eh_unsigned(p);
		*cfa = rule_of(m, CFI_REGISTER, reg, (int64_t)eh_unsigned(p));
		return true;
	case CFA_DEF_CFA_SF:
		reg = eh_unsigned(p);
		*cfa = rule_of(m, CFI_REGISTER, reg, eh_signed(p) * m->e->data_align);
		return true;
	case CFA_DEF_CFA_REGISTER:
		*cfa = rule_of(m, CFI_REGISTER, eh_unsigned(p), cfa->offset);
		return true;
	case CFA_DEF_CFA_OFFSET:
		*cfa = rule_of(m, CFI_REGISTER, cfa->reg, (int64_t)eh_unsigned(p));
		return true;
	case CFA_DEF_CFA_OFFSET_SF:
		*cfa = rule_of(m, CFI_REGISTER, cfa->reg, eh_signed(p) * m->e->data_align);
		return true;
	case CFA_DEF_CFA_EXPRESSION:
		*cfa = expression(m, CFI_EXPRESSION, p);
		return true;
	default:
		return false;
	}
}

/* Those of a register. */
static bool step_register(struct machine *m, uint8_t op, const uint8_t **p)
{
	uint64_t reg = eh_unsigned(p);

	switch (op) {
	case CFA_OFFSET_EXTENDED:
		set_factored(m, reg, CFI_MEMORY, (int64_t)eh_unsigned(p));
		return true;
	case CFA_OFFSET_EXTENDED_SF:
		set_factored(m, reg, CFI_MEMORY, eh_signed(p));
		return true;
	case CFA_RESTORE_EXTENDED:
		restore(m, reg);
		return true;
	case CFA_UNDEFINED:
		set_rule(m, reg, rule_of(m, CFI_UNDEFINED, 0, 0));
		return true;
	case CFA_SAME_VALUE:
		set_rule(m, reg, rule_of(m, CFI_REGISTER, reg, 0));
		return true;
	case CFA_REGISTER:
		set_rule(m, reg, rule_of(m, CFI_REGISTER, eh_unsigned(p), 0));
		return true;
	case CFA_EXPRESSION:
		set_rule(m, reg, expression(m, CFI_ADDRESS, p));
		return true;
	case CFA_VAL_EXPRESSION:
		set_rule(m, reg, expression(m, CFI_EXPRESSION, p));
		return true;
	case CFA_VAL_OFFSET:
		set_factored(m, reg, CFI_OFFSET, (int64_t)eh_unsigned(p));
		return true;
	case CFA_VAL_OFFSET_SF:
		set_factored(m, reg, CFI_OFFSET, eh_signed(p));
		return true;
	default:
		return false;
	}
}

static bool step_other(struct machine *m, uint8_t op, const uint8_t **p)
{
	switch (op) {
	case CFA_NOP:
	case CFA_AARCH64_NEGATE_RA_STATE: /* signatures are taken off all return addresses */
		return true;
	case CFA_ADVANCE_LOC1:
		advance(m, eh_fixed(p, 1));
		return true;
	case CFA_ADVANCE_LOC2:
		advance(m, eh_fixed(p, 2));
		return true;
	case CFA_ADVANCE_LOC4:
		advance(m, eh_fixed(p, 4));
		return true;
	case CFA_REMEMBER_STATE:
		return remember(m);
	case CFA_RESTORE_STATE:
		return restore_state(m);
	case CFA_GNU_ARGS_SIZE:
		eh_unsigned(p);
		return true;
	default:
		return step_cfa(m, op, p) || step_register(m, op, p);
	}
}

/* As far as they hold at pc; false: one is not understood. */
static bool run(struct machine *m, const uint8_t *p, const uint8_t *end)
{
	while (p < end && m->at <= m->pc) {
		uint8_t op = *p++, operand = op & 0x3f;

		switch (op & 0xc0) {
		case CFA_ADVANCE_LOC:
			advance(m, operand);
			break;
		case CFA_OFFSET:
			set_factored(m, operand, CFI_MEMORY, (int64_t)eh_unsigned(&p));
			break;
		case CFA_RESTORE:
			restore(m, operand);
			break;
		default:
			if (!step_other(m, op, &p))
				return false;
		}
	}
	return !m->is_beyond;
}

bool cfi_row(const struct eh_entry *e, uintptr_t pc, struct cfi_row *row)
{
	struct machine m;

	m.e = e;
	m.pc = pc;
	m.at = 0;
	m.nr_states = 0;
	m.is_beyond = false;
	memset(&m.row, 0, sizeof m.row);
	m.row.base = e->own;
	m.row.ra_column = e->ra_column;
	m.row.is_signal_frame = e->is_signal_frame;
	if (!run(&m, e->common, e->common_end))
		return false;
	m.initial = m.row;
	m.at = e->start;
	if (e->ra_column >= ARCH_DWARF_NR || !run(&m, e->own, e->own_end))
		return false;
	*row = m.row;
	return true;
}

/* --- what they come to ---------------------------------------------------------------------------------- */

/* A frame, and its stack. */
struct place {
	const struct cfi_frame *f;
	const struct cfi_row *row;
	cfi_read_fn *read;
	void *arg;
};

static bool get_register(const struct cfi_frame *f, uint64_t reg, uintptr_t *value)
{
	if (reg >= ARCH_DWARF_NR || !(f->known >> reg & 1))
		return false;
	*value = f->reg[reg];
	return true;
}

/* A register and an offset, what stands there, and so on: no operation that takes two values. */
static bool evaluate(const struct place *at, const struct cfi_rule *r, uintptr_t *value)
{
	const uint8_t *p = at->row->base + r->offset, *end;
	uint64_t size = eh_unsigned(&p);
	uintptr_t reg;

	end = p + size;
	while (p < end) {
		uint8_t op = *p++;

		if (op >= OP_BREG0 && op <= OP_BREG31) {
			if (!get_register(at->f, op - OP_BREG0, &reg))
				return false;
			*value = reg + (uintptr_t)eh_signed(&p);
		} else if (op == OP_PLUS_UCONST) {
			*value += eh_unsigned(&p);
		} else if (op != OP_DEREF || !at->read(at->arg, *value, value)) {
			return false;
		}
	}
	return true;
}

static bool find_cfa(const struct place *at, const struct cfi_rule *r, uintptr_t *cfa)
{
	*cfa = 0;
	if (r->kind == CFI_EXPRESSION)
		return evaluate(at, r, cfa);
	if (r->kind != CFI_REGISTER || !get_register(at->f, r->reg, cfa))
		return false;
	*cfa += (uintptr_t)(intptr_t)r->offset;
	return true;
}

/* Of a register that something was said of, so no CFI_SAME. */
static bool find_register(const struct place *at, const struct cfi_rule *r, uintptr_t cfa, uintptr_t *value)
{
	uintptr_t offset = (uintptr_t)(intptr_t)r->offset;

	*value = cfa; /* what an expression begins with */
	switch (r->kind) {
	case CFI_REGISTER:
		return get_register(at->f, r->reg, value);
	case CFI_MEMORY:
		return at->read(at->arg, cfa + offset, value);
	case CFI_OFFSET:
		*value += offset;
		return true;
	case CFI_ADDRESS:
		return evaluate(at, r, value) && at->read(at->arg, *value, value);
	case CFI_EXPRESSION:
		return evaluate(at, r, value);
	default:
		return false;
	}
}

bool cfi_step(struct cfi_frame *f, const struct cfi_row *row, cfi_read_fn *read, void *arg)
{
	struct place at = {f, row, read, arg};
	uint64_t said = row->said, bit;
	struct cfi_frame caller;
	uintptr_t cfa;

	if (!find_cfa(&at, &row->cfa, &cfa))
		return false;
	/* A call keeps these, or the entry says where they are. */
	caller = *f;
	caller.known &= ARCH_DWARF_KEPT | (uint64_t)1 << row->ra_column;
	caller.reg[ARCH_DWARF_SP] = cfa;
	caller.known |= (uint64_t)1 << ARCH_DWARF_SP;
	for (; said; said &= said - 1) {
		unsigned reg = (unsigned)__builtin_ctzll(said);

		bit = said & -said;
		if (find_register(&at, &row->reg[reg], cfa, &caller.reg[reg]))
			caller.known |= bit;
		else
			caller.known &= ~bit;
	}
	if (!get_register(&caller, row->ra_column, &caller.ip))
		return false;
	if (!row->is_signal_frame) /* a call has put it there */
		caller.known &= ~((uint64_t)1 << row->ra_column);
	caller.ip &= ((uintptr_t)1 << ADDRESS_BITS) - 1; /* aarch64 may sign it */
	caller.pc = caller.ip - !row->is_signal_frame;
	*f = caller;
	return caller.ip != 0;
}
