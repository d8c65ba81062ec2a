// SPDX-License-Identifier: ISC
//
// Scenes of tasks: channels, timers, descriptors, supervisors, run queues of a thread's own, and
// threads that wait.

#include "soak.h"

#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

enum { TASKS_MAX = 300 };

static bool expected_end(int result)
{
    return result == 0 || result == -ECANCELED || result == -ETIMEDOUT || result == -EPIPE;
}

// Joins them all, cancelled or not.
static void join_all(struct actor *actor, smolscale_task **tasks, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int result = SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i]));
        EXPECT(actor, expected_end(result), "a task has ended with %d", result);
        smolscale_release(tasks[i]);
    }
    book(TASKS_ENDED, count);
}

// ---- talk: senders and receivers of one channel

struct talk {
    smolscale_channel *channel;
    atomic_ulong sent, received, sum_sent, sum_received;
};

// The two frames are alike.
#define TALKER(name)          \
    struct name {             \
        SMOLSCALE_FRAME;      \
        struct talk *talk;    \
        unsigned left, pause; \
        unsigned message;     \
        int got;              \
    }
TALKER(sender);
TALKER(receiver);

SMOLSCALE_ASYNC(sender, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left > 0) {
        f->message = f->left--;
        if (f->pause && f->message % f->pause == 0)
            SMOLSCALE_TRY(smolscale_sleep(cx, f->pause * 1000));
        SMOLSCALE_TIMEOUT(f->got, 2000000, smolscale_send(cx, f->talk->channel, &f->message));
        if (f->got == 0) {
            atomic_fetch_add(&f->talk->sent, 1);
            atomic_fetch_add(&f->talk->sum_sent, f->message);
        } else if (f->got != -ETIMEDOUT) {
            SMOLSCALE_RETURN(f->got);
        }
    }
    SMOLSCALE_END;
}

SMOLSCALE_ASYNC(receiver, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left > 0) {
        SMOLSCALE_TIMEOUT(f->got, 2000000, smolscale_recv(cx, f->talk->channel, &f->message));
        if (f->got == 0) {
            f->left--;
            atomic_fetch_add(&f->talk->received, 1);
            atomic_fetch_add(&f->talk->sum_received, f->message);
        } else if (f->got != -ETIMEDOUT) {
            SMOLSCALE_RETURN(f->got);
        }
        if (f->pause && f->left % f->pause == 0)
            SMOLSCALE_YIELD();
    }
    SMOLSCALE_END;
}
static void talk(struct actor *actor)
{
    struct talk talk = {0};
    smolscale_task *tasks[TASKS_MAX];
    unsigned count = 0, senders = 1 + roll(actor, 10), receivers = 1 + roll(actor, 10);
    const unsigned capacities[] = {0, 1, 16, SMOLSCALE_UNLIMITED};
    EXPECT_EQUAL(actor,
                 smolscale_channel_new(&talk.channel, sizeof(unsigned), capacities[roll(actor, 4)]),
                 0);
    for (unsigned i = 0; i < senders + receivers; i++) {
        unsigned left = 1 + roll(actor, 200), pause = roll(actor, 20);
        int err = i < senders ? SMOLSCALE_SPAWN(&tasks[count++], sender, .talk = &talk,
                                                .left = left, .pause = pause)
                              : SMOLSCALE_SPAWN(&tasks[count++], receiver, .talk = &talk,
                                                .left = left, .pause = pause);
        EXPECT(actor, err == 0 || err == -EAGAIN, "spawn: %s", strerror(-err));
    }
    book(TASKS_STARTED, count);
    for (unsigned i = roll(actor, 8); i > 0; i--) {
        if (roll(actor, 2))
            usleep(roll(actor, 500));
        if (roll(actor, 3) == 0)
            smolscale_cancel(tasks[roll(actor, count)]);
    }
    if (roll(actor, 2)) { // one more receiver: this thread
        unsigned message;
        for (unsigned i = roll(actor, 20); i > 0; i--) {
            if (smolscale_try_recv(talk.channel, &message) == 0) {
                atomic_fetch_add(&talk.received, 1);
                atomic_fetch_add(&talk.sum_received, message);
            }
        }
    }
    if (roll(actor, 2))
        usleep(roll(actor, 3000));
    smolscale_close(talk.channel);
    join_all(actor, tasks, count);
    unsigned long left = 0, message = 0;
    unsigned text;
    while (smolscale_try_recv(talk.channel, &text) == 0) {
        left++;
        message += text;
    }
    EXPECT_EQUAL(actor, talk.sent, talk.received + left);
    EXPECT_EQUAL(actor, talk.sum_sent, talk.sum_received + message);
    book(MESSAGES_SENT, talk.sent);
    book(MESSAGES_RECEIVED, talk.received);
    book(MESSAGES_LEFT, left);
    smolscale_channel_unref(talk.channel);
}

