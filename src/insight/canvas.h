/* SPDX-License-Identifier: MIT */
/*
 * A picture of characters, each with a style: what a view draws on. The views
 * know nothing of terminals; a terminal shows a canvas (term.h), a script gets
 * its characters alone. What does not fit is cut off.
 */
#ifndef BSLAB_INSIGHT_CANVAS_H
#define BSLAB_INSIGHT_CANVAS_H

#include <stdio.h>

#include "base/base.h"

enum style {
	STYLE_PLAIN,
	STYLE_STRONG,
	STYLE_WEAK,
	STYLE_HEAD,  /* of a table */
	STYLE_ALERT,
	/* Cells of the map: */
	STYLE_UNMOVABLE, STYLE_RECLAIMABLE, STYLE_MOVABLE, STYLE_HIGHATOMIC, STYLE_LARGE,
	STYLE_CONTIG, STYLE_DIRTY, STYLE_CLEAN, STYLE_ISOLATE,
	/* From little to all: */
	STYLE_SCALE_0, STYLE_SCALE_1, STYLE_SCALE_2, STYLE_SCALE_3, STYLE_SCALE_4,
	/* Of the graph: */
	STYLE_LIVE, STYLE_OVER, STYLE_ABSENT,
	NR_STYLES,
};
#define NR_SCALE_STYLES 5

struct canvas_cell {
	uint32_t ch; /* a Unicode character; 0: nothing was drawn */
	uint8_t style;
};

struct canvas {
	unsigned width, height;
	bool utf8; /* may characters be beyond ASCII? */
	struct canvas_cell *cell;
};

/* False when there is no memory; the canvas is then as it was. All of it is empty afterwards. */
bool canvas_resize(struct canvas *c, unsigned width, unsigned height);
void canvas_clear(struct canvas *c);
void canvas_free(struct canvas *c);

void canvas_char(struct canvas *c, unsigned row, unsigned column, enum style style, uint32_t ch);
/* The column behind the text, were the canvas wide enough. */
unsigned canvas_put(struct canvas *c, unsigned row, unsigned column, enum style style, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The rest of a row gets a style, and blanks where nothing is. */
void canvas_fill(struct canvas *c, unsigned row, enum style style);

/* Rows up to the last that has something. */
unsigned canvas_used_rows(const struct canvas *c);
/* As text, without blanks at the ends of lines. */
void canvas_write(const struct canvas *c, FILE *out);
/* A character as UTF-8, with its zero; its length. */
unsigned canvas_encode(uint32_t ch, char text[5]);

#endif
