// SPDX-License-Identifier: ISC
//
// Jobs that are left: to the worker that serves their queue, so that this is not listed; to a
// worker that is on its way, without a look under the executor's lock; to one that has taken the
// queue out and stands still; and by a job that ends its thread.

#include "count.h"
#include "queue/queue.h"
#include "sched/executor.h"

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

// ---- a worker takes a queue out of the injection queue, and stands still before it has arrived

// The calling worker is as one that has just taken `queue` out, until a job of that has run. Not if
// another has taken it.
static void take_out_and_stand_still(void)
{
    struct ss_worker *self = ss_self;
    struct ss_runnable *own = self->serves, *taken = NULL;
    ss_lock(&ss.lock);
    if (self->group->head == &queue->runnable) {
        taken = self->serves = ss_inject_pop(self->group);
        store_relaxed(&self->in_job, false);
    }
    ss_unlock(&ss.lock);
    if (!taken)
        return;
    sim_flag_wait(&go);
    ss_lock(taken->lock);
    queue->listed = queue->awaited = false; // it arrives, and leaves
    ss_queue_unlock_and_follow_up(queue);
    ss_lock(&ss.lock);
    self->serves = own;
    store_relaxed(&self->in_job, true);
    ss_unlock(&ss.lock);
    ss_runnable_unref(taken);
}

static void run_taking_out(void *item, void *user_data)
{
    if (item == count_item(0)) {
        push(queue, 1);
        take_out_and_stand_still();
    }
    if (smolscale_current_queue() == queue)
        sim_flag_set(&go);
    count_run(item, user_data);
}

static void left_taken_out(void)
{
    other = count_queue_of(run_taking_out, SMOLSCALE_UNLIMITED, 0);
    queue = count_queue_of(run_taking_out, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(other, 3);
    push(other, 0);
    push(queue, 2);
    count_wait();
}

const struct sim_program program_left_taken_out = {
    .name = "left-taken-out",
    .what = "a worker stands still after it has taken a queue out, before it has arrived",
    .run = left_taken_out,
    .jobs = 3,
    .limit_ns = 60 * SS_NS_PER_MS,
    .needs_threads = true};

// ---- a job ends its thread, after it was seen asleep

// The first job waits for the second, and then ends its worker.
static void run_ending(void *item, void *user_data)
{
    run_waiting(item, user_data);
    if (item == count_item(0))
        sim_exit_thread();
}

// Each worker that there is said to be is on a list, and no other.
static unsigned workers_listed(void)
{
    unsigned listed = 0;
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss_first_worker(); worker; worker = ss_next_worker(worker))
        listed++;
    ss_unlock(&ss.lock);
    return listed;
}

static void left_by_end(void)
{
    queue = count_queue_of(run_ending, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(queue, 2);
    push(queue, 0);
    push(queue, 1);
    count_wait();
    smolscale_queue_free(queue);
    uint64_t until = sim_now() + 50 * SS_NS_PER_MS;
    unsigned listed, said;
    do { // one may be on its way out
        ss_os.rest();
        listed = workers_listed();
        said = load_relaxed(&ss.stats.workers);
    } while (listed != said && sim_now() < until);
    SIM_CHECK(listed == said, "%u workers are listed, of %u", listed, said);
    SIM_CHECK(ss.shared.blocked == 0, "%u workers are said to be blocked", ss.shared.blocked);
}

const struct sim_program program_left_by_end = {.name = "left-by-end",
                                                .what =
                                                    "a job that waits for another ends its thread",
                                                .run = left_by_end,
                                                .jobs = 2,
                                                .limit_ns = 100 * SS_NS_PER_MS,
                                                .needs_threads = true};
