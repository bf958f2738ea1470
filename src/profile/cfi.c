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

#define MAX_STATES 4 /* remembered; compilers nest one or two */

/* How a register of the caller's is found. For the CFA, the caller's stack pointer: REGISTER or VALUE. */
struct rule {
	enum {
		SAME, /* as it is; nothing was said of it */
		UNDEFINED,
		REGISTER, /* another one and an offset */
		MEMORY,	  /* what stands at an offset from the CFA */
		OFFSET,	  /* the CFA and an offset */
		ADDRESS,  /* what stands where an expression leads */
		VALUE,	  /* of an expression */
	} kind : 8;
	uint8_t reg;
	int32_t offset; /* of an expression: how far it is from the entry's instructions */
};

/* What holds at an address. */
struct row {
	struct rule cfa, reg[ARCH_DWARF_NR];
};

struct machine {
	const struct eh_entry *e;
	struct row row, initial; /* as the common instructions have it */
	struct row state[MAX_STATES];
	unsigned nr_states;
	uintptr_t at, pc; /* instructions count up to pc */
	bool is_beyond; /* an offset does not fit */
};

/* --- instructions ------------------------------------------------------------------------------ */

static void set_rule(struct machine *m, uint64_t reg, struct rule r)
{
	if (reg < ARCH_DWARF_NR)
		m->row.reg[reg] = r;
}

static struct rule rule_of(struct machine *m, unsigned kind, uint64_t reg, int64_t offset)
{
	struct rule r = {.reg = (uint8_t)reg, .offset = (int32_t)offset};

	r.kind = kind;
	m->is_beyond |= reg > UINT8_MAX || offset != r.offset;
	return r;
}

static void set_factored(struct machine *m, uint64_t reg, unsigned kind, int64_t factored)
{
	set_rule(m, reg, rule_of(m, kind, 0, factored * m->e->data_align));
}

static struct rule expression(struct machine *m, unsigned kind, const uint8_t **p)
{
	struct rule r = rule_of(m, kind, 0, *p - m->e->own);
	uint64_t size = eh_unsigned(p);

	*p += size;
	return r;
}

