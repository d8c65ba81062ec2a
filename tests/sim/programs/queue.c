// SPDX-License-Identifier: ISC
//
// Work queues: pushes from several threads, parking, batches, cancelling, limits, the end.

#include "queue/queue.h"
#include "count.h"

#include <errno.h>

SIM_STATE static struct {
    smolscale_queue *queue, *other;
    uint64_t ticket[4];
} s;

// ---- first use, and the balancer's park

static void first_push(void)
{
    count_begin(1);
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    sim_explore_begin();
    push(s.queue, 0);
    count_wait();
}

const struct sim_program program_first_push = {
    .name = "first-push", .what = "the first job of a process", .run = first_push, .jobs = 1};

// ---- a worker parks while a job is pushed

static void warm_up(unsigned wanted)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, wanted);
}

static void *push_one(void *arg)
{
    push(s.queue, (unsigned)(uintptr_t)arg);
    return NULL;
}

static void push_park(void)
{
    warm_up(2);
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
}

const struct sim_program program_push_park = {
    .name = "push-park", .what = "jobs come while their worker parks", .run = push_park, .jobs = 2};

static void two_pushers(void)
{
    warm_up(2);
    struct sim_thread *other = sim_spawn(push_one, (void *)1);
    push(s.queue, 0);
    count_wait();
    sim_join(other);
}

const struct sim_program program_two_pushers = {
    .name = "two-pushers", .what = "two threads push", .run = two_pushers, .jobs = 2};

// ---- a job waits for another

SIM_STATE static struct sim_flag go;

static void run_waiting(void *item, void *user_data)
{
    if (item == count_item(0))
        sim_flag_wait(&go);
    if (item == count_item(1))
        sim_flag_set(&go);
    count_run(item, user_data);
}

// Two jobs, of which the first waits for the second.
static void push_waiting(smolscale_run_fn *run, unsigned max_active, unsigned flags)
{
    count_begin(2);
    s.queue = count_queue_of(run, max_active, flags);
    sim_explore_begin();
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
}

static void blocked(void)
{
    push_waiting(run_waiting, SMOLSCALE_UNLIMITED, 0);
}

const struct sim_program program_blocked = {.name = "blocked",
                                            .what = "a job waits for the one behind it",
                                            .run = blocked,
                                            .needs_threads = true,
                                            .jobs = 2};

// ---- the same, and the thread that waits for both tries again what could not be had

static void blocked_waited(void)
{
    count_begin(2);
    s.queue = count_queue_of(run_waiting, SMOLSCALE_UNLIMITED, 0);
    sim_explore_begin();
    push(s.queue, 0);
    push(s.queue, 1);
    smolscale_queue_wait(s.queue);
    SIM_CHECK(count.done == 2, "smolscale_queue_wait() returned before the jobs had run");
}

const struct sim_program program_blocked_waited = {
    .name = "blocked-waited",
    .what = "a job waits for the one behind it, and a thread for their queue",
    .run = blocked_waited,
    .limit_ns = 2 * SS_NS_PER_S,
    .needs_threads_later = true,
    .jobs = 2};

// ---- the same after a while without work, when all have parked

static void blocked_late(void)
{
    static _Atomic uint32_t nothing_changes;
    s.queue = count_queue_of(run_waiting, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 2);
    sim_explore_end();
    ss_os.futex_wait_until(&nothing_changes, 0, sim_now() + 100 * SS_NS_PER_MS);
    sim_explore_begin();
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
}

const struct sim_program program_blocked_late = {
    .name = "blocked-late",
    .what = "a job waits for the one behind it, after a while without work",
    .run = blocked_late,
    .jobs = 2,
    .limit_ns = 120 * SS_NS_PER_MS,
    .needs_threads = true};

// ---- tiny jobs, taken at once

static void run_tiny(void *item, void *user_data)
{
    sim_work(300);
    count_run(item, user_data);
}

static void batch(void)
{
    s.queue = count_queue_of(run_tiny, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 4);
    struct sim_thread *other = sim_spawn(push_one, (void *)3);
    push(s.queue, 0);
    push(s.queue, 1);
    push(s.queue, 2);
    if (smolscale_queue_cancel(s.queue, count_item(2), 0)) {
        SIM_CHECK(fetch_add_relaxed(&count.runs[2], 1) == 0, "a job ran that was cancelled");
        count_cancelled();
    }
    count_wait();
    sim_join(other);
    smolscale_queue_free(s.queue);
}

