// SPDX-License-Identifier: ISC
//
// bench-glib NAME [--option value]...: runs one benchmark and prints its figures.

#include "bench.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(int argc, char **argv);
    const char *help;
} benchmarks[] = {
    {"empty", bench_empty, "--jobs N --max N --exclusive 0|1: empty jobs from one producer"},
    {"bursts", bench_bursts, "--jobs N --max N: the same for each line of standard input"},
    {"producers", bench_producers, "--jobs N --max N --producers N: empty jobs from several"},
    {"gated", bench_gated, "--jobs N: empty jobs that are all pushed before one runs"},
    {"sorted", bench_sorted, "--jobs N: pushes with random keys into a sorted, blocked queue"},
    {"sleeping", bench_sleeping, "--jobs N --max N --ms N: jobs that sleep"},
    {"spinning", bench_spinning, "--us N --max N --total-ms N: jobs that compute"},
    {"round-trip", bench_round_trip, "--trips N --idle-us N: push, wait on a condition"},
    {"part-load", bench_part_load, "--rate N --us N --seconds N: a paced producer"},
    {"churn", bench_churn, "--pools N --exclusive 0|1: create, push one, free(wait)"},
    {"mutual", bench_mutual, "--jobs N --rounds N: jobs that spin until all of them run"},
    {"gtask", bench_gtask, "--trips N --in-flight N: g_task_run_in_thread and its callback"},
    {"startup", bench_startup, "--count N: start-up of /bin/true; the pool is not used"},
};

GThreadPool *new_pool(GFunc function, gpointer data, long max_threads, gboolean exclusive)
{
    GError *error = NULL;
    GThreadPool *pool = g_thread_pool_new(function, data, (gint)max_threads, exclusive, &error);
    if (pool == NULL || error != NULL)
        fail("g_thread_pool_new: %s", error != NULL ? error->message : "no pool");
    return pool;
}

void push(GThreadPool *pool, gpointer item)
{
    GError *error = NULL;
    if (!g_thread_pool_push(pool, item, &error))
        fail("g_thread_pool_push: %s", error != NULL ? error->message : "no reason given");
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < G_N_ELEMENTS(benchmarks); i++) {
        if (strcmp(argv[1], benchmarks[i].name) == 0) {
            benchmarks[i].run(argc, argv);
            return 0;
        }
    }
    fputs("usage: bench-glib NAME [--option value]...\n", stderr);
    for (size_t i = 0; i < G_N_ELEMENTS(benchmarks); i++)
        fprintf(stderr, "  %-11s %s\n", benchmarks[i].name, benchmarks[i].help);
    return 2;
}
