/* The benchmarks registered, and the cases they expand to. */
#include "bm_private.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bm_family families[BM_MAX_FAMILIES];
static int family_count;
static bm_args arg_sets[BM_MAX_ARG_SETS];
static int arg_set_count;

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "bm: too many %s registered\n", what);
        abort();
    }
}

bm_family *bm_register(const char *name, bm_function *function)
{
    require(family_count < BM_MAX_FAMILIES, "benchmarks");
    bm_family *family = &families[family_count++];
    family->name = name;
    family->function = function;
    return family;
}

bm_family *bm_add_args(bm_family *family, int count, const int64_t *values)
{
    require(arg_set_count < BM_MAX_ARG_SETS && count <= BM_MAX_ARGS,
            "arguments");
    bm_args *set = &arg_sets[arg_set_count++];
    memcpy(set->values, values, (size_t)count * sizeof *values);
    if (family->first_args)
        family->last_args->next = set;
    else
        family->first_args = set;
    family->last_args = set;
    family->arg_sets++;
    family->arg_count = count;
    return family;
}

bm_family *bm_add_arg(bm_family *family, int64_t value)
{
    return bm_add_args(family, 1, &value);
}

bm_family *bm_add_range(bm_family *family, int64_t low, int64_t high,
                        int64_t multiplier)
{
    for (int64_t value = low; value < high; value *= multiplier)
        bm_add_arg(family, value);
    return bm_add_arg(family, high);
}

bm_family *bm_name_args(bm_family *family, const char *const *names)
{
    family->arg_names = names;
    return family;
}

bm_family *bm_add_threads(bm_family *family, int threads)
{
    int capacity = (int)(sizeof family->threads / sizeof family->threads[0]);

    require(family->thread_sets < capacity && threads <= BM_MAX_THREADS,
            "threads");
    family->threads[family->thread_sets++] = threads;
    return family;
}

bm_family *bm_add_thread_range(bm_family *family, int low, int high)
{
    for (int threads = low; threads < high; threads *= 2)
        bm_add_threads(family, threads);
    return bm_add_threads(family, high);
}

bm_family *bm_use_real_time(bm_family *family)
{
    family->real_time = true;
    return family;
}

static size_t append(char *name, size_t length, const char *text)
{
    int added = snprintf(name + length, BM_NAME_SIZE - length, "%s", text);
    size_t end = length + (size_t)added;

    return end < BM_NAME_SIZE ? end : BM_NAME_SIZE - 1;
}

/* family/[argname:]arg/.../real_time/threads:n, as google-benchmark does. */
static void name_case(bm_case *bench)
{
    const bm_family *family = bench->family;
    size_t length = append(bench->name, 0, family->name);
    char part[64];

    for (int i = 0; i < family->arg_count; i++) {
        const char *label = family->arg_names ? family->arg_names[i] : "";
        snprintf(part, sizeof part, "/%s%s%lld", label, *label ? ":" : "",
                 (long long)bench->args[i]);
        length = append(bench->name, length, part);
    }
    if (family->real_time)
        length = append(bench->name, length, "/real_time");
    if (family->thread_sets > 0) {
        snprintf(part, sizeof part, "/threads:%d", bench->threads);
        append(bench->name, length, part);
    }
}

static const int64_t *args_of(const bm_family *family, int index)
{
    const bm_args *set = family->first_args;

    while (index-- > 0)
        set = set->next;
    return set ? set->values : NULL;
}

static bm_case make_case(int family_index, int arg_set, int thread_set)
{
    const bm_family *family = &families[family_index];
    int thread_sets = family->thread_sets > 0 ? family->thread_sets : 1;
    bm_case bench = {
        .family = family,
        .args = args_of(family, arg_set),
        .threads = family->thread_sets > 0 ? family->threads[thread_set] : 1,
        .family_index = family_index,
        .per_family_index = arg_set * thread_sets + thread_set,
    };

    name_case(&bench);
    return bench;
}

typedef struct filter {
    regex_t regex;
    bool negative, all;
} filter;

/* "all" and "" select everything; a leading '-' turns the sense around. */
static const char *compile_filter(filter *compiled, const char *text)
{
    static char message[256];

    compiled->all = *text == '\0' || strcmp(text, "all") == 0;
    compiled->negative = *text == '-';
    if (compiled->all)
        return NULL;
    int code = regcomp(&compiled->regex, text + compiled->negative,
                       REG_EXTENDED | REG_NOSUB);
    if (code == 0)
        return NULL;
    char reason[128];
    regerror(code, &compiled->regex, reason, sizeof reason);
    snprintf(message, sizeof message, "bad --benchmark_filter '%s': %s", text,
             reason);
    return message;
}

static bool selects(const filter *compiled, const char *name)
{
    if (compiled->all)
        return true;
    bool match = regexec(&compiled->regex, name, 0, NULL, 0) == 0;
    return match != compiled->negative;
}

static int add_family(int index, const filter *compiled, bm_case *cases,
                      int count)
{
    const bm_family *family = &families[index];
    int arg_sets = family->arg_sets > 0 ? family->arg_sets : 1;
    int thread_sets = family->thread_sets > 0 ? family->thread_sets : 1;

    for (int a = 0; a < arg_sets; a++) {
        for (int t = 0; t < thread_sets; t++) {
            require(count < BM_MAX_CASES, "cases");
            cases[count] = make_case(index, a, t);
            if (selects(compiled, cases[count].name))
                count++;
        }
    }
    return count;
}

int bm_select_cases(const char *text, bm_case *cases, const char **error)
{
    static char message[256];
    filter compiled;
    int count = 0;

    *error = compile_filter(&compiled, text);
    if (*error)
        return 0;
    for (int i = 0; i < family_count; i++)
        count = add_family(i, &compiled, cases, count);
    if (!compiled.all)
        regfree(&compiled.regex);
    if (count == 0) {
        snprintf(message, sizeof message,
                 "no benchmark matches --benchmark_filter '%s'", text);
        *error = message;
    }
    return count;
}