const struct sim_program program_batch = {.name = "batch",
                                          .what = "tiny jobs are taken at once, and called back",
                                          .run = batch,
                                          .jobs = 4};

// ---- the same, where limits do not count those that sleep

static void elastic(void)
{
    push_waiting(run_waiting, 1, SMOLSCALE_QUEUE_ELASTIC);
}

const struct sim_program program_elastic = {.name = "elastic",
                                            .what = "a job of an elastic queue waits for the next",
                                            .run = elastic,
                                            .needs_threads = true,
                                            .needs_proc = true,
                                            .jobs = 2};

// ---- and where the job says that it blocks

static void run_blocking(void *item, void *user_data)
{
    smolscale_blocking_begin();
    run_waiting(item, user_data);
    smolscale_blocking_end();
}

static void announced(void)
{
    push_waiting(run_blocking, SMOLSCALE_UNLIMITED, 0);
}

const struct sim_program program_announced = {.name = "announced",
                                              .what = "a job says that it blocks",
                                              .run = announced,
                                              .needs_threads = true,
                                              .jobs = 2};

// ---- a family: parent and children share a limit

static void family(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    smolscale_queue *parent = count_queue(2, 0);
    attr.run = count_run;
    attr.parent = parent;
    sim_answered(smolscale_queue_new(&s.queue, &attr));
    smolscale_queue_new(&s.other, &attr);
    count_warm_up(s.queue, 3);
    struct sim_thread *other = sim_spawn(push_one, (void *)2);
    push(s.other, 0);
    push(parent, 1);
    count_wait();
    sim_join(other);
}

static void check_family(void)
{
    count_check(3);
}

const struct sim_program program_family = {.name = "family",
                                           .what = "queues that share their parent's limit",
                                           .run = family,
                                           .check = check_family};

// ---- several at once

static void run_any(void *item, void *user_data)
{
    (void)item, (void)user_data;
    count_cancelled();
}

static void push_many(void)
{
    s.queue = count_queue_of(run_any, SMOLSCALE_UNLIMITED, 0);
    count_begin(3);
    sim_explore_begin();
    int err = smolscale_queue_push_many(s.queue, count_item(0), 3, NULL);
    sim_answered(err);
    count_wait();
    smolscale_queue_wait(s.queue);
    SIM_CHECK(count.done == 3, "%u jobs ran of 3", count.done);
}

const struct sim_program program_push_many = {
    .name = "push-many", .what = "the same item three times", .run = push_many};

// ---- notices

static void notified(void *whom)
{
    (void)whom;
    count_cancelled();
}

static void run_noting(void *item, void *user_data)
{
    count_run(item, user_data);
    if (!smolscale_notify_soon(&s))
        count_cancelled();
    else
        s.ticket[0] = 1;
}

// Each job wants a notice; of several at once there is one at least after the last.
static void notices(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_noting;
    attr.notify = notified;
    sim_answered(smolscale_queue_new(&s.queue, &attr));
    count_begin(2);
    sim_explore_begin();
    push(s.queue, 0);
    count_wait();
}

const struct sim_program program_notices = {
    .name = "notices", .what = "a waiter is told", .run = notices, .jobs = 1};

// ---- cancel

static void cancel(void)
{
    warm_up(2);
    uint64_t ticket;
    int err = smolscale_queue_push(s.queue, count_item(0), &ticket);
    sim_answered(err);
    push(s.queue, 1);
    if (smolscale_queue_cancel(s.queue, count_item(0), ticket)) {
        SIM_CHECK(count.runs[0] == 0, "a job ran that was cancelled");
        fetch_add_relaxed(&count.runs[0], 1);
        count_cancelled();
    }
    count_wait();
}

const struct sim_program program_cancel = {
    .name = "cancel", .what = "a job is taken back", .run = cancel, .jobs = 2};

// ---- a limit of one: many jobs, one at a time

SIM_STATE static _Atomic unsigned active;

static void run_alone(void *item, void *user_data)
{
    SIM_CHECK(fetch_add_seq_cst(&active, 1) == 0, "two jobs of a queue whose limit is one");
    count_run(item, user_data);
    fetch_sub_seq_cst(&active, 1);
}

