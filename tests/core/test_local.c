// SPDX-License-Identifier: ISC
//
// The local executor: its tasks run on the thread that runs it and nowhere else, whoever wakes
// them; its descriptor tells another loop when; and freeing it ends what has not ended.

#include "support.h"

#include "smolscale_async.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

// ---- what the tests are made of

static smolscale_local *local_new(void)
{
    smolscale_local *local;
    ck_assert_int_eq(smolscale_local_new(&local), 0);
    return local;
}

static smolscale_channel *channel_new(unsigned capacity)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(unsigned), capacity), 0);
    return channel;
}

#define LOCAL_SPAWN(local, out, name, ...)                                                        \
    do {                                                                                          \
        struct name first_ = {__VA_ARGS__};                                                       \
        ck_assert_int_eq(smolscale_local_spawn((local), (out), name, &first_, sizeof first_), 0); \
    } while (0)

static bool readable(const smolscale_local *local, int timeout_ms)
{
    struct pollfd fd = {smolscale_local_fd((smolscale_local *)(uintptr_t)local), POLLIN, 0};
    return poll(&fd, 1, timeout_ms) == 1;
}

// What an event loop does that has nothing else.
static void foreign_loop_once(smolscale_local *local)
{
    ck_assert(readable(local, -1));
    while (smolscale_local_try_tick(local))
        ;
}

static int end_of(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

struct noter {
    SMOLSCALE_FRAME;
    unsigned number, turns;
    unsigned *log, *count;
    pthread_t thread;
};

// Writes its number down at each turn.
SMOLSCALE_ASYNC(noter, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->turns-- > 0) {
        ck_assert(pthread_equal(pthread_self(), f->thread));
        f->log[(*f->count)++] = f->number;
        SMOLSCALE_YIELD();
    }
    SMOLSCALE_RETURN((int)f->number);
    SMOLSCALE_END;
}

struct summer {
    SMOLSCALE_FRAME;
    smolscale_channel *in;
    unsigned message, sum, left;
    pthread_t thread;
    int n;
};

// Adds up what comes; on one thread.
SMOLSCALE_ASYNC(summer, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left-- > 0) {
        SMOLSCALE_AWAIT(f->n, smolscale_recv(cx, f->in, &f->message));
        if (f->n < 0)
            SMOLSCALE_RETURN(f->n);
        ck_assert(pthread_equal(pthread_self(), f->thread));
        f->sum += f->message;
    }
    SMOLSCALE_RETURN((int)f->sum);
    SMOLSCALE_END;
}

struct sleeper {
    SMOLSCALE_FRAME;
    uint64_t ns;
    unsigned left;
    int n;
};

SMOLSCALE_ASYNC(sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left-- > 0)
        SMOLSCALE_TRY(smolscale_sleep(cx, f->ns));
    SMOLSCALE_RETURN(7);
    SMOLSCALE_END;
}

struct reader {
    SMOLSCALE_FRAME;
    int fd, n, all;
    char text[16];
};

// Counts bytes until the end.
SMOLSCALE_ASYNC(reader, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->n, smolscale_read(cx, f->fd, f->text, sizeof f->text));
        if (f->n <= 0)
            SMOLSCALE_RETURN(f->n ? f->n : f->all);
        f->all += f->n;
    }
    SMOLSCALE_END;
}

// ---- ticking

START_TEST(tasks_take_turns_on_the_calling_thread)
{
    smolscale_local *local = local_new();
    unsigned log[6], count = 0;
    smolscale_task *task[2];
    ck_assert(!smolscale_local_try_tick(local));
    for (unsigned i = 0; i < 2; i++)
        LOCAL_SPAWN(local, &task[i], noter, .number = i, .turns = 3, .log = log, .count = &count,
                    .thread = pthread_self());
    ck_assert_uint_eq(count, 0);
    for (unsigned i = 0; i < 6; i++) {
        ck_assert(smolscale_local_try_tick(local));
        ck_assert_uint_eq(count, i + 1);
        ck_assert_uint_eq(log[i], i % 2);
    }
    ck_assert(!smolscale_finished(task[0]));
    while (smolscale_local_try_tick(local))
        ;
    ck_assert(smolscale_finished(task[0]) && smolscale_finished(task[1]));
    ck_assert_int_eq(end_of(task[1]), 1);
    ck_assert_int_eq(end_of(task[0]), 0);
    smolscale_local_free(local);
}
END_TEST

