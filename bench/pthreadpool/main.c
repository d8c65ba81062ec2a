// SPDX-License-Identifier: ISC
//
// bench-pthreadpool NAME [--option value]...: runs one benchmark and prints its figures.
//
// Written against the C interface of pthreadpool. The same source is linked with the native library
// (which smolscale is preloaded before), and with OpenMP and TBB by way of backend_*.c, which give
// the few functions used here.
//
// Efficiency is: time that the items take in a plain loop of one thread, divided by wall time and
// by the CPUs there are. The plain loop is measured in the same run, its best of several tries.

#include "measure.h"

#include <pthread.h>
#include <pthreadpool.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { samples_max = 200000 };
static uint64_t samples[samples_max];

// ---------------------------------------------------------------------------------------------
// Items
// ---------------------------------------------------------------------------------------------

enum shape { even, linear, few_big };

struct work {
    enum shape shape;
    uint64_t rounds; // of an average item
    size_t count;
};

static void item(void *context, size_t i)
{
    const struct work *w = context;
    uint64_t rounds = w->rounds;
    if (w->shape == linear)
        rounds = 2 * rounds * i / w->count;
    else if (w->shape == few_big) // one in 64 does half of all the work
        rounds = i % 64 == 63 ? rounds * 32 : rounds / 2;
    spin_work(rounds);
}

static void nothing(void *context, size_t i)
{
    (void)context;
    (void)i;
    __asm__ volatile("" ::: "memory");
}

// The plain loop, through a pointer as a library would call it.
static void (*volatile plain_function)(void *, size_t);

static uint64_t plain_loop(void (*function)(void *, size_t), void *context, size_t count)
{
    plain_function = function;
    void (*f)(void *, size_t) = plain_function;
    uint64_t start = now_ns();
    for (size_t i = 0; i < count; i++)
        f(context, i);
    return now_ns() - start;
}

static uint64_t best_plain_loop(void (*function)(void *, size_t), void *context, size_t count)
{
    uint64_t best = UINT64_MAX;
    for (int n = 0; n < 20; n++) {
        uint64_t ns = plain_loop(function, context, count);
        if (ns < best)
            best = ns;
    }
    return best;
}

// Items of `item_ns` each that would keep all CPUs busy for `call_us`.
static struct work work_of(int argc, char **argv, uint64_t *plain_ns)
{
    uint64_t item_ns = (uint64_t)option(argc, argv, "item-ns", 1000);
    uint64_t call_ns = (uint64_t)option(argc, argv, "call-us", 20000) * NS_PER_US;
    struct work w = {.shape = even};
    // Calibrated over many, as a single short one is shorter than the clock can see.
    uint64_t rounds_of_1ms = calibrate_work(NS_PER_MS);
    w.rounds = rounds_of_1ms * item_ns / NS_PER_MS;
    if (w.rounds == 0)
        w.rounds = 1;
    uint64_t enough = call_ns * cpus_allowed();
    *plain_ns = best_plain_loop(item, &w, 1000);
    w.count = (size_t)(enough * 1000 / *plain_ns);
    if (w.count < 2)
        w.count = 2;
    w.shape = (enum shape)option(argc, argv, "shape", even);
    *plain_ns = best_plain_loop(item, &w, w.count);
    return w;
}

static pthreadpool_t new_pool(int argc, char **argv)
{
    pthreadpool_t pool = pthreadpool_create((size_t)option(argc, argv, "threads", 2));
    if (!pool)
        fail("pthreadpool_create failed");
    return pool;
}

// ---------------------------------------------------------------------------------------------
// Benchmarks
// ---------------------------------------------------------------------------------------------

static void print_percentiles(size_t count)
{
    figure("p50", (double)percentile(samples, count, 50) / 1000, "us");
    figure("p99", (double)percentile(samples, count, 99) / 1000, "us");
}

