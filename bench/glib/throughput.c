// SPDX-License-Identifier: ISC
//
// How much a pool gets done: empty, sorted, sleeping and computing jobs. The clock runs from the
// first push until g_thread_pool_free(pool, FALSE, TRUE) has returned, that is until every job has
// ended.

#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define ITEM GINT_TO_POINTER(1) // GLib takes no NULL item

static void empty_job(gpointer item, gpointer data)
{
    (void)item;
    (void)data;
    tally_one();
}

static void expect_jobs(uint64_t jobs)
{
    if (tally_sum() != jobs)
        fail("%llu jobs pushed, %llu run", (unsigned long long)jobs,
             (unsigned long long)tally_sum());
}

// What empty jobs take, from the first push to the end of the last one.
static struct meter run_empty(uint64_t jobs, long max, gboolean exclusive)
{
    GThreadPool *pool = new_pool(empty_job, NULL, max, exclusive);
    struct meter start = meter_start();
    for (uint64_t i = 0; i < jobs; i++)
        push(pool, ITEM);
    g_thread_pool_free(pool, FALSE, TRUE);
    return meter_stop(&start);
}

void bench_empty(int argc, char **argv)
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 1000000);
    long max = option(argc, argv, "max", (long)cpus_allowed());
    gboolean exclusive = option(argc, argv, "exclusive", 0) != 0;
    struct meter used = run_empty(jobs, max, exclusive);

    expect_jobs(jobs);
    figure_meter(&used, jobs, "ns");
    figure("threads", peak_threads() - 1, "count");
}

// ---- bursts ----

// For each line of standard input one burst of empty jobs, and what it took: so that processes can
// take turns, each some tens of milliseconds.
void bench_bursts(int argc, char **argv)
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 200000), total = 0;
    long max = option(argc, argv, "max", (long)cpus_allowed());
    char line[16];
    // The workers stay from one burst to the next.
    GThreadPool *first = new_pool(empty_job, NULL, max, FALSE);

    while (fgets(line, sizeof line, stdin)) {
        struct meter used = run_empty(jobs, max, FALSE);
        figure_meter(&used, jobs, "ns");
        total += jobs;
    }
    g_thread_pool_free(first, FALSE, TRUE);
    expect_jobs(total);
}

// ---- several producers ----

struct producers {
    GThreadPool *pool;
    uint64_t jobs; // of each
    pthread_barrier_t ready;
};

static gpointer produce(gpointer argument)
{
    struct producers *all = argument;
    pthread_barrier_wait(&all->ready);
    for (uint64_t i = 0; i < all->jobs; i++)
        push(all->pool, ITEM);
    return NULL;
}

void bench_producers(int argc, char **argv)
{
    unsigned producers = (unsigned)option(argc, argv, "producers", 4);
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 1000000) / producers;
    long max = option(argc, argv, "max", 2);

    struct producers all = {.pool = new_pool(empty_job, NULL, max, FALSE), .jobs = jobs};
    pthread_barrier_init(&all.ready, NULL, producers + 1);
    g_autofree GThread **threads = g_new(GThread *, producers);
    for (unsigned i = 0; i < producers; i++)
        threads[i] = g_thread_new("producer", produce, &all);

    struct meter start = meter_start();
    pthread_barrier_wait(&all.ready);
    for (unsigned i = 0; i < producers; i++)
        g_thread_join(threads[i]);
    g_thread_pool_free(all.pool, FALSE, TRUE);
    struct meter used = meter_stop(&start);

    expect_jobs(jobs * producers);
    figure_meter(&used, jobs * producers, "ns");
    figure("threads", peak_threads() - 1 - producers, "count");
    pthread_barrier_destroy(&all.ready);
}

// ---- behind a gate ----

// The pool's only thread stays in the first job until all others are queued.
struct gate {
    GMutex mutex;
    GCond changed;
    gboolean entered;
    gboolean open;
};

static void gate_pass(struct gate *gate)
{
    g_mutex_lock(&gate->mutex);
    gate->entered = TRUE;
    g_cond_broadcast(&gate->changed);
    while (!gate->open)
        g_cond_wait(&gate->changed, &gate->mutex);
    g_mutex_unlock(&gate->mutex);
}

static void gate_await(struct gate *gate)
{
    g_mutex_lock(&gate->mutex);
    while (!gate->entered)
        g_cond_wait(&gate->changed, &gate->mutex);
    g_mutex_unlock(&gate->mutex);
}

static void gate_open(struct gate *gate)
{
    g_mutex_lock(&gate->mutex);
    gate->open = TRUE;
    g_cond_broadcast(&gate->changed);
    g_mutex_unlock(&gate->mutex);
}

static void gated_job(gpointer item, gpointer data)
{
    if (item == ITEM)
        tally_one();
    else
        gate_pass(data);
}

