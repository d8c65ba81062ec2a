// SPDX-License-Identifier: ISC
//
// Work queues whose fronts are open: pushes from several threads while others gather, wait, take
// back, shut the fronts, free the queue and fork.

#include "queue/fronts.h"
#include "count.h"

#include <errno.h>

SIM_STATE static struct {
    smolscale_queue *queue;
    unsigned next[2]; // of each pusher, in the order of its pushes
} s;

SIM_STATE static struct sim_flag go;

// In the programs no lock needs to be found taken for it.
static void open_fronts(void)
{
    ss_lock(s.queue->runnable.lock);
    ss_fronts_open(s.queue);
    ss_unlock(s.queue->runnable.lock);
}

static void warm_up(unsigned wanted)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    open_fronts();
    count_warm_up(s.queue, wanted);
}

static void *push_one(void *arg)
{
    push(s.queue, (unsigned)(uintptr_t)arg);
    return NULL;
}

static void *push_two(void *arg)
{
    push(s.queue, (unsigned)(uintptr_t)arg);
    push(s.queue, (unsigned)(uintptr_t)arg + 1);
    return NULL;
}

// ---- all run

static void fronts(void)
{
    warm_up(4);
    struct sim_thread *other = sim_spawn(push_two, (void *)2);
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
    sim_join(other);
}

const struct sim_program program_fronts = {
    .name = "fronts", .what = "two threads push to fronts", .run = fronts, .jobs = 4};

// ---- a wait for what lies in a front, and the end

static void fronts_wait(void)
{
    warm_up(3);
    struct sim_thread *first = sim_spawn(push_one, (void *)0);
    struct sim_thread *second = sim_spawn(push_one, (void *)1);
    sim_join(second);
    smolscale_queue_wait(s.queue);
    SIM_CHECK(count.runs[1] == 1, "smolscale_queue_wait() returned before a job had run");
    push(s.queue, 2);
    sim_join(first);
    smolscale_queue_free(s.queue);
    SIM_CHECK(count.done == 3, "smolscale_queue_free() returned before all jobs had run");
}

const struct sim_program program_fronts_wait = {
    .name = "fronts-wait",
    .what = "a queue is waited for, and freed, when jobs lie in its fronts",
    .run = fronts_wait,
    .jobs = 3};

// ---- what lies in a front is seen and taken back, in the order of the pushes

static void run_waiting(void *item, void *user_data)
{
    if (item == count_item(8) || item == count_item(9))
        sim_flag_wait(&go);
    count_run(item, user_data);
}

// Two jobs keep the queue from starting others.
static void block_queue(void)
{
    s.queue = count_queue_of(run_waiting, 2, 0);
    count_begin(2);
    push(s.queue, 8);
    push(s.queue, 9);
    while (smolscale_queue_pending(s.queue) > 0)
        ss_os.rest();
    open_fronts();
    sim_explore_begin();
}

static void drop(void *item, void *user_data)
{
    (void)user_data;
    unsigned i = (unsigned)(uintptr_t)item - 1;
    SIM_CHECK(i < 4 && s.next[i / 2] == i % 2, "job %u out of its order", i);
    s.next[i / 2]++;
    fetch_add_relaxed(&count.runs[i], 1);
}

static void fronts_order(void)
{
    block_queue();
    struct sim_thread *other = sim_spawn(push_two, (void *)2);
    push(s.queue, 0);
    push(s.queue, 1);
    SIM_CHECK(smolscale_queue_pending(s.queue) >= 2, "a job is not seen that was pushed");
    sim_join(other);
    size_t dropped = smolscale_queue_clear(s.queue, drop, NULL);
    SIM_CHECK(dropped == 4, "%zu of 4 jobs are there", dropped);
    sim_flag_set(&go);
    count_wait();
    smolscale_queue_free(s.queue);
}

const struct sim_program program_fronts_order = {
    .name = "fronts-order",
    .what = "jobs lie in fronts in the order of their pushes",
    .run = fronts_order,
    .jobs = 4,
    .limit_ns = 100 * SS_NS_PER_MS, // the other jobs may wait for a thread that stands still
    .needs_threads = true};

