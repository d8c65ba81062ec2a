// SPDX-License-Identifier: ISC
//
// How soon the pool answers: single jobs waited for, files behind slow jobs, and a producer that
// submits at a steady rate.

#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

// ---- one at a time ----

struct trips {
    uv_loop_t loop;
    uv_work_t request;
    size_t done, warm_up, count;
    useconds_t idle_us;
    uint64_t begin;
    uint64_t *times;
    struct meter start, used;
};

static void nothing(uv_work_t *request)
{
    (void)request;
}

static void trip_ended(uv_work_t *request, int status);

static void next_trip(struct trips *trips)
{
    if (trips->idle_us > 0)
        usleep(trips->idle_us);
    trips->begin = now_ns();
    check(uv_queue_work(&trips->loop, &trips->request, nothing, trip_ended), "uv_queue_work");
}

static void trip_ended(uv_work_t *request, int status)
{
    struct trips *trips = request->data;
    check(status, "a job");
    if (trips->done >= trips->warm_up)
        trips->times[trips->done - trips->warm_up] = now_ns() - trips->begin;
    if (++trips->done == trips->warm_up)
        trips->start = meter_start();
    if (trips->done < trips->warm_up + trips->count)
        next_trip(trips);
    else
        trips->used = meter_stop(&trips->start);
}

void bench_trip(int argc, char **argv)
{
    struct trips trips = {
        .count = (size_t)option(argc, argv, "trips", 30000),
        .idle_us = (useconds_t)option(argc, argv, "idle-us", 0),
    };
    trips.warm_up = trips.count / 20 + 1;
    trips.times = calloc(trips.count, sizeof *trips.times);
    if (trips.times == NULL)
        fail("no memory");
    trips.request.data = &trips;
    check(uv_loop_init(&trips.loop), "uv_loop_init");
    next_trip(&trips);
    run_and_close(&trips.loop);

    figure("p50", (double)percentile(trips.times, trips.count, 50) / 1000, "us");
    figure("p99", (double)percentile(trips.times, trips.count, 99) / 1000, "us");
    figure("cpu", (double)trips.used.cpu_ns / (double)trips.count / 1000, "us");
    figure("switches", (double)trips.used.switches / (double)trips.count, "per-trip");
    free(trips.times);
}

// ---- files behind slow jobs ----

struct behind {
    uv_loop_t loop;
    uint64_t ms;
    int compute;
    unsigned slow_left;
    uv_fs_t *stats;
    uint64_t *begun, *took;
    size_t count, ended;
};

static void slow_job(uv_work_t *request)
{
    struct behind *all = request->data;
    if (all->compute)
        spin_clock(all->ms * NS_PER_MS);
    else
        usleep((useconds_t)(all->ms * 1000));
}

// Natively each finished slow job is followed by another one, twice, so that the pool stays full
// for a while.
static void slow_ended(uv_work_t *request, int status)
{
    struct behind *all = request->data;
    check(status, "a slow job");
    if (all->slow_left > 0) {
        all->slow_left--;
        check(uv_queue_work(&all->loop, request, slow_job, slow_ended), "uv_queue_work");
    }
}

static void stat_ended(uv_fs_t *request)
{
    struct behind *all = request->data;
    size_t index = (size_t)(request - all->stats);
    if (request->result < 0)
        check((int)request->result, "uv_fs_stat");
    all->took[index] = now_ns() - all->begun[index];
    all->ended++;
    uv_fs_req_cleanup(request);
}

// A stat every millisecond while two generations of slow jobs fill the pool.
static void stat_now(uv_timer_t *timer)
{
    struct behind *all = timer->data;
    size_t index = all->count++;
    all->stats[index].data = all;
    all->begun[index] = now_ns();
    check(uv_fs_stat(&all->loop, &all->stats[index], "/", stat_ended), "uv_fs_stat");
    if (all->count == (size_t)all->ms)
        uv_close((uv_handle_t *)timer, NULL);
}

void bench_behind(int argc, char **argv)
{
    unsigned slow = (unsigned)option(argc, argv, "slow", 4);
    struct behind all = {
        .ms = (uint64_t)option(argc, argv, "ms", 200),
        .compute = option(argc, argv, "compute", 0) != 0,
        .slow_left = slow,
    };
    uv_work_t *requests = calloc(slow, sizeof *requests);
    uv_timer_t timer = {.data = &all};
    all.stats = calloc(all.ms, sizeof *all.stats);
    all.begun = calloc(all.ms, sizeof *all.begun);
    all.took = calloc(all.ms, sizeof *all.took);
    if (requests == NULL || all.stats == NULL || all.begun == NULL || all.took == NULL)
        fail("no memory");
    check(uv_loop_init(&all.loop), "uv_loop_init");
    for (unsigned i = 0; i < slow; i++) {
        requests[i].data = &all;
        check(uv_queue_work(&all.loop, &requests[i], slow_job, slow_ended), "uv_queue_work");
    }
    check(uv_timer_init(&all.loop, &timer), "uv_timer_init");
    check(uv_timer_start(&timer, stat_now, 1, 1), "uv_timer_start");
    run_and_close(&all.loop);

    if (all.ended != all.count)
        fail("%zu stats of %zu ended", all.ended, all.count);
    figure("p50", (double)percentile(all.took, all.count, 50) / 1e6, "ms");
    figure("p99", (double)percentile(all.took, all.count, 99) / 1e6, "ms");
    free(requests);
    free(all.stats);
    free(all.begun);
    free(all.took);
}

