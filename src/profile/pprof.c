/* SPDX-License-Identifier: MIT */
/*
 * profile.proto (github.com/google/pprof, proto/profile.proto), written as it
 * comes: in a protocol buffer fields of a message may stand in any order, and
 * those that repeat need not stand together. What refers to a string does so by
 * its number, so only the order of the strings among themselves counts: first
 * the fixed ones, then two for each module, then one for each function.
 */
#include <string.h>

#include "os/bug.h"
#include "os/os.h"
#include "profile/dump.h"

/* message Profile */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME_NANOS = 9,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_COMMENT = 13,
	PROFILE_DEFAULT_SAMPLE_TYPE = 14,
};
enum { VALUE_TYPE = 1, VALUE_UNIT = 2 };
enum { SAMPLE_LOCATIONS = 1, SAMPLE_VALUES = 2 };
enum { MAPPING_ID = 1, MAPPING_START, MAPPING_LIMIT, MAPPING_OFFSET, MAPPING_FILE, MAPPING_BUILD_ID };
enum { LOCATION_ID = 1, LOCATION_MAPPING, LOCATION_ADDRESS, LOCATION_LINE };
enum { LINE_FUNCTION = 1 };
enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_SYSTEM_NAME };

/* The strings that are always there, by their numbers. */
enum {
	TEXT_NONE, /* must be 0 */
	TEXT_OBJECTS,
	TEXT_COUNT,
	TEXT_SPACE,
	TEXT_BYTES,
	TEXT_PINNED,
	TEXT_PERIOD,
	TEXT_COMMENT,
	NR_TEXTS,
};
static const char texts[TEXT_COMMENT][16] = {
    "", "inuse_objects", "count", "inuse_space", "bytes", "pinned_space", "space",
};

static size_t module_text(size_t module)
{
	return NR_TEXTS + 2 * module;
}

static size_t function_text(const struct view *v, size_t function)
{
	return module_text(v->symbols.nr_modules) + function;
}

/* --- messages ------------------------------------------------------------------------------ */

#define MAX_VARINT 10

/* The largest is a sample's: MAX_FRAMES locations and three values. */
struct message {
	size_t len;
	unsigned char text[(MAX_FRAMES + 8) * MAX_VARINT];
};

static void put_varint(struct message *m, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		m->text[m->len++] = (unsigned char)(n | 0x80);
	m->text[m->len++] = (unsigned char)n;
}

static void put_number(struct message *m, unsigned field, uint64_t n)
{
	put_varint(m, field << 3);
	put_varint(m, n);
}

static void put_head(struct out *o, unsigned field, size_t len)
{
	struct message head = {0};

	put_varint(&head, field << 3 | 2);
	put_varint(&head, len);
	out_put(o, head.text, head.len);
}

static void put_message(struct out *o, unsigned field, const struct message *m)
{
	put_head(o, field, m->len);
	out_put(o, m->text, m->len);
}

static void put_string(struct out *o, const char *text, size_t len)
{
	put_head(o, PROFILE_STRING, len);
	out_put(o, text, len);
}

static void put_plain(struct out *o, unsigned field, uint64_t n)
{
	struct message m = {0};

	put_number(&m, field, n);
	out_put(o, m.text, m.len);
}

/* --- the parts ------------------------------------------------------------------------------- */

static void put_type(struct out *o, unsigned field, unsigned type, unsigned unit)
{
	struct message m = {0};

	put_number(&m, VALUE_TYPE, type);
	put_number(&m, VALUE_UNIT, unit);
	put_message(o, field, &m);
}

static void put_packed(struct message *m, unsigned field, const struct message *numbers)
{
	put_varint(m, field << 3 | 2);
	put_varint(m, numbers->len);
	memcpy(m->text + m->len, numbers->text, numbers->len);
	m->len += numbers->len;
}

/* Locations have the numbers of their frames, from 1 on. */
static void put_sample(struct out *o, const struct view *v, const struct holder *h)
{
	struct message m = {0}, numbers = {0};
	unsigned i;

	for (i = 0; i < h->stack->nr_frames; i++)
		put_varint(&numbers, symbols_find(&v->symbols, h->stack->pc[i]) + 1);
	put_packed(&m, SAMPLE_LOCATIONS, &numbers);
	numbers.len = 0;
	put_varint(&numbers, rounded(h->objects));
	put_varint(&numbers, rounded(h->bytes));
	put_varint(&numbers, rounded(h->pinned));
	put_packed(&m, SAMPLE_VALUES, &numbers);
	put_message(o, PROFILE_SAMPLE, &m);
}