static void fronts_cancel(void)
{
    block_queue();
    struct sim_thread *other = sim_spawn(push_one, (void *)0);
    push(s.queue, 1);
    SIM_CHECK(smolscale_queue_cancel(s.queue, count_item(1), 0), "a job is not found");
    fetch_add_relaxed(&count.runs[1], 1);
    sim_join(other);
    SIM_CHECK(smolscale_queue_move_to_front(s.queue, count_item(0)), "a job is not found");
    count_begin(3);
    sim_flag_set(&go);
    count_wait();
    smolscale_queue_free(s.queue);
}

const struct sim_program program_fronts_cancel = {
    .name = "fronts-cancel",
    .what = "a job in a front is taken back, another goes first",
    .run = fronts_cancel,
    .jobs = 2,
    .limit_ns = 100 * SS_NS_PER_MS,
    .needs_threads = true};

// ---- fronts are shut, and opened again, while others push

static void fronts_shut(void)
{
    warm_up(5);
    struct sim_thread *other = sim_spawn(push_two, (void *)0);
    struct sim_thread *third = sim_spawn(push_one, (void *)2);
    push(s.queue, 3);
    smolscale_queue_set_max_active(s.queue, 1);
    SIM_CHECK(!load_relaxed(&s.queue->fronts), "a queue with a limit of one has fronts");
    smolscale_queue_set_max_active(s.queue, 2);
    open_fronts();
    push(s.queue, 4);
    count_wait();
    sim_join(other);
    sim_join(third);
    smolscale_queue_free(s.queue);
}

const struct sim_program program_fronts_shut = {.name = "fronts-shut",
                                                .what =
                                                    "fronts are shut and opened while threads push",
                                                .run = fronts_shut,
                                                .jobs = 5};

// ---- the queue goes as soon as its last job has run

SIM_STATE static struct sim_flag ended;

static void closed(void *user_data)
{
    (void)user_data;
    sim_flag_set(&ended);
}

static void *push_until_closed(void *arg)
{
    int err = smolscale_queue_push(s.queue, count_item((unsigned)(uintptr_t)arg), NULL);
    SIM_CHECK(err == 0 || err == -ESHUTDOWN || err == -ENOMEM, "push: %d", err);
    if (err)
        fetch_add_relaxed(&count.runs[(uintptr_t)arg], 1); // it is not to run
    return NULL;
}

// The owner of the queue holds a reference for the pushers, as a layer does that counts its calls.
static void fronts_close(void)
{
    warm_up(9);
    ss_runnable_ref(&s.queue->runnable);
    struct sim_thread *first = sim_spawn(push_until_closed, (void *)0);
    struct sim_thread *second = sim_spawn(push_until_closed, (void *)1);
    smolscale_queue_close(s.queue, closed, NULL);
    sim_join(first);
    sim_join(second);
    sim_flag_wait(&ended);
    ss_runnable_unref(&s.queue->runnable);
}

static void check_closed(void)
{
    count_check(2);
}

const struct sim_program program_fronts_close = {.name = "fronts-close",
                                                 .what = "a queue is closed while threads push",
                                                 .run = fronts_close,
                                                 .check = check_closed};

// ---- fork()

static void fronts_fork(void)
{
    warm_up(9);
    sim_spawn(push_two, (void *)0);
    push(s.queue, 2);
    sim_fork();
    for (unsigned i = 0; i < SIM_JOBS_MAX; i++)
        store_relaxed(&count.runs[i], 0);
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count_begin(2);
    push(s.queue, 3);
    open_fronts();
    push(s.queue, 4);
    count_wait();
    smolscale_queue_wait(s.queue);
    SIM_CHECK(count.runs[0] + count.runs[1] + count.runs[2] == 0,
              "a job of the parent ran in the child");
    smolscale_queue_free(s.queue);
}

static void check_child(void)
{
    if (sim.forked)
        SIM_CHECK(count.runs[3] == 1 && count.runs[4] == 1, "a job of the child has not run");
}

const struct sim_program program_fronts_fork = {.name = "fronts-fork",
                                                .what = "fork() while jobs lie in fronts",
                                                .run = fronts_fork,
                                                .check = check_child};