START_TEST(its_descriptor_is_readable_while_tasks_are_ready)
{
    smolscale_local *local = local_new();
    smolscale_channel *channel = channel_new(4);
    unsigned log[2], count = 0, one = 1;
    ck_assert(!readable(local, 0));
    smolscale_task *task;
    LOCAL_SPAWN(local, NULL, noter, .number = 1, .turns = 2, .log = log, .count = &count,
                .thread = pthread_self());
    LOCAL_SPAWN(local, &task, summer, .in = channel, .left = 2, .thread = pthread_self());
    ck_assert(readable(local, 0));
    ck_assert(smolscale_local_try_tick(local));
    ck_assert(readable(local, 0)); // there is more
    while (smolscale_local_try_tick(local))
        ;
    ck_assert(!readable(local, 0));
    // Woken by its own thread, but outside of a tick.
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(smolscale_try_send(channel, &one), 0);
        ck_assert(readable(local, 0));
        while (smolscale_local_try_tick(local))
            ;
        ck_assert(!readable(local, 0));
    }
    ck_assert_int_eq(end_of(task), 2);
    smolscale_local_free(local);
    smolscale_channel_unref(channel);
}
END_TEST

// ---- from other threads

struct sender {
    smolscale_channel *channel;
    unsigned count;
    uint64_t random;
};

static void *send_with_pauses(void *arg)
{
    struct sender *sender = arg;
    for (unsigned i = 0; i < sender->count; i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, sender->channel, &i)), 0);
        unsigned dice = test_random(&sender->random) % 64;
        volatile unsigned spin = 0;
        for (unsigned n = 0; dice < 32 && n < 1u << (dice / 2); n++)
            spin = spin + 1;
        if (dice == 63)
            nanosleep(&(struct timespec){0, 50000}, NULL);
    }
    return NULL;
}

static void receive_all(bool foreign)
{
    enum { SENDERS = 3 };
    unsigned count = SCALED(10000);
    smolscale_local *local = local_new();
    smolscale_channel *channel = channel_new(2);
    smolscale_task *task;
    LOCAL_SPAWN(local, &task, summer, .in = channel, .left = SENDERS * count,
                .thread = pthread_self());
    struct sender sender[SENDERS];
    pthread_t thread[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        sender[i] = (struct sender){channel, count, i};
        thread[i] = thread_start(send_with_pauses, &sender[i]);
    }
    while (!smolscale_finished(task)) {
        if (foreign)
            foreign_loop_once(local);
        else
            smolscale_local_tick(local);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(thread[i], NULL);
    ck_assert_int_eq(end_of(task), (int)(SENDERS * (count * (count - 1) / 2)));
    smolscale_local_free(local);
    smolscale_channel_unref(channel);
}

START_TEST(no_wake_from_another_thread_is_lost_in_tick)
{
    receive_all(false);
}
END_TEST

START_TEST(no_wake_from_another_thread_is_lost_in_another_loop)
{
    receive_all(true);
}
END_TEST

struct spawner {
    smolscale_local *local;
    pthread_t owner;
    unsigned *log, *count;
    unsigned number;
};

static void *spawn_many(void *arg)
{
    struct spawner *spawner = arg;
    for (unsigned i = 0; i < SCALED(5000); i++)
        LOCAL_SPAWN(spawner->local, NULL, noter, .number = spawner->number, .turns = 1,
                    .log = spawner->log, .count = spawner->count, .thread = spawner->owner);
    return NULL;
}

START_TEST(what_other_threads_spawn_runs_once_on_its_thread)
{
    enum { SPAWNERS = 3 };
    unsigned all = SPAWNERS * SCALED(5000), count = 0, of[SPAWNERS] = {0};
    unsigned *log = calloc(all, sizeof *log);
    smolscale_local *local = local_new();
    struct spawner spawner[SPAWNERS];
    pthread_t thread[SPAWNERS];
    for (unsigned i = 0; i < SPAWNERS; i++) {
        spawner[i] = (struct spawner){local, pthread_self(), log, &count, i};
        thread[i] = thread_start(spawn_many, &spawner[i]);
    }
    while (count < all)
        smolscale_local_tick(local);
    for (unsigned i = 0; i < SPAWNERS; i++)
        pthread_join(thread[i], NULL);
    while (smolscale_local_try_tick(local))
        ;
    ck_assert_uint_eq(count, all);
    for (unsigned i = 0; i < all; i++)
        of[log[i]]++;
    for (unsigned i = 0; i < SPAWNERS; i++)
        ck_assert_uint_eq(of[i], SCALED(5000));
    smolscale_local_free(local);
    free(log);
}
END_TEST

// ---- run

struct conversation {
    SMOLSCALE_FRAME;
    smolscale_channel *out, *in;
    unsigned i, rounds, answer;
};

// Talks to a task elsewhere.
SMOLSCALE_ASYNC(conversation, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->i = 0; f->i < f->rounds; f->i++) {
        SMOLSCALE_TRY(smolscale_send(cx, f->out, &f->i));
        SMOLSCALE_TRY(smolscale_recv(cx, f->in, &f->answer));
        if (f->answer != f->i)
            SMOLSCALE_RETURN(-EILSEQ);
    }
    SMOLSCALE_RETURN((int)f->i);
    SMOLSCALE_END;
}

