// SPDX-License-Identifier: ISC
//
// fork(): at each step of the other threads, for the explorer chooses when it comes. What is looked
// at is the child; the parent goes on as if nothing had been.

#include "count.h"

SIM_STATE static struct {
    smolscale_queue *queue;
    smolscale_task *task;
} s;

static void check_child(void)
{
    if (sim.forked)
        SIM_CHECK(count.runs[3] == 1, "the child's job ran %u times", count.runs[3]);
}

static void in_child(void)
{
    sim_fork();
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count_begin(1);
    smolscale_queue *queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    push(queue, 3);
    count_wait();
}

static void fork_idle(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 1);
    push(s.queue, 0);
    in_child();
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    push(s.queue, 4); // a queue of the parent is empty, and can be used
    count_wait();
    smolscale_queue_free(s.queue);
}

const struct sim_program program_fork_child = {
    .name = "fork", .what = "fork() while a job begins", .run = fork_idle, .check = check_child};

static void *push_on(void *arg)
{
    (void)arg;
    push(s.queue, 1);
    push(s.queue, 2);
    return NULL;
}

static void fork_pushed(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 9);
    sim_spawn(push_on, NULL);
    push(s.queue, 0);
    in_child();
}

const struct sim_program program_fork_pushed = {.name = "fork-pushed",
                                                .what = "fork() while another thread pushes",
                                                .run = fork_pushed,
                                                .check = check_child};