// ---- rest: timers, mutex, semaphore, wait group

struct rest {
    smolscale_mutex mutex;
    smolscale_semaphore semaphore;
    smolscale_waitgroup group;
    unsigned long inside, visits; // under the mutex
};

struct rester {
    SMOLSCALE_FRAME;
    struct rest *rest;
    unsigned rounds, ns;
    int got;
};

SMOLSCALE_ASYNC(rester, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->rounds > 0; f->rounds--) {
        SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, f->ns));
        if (f->got < 0)
            break;
        SMOLSCALE_TIMEOUT(f->got, f->ns / 2, smolscale_sleep(cx, f->ns));
        if (f->got == -ECANCELED)
            break;
        SMOLSCALE_AWAIT(f->got, smolscale_semaphore_acquire(cx, &f->rest->semaphore));
        if (f->got < 0)
            break;
        SMOLSCALE_AWAIT(f->got, smolscale_mutex_lock(cx, &f->rest->mutex));
        if (f->got == 0) {
            if (f->rest->inside++ != 0)
                abort();
            f->rest->visits++;
            f->rest->inside--;
            smolscale_mutex_unlock(&f->rest->mutex);
        }
        smolscale_semaphore_release(&f->rest->semaphore, 1);
        if (f->got < 0)
            break;
    }
    smolscale_waitgroup_done(&f->rest->group);
    SMOLSCALE_RETURN(f->got == -ECANCELED ? -ECANCELED : 0);
    SMOLSCALE_END;
}

static void rest(struct actor *actor)
{
    struct rest rest = {0};
    smolscale_task *tasks[TASKS_MAX];
    unsigned count = 1 + roll(actor, TASKS_MAX);
    smolscale_mutex_init(&rest.mutex);
    smolscale_semaphore_init(&rest.semaphore, 1 + roll(actor, 4));
    smolscale_waitgroup_init(&rest.group, count);
    for (unsigned i = 0; i < count; i++) {
        int err = SMOLSCALE_SPAWN(&tasks[i], rester, .rest = &rest, .rounds = roll(actor, 6),
                                  .ns = roll(actor, 300000));
        EXPECT(actor, err == 0 || err == -EAGAIN, "spawn: %s", strerror(-err));
    }
    book(TASKS_STARTED, count);
    for (unsigned i = roll(actor, 10); i > 0; i--)
        smolscale_cancel(tasks[roll(actor, count)]);
    if (roll(actor, 2)) {
        smolscale_thread thread;
        smolscale_cx *cx = smolscale_thread_begin(&thread);
        smolscale_begin_timeout(cx, 1000000);
        int result = smolscale_thread_end(&thread, smolscale_waitgroup_wait(cx, &rest.group));
        EXPECT(actor, result == 0 || result == -ETIMEDOUT, "the wait group gives %d", result);
    }
    join_all(actor, tasks, count);
    EXPECT_EQUAL(actor, rest.inside, 0);
    EXPECT(actor, smolscale_mutex_try_lock(&rest.mutex), "the mutex is left locked");
}

// ---- stream: a socket pair between two tasks

// The bytes count up.
#define STREAM(name)              \
    struct name {                 \
        SMOLSCALE_FRAME;          \
        int fd;                   \
        unsigned left, pause;     \
        unsigned char next;       \
        int got, at;              \
        unsigned char bytes[512]; \
    }
STREAM(stream_writer);
STREAM(stream_reader);

SMOLSCALE_ASYNC(stream_writer, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left > 0) {
        f->at = (int)(f->left < sizeof f->bytes ? f->left : sizeof f->bytes);
        for (int i = 0; i < f->at; i++)
            f->bytes[i] = f->next++;
        SMOLSCALE_AWAIT(f->got, smolscale_write(cx, f->fd, f->bytes, (size_t)f->at));
        if (f->got != f->at)
            SMOLSCALE_RETURN(-EIO);
        f->left -= (unsigned)f->at;
        if (f->pause && f->left % f->pause == 0)
            SMOLSCALE_TRY(smolscale_sleep(cx, 1000 * f->pause));
    }
    shutdown(f->fd, SHUT_WR);
    SMOLSCALE_END;
}

SMOLSCALE_ASYNC(stream_reader, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TIMEOUT(f->got, 500000, smolscale_read(cx, f->fd, f->bytes, sizeof f->bytes));
        if (f->got == -ETIMEDOUT)
            continue;
        if (f->got <= 0)
            SMOLSCALE_RETURN(f->got);
        for (int i = 0; i < f->got; i++)
            if (f->bytes[i] != f->next++)
                SMOLSCALE_RETURN(-EIO);
        f->left += (unsigned)f->got;
    }
    SMOLSCALE_END;
}
static smolscale_task *spawn_stream(struct actor *actor, smolscale_poll_fn *poll, const void *frame,
                                    size_t size)
{
    smolscale_task *task;
    int err = smolscale_spawn(&task, poll, frame, size);
    EXPECT(actor, err == 0 || err == -EAGAIN, "spawn: %s", strerror(-err));
    book(TASKS_STARTED, 1);
    return task;
}

