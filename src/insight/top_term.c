/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#define _XOPEN_SOURCE_EXTENDED
#include "insight/top_term.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <ncurses.h>

static SCREEN *screen;
static FILE *input;
static attr_t attributes[NR_STYLES];
static short pairs[NR_STYLES];

/* --- styles ------------------------------------------------------------------------------------- */

struct paint {
	attr_t attribute; /* with colours */
	short foreground, background, rich_background; /* the last one where there are 256 colours; -1: the terminal's own */
	attr_t plain; /* without colours */
};

static const struct paint paints[NR_STYLES] = {
    [STYLE_PLAIN] = {A_NORMAL, -1, -1, -1, A_NORMAL},
    [STYLE_STRONG] = {A_BOLD, -1, -1, -1, A_BOLD},
    [STYLE_WEAK] = {A_DIM, -1, -1, -1, A_NORMAL},
    [STYLE_HEAD] = {A_REVERSE, -1, -1, -1, A_REVERSE},
    [STYLE_ALERT] = {A_BOLD, COLOR_WHITE, COLOR_RED, COLOR_RED, A_REVERSE},
    [STYLE_UNMOVABLE] = {A_NORMAL, COLOR_WHITE, COLOR_RED, 124, A_NORMAL},
    [STYLE_RECLAIMABLE] = {A_NORMAL, COLOR_BLACK, COLOR_YELLOW, 178, A_NORMAL},
    [STYLE_MOVABLE] = {A_NORMAL, COLOR_BLACK, COLOR_GREEN, 71, A_NORMAL},
    [STYLE_HIGHATOMIC] = {A_NORMAL, COLOR_BLACK, COLOR_CYAN, 37, A_NORMAL},
    [STYLE_LARGE] = {A_NORMAL, COLOR_WHITE, COLOR_BLUE, 25, A_NORMAL},
    [STYLE_CONTIG] = {A_NORMAL, COLOR_WHITE, COLOR_BLUE, 94, A_NORMAL},
    [STYLE_DIRTY] = {A_NORMAL, COLOR_WHITE, COLOR_MAGENTA, 96, A_NORMAL},
    [STYLE_CLEAN] = {A_DIM, -1, -1, -1, A_NORMAL},
    [STYLE_ISOLATE] = {A_NORMAL, COLOR_BLACK, COLOR_WHITE, 250, A_REVERSE},
    [STYLE_SCALE_0] = {A_NORMAL, COLOR_WHITE, COLOR_RED, 124, A_NORMAL},
    [STYLE_SCALE_1] = {A_NORMAL, COLOR_BLACK, COLOR_YELLOW, 172, A_NORMAL},
    [STYLE_SCALE_2] = {A_NORMAL, COLOR_BLACK, COLOR_YELLOW, 185, A_NORMAL},
    [STYLE_SCALE_3] = {A_NORMAL, COLOR_BLACK, COLOR_GREEN, 107, A_NORMAL},
    [STYLE_SCALE_4] = {A_NORMAL, COLOR_WHITE, COLOR_GREEN, 28, A_NORMAL},
    [STYLE_LIVE] = {A_NORMAL, COLOR_GREEN, -1, -1, A_NORMAL},
    [STYLE_OVER] = {A_NORMAL, COLOR_YELLOW, -1, -1, A_NORMAL},
    [STYLE_ABSENT] = {A_NORMAL, COLOR_CYAN, -1, -1, A_NORMAL},
};

/* no-color.org: set and not empty. */
static bool wants_colours(void)
{
	const char *no = getenv("NO_COLOR");

	return has_colors() && !(no && *no);
}

static void prepare_styles(void)
{
	bool colours = wants_colours() && start_color() == OK && use_default_colors() == OK;
	int i;

	for (i = 0; i < NR_STYLES; i++) {
		const struct paint *p = &paints[i];
		short background = COLORS >= 256 ? p->rich_background : p->background;

		attributes[i] = colours ? p->attribute : p->plain;
		pairs[i] = 0;
		if (!colours || i + 1 >= COLOR_PAIRS || (p->foreground < 0 && background < 0))
			continue;
		pairs[i] = (short)(i + 1);
		init_pair(pairs[i], p->foreground, background);
	}
}

/* --- open and close ----------------------------------------------------------------------------- */

bool term_open(const char **fault)
{
	const char *type = getenv("TERM");

	input = isatty(STDIN_FILENO) ? stdin : fopen("/dev/tty", "re");
	if (!input) {
		*fault = "there is no terminal to read keys from; --batch needs none";
		return false;
	}
	screen = newterm(NULL, stdout, input);
	if (!screen) {
		*fault = type && *type ? "the terminal in TERM is not known; --batch needs none" : "TERM is not set; --batch needs no terminal";
		return false;
	}
	set_term(screen);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(50);
	leaveok(stdscr, TRUE);
	curs_set(0);
	prepare_styles();
	return true;
}

void term_close(void)
{
	if (!screen)
		return;
	curs_set(1);
	endwin();
	delscreen(screen);
	screen = NULL;
}

void term_size(unsigned *width, unsigned *height)
{
	*width = COLS > 0 ? (unsigned)COLS : 1;
	*height = LINES > 0 ? (unsigned)LINES : 1;
}

void term_resize(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
	clearok(curscr, TRUE);
}

void term_redraw(void)
{
	clearok(curscr, TRUE);
}

/* --- keys --------------------------------------------------------------------------------------- */

static int translate(int key)
{
	switch (key) {
	case ERR:
	case KEY_RESIZE: /* SIGWINCH is not its */
		return TERM_NONE;
	case KEY_UP:
		return TERM_UP;
	case KEY_DOWN:
		return TERM_DOWN;
	case KEY_LEFT:
		return TERM_LEFT;
	case KEY_RIGHT:
		return TERM_RIGHT;
	case KEY_PPAGE:
		return TERM_PAGE_UP;
	case KEY_NPAGE:
		return TERM_PAGE_DOWN;
	case KEY_HOME:
		return TERM_HOME;
	case KEY_END:
		return TERM_END;
	case KEY_BTAB:
		return TERM_TAB_BACK;
	case KEY_ENTER:
		return '\r';
	case KEY_BACKSPACE:
		return '\b';
	default:
		return key < 0x100 ? key : TERM_NONE;
	}
}

int term_key(double seconds, const sigset_t *during)
{
	struct pollfd fd = {.fd = fileno(input), .events = POLLIN};
	struct timespec timeout = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	int key = getch();

	if (key != ERR)
		return translate(key);
	if (ppoll(&fd, 1, &timeout, during) <= 0)
		return TERM_NONE;
	if (fd.revents & ~POLLIN)
		return TERM_GONE; /* a signal that is pending would not end ppoll() */
	return translate(getch());
}

/* --- pictures ----------------------------------------------------------------------------------- */

static void show_cell(int row, int column, const struct canvas_cell *cell)
{
	wchar_t text[2] = {cell->ch ? (wchar_t)cell->ch : L' ', 0};
	cchar_t wide;

	setcchar(&wide, text, attributes[cell->style], pairs[cell->style], NULL);
	mvadd_wch(row, column, &wide);
}

void term_show(const struct canvas *c)
{
	unsigned row, column;

	for (row = 0; row < c->height; row++)
		for (column = 0; column < c->width; column++)
			show_cell((int)row, (int)column, &c->cell[(size_t)row * c->width + column]);
	refresh();
}
