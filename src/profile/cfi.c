/* SPDX-License-Identifier: MIT */
#include "profile/cfi.h"

#include <string.h>

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

#define ENCODING_ALIGNED 0x50
#define MAX_STATES 4 /* remembered; compilers nest one or two */

struct rule {
	enum {
		UNDEFINED,
		REGISTER, /* a register and an offset */
		MEMORY,	  /* what stands at an offset from the CFA */
		EXPRESSION,
		OTHER, /* not understood */
	} kind;
	unsigned reg;
	int64_t offset;
	const uint8_t *expression;
};

/* What holds at an address. */
struct row {
	struct rule cfa, ra;
	bool is_signed; /* the return address, on aarch64 */
};

/* What entries have in common. */
struct cie {
	uint64_t code_align;
	int64_t data_align;
	unsigned ra_column;
	uint8_t encoding; /* of the entries' addresses */
	bool has_data, is_signal_frame;
	const uint8_t *insn, *end;
};

struct machine {
	const struct cie *cie;
	struct row row, state[MAX_STATES];
	struct row initial; /* as the CIE has it */
	unsigned nr_states;
	uintptr_t at, pc; /* instructions count up to pc */
	int64_t lowest;	  /* of all offsets from the CFA at which registers are kept */
};

/* --- numbers --------------------------------------------------------------------------------- */

static uint64_t get_fixed(const uint8_t **p, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, *p, size); /* both machines are little endian */
	*p += size;
	return value;
}

static uint64_t get_leb(const uint8_t **p, bool is_signed)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = *(*p)++;
		if (shift < 64)
			value |= (uint64_t)(byte & 127) << shift;
		shift += 7;
	} while (byte & 128);
	if (is_signed && byte & 64 && shift < 64)
		value |= ~0ull << shift;
	return value;
}

static uint64_t get_unsigned(const uint8_t **p)
{
	return get_leb(p, false);
}

static int64_t get_signed(const uint8_t **p)
{
	return (int64_t)get_leb(p, true);
}

static const uint8_t *get_block(const uint8_t **p)
{
	const uint8_t *block = *p;
	uint64_t len = get_unsigned(p);

	*p += len;
	return block;
}

/* Of an address; 0 where it has no fixed size. */
static size_t encoded_size(uint8_t encoding)
{
	static const uint8_t sizes[8] = {8, 0, 2, 4, 8};

	return encoding == ENCODING_ALIGNED ? 0 : sizes[encoding & 7];
}

/* --- the tables ---------------------------------------------------------------------------------- */

