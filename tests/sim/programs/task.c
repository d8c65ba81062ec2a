// SPDX-License-Identifier: ISC
//
// Tasks: their end, wakers, channels, time, descriptors, lanes.

#include "count.h"
#include "smolscale_async.h"

#include <errno.h>

SIM_STATE static struct {
    smolscale_task *task, *second;
    smolscale_channel *channel;
    smolscale_waker waker;
    _Atomic unsigned has_waker, woken;
    smolscale_local *local;
    struct sim_flag begun, go;
    int fds[2];
    smolscale_queue *queue;
} s;

static int poll_counted(smolscale_cx *cx, void *frame)
{
    (void)cx;
    count_run(count_item(*(unsigned *)frame), NULL);
    return 7;
}

static smolscale_task *spawn(smolscale_poll_fn *poll, unsigned i)
{
    smolscale_task *task = NULL;
    int err = smolscale_spawn(&task, poll, &i, sizeof i);
    sim_answered(err);
    sim_answered(err);
    SIM_CHECK(err == 0, "spawn: %d", err);
    return task;
}

// A worker has served tasks, and looks for more.
static int poll_warm(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    count_run(count_item(SIM_JOBS_MAX - 1), NULL);
    return 0;
}

static void warm_up(unsigned wanted)
{
    count_begin(1);
    count.begins = true;
    smolscale_release(spawn(poll_warm, 0));
    count_wait();
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    count.begins = false;
    count_begin(wanted);
}

// ---- spawn

static void spawn_two(void)
{
    warm_up(2);
    smolscale_release(spawn(poll_counted, 0));
    smolscale_release(spawn(poll_counted, 1));
    count_wait();
}

const struct sim_program program_spawn = {.name = "spawn",
                                          .what = "tasks come while the lane's server leaves",
                                          .run = spawn_two,
                                          .jobs = 2};

// ---- join

