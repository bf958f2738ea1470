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

/* Sorted by start; both numbers count from the header. */
struct place {
	int32_t start, fde;
};

bool eh_find(const uint8_t *header, uintptr_t pc, struct eh_entry *e)
{
	const uint8_t *p = header + 4;
	size_t size = encoded_size(header[1]), low = 0, n, middle;
	intptr_t offset = (intptr_t)(pc - (uintptr_t)header);
	struct place place;

	if (header[0] != 1 || !size || header[2] != ENCODING_UDATA4 || header[3] != ENCODING_DATAREL_SDATA4)
		return false;
	p += size; /* where .eh_frame is */
	n = eh_fixed(&p, 4);
	while (n > 1) { /* the place is one of n from low on, or before the first */
		middle = low + n / 2;
		memcpy(&place, p + middle * sizeof place, sizeof place);
		if (place.start <= offset) {
			n -= n / 2;
			low = middle;
		} else {
			n /= 2;
		}
	}
	if (!n)
		return false;
	memcpy(&place, p + low * sizeof place, sizeof place);
	return eh_parse(header + place.fde, (uintptr_t)header + (uintptr_t)(intptr_t)place.start, pc, e);
}