// Empty items, call after call; with --idle-us after a pause each.
static void bench_empty(int argc, char **argv)
{
    size_t range = (size_t)option(argc, argv, "range", 2);
    long idle_us = option(argc, argv, "idle-us", 0);
    uint64_t budget = (uint64_t)option(argc, argv, "total-ms", 1000) * NS_PER_MS;
    pthreadpool_t pool = new_pool(argc, argv);
    struct timespec pause = {0, idle_us * 1000};
    // Short calls are timed sixteen at a time: the clock takes 30 ns a look.
    int batch = idle_us ? 1 : 16;
    pthreadpool_parallelize_1d(pool, nothing, NULL, range, 0);
    size_t count = 0;
    size_t calls = 0;
    struct meter meter = meter_start();
    for (uint64_t start = now_ns(); now_ns() - start < budget && count < samples_max; count++) {
        if (idle_us)
            nanosleep(&pause, NULL);
        uint64_t begin = now_ns();
        for (int n = 0; n < batch; n++)
            pthreadpool_parallelize_1d(pool, nothing, NULL, range, 0);
        samples[count] = (now_ns() - begin) * 1000 / (uint64_t)batch;
        calls += (size_t)batch;
    }
    meter = meter_stop(&meter);
    figure("p50", (double)percentile(samples, count, 50) / 1e6, "us");
    figure("p99", (double)percentile(samples, count, 99) / 1e6, "us");
    if (idle_us)
        figure("cpu", (double)meter.cpu_ns / 1000 / (double)calls, "us");
    figure("plain", (double)best_plain_loop(nothing, NULL, range) / 1000, "us");
    pthreadpool_destroy(pool);
}

static void bench_efficiency(int argc, char **argv)
{
    uint64_t plain_ns;
    struct work w = work_of(argc, argv, &plain_ns);
    uint64_t budget = (uint64_t)option(argc, argv, "total-ms", 1000) * NS_PER_MS;
    pthreadpool_t pool = new_pool(argc, argv);
    double cpus = cpus_allowed();

    pid_t burner = 0;
    if (option(argc, argv, "burner", 0)) {
        burner = fork();
        if (burner == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                spin_clock(NS_PER_S);
        }
        cpus -= 0.5;                // it and a thread of ours share one
        spin_clock(20 * NS_PER_MS); // until the scheduler has seen it
    }
    for (int n = 0; n < 5; n++)
        pthreadpool_parallelize_1d(pool, item, &w, w.count, 0);
    size_t calls = 0;
    uint64_t start = now_ns();
    uint64_t wall = 0;
    struct meter meter = meter_start();
    for (; wall < budget && calls < samples_max; calls++) {
        uint64_t begin = now_ns();
        pthreadpool_parallelize_1d(pool, item, &w, w.count, 0);
        uint64_t end = now_ns();
        samples[calls] = end - begin;
        wall = end - start;
    }
    meter = meter_stop(&meter);
    if (burner) {
        kill(burner, SIGKILL);
        waitpid(burner, NULL, 0);
    }
    figure("efficiency", 100 * (double)plain_ns * (double)calls / ((double)wall * cpus), "%");
    figure("cpu", 100 * (double)meter.cpu_ns / (double)wall, "%");
    print_percentiles(calls);
    pthreadpool_destroy(pool);
}

// Two threads, each with a pool of its own.
struct side {
    int argc;
    char **argv;
    struct work work;
    uint64_t budget;
    uint64_t wall;
    size_t calls;
};

static void *one_side(void *argument)
{
    struct side *s = argument;
    pthreadpool_t pool = new_pool(s->argc, s->argv);
    uint64_t start = now_ns();
    do {
        pthreadpool_parallelize_1d(pool, item, &s->work, s->work.count, 0);
        s->calls++;
        s->wall = now_ns() - start;
    } while (s->wall < s->budget);
    pthreadpool_destroy(pool);
    return NULL;
}

