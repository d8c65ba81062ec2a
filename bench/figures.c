// SPDX-License-Identifier: ISC
//
// What measure.h has for figures, once they are measured: the same wherever a program runs (also on
// the simulated machine, tests/sim/bench).

#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void figure(const char *name, double value, const char *unit)
{
    printf("%s %.6g %s\n", name, value, unit);
    fflush(stdout);
}

static double unit_ns(const char *unit)
{
    if (strcmp(unit, "ns") == 0)
        return 1;
    if (strcmp(unit, "us") == 0)
        return (double)NS_PER_US;
    if (strcmp(unit, "ms") == 0)
        return (double)NS_PER_MS;
    fail("unknown unit %s", unit);
}

void figure_meter(const struct meter *used, uint64_t count, const char *unit)
{
    double scale = (double)count * unit_ns(unit);
    figure("wall", (double)used->wall_ns / scale, unit);
    figure("cpu", (double)used->cpu_ns / scale, unit);
    figure("switches", (double)used->switches, "count");
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t percentile(uint64_t *values, size_t count, double p)
{
    if (count == 0)
        fail("no values");
    qsort(values, count, sizeof *values, compare_u64);
    size_t at = (size_t)((double)(count - 1) * p / 100.0 + 0.5);
    return values[at];
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("wrong: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}