static void streams(struct actor *actor)
{
    enum { PAIRS = 5 };
    unsigned pairs = 1 + roll(actor, PAIRS);
    int fds[PAIRS][2];
    unsigned total[PAIRS];
    smolscale_task *writer[PAIRS], *reader[PAIRS];
    for (unsigned p = 0; p < pairs; p++) {
        EXPECT(actor,
               socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds[p]) == 0,
               "socketpair: %s", strerror(errno));
        total[p] = roll(actor, roll(actor, 4) ? 5000 : 500000);
        struct stream_writer out = {.fd = fds[p][0], .left = total[p], .pause = roll(actor, 8)};
        writer[p] = spawn_stream(actor, stream_writer, &out, sizeof out);
        struct stream_reader in = {.fd = fds[p][1]};
        reader[p] = spawn_stream(actor, stream_reader, &in, sizeof in);
    }
    for (unsigned p = 0; p < pairs; p++) {
        // A reader that is cancelled has taken nothing that it has not told: another goes on.
        while (roll(actor, 3) == 0) {
            if (roll(actor, 2))
                usleep(roll(actor, 300));
            smolscale_cancel(reader[p]);
            int result = SMOLSCALE_BLOCK(smolscale_join(cx, reader[p]));
            EXPECT(actor, result == 0 || result == -ECANCELED, "the reader gives %d", result);
            struct stream_reader *ended = smolscale_frame(reader[p]);
            struct stream_reader in = {.fd = fds[p][1], .left = ended->left, .next = ended->next};
            smolscale_release(reader[p]);
            book(TASKS_ENDED, 1);
            reader[p] = spawn_stream(actor, stream_reader, &in, sizeof in);
        }
        int result = SMOLSCALE_BLOCK(smolscale_join(cx, writer[p]));
        EXPECT_EQUAL(actor, result, 0);
        result = SMOLSCALE_BLOCK(smolscale_join(cx, reader[p]));
        EXPECT_EQUAL(actor, result, 0);
        EXPECT_EQUAL(actor, ((struct stream_reader *)smolscale_frame(reader[p]))->left, total[p]);
        book(BYTES_WRITTEN, total[p]);
        book(BYTES_READ, ((struct stream_reader *)smolscale_frame(reader[p]))->left);
        smolscale_release(writer[p]);
        smolscale_release(reader[p]);
        book(TASKS_ENDED, 2);
        for (unsigned side = 0; side < 2; side++) {
            smolscale_forget(fds[p][side]);
            close(fds[p][side]);
        }
    }
}