/* Reads the bytes of the file: start and limit are those of the segment in memory. */
static void put_mapping(struct out *o, size_t i, const struct module *module)
{
	struct message m = {0};

	put_number(&m, MAPPING_ID, i + 1);
	put_number(&m, MAPPING_START, align_down(module->start, BSLAB_PAGE_SIZE));
	put_number(&m, MAPPING_LIMIT, align_up(module->end, BSLAB_PAGE_SIZE));
	put_number(&m, MAPPING_OFFSET, align_down(module->offset, BSLAB_PAGE_SIZE));
	put_number(&m, MAPPING_FILE, module_text(i));
	if (module->build_id_size)
		put_number(&m, MAPPING_BUILD_ID, module_text(i) + 1);
	put_message(o, PROFILE_MAPPING, &m);
}

static void put_location(struct out *o, const struct view *v, size_t i)
{
	const struct frame *f = &v->symbols.frame[i];
	const struct module *module = module_of(v, f);
	struct message m = {0}, line = {0};

	put_number(&m, LOCATION_ID, i + 1);
	if (module)
		put_number(&m, LOCATION_MAPPING, f->module + 1);
	put_number(&m, LOCATION_ADDRESS, f->pc);
	if (f->name) {
		put_number(&line, LINE_FUNCTION, f->nr_function + 1);
		put_packed(&m, LOCATION_LINE, &line);
	}
	put_message(o, PROFILE_LOCATION, &m);
}

static void put_function(struct out *o, const struct view *v, size_t i)
{
	struct message m = {0};

	put_number(&m, FUNCTION_ID, i + 1);
	put_number(&m, FUNCTION_NAME, function_text(v, i));
	put_number(&m, FUNCTION_SYSTEM_NAME, function_text(v, i));
	put_message(o, PROFILE_FUNCTION, &m);
}

static void put_module_strings(struct out *o, const struct module *m)
{
	char id[2 * MAX_BUILD_ID];
	size_t i;

	for (i = 0; i < m->build_id_size; i++) {
		id[2 * i] = "0123456789abcdef"[m->build_id[i] >> 4];
		id[2 * i + 1] = "0123456789abcdef"[m->build_id[i] & 15];
	}
	put_string(o, m->path, strlen(m->path));
	put_string(o, id, 2 * m->build_id_size);
}

static void put_strings(struct out *o, const struct view *v)
{
	char comment[96];
	size_t i, n = 0;

	for (i = 0; i < TEXT_COMMENT; i++)
		put_string(o, texts[i], strlen(texts[i]));
	put_string(o, comment, bug_format(comment, sizeof comment, "bslab: %z samples, %z lost", v->nr_samples, v->nr_lost));
	for (i = 0; i < v->symbols.nr_modules; i++)
		put_module_strings(o, &v->symbols.module[i]);
	for (i = 0; i < v->symbols.nr_frames; i++)
		if (v->symbols.frame[i].name && v->symbols.frame[i].nr_function == n) { /* the first of the function's */
			put_string(o, v->symbols.frame[i].name, strlen(v->symbols.frame[i].name));
			n++;
		}
}

void pprof_write(struct out *o, const struct view *v)
{
	size_t i;

	put_type(o, PROFILE_SAMPLE_TYPE, TEXT_OBJECTS, TEXT_COUNT);
	put_type(o, PROFILE_SAMPLE_TYPE, TEXT_SPACE, TEXT_BYTES);
	put_type(o, PROFILE_SAMPLE_TYPE, TEXT_PINNED, TEXT_BYTES);
	for (i = 0; i < v->nr_holders; i++)
		put_sample(o, v, &v->holder[i]);
	for (i = 0; i < v->symbols.nr_modules; i++)
		put_mapping(o, i, &v->symbols.module[i]);
	for (i = 0; i < v->symbols.nr_frames; i++)
		put_location(o, v, i);
	for (i = 0; i < v->symbols.nr_functions; i++)
		put_function(o, v, i);
	put_strings(o, v);
	put_plain(o, PROFILE_TIME_NANOS, os_wall_clock_ns());
	put_type(o, PROFILE_PERIOD_TYPE, TEXT_PERIOD, TEXT_BYTES);
	put_plain(o, PROFILE_PERIOD, v->interval);
	put_plain(o, PROFILE_COMMENT, TEXT_COMMENT);
	put_plain(o, PROFILE_DEFAULT_SAMPLE_TYPE, TEXT_SPACE);
}