static void join_task(void)
{
    warm_up(1);
    s.task = spawn(poll_counted, 0);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == 7, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_join_task = {
    .name = "join", .what = "a thread joins a task", .run = join_task, .jobs = 1};

// ---- cancel

struct sleeper {
    SMOLSCALE_FRAME;
    int n;
};

SMOLSCALE_ASYNC(sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->n, smolscale_sleep(cx, SS_NS_PER_S));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

static void cancel_task(void)
{
    warm_up(1);
    sim_answered(SMOLSCALE_SPAWN(&s.task, sleeper));
    bool cancelled = smolscale_cancel(s.task);
    if (smolscale_finished(s.task)) // without memory it does not sleep
        sim_answered(-ENOMEM);
    if (sim.disturbed_ns > SS_NS_PER_S) // its sleep is over
        return;
    SIM_CHECK(cancelled, "a task that sleeps was not cancelled");
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == -ECANCELED, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_cancel_task = {.name = "cancel-task",
                                                .what =
                                                    "a task is cancelled while it begins to wait",
                                                .run = cancel_task};

// ---- cancelled while it begins to wait for a message

struct listener {
    SMOLSCALE_FRAME;
    int n, value;
};

SMOLSCALE_ASYNC(listener, f)
{
    SMOLSCALE_BEGIN(f);
    sim_flag_set(&s.begun);
    SMOLSCALE_AWAIT(f->n, smolscale_recv(cx, s.channel, &f->value));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

static void cancel_recv(void)
{
    sim_answered(smolscale_channel_new(&s.channel, sizeof(int), 1));
    count_warm_up(count_queue(SMOLSCALE_UNLIMITED, 0), 1);
    sim_answered(SMOLSCALE_SPAWN(&s.task, listener));
    sim_flag_wait(&s.begun);
    smolscale_cancel(s.task);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == -ECANCELED, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_cancel_recv = {
    .name = "cancel-recv",
    .what = "a task is cancelled while it begins to wait for a message",
    .run = cancel_recv};

// ---- wakers

static int poll_waiting(smolscale_cx *cx, void *frame)
{
    (void)frame;
    if (!load_acquire(&s.has_waker)) {
        s.waker = smolscale_waker_new(cx);
        store_release(&s.has_waker, 1);
        sim_flag_set(&s.begun);
    }
    return load_acquire(&s.woken) ? 7 : SMOLSCALE_PENDING;
}

static void waker(void)
{
    warm_up(1);
    s.task = spawn(poll_waiting, 0);
    sim_flag_wait(&s.begun);
    store_release(&s.woken, 1);
    smolscale_wake(s.waker);
    smolscale_waker_drop(s.waker);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == 7, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_waker = {
    .name = "waker", .what = "a task is woken while it is polled", .run = waker};

// ---- channels

struct receiver {
    SMOLSCALE_FRAME;
    int n, value;
};

SMOLSCALE_ASYNC(receiver, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->n, smolscale_recv(cx, s.channel, &f->value));
        if (f->n < 0)
            SMOLSCALE_RETURN(f->n);
        count_run(count_item((unsigned)f->value), NULL);
    }
    SMOLSCALE_END;
}

static void channel(void)
{
    sim_answered(smolscale_channel_new(&s.channel, sizeof(int), 1));
    warm_up(3);
    sim_answered(SMOLSCALE_SPAWN(&s.task, receiver));
    for (int i = 0; i < 3; i++) {
        int err = SMOLSCALE_BLOCK(smolscale_send(cx, s.channel, &i));
        sim_answered(err);
        SIM_CHECK(err == 0, "send: %d", err);
    }
    smolscale_close(s.channel);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == -EPIPE, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_channel = {
    .name = "channel", .what = "messages from a thread to a task", .run = channel, .jobs = 3};

// ---- time

struct napper {
    SMOLSCALE_FRAME;
    int n;
};

SMOLSCALE_ASYNC(napper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->n, smolscale_sleep(cx, SS_NS_PER_MS));
    sim_answered(f->n);
    SIM_CHECK(f->n == 0, "sleep gave %d", f->n);
    count_run(count_item(0), NULL);
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

static void sleep_program(void)
{
    warm_up(1);
    uint64_t before = sim_now();
    sim_answered(SMOLSCALE_SPAWN(&s.task, napper));
    count_wait();
    SIM_CHECK(sim_now() - before >= SS_NS_PER_MS, "a sleep ended early");
    // Where a thread stood still, the balancer looks seldomer: every 4 ms in the end.
    uint64_t late = sim.disturbed_ns ? sim.disturbed_ns + 5 * SS_NS_PER_MS : 200 * SS_NS_PER_US;
    SIM_CHECK(sim_now() - before <= SS_NS_PER_MS + late, "a sleep of 1 ms took %llu us",
              (unsigned long long)((sim_now() - before) / 1000));
    smolscale_release(s.task);
}

const struct sim_program program_sleep = {.name = "sleep",
                                          .what = "a timer, and the thread that looks after it",
                                          .run = sleep_program,
                                          .jobs = 1};

struct limited {
    SMOLSCALE_FRAME;
    int n, value;
    uint64_t before;
};

SMOLSCALE_ASYNC(limited, f)
{
    SMOLSCALE_BEGIN(f);
    f->before = smolscale_begin_timeout(cx, SS_NS_PER_MS);
    SMOLSCALE_AWAIT(f->n, smolscale_recv(cx, s.channel, &f->value));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

// The message comes, or the time is up: what was sent is not lost.
static void deadline(void)
{
    sim_answered(smolscale_channel_new(&s.channel, sizeof(int), 1));
    warm_up(1);
    sim_answered(SMOLSCALE_SPAWN(&s.task, limited));
    ss_os.rest();
    int sent = smolscale_try_send(s.channel, &(int){5}), value = 0;
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(sent);
    SIM_CHECK(sent == 0, "try_send: %d", sent);
    if (result == -ETIMEDOUT)
        SIM_CHECK(smolscale_try_recv(s.channel, &value) == 0, "a message was lost");
    else {
        sim_answered(result);
        SIM_CHECK(result == 0, "join gave %d", result);
    }
    smolscale_release(s.task);
}

const struct sim_program program_deadline = {
    .name = "deadline", .what = "a message comes under a deadline", .run = deadline};

// ---- threads that wait as tasks do

static int poll_twice(smolscale_cx *cx, void *frame)
{
    unsigned *turns = frame;
    return (*turns)++ < 3 ? smolscale_yield(cx) : 7;
}

static void block_on(void)
{
    warm_up(1);
    unsigned turns = 0;
    int result = smolscale_block_on(poll_twice, &turns);
    sim_answered(result);
    SIM_CHECK(result == 7, "block_on gave %d", result);
}

const struct sim_program program_block_on = {
    .name = "block-on", .what = "a thread polls, and hands over to a worker", .run = block_on};

static int blocking(void *arg)
{
    (void)arg;
    count_run(count_item(0), NULL);
    return 5;
}

struct unblocked {
    SMOLSCALE_FRAME;
    int n;
};

SMOLSCALE_ASYNC(unblocked, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->n, smolscale_unblock(cx, blocking, NULL));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

static void unblock(void)
{
    warm_up(1);
    sim_answered(SMOLSCALE_SPAWN(&s.task, unblocked));
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == 5, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_unblock = {.name = "unblock",
                                            .what = "a task has a function called that may block",
                                            .run = unblock,
                                            .jobs = 1};

// ---- descriptors

struct reader {
    SMOLSCALE_FRAME;
    int n;
    char text[4];
};

SMOLSCALE_ASYNC(reader, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->n, smolscale_read(cx, s.fds[0], f->text, sizeof f->text));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

static void pipe_program(void)
{
    sim_pipe(s.fds);
    warm_up(1);
    sim_answered(SMOLSCALE_SPAWN(&s.task, reader));
    int n = SMOLSCALE_BLOCK(smolscale_write(cx, s.fds[1], "abc", 3));
    sim_answered(n);
    SIM_CHECK(n == 3, "write: %d", n);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == 3, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_pipe = {
    .name = "pipe", .what = "a task reads what a thread writes", .run = pipe_program};

// ---- a worker sleeps in the seat, where descriptors are waited for, and a job comes

static void pipe_push(void)
{
    sim_answered(sim_pipe(s.fds));
    sim_answered(SMOLSCALE_SPAWN(&s.task, reader));
    ss_os.rest();
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 2);
    push(s.queue, 0);
    push(s.queue, 1);
    count_wait();
    int n = SMOLSCALE_BLOCK(smolscale_write(cx, s.fds[1], "abc", 3));
    sim_answered(n);
    SIM_CHECK(n == 3, "write: %d", n);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == 3, "join gave %d", result);
    smolscale_release(s.task);
}

const struct sim_program program_pipe_push = {
    .name = "pipe-push",
    .what = "jobs come to a worker that waits for descriptors",
    .run = pipe_push,
    .jobs = 2};

// ---- local executors

struct joiner {
    SMOLSCALE_FRAME;
    int n;
};

SMOLSCALE_ASYNC(joiner, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->n, smolscale_join(cx, s.task));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

static void local(void)
{
    warm_up(1);
    sim_answered(smolscale_local_new(&s.local));
    s.task = spawn(poll_counted, 0);
    struct joiner joiner_frame = {.n = 0};
    int result = smolscale_local_run(s.local, joiner, &joiner_frame);
    sim_answered(result);
    SIM_CHECK(result == 7, "local_run gave %d", result);
    smolscale_release(s.task);
    smolscale_local_free(s.local);
}

const struct sim_program program_local = {
    .name = "local", .what = "a local executor waits for a worker's task", .run = local, .jobs = 1};

// ---- lanes

static int poll_yielding(smolscale_cx *cx, void *frame)
{
    unsigned *turns = frame;
    if (*turns >= 10) {
        count_run(count_item(*turns - 10), NULL);
        return 0;
    }
    *turns += 10;
    sim_work(SS_NS_PER_US);
    return smolscale_yield(cx);
}

static void lanes(void)
{
    warm_up(3);
    for (unsigned i = 0; i < 3; i++)
        smolscale_release(spawn(poll_yielding, i));
    count_wait();
}

const struct sim_program program_lanes = {
    .name = "lanes", .what = "tasks that take turns", .run = lanes, .jobs = 3};

// A task blocks its thread until another has run: the lane must be taken from its server.
static int poll_stuck(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    sim_flag_wait(&s.go);
    count_run(count_item(0), NULL);
    return 0;
}

static int poll_freeing(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    sim_flag_set(&s.go);
    count_run(count_item(1), NULL);
    return 0;
}

// The thread that joins them tries again what could not be had.
static void stuck_joined(void)
{
    sim_explore_begin();
    s.task = spawn(poll_stuck, 0);
    s.second = spawn(poll_freeing, 1);
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, s.task));
    sim_answered(result);
    SIM_CHECK(result == 0, "join gave %d", result);
    result = SMOLSCALE_BLOCK(smolscale_join(cx, s.second));
    sim_answered(result);
    SIM_CHECK(result == 0, "join gave %d", result);
    smolscale_release(s.task);
    smolscale_release(s.second);
}

const struct sim_program program_stuck_joined = {
    .name = "stuck-joined",
    .what = "a thread joins a task that waits for the next",
    .run = stuck_joined,
    .limit_ns = 2 * SS_NS_PER_S,
    .needs_threads_later = true,
    .jobs = 2};

static void stuck_lane(void)
{
    warm_up(2);
    smolscale_release(spawn(poll_stuck, 0));
    smolscale_release(spawn(poll_freeing, 1));
    count_wait();
}

const struct sim_program program_stuck_lane = {.name = "stuck-lane",
                                               .what = "a lane is taken from a server that sleeps",
                                               .run = stuck_lane,
                                               .needs_threads = true,
                                               .jobs = 2};
