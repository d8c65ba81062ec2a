// SPDX-License-Identifier: ISC
//
// What tasks can do, mixed at random, with a ledger: what was started ends, what was sent is
// received or left, what was locked is free again, and at the end no worker is left. As the soak
// (tests/soak) does on the real machine, in orders that it hardly shows.

#include "count.h"
#include "os/descriptor.h"
#include "smolscale_async.h"

#include <errno.h>

enum { THREADS = 2, SPAWNED = 2, STEPS = 4, CHILDREN = 2, PERMITS = 2 };

SIM_STATE static struct {
    smolscale_channel *channel;
    smolscale_mutex mutex;
    smolscale_semaphore semaphore;
    smolscale_nursery *nursery;
    _Atomic unsigned inside; // of the mutex
    int fds[2];
    _Atomic unsigned sent, received, written, read, started, ended, children, nursed;
    smolscale_task *task[THREADS][SPAWNED];
} s;

// ---- tasks

enum step {
    YIELD,
    SEND,
    RECEIVE,
    SLEEP,
    LOCK,
    ACQUIRE,
    UNBLOCK,
    BLOCK,
    SPAWN,
    CANCEL,
    TRY_TO_SEND,
    TRY_TO_RECEIVE,
    WRITE,
    READ,
    WAIT_FOR_DATA,
    FORGET,
    STEP_KINDS
};

struct player {
    SMOLSCALE_FRAME;
    unsigned left;
    bool clears;
    int n, message;
    char byte;
    enum step step;
};

static int block(void *arg)
{
    ss_os.rest();
    return arg ? 5 : 0;
}

static void start_child(void);

static uint64_t some_time(void)
{
    return (1 + sim_roll(3)) * 20 * SS_NS_PER_US;
}

static void receive(unsigned messages)
{
    fetch_add_relaxed(&s.received, messages);
}

// A step that ends at once.
static void do_at_once(enum step step)
{
    int message = 1;
    switch (step) {
    case BLOCK:
        ss_os.rest();
        break;
    case SPAWN:
        start_child();
        break;
    case CANCEL:
        smolscale_nursery_cancel(s.nursery);
        break;
    case FORGET:
        smolscale_forget(s.fds[sim_roll(2)]);
        break;
    case TRY_TO_SEND:
        fetch_add_relaxed(&s.sent, smolscale_try_send(s.channel, &message) == 0);
        break;
    case TRY_TO_RECEIVE:
        receive(smolscale_try_recv(s.channel, &message) == 0);
        break;
    default:
        break;
    }
}

SMOLSCALE_ASYNC(player, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->n = 0; f->left > 0 && f->n != -ECANCELED; f->left--) {
        f->step = (enum step)sim_roll(STEP_KINDS);
        f->message = 1;
        switch (f->step) {
        case YIELD:
            SMOLSCALE_AWAIT(f->n, smolscale_yield(cx));
            break;
        case SEND:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_send(cx, s.channel, &f->message));
            fetch_add_relaxed(&s.sent, f->n == 0);
            break;
        case RECEIVE:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_recv(cx, s.channel, &f->message));
            receive(f->n == 0);
            break;
        case SLEEP:
            SMOLSCALE_AWAIT(f->n, smolscale_sleep(cx, some_time()));
            break;
        case LOCK:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_mutex_lock(cx, &s.mutex));
            if (f->n != 0)
                break;
            SIM_CHECK(fetch_add_relaxed(&s.inside, 1) == 0, "two have the mutex");
            SMOLSCALE_AWAIT(f->n, smolscale_yield(cx));
            fetch_sub_relaxed(&s.inside, 1);
            SIM_CHECK(smolscale_mutex_unlock(&s.mutex) == 0, "the mutex was free");
            break;
        case ACQUIRE:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_semaphore_acquire(cx, &s.semaphore));
            if (f->n != 0)
                break;
            SMOLSCALE_AWAIT(f->n, smolscale_yield(cx));
            smolscale_semaphore_release(&s.semaphore, 1);
            break;
        case UNBLOCK:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_unblock(cx, block, f));
            sim_answered(f->n);
            SIM_CHECK(f->n == 5 || f->n == -ECANCELED || f->n == -ETIMEDOUT, "unblock: %d", f->n);
            break;
        case WRITE:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_write(cx, s.fds[1], &f->byte, 1));
            fetch_add_relaxed(&s.written, f->n == 1);
            break;
        case READ:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_read(cx, s.fds[0], &f->byte, 1));
            fetch_add_relaxed(&s.read, f->n == 1);
            break;
        case WAIT_FOR_DATA:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_ready(cx, s.fds[0], SMOLSCALE_READABLE));
            break;
        default:
            do_at_once(f->step);
            break;
        }
        if (f->n == -ECANCELED && f->clears && smolscale_clear_cancel(cx))
            f->n = 0;
    }
    fetch_add_relaxed(&s.ended, 1);
    SMOLSCALE_RETURN(f->n == -ECANCELED ? f->n : 0);
    SMOLSCALE_END;
}

