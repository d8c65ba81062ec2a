// SPDX-License-Identifier: ISC
//
// How soon a pool answers: single jobs waited for, a producer that pushes at a steady rate, pools
// that live for one job, and jobs that wait for one another.

#include "bench.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

// ---- round trip ----

struct trip {
    GMutex mutex;
    GCond done_changed;
    gboolean done;
};

static void answer(gpointer item, gpointer data)
{
    struct trip *trip = item;
    (void)data;
    g_mutex_lock(&trip->mutex);
    trip->done = TRUE;
    g_cond_signal(&trip->done_changed);
    g_mutex_unlock(&trip->mutex);
}

void bench_round_trip(int argc, char **argv)
{
    size_t trips = (size_t)option(argc, argv, "trips", 20000);
    useconds_t idle_us = (useconds_t)option(argc, argv, "idle-us", 0);
    const size_t warm_up = trips / 20 + 1;

    struct trip trip = {.done = FALSE};
    g_mutex_init(&trip.mutex);
    g_cond_init(&trip.done_changed);
    GThreadPool *pool = new_pool(answer, NULL, (long)cpus_allowed(), FALSE);
    g_autofree uint64_t *times = g_new(uint64_t, trips);

    struct meter start = meter_start();
    for (size_t i = 0; i < warm_up + trips; i++) {
        if (i == warm_up)
            start = meter_start();
        if (idle_us > 0)
            usleep(idle_us);
        uint64_t begin = now_ns();
        push(pool, &trip);
        g_mutex_lock(&trip.mutex);
        while (!trip.done)
            g_cond_wait(&trip.done_changed, &trip.mutex);
        trip.done = FALSE;
        g_mutex_unlock(&trip.mutex);
        if (i >= warm_up)
            times[i - warm_up] = now_ns() - begin;
    }
    struct meter used = meter_stop(&start);
    g_thread_pool_free(pool, FALSE, TRUE);

    figure("p50", (double)percentile(times, trips, 50) / 1000, "us");
    figure("p99", (double)percentile(times, trips, 99) / 1000, "us");
    figure("cpu", (double)used.cpu_ns / (double)trips / 1000, "us");
    figure("switches", (double)used.switches / (double)trips, "per-trip");
}

// ---- part load ----

struct part_load {
    uint64_t work_ns;
    _Atomic uint64_t ended;
};

struct stamped {
    uint64_t pushed;
    uint64_t started;
};

static void stamped_job(gpointer item, gpointer data)
{
    struct stamped *stamp = item;
    struct part_load *load = data;
    stamp->started = now_ns();
    spin_clock(load->work_ns);
    atomic_fetch_add(&load->ended, 1);
}

static void sleep_until(uint64_t deadline)
{
    struct timespec when = {.tv_sec = (time_t)(deadline / NS_PER_S),
                            .tv_nsec = (long)(deadline % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

// With --pool 0 the producer paces and pushes nothing: what the pacing alone costs.
void bench_part_load(int argc, char **argv)
{
    uint64_t rate = (uint64_t)option(argc, argv, "rate", 10000);
    uint64_t seconds = (uint64_t)option(argc, argv, "seconds", 2);
    gboolean with_pool = option(argc, argv, "pool", 1) != 0;
    struct part_load load = {.work_ns = (uint64_t)option(argc, argv, "us", 5) * NS_PER_US};
    size_t jobs = (size_t)(rate * seconds);
    g_autofree struct stamped *stamps = g_new0(struct stamped, jobs);

    GThreadPool *pool = new_pool(stamped_job, &load, (long)cpus_allowed(), FALSE);
    prctl(PR_SET_TIMERSLACK, 1UL); // pace precisely; threads created from here inherit it
    uint64_t begin = now_ns();
    struct meter start = meter_start();
    for (size_t i = 0; i < jobs; i++) {
        uint64_t deadline = begin + i * NS_PER_S / rate;
        if (now_ns() < deadline)
            sleep_until(deadline);
        stamps[i].pushed = now_ns();
        if (with_pool)
            push(pool, &stamps[i]);
    }
    struct meter used = meter_stop(&start);
    g_thread_pool_free(pool, FALSE, TRUE);

    figure("cpu", 100.0 * (double)used.cpu_ns / (double)used.wall_ns, "%");
    figure("switches", (double)used.switches / (double)jobs, "per-job");
    if (!with_pool)
        return;
    if (atomic_load(&load.ended) != jobs)
        fail("%zu jobs pushed, %llu run", jobs, (unsigned long long)atomic_load(&load.ended));
    g_autofree uint64_t *waits = g_new(uint64_t, jobs);
    for (size_t i = 0; i < jobs; i++)
        waits[i] = stamps[i].started - stamps[i].pushed;
    figure("p50", (double)percentile(waits, jobs, 50) / 1000, "us");
    figure("p99", (double)percentile(waits, jobs, 99) / 1000, "us");
}

// ---- pools that live for one job ----

static void counting_job(gpointer item, gpointer data)
{
    (void)item;
    atomic_fetch_add((_Atomic uint64_t *)data, 1);
}

void bench_churn(int argc, char **argv)
{
    uint64_t pools = (uint64_t)option(argc, argv, "pools", 5000);
    gboolean exclusive = option(argc, argv, "exclusive", 0) != 0;
    _Atomic uint64_t ended = 0;

    struct meter start = meter_start();
    for (uint64_t i = 0; i < pools; i++) {
        GThreadPool *pool = new_pool(counting_job, &ended, 1, exclusive);
        push(pool, GINT_TO_POINTER(1));
        g_thread_pool_free(pool, FALSE, TRUE);
        if (atomic_load(&ended) != i + 1)
            fail("g_thread_pool_free returned before the job had ended");
    }
    struct meter used = meter_stop(&start);
    figure_meter(&used, pools, "us");
}

// ---- jobs that wait for one another ----

struct mutual {
    uint64_t jobs;
    _Atomic uint64_t arrived;
};

static void mutual_job(gpointer item, gpointer data)
{
    (void)item;
    struct mutual *all = data;
    atomic_fetch_add(&all->arrived, 1);
    while (atomic_load(&all->arrived) < all->jobs)
        pause_cpu();
}

// The first round starts with no thread at all, as a program's first use does; a fresh pool each.
void bench_mutual(int argc, char **argv)
{
    size_t rounds = (size_t)option(argc, argv, "rounds", 9);
    long jobs = option(argc, argv, "jobs", 6);
    g_autofree uint64_t *times = g_new(uint64_t, rounds);
    for (size_t i = 0; i < rounds; i++) {
        struct mutual all = {.jobs = (uint64_t)jobs};
        GThreadPool *pool = new_pool(mutual_job, &all, jobs, FALSE);
        uint64_t begin = now_ns();
        for (long j = 0; j < jobs; j++)
            push(pool, GINT_TO_POINTER(1));
        g_thread_pool_free(pool, FALSE, TRUE);
        times[i] = now_ns() - begin;
    }
    figure("first", (double)times[0] / 1e6, "ms");
    figure("wall", (double)percentile(times, rounds, 50) / 1e6, "ms");
    figure("threads", peak_threads() - 1, "count");
}
