// SPDX-License-Identifier: ISC
//
// GTask round trips: g_task_run_in_thread, and the callback in the main loop that starts the next.
// All of GIO's asynchronous calls that need a thread take this way.

#include "bench.h"

#include <gio/gio.h>

struct trips {
    GMainLoop *loop;
    uint64_t wanted;
    uint64_t started;
    uint64_t ended;
};

static void in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    (void)source;
    (void)data;
    (void)cancellable;
    tally_one();
    g_task_return_int(task, 7);
}

static void start_one(struct trips *trips);

static void came_back(GObject *source, GAsyncResult *result, gpointer data)
{
    (void)source;
    struct trips *trips = data;
    if (g_task_propagate_int(G_TASK(result), NULL) != 7)
        fail("a task returned something else than it was given");
    trips->ended++;
    if (trips->started < trips->wanted)
        start_one(trips);
    else if (trips->ended == trips->wanted)
        g_main_loop_quit(trips->loop);
}

static void start_one(struct trips *trips)
{
    trips->started++;
    GTask *task = g_task_new(NULL, NULL, came_back, trips);
    g_task_run_in_thread(task, in_thread);
    g_object_unref(task);
}

void bench_gtask(int argc, char **argv)
{
    struct trips trips = {.wanted = (uint64_t)option(argc, argv, "trips", 50000)};
    long in_flight = option(argc, argv, "in-flight", 1);
    trips.loop = g_main_loop_new(NULL, FALSE);

    struct meter start = meter_start();
    for (long i = 0; i < in_flight; i++)
        start_one(&trips);
    g_main_loop_run(trips.loop);
    struct meter used = meter_stop(&start);

    if (tally_sum() != trips.wanted)
        fail("%llu tasks started, %llu ran", (unsigned long long)trips.wanted,
             (unsigned long long)tally_sum());
    figure_meter(&used, trips.wanted, "us");
    figure("threads", peak_threads() - 1, "count");
    g_main_loop_unref(trips.loop);
}
