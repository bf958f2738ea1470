/* SPDX-License-Identifier: MIT */
#include "insight/scale.h"

#include <stdio.h>

/* Divides by `base` as often as it takes to come below `limit`; the letter that stands for that. */
static const char *reduce(double *n, double base, double limit, const char *const *units)
{
	while (*n >= limit && units[1]) {
		*n /= base;
		units++;
	}
	return *units;
}

const char *scale_bytes(char text[SCALE_TEXT], double bytes)
{
	static const char *const units[] = {"", "K", "M", "G", "T", "P", NULL};
	const char *unit = reduce(&bytes, 1024, 999.5, units);

	snprintf(text, SCALE_TEXT, "%.*f%s", *unit && bytes < 99.95, bytes, unit);
	return text;
}

const char *scale_count(char text[SCALE_TEXT], uint64_t n, unsigned width)
{
	static const char *const units[] = {"", "k", "M", "G", "T", "P", NULL};
	double reduced = (double)n;
	const char *unit;

	if ((unsigned)snprintf(text, SCALE_TEXT, "%llu", (unsigned long long)n) <= width)
		return text;
	unit = reduce(&reduced, 1000, 999.5, units);
	snprintf(text, SCALE_TEXT, "%.*f%s", reduced < 99.95, reduced, unit);
	return text;
}

const char *scale_rate(char text[SCALE_TEXT], double per_second)
{
	static const char *const units[] = {"", "k", "M", "G", "T", NULL};
	const char *unit = reduce(&per_second, 1000, 999.5, units);

	if (!*unit && per_second < 0.05)
		snprintf(text, SCALE_TEXT, "0");
	else
		snprintf(text, SCALE_TEXT, "%.*f%s", *unit ? per_second < 99.95 : per_second < 9.95, per_second, unit);
	return text;
}

const char *scale_duration(char text[SCALE_TEXT], double seconds)
{
	unsigned long s = seconds > 0 ? (unsigned long)seconds : 0, days = s / 86400;

	if (days)
		snprintf(text, SCALE_TEXT, "%lu day%s %lu:%02lu", days, days > 1 ? "s" : "", s / 3600 % 24, s / 60 % 60);
	else if (s >= 3600)
		snprintf(text, SCALE_TEXT, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, SCALE_TEXT, "%lu:%02lu", s / 60, s % 60);
	return text;
}

unsigned scale_percent(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned)(100.0 * (double)part / (double)whole + 0.5) : 0;
}

double scale_ceiling_bytes(double bytes)
{
	static const double steps[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
	double unit = KIB;
	unsigned i;

	if (bytes <= 4 * KIB)
		return 4 * KIB;
	while (bytes > 1000 * unit)
		unit *= KIB;
	for (i = 0; steps[i] * unit < bytes; i++)
		;
	return steps[i] * unit;
}
