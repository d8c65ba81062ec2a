// SPDX-License-Identifier: ISC
//
// Groups of workers: their first worker, their limit, their end.

#include "count.h"

SIM_STATE static struct {
    smolscale_group *group;
    smolscale_queue *queue;
} s;

static smolscale_queue *queue_of(smolscale_group *group)
{
    smolscale_queue *queue = NULL;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count_run;
    attr.group = group;
    sim_answered(smolscale_queue_new(&queue, &attr));
    return queue;
}

static smolscale_group *new_group(unsigned max_workers, unsigned flags)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    smolscale_group *group = NULL;
    attr.max_workers = max_workers;
    attr.flags = flags;
    int err = smolscale_group_new(&group, &attr);
    sim_answered(err);
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
    .name = "group", .what = "a group's first job, and its end", .run = life, .jobs = 1};

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
                                                .jobs = 2};

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
                                           .needs_threads_later = true,
                                           .jobs = 2};

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
    .name = "eager", .what = "a group with a thread of its own", .run = eager, .jobs = 1};

// ---- the first worker is wanted by a thread that cannot create it itself: it is ordered

static void *first_of_group(void *arg)
{
    (void)arg;
    push(s.queue, 0);
    return NULL;
}

static void second_life(void)
{
    count_begin(2);
    s.group = new_group(SMOLSCALE_UNLIMITED, SMOLSCALE_GROUP_EAGER);
    s.queue = queue_of(s.group);
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(first_of_group, NULL);
    push(s.queue, 1);
    count_wait();
    sim_join(other);
    smolscale_group_retire_idle(s.group);
    smolscale_queue_free(s.queue);
    smolscale_group_free(s.group);
}

const struct sim_program program_group_second = {
    .name = "group-second",
    .what = "two threads order a group's first worker, and the group ends",
    .run = second_life,
    .jobs = 2};

// ---- groups whose threads have other settings than the pusher: a spawner of their own

SIM_STATE static struct sim_flag made;
SIM_STATE static smolscale_group *second;

#define OTHER_NICE 5

static void *make_groups(void *arg)
{
    sim.self->nice = OTHER_NICE;
    s.group = new_group(SMOLSCALE_UNLIMITED, SMOLSCALE_GROUP_EAGER);
    s.queue = queue_of(s.group);
    if (arg) {
        second = new_group(SMOLSCALE_UNLIMITED, 0);
        smolscale_queue_free(s.queue);
        s.queue = queue_of(second);
    }
    sim_flag_set(&made);
    return NULL;
}

// The balancer has the settings of the first thread, which has the process's first job run.
static void begin_balancer(unsigned wanted)
{
    count_begin(1);
    push(count_queue(SMOLSCALE_UNLIMITED, 0), 5);
    count_wait();
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count_begin(wanted);
}

static void spawner(void)
{
    begin_balancer(2);
    sim_spawn(make_groups, NULL);
    sim_flag_wait(&made);
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(first_of_group, NULL);
    push(s.queue, 1);
    count_wait();
    sim_join(other);
    smolscale_queue_free(s.queue);
    smolscale_group_free(s.group);
}

const struct sim_program program_spawner = {
    .name = "spawner",
    .what = "threads have a worker created that has other settings than they",
    .run = spawner,
    .jobs = 2};

// The spawner is asked to end with the first group, and the second comes to need it.
static void spawner_kept(void)
{
    begin_balancer(1);
    sim_spawn(make_groups, &second);
    sim_flag_wait(&made);
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(first_of_group, NULL);
    smolscale_group_free(s.group);
    count_wait();
    sim_join(other);
    smolscale_queue_free(s.queue);
    smolscale_group_free(second);
}

const struct sim_program program_spawner_kept = {
    .name = "spawner-kept",
    .what = "a spawner is told to end, and is needed again",
    .run = spawner_kept,
    .jobs = 1};

// ---- a family whose limit is raised calls workers for two of its queues at once

SIM_STATE static struct sim_flag met;

static void run_meeting(void *item, void *user_data)
{
    if (item == count_item(8))
        sim_flag_wait(&met);
    if (item == count_item(9))
        sim_flag_set(&met);
    count_run(item, user_data);
}