static void limit(void)
{
    s.queue = count_queue_of(run_alone, 1, 0);
    count_warm_up(s.queue, 3);
    struct sim_thread *other = sim_spawn(push_one, (void *)2);
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
    sim_join(other);
}

const struct sim_program program_limit = {
    .name = "limit", .what = "one job of a queue at a time", .run = limit, .jobs = 3};

// ---- the same, and its worker leaves the queue for another's job

static void limit_left(void)
{
    s.queue = count_queue(1, 0);
    s.other = count_queue(1, 0);
    count_warm_up(s.queue, 4);
    struct sim_thread *other = sim_spawn(push_one, (void *)2);
    push(s.queue, 0);
    push(s.other, 3);
    push(s.queue, 1);
    count_wait();
    sim_join(other);
}

const struct sim_program program_limit_left = {
    .name = "limit-left",
    .what = "a worker leaves a queue, whose limit is one, for another",
    .run = limit_left,
    .jobs = 4};

// ---- a job of a batch says that it blocks, and waits for one behind it in the batch

SIM_STATE static uint64_t blocks_since;

// Sooner than the balancer finds it out.
#define RECALLED_NS (500 * SS_NS_PER_US)

static void run_batch_blocking(void *item, void *user_data)
{
    sim_work(300);
    if (item == count_item(0)) {
        blocks_since = sim_now();
        smolscale_blocking_begin();
        sim_flag_wait(&go);
        smolscale_blocking_end();
    }
    if (item == count_item(1)) {
        SIM_CHECK(!blocks_since || sim_now() - blocks_since <= RECALLED_NS + sim.disturbed_ns,
                  "a job waits for %llu us behind one that has said that it blocks",
                  (unsigned long long)(sim_now() - blocks_since) / 1000);
        sim_flag_set(&go);
    }
    count_run(item, user_data);
}

static void batch_blocked(void)
{
    s.queue = count_queue_of(run_batch_blocking, SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 3);
    push(s.queue, 0);
    push(s.queue, 1);
    push(s.queue, 2);
    count_wait();
}

const struct sim_program program_batch_blocked = {
    .name = "batch-blocked",
    .what = "a job blocks that has others of its batch behind it",
    .run = batch_blocked,
    .jobs = 3,
    .needs_threads = true};

// ---- wait, close and free

static void wait_and_free(void)
{
    warm_up(2);
    push(s.queue, 0);
    push(s.queue, 1);
    smolscale_queue_wait(s.queue);
    SIM_CHECK(count.done == 2, "smolscale_queue_wait() returned before the jobs had run");
    smolscale_queue_free(s.queue);
}

const struct sim_program program_free = {
    .name = "free", .what = "a queue is waited for, and freed", .run = wait_and_free, .jobs = 2};

static void closed(void *user_data)
{
    (void)user_data;
    SIM_CHECK(count.done == 1, "closed before its job has run");
    count_cancelled();
}

static void close_queue(void)
{
    warm_up(2);
    push(s.queue, 0);
    smolscale_queue_close(s.queue, closed, NULL);
    count_wait();
}

const struct sim_program program_close = {.name = "close",
                                          .what = "a queue is closed while its job waits",
                                          .run = close_queue,
                                          .jobs = 1};

// ---- closed while a thread waits for it. A child keeps its memory.

static void closed_once(void *user_data)
{
    (void)user_data;
    SIM_CHECK(s.ticket[2]++ == 0, "a queue is closed twice");
    count_cancelled();
}

static void *wait_for_queue(void *arg)
{
    (void)arg;
    smolscale_queue_wait(s.queue);
    return NULL;
}

static void close_waited(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    attr.run = count_run;
    attr.parent = s.queue;
    sim_answered(smolscale_queue_new(&s.other, &attr));
    count_warm_up(s.queue, 2);
    struct sim_thread *waiter = sim_spawn(wait_for_queue, NULL);
    push(s.queue, 0);
    smolscale_queue_close(s.queue, closed_once, NULL);
    count_wait();
    sim_join(waiter);
    smolscale_queue_free(s.other);
}

const struct sim_program program_close_waited = {
    .name = "close-waited",
    .what = "a queue is closed while a thread waits for it",
    .run = close_waited,
    .jobs = 1};

// ---- dedicated queues