struct echo {
    SMOLSCALE_FRAME;
    smolscale_channel *in, *out;
    unsigned message;
};

SMOLSCALE_ASYNC(echo, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TRY(smolscale_recv(cx, f->in, &f->message));
        SMOLSCALE_TRY(smolscale_send(cx, f->out, &f->message));
    }
    SMOLSCALE_END;
}

START_TEST(run_gives_the_result_and_runs_its_tasks_meanwhile)
{
    smolscale_local *local = local_new();
    smolscale_channel *there = channel_new(1), *back = channel_new(1);
    smolscale_task *task;
    LOCAL_SPAWN(local, &task, echo, .in = there, .out = back);
    struct conversation talk = {.out = there, .in = back, .rounds = 1000};
    ck_assert_int_eq(smolscale_local_run(local, conversation, &talk), 1000);
    ck_assert(!smolscale_finished(task));
    ck_assert_uint_eq(stats_now().workers, 0);
    smolscale_close(there);
    while (smolscale_local_try_tick(local))
        ;
    ck_assert_int_eq(end_of(task), -EPIPE);
    smolscale_local_free(local);
    smolscale_channel_unref(there);
    smolscale_channel_unref(back);
}
END_TEST

START_TEST(local_and_shared_tasks_talk_to_one_another)
{
    smolscale_local *local = local_new();
    smolscale_channel *there = channel_new(0), *back = channel_new(0);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, echo, .in = there, .out = back), 0);
    struct conversation talk = {.out = there, .in = back, .rounds = SCALED(20000)};
    ck_assert_int_eq(smolscale_local_run(local, conversation, &talk), (int)SCALED(20000));
    smolscale_close(there);
    ck_assert_int_eq(end_of(task), -EPIPE);
    smolscale_local_free(local);
    smolscale_channel_unref(there);
    smolscale_channel_unref(back);
}
END_TEST

static void run_in_a_job(void *item, void *user_data)
{
    (void)user_data;
    smolscale_local *local = local_new();
    struct sleeper nap = {.ns = 100000, .left = 5};
    *(int *)item = smolscale_local_run(local, sleeper, &nap);
    smolscale_local_free(local);
}

START_TEST(run_works_in_a_job)
{
    int results[4] = {0};
    smolscale_queue *queue = queue_new(run_in_a_job, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 4; i++)
        push(queue, &results[i]);
    smolscale_queue_free(queue);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(results[i], 7);
}
END_TEST

// ---- timers and descriptors

START_TEST(timers_fire_in_run_and_in_another_loop_without_any_worker)
{
    smolscale_local *local = local_new();
    struct sleeper nap = {.ns = 1000000, .left = 10};
    ck_assert_int_eq(smolscale_local_run(local, sleeper, &nap), 7);
    smolscale_task *task;
    LOCAL_SPAWN(local, &task, sleeper, .ns = 1000000, .left = 10);
    while (!smolscale_finished(task))
        foreign_loop_once(local);
    ck_assert_int_eq(end_of(task), 7);
    ck_assert_uint_eq(stats_now().workers, 0);
    smolscale_local_free(local);
}
END_TEST

// A worker sleeps until a later time: it must not count as the one who keeps the nearer.
START_TEST(a_timer_of_another_loop_does_not_wait_for_a_later_one)
{
    smolscale_task *late, *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&late, sleeper, .ns = 3600 * SS_NS_PER_S, .left = 1), 0);
    EVENTUALLY(smolscale_running_threads() == 0 && parked_workers(NULL) > 0, ==, true);
    smolscale_local *local = local_new();
    for (unsigned i = 0; i < 5; i++) {
        LOCAL_SPAWN(local, &task, sleeper, .ns = 2000000, .left = 2);
        while (!smolscale_finished(task))
            foreign_loop_once(local);
        ck_assert_int_eq(end_of(task), 7);
    }
    smolscale_local_free(local);
    smolscale_cancel(late);
    ck_assert_int_eq(end_of(late), -ECANCELED);
}
END_TEST

