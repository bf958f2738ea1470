/* SPDX-License-Identifier: MIT */
#include "profile/sampler.h"

#include "os/os.h"

struct sampler sampler = {0};

/*
 * Random numbers: a Weyl sequence, mixed (Steele, Lea and Flood 2014, SplitMix64). All threads draw from one, a number
 * for each sample, so that no thread keeps or seeds a state of its own.
 */
#define WEYL 0x9e3779b97f4a7c15ull

static _Atomic uint64_t sequence; /* relaxed */

static uint64_t random_number(void)
{
	uint64_t x = atomic_fetch_add_explicit(&sequence, WEYL, memory_order_relaxed);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* In (0, 1): 53 bits and a half. */
static double random_unit(void)
{
	return ((double)(random_number() >> 11) + 0.5) * 0x1p-53;
}

/*
 * ln x for a normal x > 0, without libm. x = 2^e * m with m in [sqrt(1/2), sqrt(2)); with s = (m - 1) / (m + 1),
 * ln m = 2 (s + s^3/3 + s^5/5 + ...), and |s| < 0.172: what is left out is below 2 s^11 / 11 < 10^-9.
 */
static double log_of(double x)
{
	union {
		double x;
		uint64_t bits;
	} u = {x};
	int e = (int)(u.bits >> 52) - 1023;
	double s, q;

	u.bits = (u.bits & ((1ull << 52) - 1)) | 1023ull << 52;
	if (u.x > 1.4142135623730951) {
		u.x /= 2;
		e++;
	}
	s = (u.x - 1) / (u.x + 1);
	q = s * s;
	return e * 0.6931471805599453 + 2 * s * (1 + q * (1. / 3 + q * (1. / 5 + q * (1. / 7 + q / 9))));
}

/*
 * 1 - exp(-x) for x >= 0. With q(x) = 1 - exp(-x), q(2x) = q(x) (2 - q(x)): x is halved until it is at most 1/16, where
 * the series is cut behind x^6, which leaves out less than x^7 / 5040 < 10^-12.
 */
static double one_minus_exp(double x)
{
	int halvings = 0;
	double q;

	if (x > 40)
		return 1;
	for (; x > 1. / 16; x /= 2)
		halvings++;
	q = x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6)))));
	while (halvings--)
		q *= 2 - q;
	return q;
}

size_t sampler_draw(size_t mean)
{
	return (size_t)(-log_of(random_unit()) * (double)mean);
}

double sampler_weight(size_t bytes, size_t interval)
{
	return 1 / one_minus_exp((double)bytes / (double)interval);
}

bool sampler_chance(double chance)
{
	return random_unit() < chance;
}

static int64_t zero_of(uint32_t epoch)
{
	return (int64_t)epoch << 32;
}

static void set_left(uint32_t epoch, uint64_t left)
{
	uint64_t near = left < SAMPLE_NEAR ? left : SAMPLE_NEAR;

	thread_state.sample_near = zero_of(epoch) + (int64_t)near;
	thread_state.sample_far = left - near;
}

bool sampler_hits(size_t bytes)
{
	/* In the other order than they are stored: with a new epoch comes no old interval. */
	uint32_t epoch = __atomic_load_n(&sampler.epoch, __ATOMIC_ACQUIRE);
	size_t interval = sampler_interval();
	uint64_t left;

	if (!interval || !epoch || thread_state.in_profile)
		return false;
	if (thread_state.sample_near >> 32 != epoch)
		left = sampler_draw(interval);
	else
		left = (uint32_t)thread_state.sample_near + thread_state.sample_far;
	if (bytes <= left) {
		set_left(epoch, left - bytes);
		return false;
	}
	set_left(epoch, sampler_draw(interval));
	return true;
}

void sampler_seed(void)
{
	if (!atomic_load_explicit(&sequence, memory_order_relaxed))
		atomic_store_explicit(&sequence, os_random_seed() ^ os_pid() * WEYL, memory_order_relaxed);
}

void sampler_start(size_t interval)
{
	uint32_t epoch = __atomic_load_n(&sampler.epoch, __ATOMIC_RELAXED);

	sampler_seed();
	__atomic_store_n(&sampler.interval, interval, __ATOMIC_RELAXED);
	__atomic_store_n(&sampler.epoch, epoch < INT32_MAX ? epoch + 1 : 1, __ATOMIC_RELEASE);
}

void sampler_stop(void)
{
	__atomic_store_n(&sampler.interval, 0, __ATOMIC_RELAXED);
}

void sampler_allow_medium(bool allow)
{
	uint32_t epoch = __atomic_load_n(&sampler.epoch, __ATOMIC_RELAXED);

	__atomic_store_n(&sampler.medium_zero, allow ? zero_of(epoch) : INT64_MAX, __ATOMIC_RELAXED);
}

void sampler_fork_child(void)
{
	atomic_fetch_add_explicit(&sequence, os_pid() * (WEYL << 1 | 1), memory_order_relaxed);
}