static void dedicated(void)
{
    count_begin(3);
    s.queue = count_queue(1, SMOLSCALE_QUEUE_DEDICATED);
    sim_explore_begin();
    push(s.queue, 0);
    smolscale_queue_set_max_active(s.queue, 2);
    push(s.queue, 1);
    smolscale_queue_set_max_active(s.queue, 1);
    push(s.queue, 2);
    count_wait();
    smolscale_queue_free(s.queue);
}

const struct sim_program program_dedicated = {.name = "dedicated",
                                              .what = "a dedicated queue is raised and lowered",
                                              .run = dedicated,
                                              .jobs = 3};

// One limit, lowered and raised at once, while the worker is told to end.
static void dedicated_twice(void)
{
    count_begin(2);
    s.queue = count_queue(1, SMOLSCALE_QUEUE_DEDICATED);
    sim_explore_begin();
    smolscale_queue_set_max_active(s.queue, 0);
    smolscale_queue_set_max_active(s.queue, 1);
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
    smolscale_queue_free(s.queue);
}

const struct sim_program program_dedicated_twice = {
    .name = "dedicated-twice",
    .what = "a dedicated queue is lowered and raised at once",
    .run = dedicated_twice,
    .jobs = 2};

// A thread too many ends without a further job, also if it is about to park.
static void dedicated_lowered(void)
{
    s.queue = count_queue(1, SMOLSCALE_QUEUE_DEDICATED);
    count_warm_up(s.queue, 0);
    smolscale_queue_set_max_active(s.queue, 0);
    wait_for_workers(s.queue->group, 0);
    smolscale_queue_free(s.queue);
}

const struct sim_program program_dedicated_lowered = {
    .name = "dedicated-lowered",
    .what = "a dedicated queue is lowered while its thread is about to park",
    .run = dedicated_lowered,
    .needs_threads = true};

// The job that its thread's end leaves behind runs in a new one, which the closing thread creates.
static void run_ending(void *item, void *user_data)
{
    count_run(item, user_data);
    if (item == count_item(0))
        sim_exit_thread();
}

static void dedicated_closed(void)
{
    count_begin(3);
    s.queue = count_queue_of(run_ending, 1, SMOLSCALE_QUEUE_DEDICATED);
    sim_explore_begin();
    push(s.queue, 0);
    push(s.queue, 1);
    smolscale_queue_close(s.queue, closed_once, NULL);
    for (unsigned rests = 0; count.done < 3; rests++) {
        if (rests == 20)
            sim_answered(-EAGAIN); // it is tried once to replace a thread that its job has ended
        ss_os.rest();
    }
    count_check(2);
}

const struct sim_program program_dedicated_closed = {
    .name = "dedicated-closed",
    .what = "a dedicated queue is closed whose only thread ends",
    .run = dedicated_closed};

// ---- a family whose worker seems late: two of its queues are called at once

static void *push_late(void *arg)
{
    sim_work(200 * SS_NS_PER_US);
    return push_one(arg);
}

static void family_late(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    smolscale_queue *parent = count_queue(2, 0);
    attr.run = run_waiting;
    attr.parent = parent;
    sim_answered(smolscale_queue_new(&s.queue, &attr));
    sim_answered(smolscale_queue_new(&s.other, &attr));
    count_warm_up(s.queue, 3);
    struct sim_thread *other = sim_spawn(push_late, (void *)2);
    push(s.queue, 0);
    push(s.other, 1);
    count_wait();
    sim_join(other);
}

const struct sim_program program_family_late = {
    .name = "family-late",
    .what = "workers that seem late are called for several queues of a family",
    .run = family_late,
    .check = check_family,
    .needs_threads = true};

// ---- notices while the balancer takes them

static void run_slow_noting(void *item, void *user_data)
{
    count_run(item, user_data);
    if (item == count_item(1))
        sim_work(2 * SS_NS_PER_MS); // the notice of the first comes meanwhile
    else if (!smolscale_notify_soon(&s))
        count_cancelled();
}

static void notified_once(void *whom)
{
    (void)whom;
    SIM_CHECK(s.ticket[1]++ == 0, "a notice is given twice");
    count_cancelled();
}

static void notices_late(void)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run_slow_noting;
    attr.notify = notified_once;
    sim_answered(smolscale_queue_new(&s.queue, &attr));
    count_begin(3);
    sim_explore_begin();
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
    smolscale_queue_wait(s.queue);
}

const struct sim_program program_notices_late = {
    .name = "notices-late",
    .what = "a notice is owed while the next job takes long",
    .run = notices_late,
    .jobs = 2};
