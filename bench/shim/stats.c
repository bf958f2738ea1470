/* Mean, median, standard deviation and coefficient of variation. */
#include "bm_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef double reader(const bm_result *result, int index);

static double read_real(const bm_result *r, int i)
{
    (void)i;
    return r->real_ns;
}

static double read_cpu(const bm_result *r, int i)
{
    (void)i;
    return r->cpu_ns;
}

static double read_items(const bm_result *r, int i)
{
    (void)i;
    return r->items_per_second;
}

static double read_counter(const bm_result *r, int i)
{
    return r->counters[i].value;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static void summarize(double *values, int count, double out[BM_AGGREGATES])
{
    double sum = 0, squares = 0;

    for (int i = 0; i < count; i++)
        sum += values[i];
    double mean = sum / count;
    for (int i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    out[0] = mean;
    out[1] = count % 2 ? values[count / 2]
                       : (values[count / 2 - 1] + values[count / 2]) / 2;
    out[2] = count > 1 ? sqrt(squares / (count - 1)) : 0;
    out[3] = mean != 0 ? out[2] / mean : 0;
}

static void aggregate_one(const bm_result *results, int count, reader *read,
                          int index, double out[BM_AGGREGATES])
{
    static double values[BM_MAX_REPETITIONS];

    for (int i = 0; i < count; i++)
        values[i] = read(&results[i], index);
    summarize(values, count, out);
}

void bm_aggregate_results(const bm_result *results, int count,
                          bm_aggregate out[BM_AGGREGATES])
{
    static const char *const names[] = {"mean", "median", "stddev", "cv"};
    double numbers[BM_AGGREGATES];

    for (int a = 0; a < BM_AGGREGATES; a++) {
        out[a] = (bm_aggregate){.name = names[a],
                                .unit = a == 3 ? "percentage" : "time",
                                .value = results[0]};
        out[a].value.iterations = (uint64_t)count;
    }
    aggregate_one(results, count, read_real, 0, numbers);
    for (int a = 0; a < BM_AGGREGATES; a++)
        out[a].value.real_ns = numbers[a];
    aggregate_one(results, count, read_cpu, 0, numbers);
    for (int a = 0; a < BM_AGGREGATES; a++)
        out[a].value.cpu_ns = numbers[a];
    aggregate_one(results, count, read_items, 0, numbers);
    for (int a = 0; a < BM_AGGREGATES; a++)
        out[a].value.items_per_second = numbers[a];
    for (int c = 0; c < results[0].counter_count; c++) {
        aggregate_one(results, count, read_counter, c, numbers);
        for (int a = 0; a < BM_AGGREGATES; a++)
            out[a].value.counters[c].value = numbers[a];
    }
}