// All jobs are pushed while none runs, and then run by one thread: what a push and a job take
// hangs on no chance. So their instructions can be counted (bench/top/looked_at.py).
void bench_gated(int argc, char **argv)
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 1000000);
    static struct gate gate;

    GThreadPool *pool = new_pool(gated_job, &gate, 1, FALSE);
    push(pool, &gate);
    gate_await(&gate);
    struct meter start = meter_start();
    for (uint64_t i = 0; i < jobs; i++)
        push(pool, ITEM);
    struct meter used = meter_stop(&start);

    struct meter drain = meter_start();
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    struct meter drained = meter_stop(&drain);

    expect_jobs(jobs);
    figure_meter(&used, jobs, "ns");
    figure("drain", (double)drained.wall_ns / (double)jobs, "ns");
}

// ---- sorted ----

struct sorted {
    struct gate gate;
    uint64_t run;      // jobs run; one thread runs them all
    guint last;        // key of the latest
    gboolean disorder; // a smaller key came after a larger one
};

static gint compare_keys(gconstpointer a, gconstpointer b, gpointer data)
{
    (void)data;
    guint x = GPOINTER_TO_UINT(a);
    guint y = GPOINTER_TO_UINT(b);
    return (x > y) - (x < y);
}

// Key 1 is the first item.
static void sorted_job(gpointer item, gpointer data)
{
    struct sorted *state = data;
    guint key = GPOINTER_TO_UINT(item);
    if (key == 1) {
        gate_pass(&state->gate);
        return;
    }
    state->disorder |= key < state->last;
    state->last = key;
    state->run++;
}

void bench_sorted(int argc, char **argv)
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 100000);
    struct sorted state = {.run = 0};
    g_mutex_init(&state.gate.mutex);
    g_cond_init(&state.gate.changed);
    g_autoptr(GRand) random = g_rand_new_with_seed(42);

    GThreadPool *pool = new_pool(sorted_job, &state, 1, FALSE);
    g_thread_pool_set_sort_function(pool, compare_keys, NULL);
    push(pool, GUINT_TO_POINTER(1));
    gate_await(&state.gate);

    struct meter start = meter_start();
    for (uint64_t i = 0; i < jobs; i++)
        push(pool, GUINT_TO_POINTER((g_rand_int(random) >> 1) + 2));
    struct meter used = meter_stop(&start);

    struct meter drain = meter_start();
    gate_open(&state.gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    struct meter drained = meter_stop(&drain);

    if (state.run != jobs || state.disorder)
        fail("%llu of %llu sorted jobs ran%s", (unsigned long long)state.run,
             (unsigned long long)jobs, state.disorder ? ", out of order" : "");
    figure_meter(&used, jobs, "us");
    figure("drain", (double)drained.wall_ns / (double)jobs / 1000, "us");
}

// ---- sleeping ----

static void sleeping_job(gpointer item, gpointer data)
{
    (void)item;
    g_usleep(GPOINTER_TO_SIZE(data));
    tally_one();
}

void bench_sleeping(int argc, char **argv)
{
    uint64_t jobs = (uint64_t)option(argc, argv, "jobs", 200);
    long max = option(argc, argv, "max", -1);
    size_t us = (size_t)option(argc, argv, "ms", 10) * 1000;

    GThreadPool *pool = new_pool(sleeping_job, GSIZE_TO_POINTER(us), max, FALSE);
    struct meter start = meter_start();
    for (uint64_t i = 0; i < jobs; i++)
        push(pool, ITEM);
    g_thread_pool_free(pool, FALSE, TRUE);
    struct meter used = meter_stop(&start);

    expect_jobs(jobs);
    figure_meter(&used, 1, "ms");
    figure("threads", peak_threads() - 1, "count");
}

// ---- computing ----

static void spinning_job(gpointer item, gpointer data)
{
    (void)item;
    spin_work(*(const uint64_t *)data);
    tally_one();
}

// Efficiency is what the same jobs take one after the other without any pool, divided by what all
// allowed CPUs together spent time on with it. The serial run stands half before and half after the
// pool's, so that a CPU that changes its speed meanwhile does not tilt the ratio.
void bench_spinning(int argc, char **argv)
{
    uint64_t us = (uint64_t)option(argc, argv, "us", 10);
    long max = option(argc, argv, "max", (long)cpus_allowed());
    uint64_t total_ms = (uint64_t)option(argc, argv, "total-ms", 400);
    uint64_t jobs = total_ms * 1000 / us;
    uint64_t rounds = calibrate_work(us * NS_PER_US);

    uint64_t serial = 0;
    uint64_t begin = now_ns();
    for (uint64_t i = 0; i < jobs / 2; i++)
        spinning_job(NULL, &rounds);
    serial += now_ns() - begin;
    tally_reset();

    GThreadPool *pool = new_pool(spinning_job, &rounds, max, FALSE);
    struct meter start = meter_start();
    for (uint64_t i = 0; i < jobs; i++)
        push(pool, ITEM);
    g_thread_pool_free(pool, FALSE, TRUE);
    struct meter used = meter_stop(&start);
    expect_jobs(jobs);

    begin = now_ns();
    for (uint64_t i = jobs / 2; i < jobs; i++)
        spinning_job(NULL, &rounds);
    serial += now_ns() - begin;

    unsigned cpus = MIN(cpus_allowed(), (unsigned)max);
    figure("efficiency", 100.0 * (double)serial / ((double)used.wall_ns * cpus), "%");
    figure_meter(&used, jobs, "us");
    figure("threads", peak_threads() - 1, "count");
}
