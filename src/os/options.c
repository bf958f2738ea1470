/* SPDX-License-Identifier: MIT */
#include "os/options.h"

#include <signal.h>
#include <string.h>

#include "os/bug.h"

/* Copied at boot: were they initialised here, each process would copy the page that they stand in. */
struct options bslab_options;
const struct options bslab_option_defaults = {
    .index = INDEX_AUTO,
    .huge = true,
    .guard = true,
    .merge = true,
    .grouping = true,
    .region_size = GIB,
    .dirty_size = MIB,
    .quarantine_size = QUARANTINE_SIZE,
    .large_size = 256 * MIB,
};

static const char *const index_names[] = {"auto", "mm_cid", "cpu_id", "thread"};
static const char *const error_names[] = {"abort", "warn"};
static const char *const unwind_names[] = {"auto", "frames"};
static const char *const bool_names[] = {"no", "yes"};

const char *index_mode_name(enum index_mode mode)
{
	return index_names[mode];
}

struct token {
	const char *text;
	size_t len;
};

static bool token_is(struct token t, const char *name)
{
	return strlen(name) == t.len && memcmp(t.text, name, t.len) == 0;
}

static int find_name(struct token t, const char *const *names, int nr_names)
{
	int i;

	for (i = 0; i < nr_names; i++)
		if (token_is(t, names[i]))
			return i;
	return -1;
}

static bool parse_bool(struct token t, bool *value)
{
	int i = find_name(t, bool_names, 2);

	if (i >= 0)
		*value = i;
	return i >= 0;
}

/* Digits and one of K, M, G, T; nothing that overflows. */
static bool parse_size(struct token t, size_t min, size_t max, size_t *value)
{
	static const char units[] = "KMGT";
	size_t n = 0, i = 0;

	for (; i < t.len && t.text[i] >= '0' && t.text[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (size_t)(t.text[i] - '0'), &n))
			return false;
	if (i == 0)
		return false;
	if (i < t.len) {
		const char *unit = memchr(units, t.text[i], 4);
		size_t shift;

		if (!unit || ++i != t.len)
			return false;
		shift = 10 * (size_t)(unit - units + 1);
		if (n > SIZE_MAX >> shift)
			return false;
		n <<= shift;
	}
	if (n < min || n > max)
		return false;
	*value = n;
	return true;
}

static const struct {
	char name[8];
	uint8_t number;
} signal_names[] = {{"HUP", SIGHUP}, {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}};

/* A name, with SIG before it or without, or a number. What the kernel refuses is said when it is installed. */
static bool parse_signal(struct token t, int *value)
{
	size_t number, i;

	if (t.len > 3 && memcmp(t.text, "SIG", 3) == 0)
		t = (struct token){t.text + 3, t.len - 3};
	for (i = 0; i < sizeof signal_names / sizeof signal_names[0]; i++)
		if (token_is(t, signal_names[i].name)) {
			*value = signal_names[i].number;
			return true;
		}
	if (!parse_size(t, 1, 64, &number))
		return false;
	*value = (int)number;
	return true;
}

static bool parse_text(struct token t, struct option_text *value)
{
	if (t.len)
		*value = (struct option_text){t.text, t.len};
	return t.len > 0;
}

/* on, off, or the mean distance of samples. */
static bool parse_interval(struct token t, size_t usual, size_t max, size_t *interval)
{
	if (token_is(t, "on") || token_is(t, "off")) {
		*interval = t.len == 2 ? usual : 0;
		return true;
	}
	return parse_size(t, 1, max, interval);
}

/* auto, off, or fake:N, as the kernel's numa=fake. */
static bool parse_numa(struct token t, size_t *nr_nodes)
{
	if (token_is(t, "auto") || token_is(t, "off")) {
		*nr_nodes = t.len == 3;
		return true;
	}
	if (t.len < 6 || memcmp(t.text, "fake:", 5) != 0)
		return false;
	return parse_size((struct token){t.text + 5, t.len - 5}, 1, MAX_FAKE_NODES, nr_nodes);
}