static smolscale_queue *family_queue(smolscale_queue *parent)
{
    smolscale_queue *queue = NULL;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_meeting;
    attr.group = s.group;
    attr.parent = parent;
    sim_answered(smolscale_queue_new(&queue, &attr));
    return queue;
}

static void raised(void)
{
    static _Atomic uint32_t nothing_changes;
    s.group = new_group(SMOLSCALE_UNLIMITED, 0);
    smolscale_queue *parent = family_queue(NULL);
    smolscale_queue *first = family_queue(parent), *other = family_queue(parent);
    count_begin(2); // two workers
    push(first, 8);
    push(first, 9);
    count_wait();
    ss_os.futex_wait_until(&nothing_changes, 0, sim_now() + 5 * SS_NS_PER_MS);
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count_begin(2);
    smolscale_queue_set_max_active(parent, 0);
    push(first, 0);
    push(other, 1);
    sim_explore_begin();
    smolscale_queue_set_max_active(parent, 2);
    count_wait();
    smolscale_queue_free(first);
    smolscale_queue_free(other);
    smolscale_queue_free(parent);
    smolscale_group_free(s.group); // waits for each worker
}

const struct sim_program program_family_raised = {
    .name = "family-raised",
    .what = "two queues of a family call workers at once, and their group ends",
    .run = raised,
    .limit_ns = 20 * SS_NS_PER_MS,
    .jobs = 2,
    .needs_threads = true};

// ---- all threads end with the group; then a job comes again

static void *push_again(void *arg)
{
    (void)arg;
    smolscale_queue *queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    push(queue, 1);
    return NULL;
}

static void ended(void)
{
    count_begin(2);
    s.group = new_group(SMOLSCALE_UNLIMITED, 0);
    s.queue = queue_of(s.group);
    push(s.queue, 0);
    sim_explore_begin();
    smolscale_queue_free(s.queue);
    struct sim_thread *other = sim_spawn(push_again, NULL);
    smolscale_group_free(s.group);
    count_wait();
    sim_join(other);
}

const struct sim_program program_group_ended = {
    .name = "group-ended",
    .what = "a job comes while the balancer ends with the last group",
    .run = ended,
    .jobs = 2};

// ---- the same, while a timer begins

static void *sleep_again(void *arg)
{
    (void)arg;
    int err = SMOLSCALE_BLOCK(smolscale_sleep(cx, SS_NS_PER_MS));
    sim_answered(err);
    SIM_CHECK(err == 0, "sleep: %d", err);
    return NULL;
}

static void ended_timer(void)
{
    count_begin(1);
    s.group = new_group(SMOLSCALE_UNLIMITED, 0);
    s.queue = queue_of(s.group);
    push(s.queue, 0);
    smolscale_queue_free(s.queue);
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(sleep_again, NULL);
    smolscale_group_free(s.group);
    sim_join(other);
}

const struct sim_program program_ended_timer = {
    .name = "ended-timer",
    .what = "a timer begins while the balancer ends with the last group",
    .run = ended_timer,
    .jobs = 1};

// ---- the only worker that a group may have is sent away while a job comes

static void retire_limit(void)
{
    s.group = new_group(1, 0);
    s.queue = queue_of(s.group);
    count_warm_up(s.queue, 2);
    struct sim_thread *other = sim_spawn(push_second, NULL);
    smolscale_group_retire_idle(s.group);
    push(s.queue, 0);
    count_wait();
    sim_join(other);
}

const struct sim_program program_retire_limit = {
    .name = "retire-limit",
    .what = "a group's only worker is sent away while jobs come",
    .run = retire_limit,
    .needs_threads_later = true,
    .jobs = 2};

// ---- a worker that was called is sent away when its job is gone

static void retire_called(void)
{
    s.group = new_group(SMOLSCALE_UNLIMITED, 0);
    s.queue = queue_of(s.group);
    count_warm_up(s.queue, 1);
    smolscale_queue_wait(s.queue); // so that its worker is about to park
    push(s.queue, 0);
    if (!smolscale_queue_cancel(s.queue, count_item(0), 0))
        return; // the worker was there before
    smolscale_group_retire_idle(s.group);
    wait_for_workers(s.group, 0);
}

const struct sim_program program_retire_called = {
    .name = "retire-called",
    .what = "a worker is sent away that was called for a job which is gone",
    .run = retire_called};
