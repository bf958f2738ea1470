/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "insight/maps.h"

#include <stdlib.h>
#include <string.h>

/* A number in hexadecimal and the character behind it; NULL when that is not what stands there. */
static const char *parse_hex(const char *p, char behind, uint64_t *n)
{
	const char *start = p;
	int digit;

	for (*n = 0;; p++) {
		digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
		if (digit < 0)
			break;
		*n = *n << 4 | (unsigned)digit;
	}
	return p > start && p - start <= 16 && *p == behind ? p + 1 : NULL;
}

/* start-end perms offset major:minor inode path */
bool mapping_parse(const char *line, struct mapping *map)
{
	uint64_t major, minor;
	const char *p = line;

	*map = (struct mapping){0};
	if (!(p = parse_hex(p, '-', &map->start)) || !(p = parse_hex(p, ' ', &map->end)) || map->start >= map->end)
		return false;
	map->readable = *p == 'r';
	if (strnlen(p, 5) < 5 || p[4] != ' ' || memchr(p, '\n', 5))
		return false;
	if (!(p = parse_hex(p + 5, ' ', &map->offset)) || !(p = parse_hex(p, ':', &major)) ||
	    !(p = parse_hex(p, ' ', &minor)) || *p < '0' || *p > '9')
		return false;
	map->has_file = strtoull(p, NULL, 10) != 0;
	return true;
}

bool mappings_parse(struct mappings *maps, const char *text)
{
	size_t capacity = 0;
	struct mapping map;
	const char *end;

	*maps = (struct mappings){0};
	for (; *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, '\n');
		if (!mapping_parse(text, &map))
			continue;
		if (maps->nr == capacity) {
			struct mapping *more;

			capacity = capacity ? 2 * capacity : 64;
			more = realloc(maps->map, capacity * sizeof *more);
			if (!more) {
				mappings_free(maps);
				return false;
			}
			maps->map = more;
		}
		maps->map[maps->nr++] = map;
	}
	return true;
}

void mappings_free(struct mappings *maps)
{
	free(maps->map);
	*maps = (struct mappings){0};
}