static bool parse_value(struct options *o, struct token key, struct token value, bool *known)
{
	int i;

	*known = true;
	if (token_is(key, "index")) {
		i = find_name(value, index_names, 4);
		if (i >= 0)
			o->index = (enum index_mode)i;
		return i >= 0;
	}
	if (token_is(key, "on_error")) {
		i = find_name(value, error_names, 2);
		if (i >= 0)
			o->warn = i;
		return i >= 0;
	}
	if (token_is(key, "check"))
		return parse_bool(value, &o->check);
	if (token_is(key, "huge"))
		return parse_bool(value, &o->huge);
	if (token_is(key, "guard"))
		return parse_bool(value, &o->guard);
	if (token_is(key, "merge"))
		return parse_bool(value, &o->merge);
	if (token_is(key, "grouping"))
		return parse_bool(value, &o->grouping);
	if (token_is(key, "hardened"))
		return parse_bool(value, &o->hardened);
	if (token_is(key, "quarantine"))
		return parse_size(value, 0, GIB, &o->quarantine_size);
	if (token_is(key, "stats"))
		return parse_bool(value, &o->stats);
	if (token_is(key, "numa"))
		return parse_numa(value, &o->numa_nodes);
	if (token_is(key, "report"))
		return parse_text(value, &o->report);
	if (token_is(key, "report_to"))
		return parse_text(value, &o->report_to);
	if (token_is(key, "report_signal"))
		return parse_signal(value, &o->report_signal);
	if (token_is(key, "profile"))
		return parse_interval(value, PROFILE_INTERVAL, MAX_PROFILE_INTERVAL, &o->profile_interval);
	if (token_is(key, "guarded"))
		return parse_interval(value, GUARDED_INTERVAL, MAX_GUARDED_INTERVAL, &o->guarded_interval);
	if (token_is(key, "profile_to"))
		return parse_text(value, &o->profile_to);
	if (token_is(key, "profile_unwind")) {
		i = find_name(value, unwind_names, 2);
		if (i >= 0)
			o->profile_frames = i;
		return i >= 0;
	}
	if (token_is(key, "region")) {
		size_t size;

		if (!parse_size(value, PAGEBLOCK_SIZE, GIB, &size) || !is_power_of_2(size))
			return false;
		o->region_size = size;
		return true;
	}
	if (token_is(key, "dirty"))
		return parse_size(value, 0, SIZE_MAX, &o->dirty_size);
	if (token_is(key, "reserve"))
		return parse_size(value, 0, GIB, &o->reserve_size);
	if (token_is(key, "large"))
		return parse_size(value, PAGEBLOCK_SIZE, SIZE_MAX, &o->large_size);
	if (token_is(key, "soft_limit"))
		return parse_size(value, 0, SIZE_MAX, &o->soft_limit);
	if (token_is(key, "hard_limit"))
		return parse_size(value, 0, SIZE_MAX, &o->hard_limit);
	*known = false;
	return false;
}

static struct token next_token(const char **text, const char *stops)
{
	struct token t = {*text, strcspn(*text, stops)};

	*text += t.len;
	return t;
}

static void copy_token(char *buf, size_t size, struct token t)
{
	size_t len = min_size(t.len, size - 1);

	memcpy(buf, t.text, len);
	buf[len] = '\0';
}

bool options_parse(struct options *o, const char *text, char *fault, size_t fault_size)
{
	bool good = true;

	while (*text) {
		struct token key = next_token(&text, "=,"), value = {text, 0};
		bool known = false;

		if (*text == '=') {
			text++;
			value = next_token(&text, ",");
		}
		if (*text == ',')
			text++;
		if ((key.len || value.len) && !parse_value(o, key, value, &known) && good) {
			char k[32], v[32];

			good = false;
			copy_token(k, sizeof k, key);
			copy_token(v, sizeof v, value);
			if (known)
				bug_format(fault, fault_size, "BSLAB_CONF: bad value '%s' for '%s'", v, k);
			else
				bug_format(fault, fault_size, "BSLAB_CONF: unknown option '%s'", k);
		}
	}
	return good;
}