static void restore(struct machine *m, uint64_t reg)
{
	if (reg < ARCH_DWARF_NR)
		m->row.reg[reg] = m->initial.reg[reg];
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
	struct rule *cfa = &m->row.cfa;
	uint64_t reg;

	switch (op) {
	case CFA_DEF_CFA:
		reg = eh_unsigned(p);
		*cfa = rule_of(m, REGISTER, reg, (int64_t)eh_unsigned(p));
		return true;
	case CFA_DEF_CFA_SF:
		reg = eh_unsigned(p);
		*cfa = rule_of(m, REGISTER, reg, eh_signed(p) * m->e->data_align);
		return true;
	case CFA_DEF_CFA_REGISTER:
		*cfa = rule_of(m, REGISTER, eh_unsigned(p), cfa->offset);
		return true;
	case CFA_DEF_CFA_OFFSET:
		*cfa = rule_of(m, REGISTER, cfa->reg, (int64_t)eh_unsigned(p));
		return true;
	case CFA_DEF_CFA_OFFSET_SF:
		*cfa = rule_of(m, REGISTER, cfa->reg, eh_signed(p) * m->e->data_align);
		return true;
	case CFA_DEF_CFA_EXPRESSION:
		*cfa = expression(m, VALUE, p);
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
		set_factored(m, reg, MEMORY, (int64_t)eh_unsigned(p));
		return true;
	case CFA_OFFSET_EXTENDED_SF:
		set_factored(m, reg, MEMORY, eh_signed(p));
		return true;
	case CFA_RESTORE_EXTENDED:
		restore(m, reg);
		return true;
	case CFA_UNDEFINED:
		set_rule(m, reg, rule_of(m, UNDEFINED, 0, 0));
		return true;
	case CFA_SAME_VALUE:
		set_rule(m, reg, rule_of(m, REGISTER, reg, 0));
		return true;
	case CFA_REGISTER:
		set_rule(m, reg, rule_of(m, REGISTER, eh_unsigned(p), 0));
		return true;
	case CFA_EXPRESSION:
		set_rule(m, reg, expression(m, ADDRESS, p));
		return true;
	case CFA_VAL_EXPRESSION:
		set_rule(m, reg, expression(m, VALUE, p));
		return true;
	case CFA_VAL_OFFSET:
		set_factored(m, reg, OFFSET, (int64_t)eh_unsigned(p));
		return true;
	case CFA_VAL_OFFSET_SF:
		set_factored(m, reg, OFFSET, eh_signed(p));
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
			set_factored(m, operand, MEMORY, (int64_t)eh_unsigned(&p));
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

/* --- what they come to ---------------------------------------------------------------------------------- */

/* A frame, and its stack. */
struct place {
	const struct cfi_frame *f;
	const struct eh_entry *e;
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
static bool evaluate(const struct place *at, const struct rule *r, uintptr_t *value)
{
	const uint8_t *p = at->e->own + r->offset, *end;
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

static bool find_cfa(const struct place *at, const struct rule *r, uintptr_t *cfa)
{
	*cfa = 0;
	if (r->kind == VALUE)
		return evaluate(at, r, cfa);
	if (r->kind != REGISTER || !get_register(at->f, r->reg, cfa))
		return false;
	*cfa += (uintptr_t)(intptr_t)r->offset;
	return true;
}

static bool find_register(const struct place *at, unsigned reg, const struct rule *r, uintptr_t cfa, uintptr_t *value)
{
	uintptr_t offset = (uintptr_t)(intptr_t)r->offset;

	*value = cfa; /* what an expression begins with */
	switch (r->kind) {
	case SAME:
		return get_register(at->f, reg, value);
	case REGISTER:
		return get_register(at->f, r->reg, value);
	case MEMORY:
		return at->read(at->arg, cfa + offset, value);
	case OFFSET:
		*value += offset;
		return true;
	case ADDRESS:
		return evaluate(at, r, value) && at->read(at->arg, *value, value);
	case VALUE:
		return evaluate(at, r, value);
	default:
		return false;
	}
}

/* Those that a call keeps, and that this one has saved, or left alone. */
static void find_registers(const struct place *at, const struct row *row, uintptr_t cfa, struct cfi_frame *caller)
{
	caller->known = 0;
	for (unsigned i = 0; i < ARCH_DWARF_NR; i++) {
		const struct rule *r = &row->reg[i];

		if ((r->kind != SAME || (uint64_t)ARCH_DWARF_KEPT >> i & 1 || i == at->e->ra_column) &&
		    find_register(at, i, r, cfa, &caller->reg[i]))
			caller->known |= (uint64_t)1 << i;
	}
	if (row->reg[ARCH_DWARF_SP].kind == SAME) {
		caller->reg[ARCH_DWARF_SP] = cfa;
		caller->known |= (uint64_t)1 << ARCH_DWARF_SP;
	}
}

bool cfi_step(struct cfi_frame *f, const struct eh_entry *e, cfi_read_fn *read, void *arg)
{
	struct place at = {f, e, read, arg};
	struct cfi_frame caller;
	struct machine m;
	uintptr_t cfa;

	m.e = e;
	m.pc = f->pc;
	m.at = 0;
	m.nr_states = 0;
	m.is_beyond = false;
	memset(&m.row, 0, sizeof m.row);
	if (!run(&m, e->common, e->common_end))
		return false;
	m.initial = m.row;
	m.at = e->start;
	if (!run(&m, e->own, e->own_end) || !find_cfa(&at, &m.row.cfa, &cfa))
		return false;
	find_registers(&at, &m.row, cfa, &caller);
	if (!get_register(&caller, e->ra_column, &caller.ip))
		return false;
	caller.ip &= ((uintptr_t)1 << ADDRESS_BITS) - 1; /* aarch64 may sign it */
	caller.pc = caller.ip - !e->is_signal_frame;
	*f = caller;
	return caller.ip != 0;
}
