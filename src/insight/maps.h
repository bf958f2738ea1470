/* SPDX-License-Identifier: MIT */
/* /proc/PID/maps, line by line. */
#ifndef BSLAB_INSIGHT_MAPS_H
#define BSLAB_INSIGHT_MAPS_H

#include "base/base.h"

struct mapping {
	uint64_t start, end; /* start < end */
	uint64_t offset;     /* in the file */
	bool readable;
	bool has_file;
};

/* One line, ended by '\n' or by the end of the text. False when it is none. */
bool mapping_parse(const char *line, struct mapping *map);

struct mappings {
	struct mapping *map;
	size_t nr;
};

/* Of a whole file's text; lines that are none are left out. False when there is no memory. */
bool mappings_parse(struct mappings *maps, const char *text);
void mappings_free(struct mappings *maps);

#endif
