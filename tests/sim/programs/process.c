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

// Jobs of two threads are under way.
static void push_beside(void *(*other)(void *))
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 9);
    sim_spawn(other, NULL);
    push(s.queue, 0);
}

static void fork_pushed(void)
{
    push_beside(push_on);
    in_child();
}

const struct sim_program program_fork_pushed = {.name = "fork-pushed",
                                                .what = "fork() while another thread pushes",
                                                .run = fork_pushed,
                                                .check = check_child};

// ---- a queue of the parent's that is in use is used in the child

static void *push_used(void *arg)
{
    (void)arg;
    push(s.queue, 1);
    return NULL;
}

static void fork_used(void)
{
    push_beside(push_used);
    sim_fork();
    for (unsigned i = 0; i < SIM_JOBS_MAX; i++)
        store_relaxed(&count.runs[i], 0);
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count_begin(1);
    push(s.queue, 3);
    count_wait();
    smolscale_queue_wait(s.queue);
    SIM_CHECK(count.runs[0] + count.runs[1] == 0, "a job of the parent ran in the child");
    smolscale_queue_free(s.queue);
}

const struct sim_program program_fork_used = {.name = "fork-used",
                                              .what =
                                                  "a queue of the parent's is used in the child",
                                              .run = fork_used,
                                              .check = check_child};

// ---- jobs wait for each other in the child: it needs a balancer of its own

SIM_STATE static struct sim_flag go;

static void run_waiting(void *item, void *user_data)
{
    if (item == count_item(3))
        sim_flag_wait(&go);
    if (item == count_item(4))
        sim_flag_set(&go);
    count_run(item, user_data);
}

static void fork_blocked(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 1);
    sim_fork();
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count_begin(2);
    smolscale_queue *queue = count_queue_of(run_waiting, SMOLSCALE_UNLIMITED, 0);
    push(queue, 3);
    push(queue, 4);
    count_wait();
}

const struct sim_program program_fork_blocked = {
    .name = "fork-blocked",
    .what = "a job of the child waits for the one behind it",
    .run = fork_blocked,
    .check = check_child,
    .needs_threads = true};

// ---- the callback of a queue that is closed forks: what the queue belonged to is used in the
// child

static void fork_when_closed(void *parent)
{
    sim_fork();
    count_begin(1);
    push(parent, 3);
    count_wait();
    smolscale_queue_wait(parent);
}

static void fork_closed(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    smolscale_queue *parent = count_queue(SMOLSCALE_UNLIMITED, 0);
    attr.run = count_run;
    attr.parent = parent;
    sim_answered(smolscale_queue_new(&s.queue, &attr));
    sim_explore_begin();
    smolscale_queue_close(s.queue, fork_when_closed, parent);
    smolscale_queue_free(parent);
}

const struct sim_program program_fork_closed = {
    .name = "fork-closed",
    .what = "a queue's parent is used in a child that was forked at the queue's end",
    .run = fork_closed,
    .check = check_child};