struct waiter {
    SMOLSCALE_FRAME;
    int fd, got;
    char byte;
};
SMOLSCALE_ASYNC(waiter, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TIMEOUT(f->got, 1000000, smolscale_read(cx, f->fd, &f->byte, 1));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

void soak_open_what_stays_open(void)
{
    int fds[2];
    EXPECT(NULL, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
           "socketpair: %s", strerror(errno));
    smolscale_task *task;
    EXPECT_EQUAL(NULL, SMOLSCALE_SPAWN(&task, waiter, .fd = fds[0]), 0);
    EXPECT_EQUAL(NULL, SMOLSCALE_BLOCK(smolscale_join(cx, task)), -ETIMEDOUT);
    smolscale_release(task);
    smolscale_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

// ---- supervision

struct worker {
    SMOLSCALE_FRAME;
    unsigned naps;
};
SMOLSCALE_ASYNC(worker, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->naps > 0; f->naps--) {
        SMOLSCALE_TRY(smolscale_yield(cx));
        SMOLSCALE_TRY(smolscale_sleep(cx, 20000));
    }
    SMOLSCALE_END;
}

static atomic_ulong lives; // of immortals, which may end after their scene

struct mortal {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(mortal, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&lives, 1);
    SMOLSCALE_TRY(smolscale_sleep(cx, 1000));
    SMOLSCALE_END;
}

static void supervisors(struct actor *actor)
{
    smolscale_nursery *nursery;
    smolscale_reaper *reaper;
    smolscale_immortal *immortal;
    unsigned count = roll(actor, 60), given = 0;
    EXPECT_EQUAL(actor, smolscale_nursery_new(&nursery), 0);
    EXPECT_EQUAL(actor, smolscale_reaper_new(&reaper), 0);
    int err = SMOLSCALE_IMMORTAL(&immortal, (enum smolscale_respawn)roll(actor, 3),
                                 roll(actor, 20000), mortal);
    EXPECT(actor, err == 0 || err == -EAGAIN, "immortal: %s", strerror(-err));
    for (unsigned i = 0; i < count; i++) {
        err = SMOLSCALE_NURSERY_SPAWN(nursery, worker, .naps = roll(actor, 8));
        EXPECT(actor, err == 0 || err == -EAGAIN, "nursery: %s", strerror(-err));
    }
    book(TASKS_STARTED, count);
    for (unsigned i = roll(actor, 20); i > 0; i--) {
        smolscale_task *task;
        err = SMOLSCALE_SPAWN(&task, worker, .naps = roll(actor, 4));
        EXPECT(actor, err == 0 || err == -EAGAIN, "spawn: %s", strerror(-err));
        EXPECT_EQUAL(actor, smolscale_reaper_attach(reaper, task), 0);
    }
    for (unsigned i = roll(actor, count + 1); i > 0; i--) {
        smolscale_task *ended;
        int result = SMOLSCALE_BLOCK(smolscale_nursery_next(cx, nursery, &ended));
        EXPECT_EQUAL(actor, result, 0);
        EXPECT(actor, smolscale_finished(ended), "a task that was given runs");
        smolscale_release(ended);
        given++;
    }
    if (roll(actor, 3) == 0)
        smolscale_nursery_cancel(nursery);
    int result = SMOLSCALE_BLOCK(smolscale_nursery_wait(cx, nursery));
    EXPECT(actor, result == 0 || result == -ECANCELED, "the nursery gives %d", result);
    book(TASKS_ENDED, count);
    EXPECT(actor, given <= count, "%u of %u tasks were given", given, count);
    smolscale_nursery_free(nursery);
    if (roll(actor, 2))
        AWAIT_THAT(smolscale_reaper_count(reaper) == 0);
    smolscale_reaper_free(reaper);
    unsigned restarts = roll(actor, 4);
    AWAIT_THAT(smolscale_immortal_restarts(immortal) >= restarts);
    smolscale_immortal_free(immortal);
}

// ---- threads that wait, blocking functions, a run queue of one's own

static int nap(void *arg)
{
    usleep((unsigned)(uintptr_t)arg);
    return 0;
}

struct caller {
    SMOLSCALE_FRAME;
    unsigned us;
};
SMOLSCALE_ASYNC(caller, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_unblock(cx, nap, (void *)(uintptr_t)f->us));
    SMOLSCALE_END;
}

static void threads(struct actor *actor)
{
    smolscale_task *tasks[50];
    unsigned count = 1 + roll(actor, 50);
    for (unsigned i = 0; i < count; i++) {
        int err = SMOLSCALE_SPAWN(&tasks[i], caller, .us = roll(actor, 400));
        EXPECT(actor, err == 0 || err == -EAGAIN, "spawn: %s", strerror(-err));
    }
    book(TASKS_STARTED, count);
    for (unsigned i = roll(actor, 5); i > 0; i--)
        smolscale_cancel(tasks[roll(actor, count)]);
    EXPECT_EQUAL(actor, SMOLSCALE_BLOCK_ON(worker, .naps = roll(actor, 10)), 0);
    join_all(actor, tasks, count);
}

static void own_queue(struct actor *actor)
{
    smolscale_local *local;
    smolscale_task *tasks[30];
    unsigned count = roll(actor, 30), ended = 0;
    EXPECT_EQUAL(actor, smolscale_local_new(&local), 0);
    for (unsigned i = 0; i < count; i++) {
        struct worker frame = {.naps = roll(actor, 6)};
        EXPECT_EQUAL(actor, smolscale_local_spawn(local, &tasks[i], worker, &frame, sizeof frame),
                     0);
    }
    book(TASKS_STARTED, count);
    struct worker frame = {.naps = roll(actor, 6)};
    EXPECT_EQUAL(actor, smolscale_local_run(local, worker, &frame), 0);
    while (roll(actor, 4) && smolscale_local_try_tick(local))
        ;
    smolscale_local_free(local);
    for (unsigned i = 0; i < count; i++) {
        int result = SMOLSCALE_BLOCK(smolscale_join(cx, tasks[i]));
        EXPECT(actor, result == 0 || result == -ECANCELED, "a task of the thread gives %d", result);
        ended += result == 0;
        smolscale_release(tasks[i]);
    }
    book(TASKS_ENDED, ended);
    book(TASKS_DROPPED, count - ended);
}

const struct scene task_scenes[] = {
    {"talk", 10, talk},      {"rest", 5, rest},
    {"streams", 6, streams}, {"supervisors", 5, supervisors},
    {"threads", 4, threads}, {"own_queue", 5, own_queue},
    {NULL, 0, NULL},
};
