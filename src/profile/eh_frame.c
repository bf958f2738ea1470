/* SPDX-License-Identifier: MIT */
#include "profile/eh_frame.h"

/* How addresses are encoded. */
enum {
	ENCODING_UDATA4 = 0x03,
	ENCODING_DATAREL_SDATA4 = 0x3b,
	ENCODING_ALIGNED = 0x50,
};

/* Of an address; 0 where it has no fixed size. */
static size_t encoded_size(uint8_t encoding)
{
	static const uint8_t sizes[8] = {8, 0, 2, 4, 8};

	return encoding == ENCODING_ALIGNED ? 0 : sizes[encoding & 7];
}

static bool parse_augmentation(const char *text, const uint8_t *p, struct eh_entry *e, uint8_t *encoding)
{
	size_t size;

	for (; *text; text++) {
		switch (*text) {
		case 'R':
			*encoding = *p++;
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
			e->is_signal_frame = true;
			break;
		case 'B': /* by which key addresses are signed */
			break;
		default:
			return false;
		}
	}
	return true;
}

/* What entries have in common: a CIE. */
static bool parse_common(const uint8_t *p, struct eh_entry *e, bool *has_data, uint8_t *encoding)
{
	uint64_t length = eh_fixed(&p, 4), size;
	const char *text;
	uint8_t version;

	e->common_end = p + length;
	p += 4; /* what tells it from an FDE */
	version = *p++;
	if (length == UINT32_MAX || (version != 1 && version != 3))
		return false;
	text = (const char *)p;
	p += strlen(text) + 1;
	e->code_align = eh_unsigned(&p);
	e->data_align = eh_signed(&p);
	e->ra_column = version == 1 ? *p++ : (unsigned)eh_unsigned(&p);
	e->is_signal_frame = false;
	*has_data = *text == 'z';
	*encoding = 0;
	size = *has_data ? eh_unsigned(&p) : 0;
	e->common = p + size;
	return !*text || (*has_data && parse_augmentation(text + 1, p, e, encoding));
}

bool eh_parse(const uint8_t *fde, uintptr_t start, uintptr_t pc, struct eh_entry *e)
{
	const uint8_t *p = fde, *here;
	uint64_t length = eh_fixed(&p, 4), size;
	uint8_t encoding;
	bool has_data;

	here = p;
	e->start = start;
	e->own_end = p + length;
	if (length == UINT32_MAX || !parse_common(here - eh_fixed(&p, 4), e, &has_data, &encoding))
		return false;
	size = encoded_size(encoding);
	if (!size)
		return false;
	p += size;
	if (pc - start >= eh_fixed(&p, size))
		return false;
	size = has_data ? eh_unsigned(&p) : 0;
	e->own = p + size;
	return true;
}

/* --- the sorted table ---------------------------------------------------------------- */

/* Its places, sorted by start; NULL where it is of another kind. */
static const uint8_t *places(const uint8_t *header, size_t *n)
{
	size_t size = encoded_size(header[1]);
	const uint8_t *p = header + 4 + size; /* where .eh_frame is, is passed over */

	if (header[0] != 1 || !size || header[2] != ENCODING_UDATA4 || header[3] != ENCODING_DATAREL_SDATA4)
		return NULL;
	*n = eh_fixed(&p, 4);
	return p;
}

static struct eh_place place_at(const uint8_t *places, size_t i)
{
	struct eh_place place;

	memcpy(&place, places + i * sizeof place, sizeof place);
	return place;
}

static uint64_t add_up(uint64_t sum, const uint8_t *p)
{
	const uint8_t *end = p + 4;

	for (end += eh_fixed(&p, 4); end - p >= 8;)
		sum = (sum ^ eh_fixed(&p, 8)) * 0x9e3779b97f4a7c15ull;
	return (sum ^ eh_fixed(&p, (size_t)(end - p))) * 0x9e3779b97f4a7c15ull;
}

/* An entry and what it has in common with others. */
static uint64_t sum_of(const uint8_t *fde)
{
	const uint8_t *p = fde + 4, *here = p;

	return add_up(add_up(0, fde), here - eh_fixed(&p, 4));
}

bool eh_find(const uint8_t *header, uintptr_t pc, struct eh_entry *e, struct eh_mark *mark)
{
	intptr_t offset = (intptr_t)(pc - (uintptr_t)header);
	size_t low = 0, n, middle;
	const uint8_t *p = places(header, &n);

	if (!p || !n)
		return false;
	while (n > 1) { /* it is one of n from low on, or before the first */
		middle = low + n / 2;
		if (place_at(p, middle).start <= offset) {
			n -= n / 2;
			low = middle;
		} else {
			n /= 2;
		}
	}
	mark->index = low;
	mark->place = place_at(p, low);
	if (!eh_parse(header + mark->place.fde, (uintptr_t)header + (uintptr_t)(intptr_t)mark->place.start, pc, e))
		return false;
	mark->sum = sum_of(header + mark->place.fde);
	return true;
}

bool eh_is_there(const uint8_t *header, const struct eh_mark *mark)
{
	size_t n;
	const uint8_t *p = places(header, &n);
	struct eh_place place;

	if (!p || mark->index >= n)
		return false;
	place = place_at(p, mark->index);
	return place.start == mark->place.start && place.fde == mark->place.fde && sum_of(header + place.fde) == mark->sum;
}
