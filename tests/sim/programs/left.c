// SPDX-License-Identifier: ISC
//
// Jobs that are left: to the worker that serves their queue, so that this is not listed; and to a
// worker that is on its way, without a look under the executor's lock.

#include "count.h"

SIM_STATE static smolscale_queue *queue, *other;
SIM_STATE static struct sim_flag go;

// The first job waits for the second.
static void run_waiting(void *item, void *user_data)
{
    if (item == count_item(0))
        sim_flag_wait(&go);
    if (item == count_item(1))
        sim_flag_set(&go);
    count_run(item, user_data);
}

// ---- the worker that serves the queue falls asleep

static void left(void)
{
    queue = count_queue_of(run_waiting, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(queue, 2);
    push(queue, 0);
    push(queue, 1);
    count_wait();
}

const struct sim_program program_left = {
    .name = "left",
    .what = "a job is left to the worker of its queue, which falls asleep",
    .run = left,
    .jobs = 2,
    .needs_threads = true};

// ---- a worker is on its way while a queue that is listed for nothing gets a job

static void *push_listed(void *arg)
{
    (void)arg;
    push(queue, 1);
    return NULL;
}

static void left_to_come(void)
{
    other = count_queue_of(run_waiting, SMOLSCALE_UNLIMITED, 0);
    queue = count_queue_of(run_waiting, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(other, 2);
    push(other, 0);
    push(queue, 2);
    if (!smolscale_queue_cancel(queue, count_item(2), 0))
        return; // the worker was there before
    struct sim_thread *thread = sim_spawn(push_listed, NULL);
    count_wait();
    sim_join(thread);
}

static void check_left_to_come(void)
{
    if (count.done >= 2 && count.runs[2] == 0)
        count_check(2);
}

const struct sim_program program_left_to_come = {
    .name = "left-to-come",
    .what = "a job is left to a worker that is on its way to another queue",
    .run = left_to_come,
    .check = check_left_to_come,
    .needs_threads = true};