static void bench_two_pools(int argc, char **argv)
{
    uint64_t plain_ns;
    struct side sides[2];
    pthread_t threads[2];
    struct work w = work_of(argc, argv, &plain_ns);
    uint64_t budget = (uint64_t)option(argc, argv, "total-ms", 1000) * NS_PER_MS;
    double efficiency = 0;
    for (int n = 0; n < 2; n++) {
        sides[n] = (struct side){argc, argv, w, budget, 0, 0};
        if (pthread_create(&threads[n], NULL, one_side, &sides[n]) != 0)
            fail("no thread");
    }
    for (int n = 0; n < 2; n++) {
        pthread_join(threads[n], NULL);
        efficiency += 100 * (double)plain_ns * (double)sides[n].calls /
                      ((double)sides[n].wall * cpus_allowed());
    }
    figure("efficiency", efficiency, "%");
}

// A call at every tick of a paced caller; each waits for its tick asleep.
static void bench_part_load(int argc, char **argv)
{
    uint64_t plain_ns;
    struct work w = work_of(argc, argv, &plain_ns);
    uint64_t period = (uint64_t)option(argc, argv, "period-us", 1000) * NS_PER_US;
    uint64_t budget = (uint64_t)option(argc, argv, "total-ms", 2000) * NS_PER_MS;
    pthreadpool_t pool = new_pool(argc, argv);
    for (int n = 0; n < 5; n++)
        pthreadpool_parallelize_1d(pool, item, &w, w.count, 0);
    struct meter meter = meter_start();
    uint64_t start = now_ns();
    size_t count = 0;
    for (uint64_t next = start; next < start + budget && count < samples_max; next += period) {
        struct timespec t = {(time_t)(next / NS_PER_S), (long)(next % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        uint64_t begin = now_ns();
        pthreadpool_parallelize_1d(pool, item, &w, w.count, 0);
        samples[count++] = now_ns() - begin;
    }
    meter = meter_stop(&meter);
    figure("cpu", 100 * (double)meter.cpu_ns / (double)meter.wall_ns, "%");
    print_percentiles(count);
    pthreadpool_destroy(pool);
}

static void bench_churn(int argc, char **argv)
{
    size_t count = (size_t)option(argc, argv, "pools", 2000);
    struct meter meter = meter_start();
    for (size_t n = 0; n < count; n++) {
        pthreadpool_t pool = new_pool(argc, argv);
        pthreadpool_parallelize_1d(pool, nothing, NULL, 2, 0);
        pthreadpool_destroy(pool);
    }
    meter = meter_stop(&meter);
    figure_meter(&meter, count, "us");
}

static const struct {
    const char *name;
    void (*run)(int argc, char **argv);
    const char *help;
} benchmarks[] = {
    {"empty", bench_empty, "--threads N --range N --idle-us N: empty calls"},
    {"efficiency", bench_efficiency,
     "--threads N --call-us N --item-ns N --shape 0|1|2 --burner 0|1: calls that compute"},
    {"two-pools", bench_two_pools, "--threads N --call-us N --item-ns N: two of these at once"},
    {"part-load", bench_part_load, "--threads N --call-us N --period-us N: paced calls"},
    {"churn", bench_churn, "--threads N --pools N: create, one empty call, destroy"},
};

int main(int argc, char **argv)
{
    for (size_t n = 0; argc > 1 && n < sizeof benchmarks / sizeof benchmarks[0]; n++) {
        if (strcmp(argv[1], benchmarks[n].name) == 0) {
            benchmarks[n].run(argc - 1, argv + 1);
            return 0;
        }
    }
    fprintf(stderr, "usage: bench-pthreadpool NAME [--option value]...\n");
    for (size_t n = 0; n < sizeof benchmarks / sizeof benchmarks[0]; n++)
        fprintf(stderr, "  %-11s %s\n", benchmarks[n].name, benchmarks[n].help);
    return 2;
}