// ---- the tasks' beginning and end

static void start_child(void)
{
    if (fetch_add_relaxed(&s.children, 1) >= CHILDREN)
        return;
    struct player frame = {.left = 1 + sim_roll(2)};
    fetch_add_relaxed(&s.started, 1);
    int err;
    if (sim_roll(2))
        err = smolscale_nursery_spawn(s.nursery, player, &frame, sizeof frame);
    else
        err = smolscale_spawn(NULL, player, &frame, sizeof frame);
    sim_answered(err);
    SIM_CHECK(err == 0, "spawn: %d", err);
}

static void start(smolscale_task **task)
{
    struct player frame = {.left = 1 + sim_roll(STEPS), .clears = sim_roll(2)};
    fetch_add_relaxed(&s.started, 1);
    int err = smolscale_spawn(task, player, &frame, sizeof frame);
    sim_answered(err);
    SIM_CHECK(err == 0, "spawn: %d", err);
}

static void end(smolscale_task *task)
{
    if (sim_roll(3) == 2)
        smolscale_cancel(task);
    if (sim_roll(3) == 2)
        ss_os.rest();
    if (sim_roll(3) < 2) {
        int n = SMOLSCALE_BLOCK(smolscale_join(cx, task));
        sim_answered(n);
        SIM_CHECK(n == 0 || n == -ECANCELED, "join: %d", n);
        SIM_CHECK(smolscale_finished(task), "a task that was joined has not ended");
    }
    smolscale_release(task);
}

static void *play(void *arg)
{
    smolscale_task **task = arg;
    for (unsigned i = 0; i < SPAWNED; i++)
        start(&task[i]);
    struct player frame = {.left = 1 + sim_roll(STEPS)};
    fetch_add_relaxed(&s.started, 1);
    if (sim_roll(2))
        smolscale_block_on(player, &frame);
    else
        fetch_add_relaxed(&s.ended, 1);
    for (unsigned i = 0; i < SPAWNED; i++)
        end(task[i]);
    return NULL;
}

static void check_ledger(void)
{
    int message;
    SIM_CHECK(smolscale_mutex_try_lock(&s.mutex), "the mutex is left locked");
    for (unsigned i = 0; i < PERMITS; i++)
        SIM_CHECK(smolscale_semaphore_try_acquire(&s.semaphore), "a permit is lost");
    SIM_CHECK(!smolscale_semaphore_try_acquire(&s.semaphore), "there are more permits than were");
    while (smolscale_try_recv(s.channel, &message) == 0)
        receive(1);
    char byte;
    while (ss_fd_read(s.fds[0], &byte, 1) == 1)
        fetch_add_relaxed(&s.read, 1);
    SIM_CHECK(s.written == s.read, "%u bytes were written, %u read", s.written, s.read);
    SIM_CHECK(s.sent == s.received, "%u messages were sent, %u received", s.sent, s.received);
}

static void mix_tasks(void)
{
    static const unsigned capacities[] = {1, 0, SMOLSCALE_UNLIMITED};
    sim_explore_begin();
    int err = smolscale_channel_new(&s.channel, sizeof(int), capacities[sim_roll(3)]);
    sim_answered(err);
    SIM_CHECK(err == 0, "no channel: %d", err);
    err = smolscale_nursery_new(&s.nursery);
    sim_answered(err);
    SIM_CHECK(err == 0, "no nursery: %d", err);
    err = sim_pipe(s.fds);
    sim_answered(err);
    SIM_CHECK(err == 0, "no pipe: %d", err);
    smolscale_mutex_init(&s.mutex);
    smolscale_semaphore_init(&s.semaphore, PERMITS);
    struct sim_thread *other = sim_spawn(play, s.task[1]);
    play(s.task[0]);
    sim_join(other);
    while (load_relaxed(&s.ended) < load_relaxed(&s.started)) // those that were let go of
        ss_os.rest();
    if (sim_roll(2))
        SMOLSCALE_BLOCK(smolscale_nursery_wait(cx, s.nursery));
    smolscale_nursery_free(s.nursery);
    check_ledger();
    smolscale_channel_unref(s.channel);
    end_workers();
}

const struct sim_program program_mix_tasks = {.name = "mix-tasks",
                                              .what = "all that tasks can do, at random",
                                              .run = mix_tasks,
                                              .limit_ns = 300 * SS_NS_PER_MS,
                                              .needs_threads = true};
