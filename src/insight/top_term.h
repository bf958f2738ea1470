/* SPDX-License-Identifier: MIT */
/* The terminal, by ncurses. One at a time. */
#ifndef BSLAB_INSIGHT_TOP_TERM_H
#define BSLAB_INSIGHT_TOP_TERM_H

#include <signal.h>

#include "insight/canvas.h"

enum term_key { TERM_GONE = -2, /* the terminal */ TERM_NONE = -1, TERM_UP = 0x100, TERM_DOWN, TERM_LEFT, TERM_RIGHT, TERM_PAGE_UP, TERM_PAGE_DOWN, TERM_HOME, TERM_END, TERM_TAB_BACK };

/* False, with a line that says why. Keys come from the terminal even where the standard input is none. */
bool term_open(const char **fault);
/* The terminal is as it was before. May be called again. */
void term_close(void);
void term_size(unsigned *width, unsigned *height);
/* After SIGWINCH. */
void term_resize(void);
/* Waits for a key until the time is over, with the signals of `during` let in: a character or an enum term_key. */
int term_key(double seconds, const sigset_t *during);
void term_show(const struct canvas *c);
/* All of it anew, after something else wrote on the terminal. */
void term_redraw(void);

#endif