static struct counter met = COUNTER_INIT;

static void meet_eight(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&met, 1);
    counter_wait(&met, 8);
}

// The balancer, who keeps the time here, still has to add workers to those that block.
START_TEST(a_distant_timer_does_not_keep_jobs_waiting)
{
    smolscale_queue *queue = queue_new(run_in_a_job, NULL, SMOLSCALE_UNLIMITED);
    int results[8];
    for (unsigned i = 0; i < 8; i++)
        push(queue, &results[i]);
    smolscale_queue_free(queue);
    smolscale_local *local = local_new();
    LOCAL_SPAWN(local, NULL, sleeper, .ns = 3600 * SS_NS_PER_S, .left = 1);
    while (smolscale_local_try_tick(local))
        ;
    uint64_t ticks;
    do { // until it sleeps
        ticks = stats_now().ticks;
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    } while (ticks != stats_now().ticks);
    queue = queue_new(meet_eight, NULL, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 8; i++)
        push(queue, item_of(i));
    smolscale_queue_free(queue);
    smolscale_local_free(local);
}
END_TEST

static void *write_with_pauses(void *arg)
{
    int fd = *(int *)arg;
    for (unsigned i = 0; i < SCALED(3000); i++) {
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_write(cx, fd, "abc", 3)), 3);
        if (i % 8 == 0)
            nanosleep(&(struct timespec){0, 20000}, NULL);
    }
    smolscale_forget(fd);
    close(fd);
    return NULL;
}

static void read_all(bool foreign)
{
    smolscale_local *local = local_new();
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    smolscale_task *task;
    LOCAL_SPAWN(local, &task, reader, .fd = fds[0]);
    pthread_t thread = thread_start(write_with_pauses, &fds[1]);
    while (!smolscale_finished(task)) {
        if (foreign)
            foreign_loop_once(local);
        else
            smolscale_local_tick(local);
    }
    pthread_join(thread, NULL);
    ck_assert_int_eq(end_of(task), (int)(3 * SCALED(3000)));
    ck_assert_uint_eq(stats_now().workers, 0);
    smolscale_forget(fds[0]);
    close(fds[0]);
    smolscale_local_free(local);
}

START_TEST(descriptors_are_seen_in_tick_without_any_worker)
{
    read_all(false);
}
END_TEST

START_TEST(descriptors_are_seen_in_another_loop_without_any_worker)
{
    read_all(true);
}
END_TEST

// ---- the end

struct waker_waiter {
    SMOLSCALE_FRAME;
    smolscale_waker *out;
    struct counter *begun;
    int n;
};

static int wait_for_a_waker(smolscale_cx *cx, struct waker_waiter *f)
{
    if (f->out->task)
        return 0;
    *f->out = smolscale_waker_new(cx);
    return SMOLSCALE_PENDING;
}

SMOLSCALE_ASYNC(waker_waiter, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_POLL(f->n, wait_for_a_waker(cx, f));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

struct busy {
    SMOLSCALE_FRAME;
};

SMOLSCALE_ASYNC(busy, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;)
        SMOLSCALE_YIELD();
    SMOLSCALE_END;
}

START_TEST(freeing_ends_tasks_wherever_they_are)
{
    smolscale_local *local = local_new();
    smolscale_channel *channel = channel_new(0);
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    smolscale_waker waker = {NULL};
    smolscale_task *task[7];
    LOCAL_SPAWN(local, &task[0], summer, .in = channel, .left = 1, .thread = pthread_self());
    LOCAL_SPAWN(local, &task[1], sleeper, .ns = 3600 * SS_NS_PER_S, .left = 1);
    LOCAL_SPAWN(local, &task[2], reader, .fd = fds[0]);
    LOCAL_SPAWN(local, &task[3], waker_waiter, .out = &waker);
    LOCAL_SPAWN(local, &task[4], busy, .smolscale_frame = {NULL, 0});
    LOCAL_SPAWN(local, NULL, busy, .smolscale_frame = {NULL, 0});
    for (unsigned i = 0; i < 20; i++)
        ck_assert(smolscale_local_try_tick(local));
    LOCAL_SPAWN(local, &task[5], busy, .smolscale_frame = {NULL, 0}); // has not begun
    LOCAL_SPAWN(local, &task[6], sleeper, .left = 0);                 // nor this one
    for (unsigned i = 0; i < 7; i++)
        ck_assert(!smolscale_finished(task[i]));
    smolscale_local_free(local);
    for (unsigned i = 0; i < 7; i++) {
        ck_assert(smolscale_finished(task[i]));
        ck_assert(!smolscale_cancel(task[i]));
        ck_assert_int_eq(end_of(task[i]), -ECANCELED);
    }
    smolscale_wake(waker); // outlives it
    smolscale_waker_drop(waker);
    // Nothing of them is left in what they waited for.
    unsigned message = 1;
    ck_assert_int_eq(smolscale_try_send(channel, &message), -EAGAIN);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    char c;
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, fds[0], &c, 1)), 1);
    smolscale_channel_unref(channel);
    smolscale_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
    smolscale_local_free(NULL);
}
END_TEST

