// SPDX-License-Identifier: ISC
//
// Groups of workers: their first worker, their limit, their end.

#include "count.h"

SIM_STATE static struct {
    smolscale_group *group;
    smolscale_queue *queue;
} s;

static void check_1(void)
{
    count_check(1);
}

static void check_2(void)
{
    count_check(2);
}

static smolscale_queue *queue_of(smolscale_group *group)
{
    smolscale_queue *queue = NULL;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count_run;
    attr.group = group;
    smolscale_queue_new(&queue, &attr);
    return queue;
}

static smolscale_group *new_group(unsigned max_workers, unsigned flags)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    smolscale_group *group = NULL;
    attr.max_workers = max_workers;
    attr.flags = flags;
    int err = smolscale_group_new(&group, &attr);
    SIM_CHECK(err == 0, "no group: %d", err);
    return group;
}

static void life(void)
{
    count_begin(1);
    s.group = new_group(SMOLSCALE_UNLIMITED, 0);
    s.queue = queue_of(s.group);
    sim_explore_begin();
    push(s.queue, 0);
    count_wait();
    smolscale_queue_free(s.queue);
    smolscale_group_free(s.group);
}

const struct sim_program program_group = {
    .name = "group", .what = "a group's first job, and its end", .run = life, .check = check_1};

static void *push_second(void *arg)
{
    (void)arg;
    push(s.queue, 1);
    return NULL;
}

static void limited(void)
{
    count_begin(2);
    s.group = new_group(1, 0);
    s.queue = queue_of(s.group);
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(push_second, NULL);
    push(s.queue, 0);
    count_wait();
    sim_join(other);
    SIM_CHECK(smolscale_group_idle_workers(s.group) <= 1, "a group of one worker has more");
}

const struct sim_program program_group_limit = {.name = "group-limit",
                                                .what = "two threads want a group's only worker",
                                                .run = limited,
                                                .check = check_2};

static void retire(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 2);
    push(s.queue, 0);
    smolscale_retire_idle();
    push(s.queue, 1);
    count_wait();
}

const struct sim_program program_retire = {.name = "retire",
                                           .what = "idle workers are sent away while jobs come",
                                           .run = retire,
                                           .check = check_2};

static void eager(void)
{
    count_begin(1);
    sim_explore_begin();
    s.group = new_group(SMOLSCALE_UNLIMITED, SMOLSCALE_GROUP_EAGER);
    s.queue = queue_of(s.group);
    push(s.queue, 0);
    count_wait();
    smolscale_queue_free(s.queue);
    smolscale_group_free(s.group);
}

const struct sim_program program_eager = {
    .name = "eager", .what = "a group with a thread of its own", .run = eager, .check = check_1};
