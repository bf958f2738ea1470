/* SPDX-License-Identifier: MIT */
/*
 * As much of Criterion as the unit tests use, for ThreadSanitizer: Criterion starts each test in a new process with
 * memory mapped where the sanitizer has no shadow for it. Here a test is a child of fork.
 */
#ifndef CRITERION_H
#define CRITERION_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct cr_test {
	const char *suite, *name;
	void (*run)(void);
	struct cr_test *next;
	/* What a test may ask for: */
	void (*init)(void);
	int signal;
	double timeout;
};

static struct cr_test *cr_tests, *cr_suites;

static inline void cr_register(struct cr_test **list, struct cr_test *t)
{
	while (*list)
		list = &(*list)->next;
	*list = t;
}

#define Test(s, n, ...)                                                                            \
	static void cr_##s##_##n(void);                                                            \
	static struct cr_test cr_##s##_##n##_test = {                                              \
		.suite = #s, .name = #n, .run = cr_##s##_##n, __VA_ARGS__};                        \
	static void __attribute__((constructor)) cr_##s##_##n##_register(void)                     \
	{                                                                                          \
		cr_register(&cr_tests, &cr_##s##_##n##_test);                                      \
	}                                                                                          \
	static void cr_##s##_##n(void)

#define TestSuite(s, ...)                                                                          \
	static struct cr_test s##_suite = {.suite = #s, __VA_ARGS__};                              \
	static void __attribute__((constructor)) s##_suite_register(void)                          \
	{                                                                                          \
		cr_register(&cr_suites, &s##_suite);                                               \
	}                                                                                          \
	extern int cr_unused

#define CR_SKIPPED 77

#define cr_check(ok, text)                                                                         \
	do {                                                                                       \
		if (!(ok)) {                                                                       \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, text);          \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)
#define cr_assert(c, ...) cr_check(c, #c)
#define cr_assert_not(c, ...) cr_check(!(c), "!" #c)
#define cr_assert_null(p, ...) cr_check(!(p), #p " == NULL")
#define cr_assert_not_null(p, ...) cr_check(p, #p " != NULL")
#define cr_assert_eq(a, b, ...) cr_check((a) == (b), #a " == " #b)
#define cr_assert_neq(a, b, ...) cr_check((a) != (b), #a " != " #b)
#define cr_assert_lt(a, b, ...) cr_check((a) < (b), #a " < " #b)
#define cr_assert_leq(a, b, ...) cr_check((a) <= (b), #a " <= " #b)
#define cr_assert_gt(a, b, ...) cr_check((a) > (b), #a " > " #b)
#define cr_assert_geq(a, b, ...) cr_check((a) >= (b), #a " >= " #b)
#define cr_assert_str_eq(a, b, ...) cr_check(strcmp(a, b) == 0, #a " is " #b)
#define cr_assert_str_neq(a, b, ...) cr_check(strcmp(a, b) != 0, #a " is not " #b)
/* An expectation that fails ends its test here; with Criterion it goes on. */
#define cr_expect cr_assert
#define cr_expect_null cr_assert_null
#define cr_expect_not_null cr_assert_not_null
#define cr_expect_eq cr_assert_eq
#define cr_expect_neq cr_assert_neq
#define cr_expect_leq cr_assert_leq
#define cr_assert_fail(...) cr_check(false, "this line is not reached")
#define cr_skip(...) _exit(CR_SKIPPED)

static void cr_run(const struct cr_test *t)
{
	struct cr_test *s;

	alarm(t->timeout ? (unsigned)t->timeout * 10 : 240);
	for (s = cr_suites; s; s = s->next)
		if (!strcmp(s->suite, t->suite) && s->init)
			s->init();
	if (t->init)
		t->init();
	t->run();
	exit(0);
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
	int nr_failed = 0, nr_tests = 0, status;
	struct cr_test *t;

	for (t = cr_tests; t; t = t->next) {
		pid_t pid;
		bool good;

		if (!strstr(t->name, only))
			continue;
		pid = fork();
		if (pid == 0)
			cr_run(t);
		if (waitpid(pid, &status, 0) != pid)
			return 2;
		good = t->signal ? WIFSIGNALED(status) && WTERMSIG(status) == t->signal
				 : WIFEXITED(status) && (!WEXITSTATUS(status) || WEXITSTATUS(status) == CR_SKIPPED);
		if (!good)
			fprintf(stderr, "FAIL %s/%s: status %#x\n", t->suite, t->name, (unsigned)status);
		nr_tests++;
		nr_failed += !good;
	}
	printf("%d tests, %d failed\n", nr_tests, nr_failed);
	return nr_failed != 0;
}

#endif
