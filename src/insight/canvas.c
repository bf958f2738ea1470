/* SPDX-License-Identifier: MIT */
#include "insight/canvas.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The longest text that is put at once. */
#define MAX_TEXT 512

bool canvas_resize(struct canvas *c, unsigned width, unsigned height)
{
	struct canvas_cell *cell = calloc((size_t)width * height + 1, sizeof *cell);

	if (!cell)
		return false;
	free(c->cell);
	c->cell = cell;
	c->width = width;
	c->height = height;
	return true;
}

void canvas_clear(struct canvas *c)
{
	memset(c->cell, 0, (size_t)c->width * c->height * sizeof *c->cell);
}

void canvas_free(struct canvas *c)
{
	free(c->cell);
	*c = (struct canvas){0};
}

void canvas_char(struct canvas *c, unsigned row, unsigned column, enum style style, uint32_t ch)
{
	if (row < c->height && column < c->width)
		c->cell[(size_t)row * c->width + column] = (struct canvas_cell){ch, (uint8_t)style};
}

unsigned canvas_put(struct canvas *c, unsigned row, unsigned column, enum style style, const char *format, ...)
{
	char text[MAX_TEXT];
	va_list args;
	const char *p;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	for (p = text; *p; p++)
		canvas_char(c, row, column++, style, (unsigned char)*p);
	return column;
}

void canvas_fill(struct canvas *c, unsigned row, enum style style)
{
	unsigned column;

	for (column = 0; row < c->height && column < c->width; column++) {
		struct canvas_cell *cell = &c->cell[(size_t)row * c->width + column];

		if (!cell->ch)
			*cell = (struct canvas_cell){' ', (uint8_t)style};
	}
}

static unsigned row_length(const struct canvas *c, unsigned row)
{
	const struct canvas_cell *cell = &c->cell[(size_t)row * c->width];
	unsigned n = c->width;

	while (n && (!cell[n - 1].ch || cell[n - 1].ch == ' '))
		n--;
	return n;
}

unsigned canvas_used_rows(const struct canvas *c)
{
	unsigned n = c->height;

	while (n && !row_length(c, n - 1))
		n--;
	return n;
}

unsigned canvas_encode(uint32_t ch, char text[5])
{
	unsigned n = ch < 0x80 ? 1 : ch < 0x800 ? 2 : ch < 0x10000 ? 3 : 4, i;
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (i = n; i-- > 1; ch >>= 6)
		text[i] = (char)(0x80 | (ch & 0x3f));
	text[0] = (char)(lead[n] | ch);
	text[n] = 0;
	return n;
}

void canvas_write(const struct canvas *c, FILE *out)
{
	unsigned nr_rows = canvas_used_rows(c), row, column, length;
	char text[5];

	for (row = 0; row < nr_rows; row++) {
		const struct canvas_cell *cell = &c->cell[(size_t)row * c->width];

		for (column = 0, length = row_length(c, row); column < length; column++) {
			canvas_encode(cell[column].ch ? cell[column].ch : ' ', text);
			fputs(text, out);
		}
		fputc('\n', out);
	}
}