static bool parse_augmentation(const char *text, const uint8_t *p, struct cie *c)
{
	size_t size;

	for (; *text; text++) {
		switch (*text) {
		case 'R':
			c->encoding = *p++;
			break;
		case 'L':
			p++;
			break;
		case 'P':
			size = encoded_size(*p++);
			if (!size)
				return false;
			p += size;
			break;
		case 'S':
			c->is_signal_frame = true;
			break;
		case 'B': /* by which key addresses are signed */
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool parse_cie(const uint8_t *p, struct cie *c)
{
	uint64_t length = get_fixed(&p, 4), size;
	const char *text;
	uint8_t version;

	*c = (struct cie){.end = p + length};
	p += 4; /* what tells it from an FDE */
	version = *p++;
	if (length == UINT32_MAX || (version != 1 && version != 3))
		return false;
	text = (const char *)p;
	p += strlen(text) + 1;
	c->code_align = get_unsigned(&p);
	c->data_align = get_signed(&p);
	c->ra_column = version == 1 ? *p++ : (unsigned)get_unsigned(&p);
	c->has_data = *text == 'z';
	size = c->has_data ? get_unsigned(&p) : 0;
	c->insn = p + size;
	return !*text || (c->has_data && parse_augmentation(text + 1, p, c));
}

/* The entry's own instructions. */
static bool parse_fde(const uint8_t *p, struct cie *c, const uint8_t **insn, const uint8_t **end)
{
	uint64_t length = get_fixed(&p, 4), size;
	const uint8_t *here = p;

	*end = p + length;
	if (length == UINT32_MAX || !parse_cie(here - get_fixed(&p, 4), c) || !encoded_size(c->encoding))
		return false;
	p += 2 * encoded_size(c->encoding);
	size = c->has_data ? get_unsigned(&p) : 0;
	*insn = p + size;
	return true;
}

/* --- their instructions ------------------------------------------------------------------------------ */

static void set_rule(struct machine *m, uint64_t reg, struct rule r)
{
	if (reg == m->cie->ra_column)
		m->row.ra = r;
}

static void set_offset(struct machine *m, uint64_t reg, int64_t factored)
{
	int64_t offset = factored * m->cie->data_align;

	if (offset < m->lowest)
		m->lowest = offset;
	set_rule(m, reg, (struct rule){.kind = MEMORY, .offset = offset});
}

static void define_cfa(struct machine *m, uint64_t reg, int64_t offset)
{
	m->row.cfa = (struct rule){.kind = REGISTER, .reg = (unsigned)reg, .offset = offset};
}

static void advance(struct machine *m, uint64_t factored)
{
	m->at += factored * m->cie->code_align;
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
		reg = get_unsigned(p);
		define_cfa(m, reg, (int64_t)get_unsigned(p));
		return true;
	case CFA_DEF_CFA_SF:
		reg = get_unsigned(p);
		define_cfa(m, reg, get_signed(p) * m->cie->data_align);
		return true;
	case CFA_DEF_CFA_REGISTER:
		define_cfa(m, get_unsigned(p), cfa->offset);
		return true;
	case CFA_DEF_CFA_OFFSET:
		cfa->offset = (int64_t)get_unsigned(p);
		return true;
	case CFA_DEF_CFA_OFFSET_SF:
		cfa->offset = get_signed(p) * m->cie->data_align;
		return true;
	case CFA_DEF_CFA_EXPRESSION:
		*cfa = (struct rule){.kind = EXPRESSION, .expression = get_block(p)};
		return true;
	default:
		return false;
	}
}

/* Those of a register. */
static bool step_register(struct machine *m, uint8_t op, const uint8_t **p)
{
	uint64_t reg = get_unsigned(p);

	switch (op) {
	case CFA_OFFSET_EXTENDED:
		set_offset(m, reg, (int64_t)get_unsigned(p));
		return true;
	case CFA_OFFSET_EXTENDED_SF:
		set_offset(m, reg, get_signed(p));
		return true;
	case CFA_RESTORE_EXTENDED:
		set_rule(m, reg, m->initial.ra);
		return true;
	case CFA_UNDEFINED:
		set_rule(m, reg, (struct rule){.kind = UNDEFINED});
		return true;
	case CFA_SAME_VALUE:
		set_rule(m, reg, (struct rule){.kind = REGISTER, .reg = (unsigned)reg});
		return true;
	case CFA_REGISTER:
		set_rule(m, reg, (struct rule){.kind = REGISTER, .reg = (unsigned)get_unsigned(p)});
		return true;
	case CFA_EXPRESSION:
		set_rule(m, reg, (struct rule){.kind = EXPRESSION, .expression = get_block(p)});
		return true;
	case CFA_VAL_OFFSET:
	case CFA_VAL_OFFSET_SF:
		get_unsigned(p);
		set_rule(m, reg, (struct rule){.kind = OTHER});
		return true;
	case CFA_VAL_EXPRESSION:
		get_block(p);
		set_rule(m, reg, (struct rule){.kind = OTHER});
		return true;
	default:
		return false;
	}
}

static bool step_other(struct machine *m, uint8_t op, const uint8_t **p)
{
	switch (op) {
	case CFA_NOP:
		return true;
	case CFA_ADVANCE_LOC1:
		advance(m, get_fixed(p, 1));
		return true;
	case CFA_ADVANCE_LOC2:
		advance(m, get_fixed(p, 2));
		return true;
	case CFA_ADVANCE_LOC4:
		advance(m, get_fixed(p, 4));
		return true;
	case CFA_REMEMBER_STATE:
		return remember(m);
	case CFA_RESTORE_STATE:
		return restore_state(m);
	case CFA_AARCH64_NEGATE_RA_STATE:
		m->row.is_signed = !m->row.is_signed;
		return true;
	case CFA_GNU_ARGS_SIZE:
		get_unsigned(p);
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
			set_offset(m, operand, (int64_t)get_unsigned(&p));
			break;
		case CFA_RESTORE:
			set_rule(m, operand, m->initial.ra);
			break;
		default:
			if (!step_other(m, op, &p))
				return false;
		}
	}
	return true;
}

/* --- what they come to ---------------------------------------------------------------------------------- */

/* A register and an offset, what stands there, and so on: no operation that takes two values. */
static bool evaluate(const struct cfi_frame *f, const uint8_t *p, uintptr_t *value)
{
	uint64_t size = get_unsigned(&p);
	const uint8_t *end = p + size;
	uintptr_t reg;

	while (p < end) {
		uint8_t op = *p++;

		if (op >= OP_BREG0 && op <= OP_BREG31) {
			if (!f->get_register(f->arg, op - OP_BREG0, &reg))
				return false;
			*value = reg + (uintptr_t)get_signed(&p);
		} else if (op == OP_PLUS_UCONST) {
			*value += get_unsigned(&p);
		} else if (op != OP_DEREF || !f->read(f->arg, *value, value)) {
			return false;
		}
	}
	return true;
}

static bool find_cfa(const struct cfi_frame *f, const struct rule *r, uintptr_t *cfa)
{
	*cfa = 0;
	if (r->kind == EXPRESSION)
		return evaluate(f, r->expression, cfa);
	if (r->kind != REGISTER || !f->get_register(f->arg, r->reg, cfa))
		return false;
	*cfa += (uintptr_t)r->offset;
	return true;
}

static bool find_ip(const struct cfi_frame *f, const struct rule *r, uintptr_t cfa, uintptr_t *ip)
{
	uintptr_t addr = cfa; /* what an expression begins with */

	switch (r->kind) {
	case REGISTER:
		return f->get_register(f->arg, r->reg, ip);
	case MEMORY:
		return f->read(f->arg, cfa + (uintptr_t)r->offset, ip);
	case EXPRESSION:
		return evaluate(f, r->expression, &addr) && f->read(f->arg, addr, ip);
	default:
		return false;
	}
}

bool cfi_caller(const struct cfi_frame *f, struct cfi_caller *caller)
{
	struct machine m = {.pc = f->pc};
	const uint8_t *insn, *end;
	uintptr_t unused;
	struct cie cie;

	if (!parse_fde(f->fde, &cie, &insn, &end))
		return false;
	m.cie = &cie;
	/* Where nothing is said of the return address, it is in its register still. */
	m.row.ra = (struct rule){.kind = REGISTER, .reg = cie.ra_column};
	if (!run(&m, cie.insn, cie.end))
		return false;
	m.initial = m.row;
	m.at = f->start;
	/* libgcc reads registers from their slots without asking. */
	if (!run(&m, insn, end) || !find_cfa(f, &m.row.cfa, &caller->cfa) ||
	    (m.lowest && !f->read(f->arg, caller->cfa + (uintptr_t)m.lowest, &unused)) ||
	    !find_ip(f, &m.row.ra, caller->cfa, &caller->ip))
		return false;
	if (m.row.is_signed)
		caller->ip &= ((uintptr_t)1 << ADDRESS_BITS) - 1;
	caller->is_interrupted = cie.is_signal_frame;
	return caller->ip != 0;
}