// ---- part load ----

struct part_load {
    uv_loop_t loop;
    uv_async_t due;         // sent by the producer
    _Atomic size_t due_now; // jobs the producer wants submitted
    size_t submitted, ended, jobs;
    uint64_t rate, work_ns;
    int with_pool;
    struct stamped {
        uv_work_t request;
        uint64_t submitted, started;
    } * stamps;
};

static void stamped_job(uv_work_t *request)
{
    struct stamped *stamp = (struct stamped *)(void *)request;
    struct part_load *load = request->data;
    stamp->started = now_ns();
    spin_clock(load->work_ns);
}

static void stamped_ended(uv_work_t *request, int status)
{
    struct part_load *load = request->data;
    check(status, "a job");
    load->ended++;
}

static void submit_due(uv_async_t *handle)
{
    struct part_load *load = handle->data;
    size_t due = atomic_load(&load->due_now);
    for (; load->submitted < due; load->submitted++) {
        struct stamped *stamp = &load->stamps[load->submitted];
        stamp->request.data = load;
        stamp->submitted = now_ns();
        if (load->with_pool)
            check(uv_queue_work(&load->loop, &stamp->request, stamped_job, stamped_ended),
                  "uv_queue_work");
    }
    if (due == load->jobs)
        uv_close((uv_handle_t *)handle, NULL);
}

static void sleep_until(uint64_t deadline)
{
    struct timespec when = {.tv_sec = (time_t)(deadline / NS_PER_S),
                            .tv_nsec = (long)(deadline % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static void *produce(void *argument)
{
    struct part_load *load = argument;
    prctl(PR_SET_TIMERSLACK, 1UL); // pace precisely
    uint64_t begin = now_ns();
    for (size_t i = 0; i < load->jobs; i++) {
        uint64_t deadline = begin + i * NS_PER_S / load->rate;
        if (now_ns() < deadline)
            sleep_until(deadline);
        atomic_store(&load->due_now, i + 1);
        check(uv_async_send(&load->due), "uv_async_send");
    }
    return NULL;
}

// With --pool 0 nothing is submitted: what producer and loop cost alone.
void bench_part_load(int argc, char **argv)
{
    struct part_load load = {
        .rate = (uint64_t)option(argc, argv, "rate", 10000),
        .work_ns = (uint64_t)option(argc, argv, "us", 5) * NS_PER_US,
        .with_pool = option(argc, argv, "pool", 1) != 0,
    };
    pthread_t producer;
    load.jobs = (size_t)(load.rate * (uint64_t)option(argc, argv, "seconds", 2));
    load.stamps = calloc(load.jobs, sizeof *load.stamps);
    uint64_t *waits = calloc(load.jobs, sizeof *waits);
    if (load.stamps == NULL || waits == NULL)
        fail("no memory");
    for (size_t i = 0; i < load.jobs; i++)
        load.stamps[i].started = 1; // touch the memory before the clock runs
    check(uv_loop_init(&load.loop), "uv_loop_init");
    load.due.data = &load;
    check(uv_async_init(&load.loop, &load.due, submit_due), "uv_async_init");

    struct meter start = meter_start();
    if (pthread_create(&producer, NULL, produce, &load) != 0)
        fail("pthread_create");
    check(uv_run(&load.loop, UV_RUN_DEFAULT), "uv_run");
    struct meter used = meter_stop(&start);
    pthread_join(producer, NULL);
    check(uv_loop_close(&load.loop), "uv_loop_close");

    figure("cpu", 100.0 * (double)used.cpu_ns / (double)used.wall_ns, "%");
    figure("switches", (double)used.switches / (double)load.jobs, "per-job");
    if (load.with_pool) {
        if (load.ended != load.jobs)
            fail("%zu jobs of %zu ended", load.ended, load.jobs);
        for (size_t i = 0; i < load.jobs; i++)
            waits[i] = load.stamps[i].started - load.stamps[i].submitted;
        figure("p50", (double)percentile(waits, load.jobs, 50) / 1000, "us");
        figure("p99", (double)percentile(waits, load.jobs, 99) / 1000, "us");
    }
    free(waits);
    free(load.stamps);
}