struct knocker {
    smolscale_channel *channel;
    atomic_bool stop;
};

static void *knock(void *arg)
{
    struct knocker *knocker = arg;
    unsigned message = 0;
    while (!atomic_load(&knocker->stop))
        if (smolscale_try_send(knocker->channel, &message) != 0)
            sched_yield();
    return NULL;
}

START_TEST(freeing_races_with_wakes_and_cancels)
{
    struct knocker knocker = {.channel = channel_new(0)};
    pthread_t thread = thread_start(knock, &knocker);
    for (unsigned round = 0; round < SCALED(2000); round++) {
        enum { TASKS = 8 };
        smolscale_local *local = local_new();
        smolscale_task *task[TASKS];
        for (unsigned i = 0; i < TASKS; i++)
            LOCAL_SPAWN(local, &task[i], summer, .in = knocker.channel, .left = 1u << 30,
                        .thread = pthread_self());
        for (unsigned i = 0; i < round % 64; i++)
            smolscale_local_try_tick(local);
        smolscale_local_free(local);
        for (unsigned i = 0; i < TASKS; i++)
            ck_assert_int_eq(end_of(task[i]), -ECANCELED);
    }
    atomic_store(&knocker.stop, true);
    pthread_join(thread, NULL);
    smolscale_channel_unref(knocker.channel);
}
END_TEST

START_TEST(tasks_are_cancelled_and_time_out_as_elsewhere)
{
    smolscale_local *local = local_new();
    smolscale_channel *channel = channel_new(0);
    smolscale_task *task;
    LOCAL_SPAWN(local, &task, summer, .in = channel, .left = 1, .thread = pthread_self());
    while (smolscale_local_try_tick(local))
        ;
    ck_assert(smolscale_cancel(task));
    ck_assert(readable(local, 0));
    while (smolscale_local_try_tick(local))
        ;
    ck_assert_int_eq(end_of(task), -ECANCELED);
    smolscale_channel_unref(channel);
    smolscale_local_free(local);
}
END_TEST

// ---- zero idle

START_TEST(while_its_tasks_wait_in_another_loop_nothing_wakes_up)
{
    struct tids others;
    threads_before_first_use(&others);
    smolscale_local *local = local_new();
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    smolscale_task *task;
    LOCAL_SPAWN(local, &task, reader, .fd = fds[0]);
    while (smolscale_local_try_tick(local))
        ;
    ck_nothing_wakes_up(&others);
    ck_assert(!readable(local, 0));
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    foreign_loop_once(local);
    close(fds[1]);
    while (!smolscale_finished(task))
        foreign_loop_once(local);
    ck_assert_int_eq(end_of(task), 1);
    smolscale_local_free(local);
    smolscale_forget(fds[0]);
    close(fds[0]);
}
END_TEST

int main(void)
{
    return test_suite("local", (const TTest *[]){
                                   tasks_take_turns_on_the_calling_thread,
                                   its_descriptor_is_readable_while_tasks_are_ready,
                                   no_wake_from_another_thread_is_lost_in_tick,
                                   no_wake_from_another_thread_is_lost_in_another_loop,
                                   what_other_threads_spawn_runs_once_on_its_thread,
                                   run_gives_the_result_and_runs_its_tasks_meanwhile,
                                   local_and_shared_tasks_talk_to_one_another,
                                   run_works_in_a_job,
                                   timers_fire_in_run_and_in_another_loop_without_any_worker,
                                   a_timer_of_another_loop_does_not_wait_for_a_later_one,
                                   a_distant_timer_does_not_keep_jobs_waiting,
                                   descriptors_are_seen_in_tick_without_any_worker,
                                   descriptors_are_seen_in_another_loop_without_any_worker,
                                   freeing_ends_tasks_wherever_they_are,
                                   freeing_races_with_wakes_and_cancels,
                                   tasks_are_cancelled_and_time_out_as_elsewhere,
                                   while_its_tasks_wait_in_another_loop_nothing_wakes_up,
                                   NULL,
                               });
}
