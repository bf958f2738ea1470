/* SPDX-License-Identifier: MIT */
/* Numbers for people: short texts of bytes, counts, rates and times, and the ends of axes. Pure functions. */
#ifndef BSLAB_INSIGHT_SCALE_H
#define BSLAB_INSIGHT_SCALE_H

#include "base/base.h"

/* Any of the texts, with its zero. */
#define SCALE_TEXT 32

/* "0", "512", "1.5K", "120K", "3.2G": powers of 1024, at most six characters. */
const char *scale_bytes(char text[SCALE_TEXT], double bytes);
/* As many digits as `width` takes, else thousands: "123456", "12.3M". */
const char *scale_count(char text[SCALE_TEXT], uint64_t n, unsigned width);
/* A rate: "0", "0.4", "12", "3.4k". Below a twentieth it is 0. */
const char *scale_rate(char text[SCALE_TEXT], double per_second);
/* "0:07", "12:34", "3:25:45", "2 days 3:25". */
const char *scale_duration(char text[SCALE_TEXT], double seconds);

/* The part of the whole in 100ths, rounded; 0 of nothing. */
unsigned scale_percent(uint64_t part, uint64_t whole);

/* The least of 1, 2 and 5 times a power of ten, in the unit of 1024^n that suits, that is at least bytes; 0 gives 4096. */
double scale_ceiling_bytes(double bytes);

#endif
