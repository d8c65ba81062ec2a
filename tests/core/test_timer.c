// SPDX-License-Identifier: ISC
//
// Timers: sleeping, deadlines of other awaits, intervals, and who wakes for them. The clock is the
// fake one where a test says so; it stands until the test moves it.

#include "io/timer.h"
#include "os/fence.h"
#include "support.h"
#include "task/waitlist.h"

#include <smolscale_async.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#define MS SS_NS_PER_MS

static atomic_uint ended;

struct sleeper {
    SMOLSCALE_FRAME;
    uint64_t when;
    int got;
    uint64_t *woken_at; // NULL: not wanted
};
SMOLSCALE_ASYNC(sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_sleep_until(cx, f->when));
    if (f->woken_at)
        *f->woken_at = smolscale_now();
    atomic_fetch_add(&ended, 1);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

static int join(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

// Moves the fake clock on in small steps until the task has ended; at most by `most`.
static bool ends_within(smolscale_task *task, uint64_t most)
{
    for (uint64_t moved = 0; moved < most && !smolscale_finished(task); moved += 10 * MS) {
        fake_clock_advance(10 * MS);
        test_breathe();
    }
    return smolscale_finished(task);
}

START_TEST(a_sleep_of_a_thread_lasts_that_long)
{
    uint64_t begin = test_clock();
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep(cx, 5 * MS)), 0);
    ck_assert_uint_ge(test_clock() - begin, 5 * MS);
}
END_TEST

START_TEST(a_sleep_of_a_task_lasts_that_long)
{
    uint64_t begin = test_clock(), woken_at = 0;
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, sleeper, .when = begin + 5 * MS, .woken_at = &woken_at),
                     0);
    ck_assert_int_eq(join(task), 0);
    ck_assert_uint_ge(woken_at - begin, 5 * MS);
}
END_TEST

START_TEST(sleepers_wake_when_their_time_comes_and_not_before)
{
    fake_clock_start();
    static const uint64_t after[] = {50, 10, 30, 20, 40};
    uint64_t base = smolscale_now();
    smolscale_task *tasks[5];
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&tasks[i], sleeper, .when = base + after[i] * MS), 0);
    for (unsigned step = 1; step <= 5; step++) {
        fake_clock_advance(10 * MS);
        EVENTUALLY(atomic_load(&ended), ==, step);
        for (unsigned i = 0; i < 5; i++)
            if (after[i] > step * 10)
                ck_assert_msg(!smolscale_finished(tasks[i]), "task %u ended before its time", i);
    }
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(join(tasks[i]), 0);
}
END_TEST

START_TEST(a_time_that_has_passed_is_not_waited_for)
{
    fake_clock_start();
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep(cx, 0)), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep_until(cx, smolscale_now() - 1)), 0);
}
END_TEST

START_TEST(ten_thousand_timers_each_fire_once_and_in_time)
{
    fake_clock_start();
    enum { TIMERS = SCALED(10000), STEPS = 50 };
    uint64_t base = smolscale_now(), state = 7;
    static uint64_t when[TIMERS], woken_at[TIMERS];
    static smolscale_task *tasks[TIMERS];
    for (unsigned i = 0; i < TIMERS; i++) {
        when[i] = base + 1 + test_random(&state) % (STEPS * MS);
        ck_assert_int_eq(
            SMOLSCALE_SPAWN(&tasks[i], sleeper, .when = when[i], .woken_at = &woken_at[i]), 0);
    }
    for (unsigned step = 1; step <= STEPS; step++) {
        unsigned due = 0;
        for (unsigned i = 0; i < TIMERS; i++)
            due += when[i] <= base + step * MS;
        fake_clock_advance(MS);
        EVENTUALLY(atomic_load(&ended), >=, due);
        ck_assert_uint_eq(atomic_load(&ended), due);
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        ck_assert_int_eq(join(tasks[i]), 0);
        ck_assert_uint_ge(woken_at[i], when[i]);
        ck_assert_uint_le(woken_at[i], when[i] + MS); // the clock's next step
    }
    ck_assert_uint_eq(atomic_load(&ended), TIMERS);
}
END_TEST

// ---- deadlines

struct receiver {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    uint64_t outer, inner; // ns; 0: none
    int first, second;
    long message;
    struct receiver *callee;
};
SMOLSCALE_ASYNC(receiver, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->inner) {
        SMOLSCALE_TIMEOUT(f->first, f->inner, smolscale_recv(cx, f->channel, &f->message));
    } else {
        SMOLSCALE_AWAIT(f->first, smolscale_recv(cx, f->channel, &f->message));
    }
    SMOLSCALE_RETURN(f->first);
    SMOLSCALE_END;
}

struct outer_timeout {
    SMOLSCALE_FRAME;
    struct receiver callee;
    uint64_t outer;
    int got, afterwards;
};
SMOLSCALE_ASYNC(outer_timeout, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL_TIMEOUT(f->got, f->outer, receiver, f->callee, .channel = f->callee.channel,
                           .inner = f->callee.inner);
    SMOLSCALE_AWAIT(f->afterwards, smolscale_sleep(cx, MS)); // has no deadline any more
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

static smolscale_channel *channel_of_longs(void)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(long), 4), 0);
    return channel;
}

START_TEST(an_await_ends_when_its_time_is_up_and_not_before)
{
    fake_clock_start();
    smolscale_channel *channel = channel_of_longs();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, receiver, .channel = channel, .inner = 100 * MS), 0);
    for (unsigned i = 0; i < 9; i++) {
        fake_clock_advance(10 * MS);
        test_breathe();
        ck_assert(!smolscale_finished(task));
    }
    ck_assert(ends_within(task, 1000 * MS));
    ck_assert_int_eq(join(task), -ETIMEDOUT);
    smolscale_channel_unref(channel);
}
END_TEST

// The clock stands still one nanosecond before, and then at the time itself.
static void ends_exactly_at(smolscale_task *task, uint64_t when, int result)
{
    EVENTUALLY(ss_next_due(), ==, when);
    all_parked();
    fake_clock_advance(when - smolscale_now() - 1);
    for (unsigned i = 0; i < 20; i++) {
        test_breathe();
        ck_assert_msg(!smolscale_finished(task), "it ended before its time");
    }
    fake_clock_advance(1);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ck_assert_int_eq(join(task), result);
}

START_TEST(sleeps_and_deadlines_end_at_their_time_to_the_nanosecond)
{
    fake_clock_start();
    smolscale_channel *channel = channel_of_longs();
    for (unsigned i = 1; i <= 10; i++) {
        smolscale_task *task;
        uint64_t when = smolscale_now() + i * 7 * MS;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, sleeper, .when = when), 0);
        ends_exactly_at(task, when, 0);
        when = smolscale_now() + i * 7 * MS;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, receiver, .channel = channel, .inner = i * 7 * MS),
                         0);
        ends_exactly_at(task, when, -ETIMEDOUT);
    }
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(what_comes_in_time_ends_the_timeout)
{
    fake_clock_start();
    smolscale_channel *channel = channel_of_longs();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, receiver, .channel = channel, .inner = 100 * MS), 0);
    fake_clock_advance(50 * MS);
    ck_assert_int_eq(smolscale_try_send(channel, &(long){42}), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
    ck_assert_int_eq(((struct receiver *)smolscale_frame(task))->message, 42);
    smolscale_release(task);
    smolscale_channel_unref(channel);
}
END_TEST

// The sooner of two timeouts holds, and both are gone after.
static void nested(uint64_t outer, uint64_t inner, uint64_t ends_before)
{
    smolscale_channel *channel = channel_of_longs();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, outer_timeout, .callee.channel = channel,
                                     .callee.inner = inner, .outer = outer),
                     0);
    ck_assert(ends_within(task, ends_before));
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), -ETIMEDOUT);
    ck_assert_int_eq(((struct outer_timeout *)smolscale_frame(task))->afterwards, 0);
    smolscale_release(task);
    smolscale_channel_unref(channel);
}

START_TEST(the_sooner_of_nested_timeouts_holds)
{
    fake_clock_start();
    nested(50 * MS, 50000 * MS, 1000 * MS);
    nested(50000 * MS, 50 * MS, 1000 * MS);
    nested(50 * MS, 0, 1000 * MS);
}
END_TEST

// A sleep is cut by the deadline of the call it is in.
struct long_sleep {
    SMOLSCALE_FRAME;
    struct sleeper callee;
    int got;
};
SMOLSCALE_ASYNC(long_sleep, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL_TIMEOUT(f->got, 20 * MS, sleeper, f->callee, .when = f->callee.when);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_timeout_cuts_a_sleep)
{
    fake_clock_start();
    smolscale_task *task;
    uint64_t when = smolscale_now() + 3600 * SS_NS_PER_S;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, long_sleep, .callee.when = when), 0);
    ck_assert(ends_within(task, 1000 * MS));
    ck_assert_int_eq(join(task), -ETIMEDOUT);
}
END_TEST

// Awaits by the hundred, each under a deadline that most do not reach, while messages come: a
// timeout never hits an await after its own, and no message is lost.
struct racer {
    SMOLSCALE_FRAME;
    smolscale_channel *channel, *never;
    unsigned received, timed_out;
    int got, spoiled;
    long message;
};
SMOLSCALE_ASYNC(racer, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_TIMEOUT(f->got, 20 * SS_NS_PER_US, smolscale_recv(cx, f->channel, &f->message));
        if (f->got == -EPIPE)
            break;
        ck_assert(f->got == 0 || f->got == -ETIMEDOUT);
        f->received += f->got == 0;
        f->timed_out += f->got == -ETIMEDOUT;
        SMOLSCALE_AWAIT(f->spoiled, smolscale_sleep(cx, 1000));
        ck_assert_int_eq(f->spoiled, 0);
    }
    SMOLSCALE_END;
}

static void *send_now_and_then(void *arg)
{
    uint64_t state = 1;
    for (unsigned i = 0; i < SCALED(3000); i++) {
        long message = (long)i;
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, (smolscale_channel *)arg, &message)),
                         0);
        for (uint64_t end = test_clock() + test_random(&state) % 40000; test_clock() < end;)
            ;
    }
    return NULL;
}

START_TEST(timeouts_and_messages_race_and_neither_is_mistaken)
{
    smolscale_channel *channel = channel_of_longs();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, racer, .channel = channel), 0);
    pthread_join(thread_start(send_now_and_then, channel), NULL);
    smolscale_close(channel);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 0);
    const struct racer *f = smolscale_frame(task);
    ck_assert_uint_eq(f->received, SCALED(3000));
    smolscale_release(task);
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(a_thread_may_have_a_deadline)
{
    smolscale_channel *channel = channel_of_longs();
    long message;
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK((smolscale_deadline(cx, smolscale_now() + MS),
                                          smolscale_recv(cx, channel, &message))),
                         -ETIMEDOUT);
    // In time: nothing of it is left behind.
    ck_assert_int_eq(smolscale_try_send(channel, &(long){1}), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK((smolscale_deadline(cx, smolscale_now() + MS),
                                      smolscale_recv(cx, channel, &message))),
                     0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep(cx, 5 * MS)), 0);
    smolscale_channel_unref(channel);
}
END_TEST

// ---- tasks that never wait

enum busy {
    SENDS,  // awaits that are always ready
    YIELDS, // and nothing else
    ASKS,   // whether it is interrupted, within one poll
};

struct busy_loop {
    SMOLSCALE_FRAME;
    enum busy with;
    atomic_ulong *turns;
    smolscale_channel *channel;
    long message;
    int got;
};
SMOLSCALE_ASYNC(busy_loop, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        atomic_fetch_add(f->turns, 1);
        if (f->with == SENDS) {
            SMOLSCALE_TRY(smolscale_send(cx, f->channel, &f->message));
            SMOLSCALE_TRY(smolscale_recv(cx, f->channel, &f->message));
        } else if (f->with == YIELDS) {
            SMOLSCALE_TRY(smolscale_yield(cx));
        } else if ((f->got = smolscale_interrupted(cx)) != 0) {
            SMOLSCALE_RETURN(f->got);
        }
    }
    SMOLSCALE_END;
}

struct busy_under_timeout {
    SMOLSCALE_FRAME;
    struct busy_loop callee;
    int got;
};
SMOLSCALE_ASYNC(busy_under_timeout, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL_TIMEOUT(f->got, 50 * MS, busy_loop, f->callee, .with = f->callee.with,
                           .turns = f->callee.turns, .channel = f->callee.channel);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

static atomic_ulong turns;

static void more_turns(void)
{
    unsigned long before = atomic_load(&turns);
    EVENTUALLY(atomic_load(&turns) - before, >=, 1000);
}

static void busy_until(enum busy with, bool cancelled)
{
    smolscale_channel *channel = channel_of_longs();
    fake_clock_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, busy_under_timeout, .callee.with = with,
                                     .callee.turns = &turns, .callee.channel = channel),
                     0);
    more_turns(); // it has begun
    fake_clock_advance(50 * MS - 1);
    more_turns();
    ck_assert_msg(!smolscale_finished(task), "it ended before its time");
    if (cancelled)
        ck_assert(smolscale_cancel(task));
    else
        fake_clock_advance(1);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ck_assert_int_eq(join(task), cancelled ? -ECANCELED : -ETIMEDOUT);
    smolscale_channel_unref(channel);
}

START_TEST(a_task_whose_awaits_are_always_ready_times_out)
{
    busy_until(SENDS, false);
}
END_TEST

START_TEST(a_task_that_only_yields_times_out)
{
    busy_until(YIELDS, false);
}
END_TEST

START_TEST(a_task_that_only_asks_times_out)
{
    busy_until(ASKS, false);
}
END_TEST

START_TEST(a_task_whose_awaits_are_always_ready_is_cancelled)
{
    busy_until(SENDS, true);
}
END_TEST

START_TEST(a_task_that_only_yields_is_cancelled)
{
    busy_until(YIELDS, true);
}
END_TEST

// Timeouts that are not reached, under one that is: each ready await has its own.
struct inner_timeouts {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    long message;
    int got;
};
SMOLSCALE_ASYNC(inner_timeouts, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        atomic_fetch_add(&turns, 1);
        SMOLSCALE_TIMEOUT(f->got, MS, smolscale_send(cx, f->channel, &f->message));
        if (f->got < 0)
            SMOLSCALE_RETURN(f->got);
        SMOLSCALE_TIMEOUT(f->got, MS, smolscale_recv(cx, f->channel, &f->message));
        if (f->got < 0)
            SMOLSCALE_RETURN(f->got);
    }
    SMOLSCALE_END;
}
struct outer_of_inner {
    SMOLSCALE_FRAME;
    struct inner_timeouts callee;
    int got;
};
SMOLSCALE_ASYNC(outer_of_inner, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_CALL_TIMEOUT(f->got, 50 * MS, inner_timeouts, f->callee,
                           .channel = f->callee.channel);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(timeouts_within_a_timeout_do_not_put_it_off)
{
    fake_clock_start();
    smolscale_channel *channel = channel_of_longs();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, outer_of_inner, .callee.channel = channel), 0);
    more_turns();
    fake_clock_advance(50 * MS);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ck_assert_int_eq(join(task), -ETIMEDOUT);
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(what_has_come_is_given_though_time_is_up)
{
    fake_clock_start();
    smolscale_channel *channel = channel_of_longs();
    long message;
    ck_assert_int_eq(smolscale_try_send(channel, &(long){42}), 0);
    ck_assert_int_eq(
        SMOLSCALE_BLOCK((smolscale_begin_timeout(cx, 0), smolscale_recv(cx, channel, &message))),
        0);
    ck_assert_int_eq(message, 42);
    ck_assert_int_eq(
        SMOLSCALE_BLOCK((smolscale_begin_timeout(cx, 0), smolscale_recv(cx, channel, &message))),
        -ETIMEDOUT);
    smolscale_channel_unref(channel);
}
END_TEST

// ---- without memory

static atomic_bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    // Small pieces are Check's own.
    return size >= 4096 && atomic_load(&no_memory) ? NULL : __real_malloc(size);
}

START_TEST(an_await_whose_deadline_finds_no_memory_says_so)
{
    fake_clock_start();
    smolscale_channel *channel = channel_of_longs();
    long message;
    atomic_store(&no_memory, true);
    ck_assert_int_eq(SMOLSCALE_BLOCK((smolscale_begin_timeout(cx, 100 * MS),
                                      smolscale_recv(cx, channel, &message))),
                     -ENOMEM);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep(cx, MS)), -ENOMEM);
    atomic_store(&no_memory, false);
    // The channel is as before: the next to wait gets the message.
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, receiver, .channel = channel, .inner = 100 * MS), 0);
    all_parked();
    ck_assert_int_eq(smolscale_try_send(channel, &(long){43}), 0);
    ck_assert_int_eq(join(task), 0);
    smolscale_channel_unref(channel);
}
END_TEST

// Waits for a waker that nobody has. Under a deadline without memory it is polled until that comes.
struct deaf {
    SMOLSCALE_FRAME;
    int got;
};
static int never(smolscale_cx *cx)
{
    (void)cx;
    atomic_fetch_add(&turns, 1);
    return SMOLSCALE_PENDING;
}
SMOLSCALE_ASYNC(deaf, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_deadline(cx, smolscale_now() + 100 * MS);
    SMOLSCALE_POLL(f->got, never(cx));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_deadline_without_memory_holds_for_a_waker_too)
{
    fake_clock_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, sleeper, .when = 0), 0);
    ck_assert_int_eq(join(task), 0);
    atomic_store(&no_memory, true);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, deaf, .got = 0), 0);
    EVENTUALLY(atomic_load(&turns), >=, 1);
    ck_assert(!smolscale_finished(task));
    fake_clock_advance(100 * MS);
    EVENTUALLY(smolscale_finished(task), ==, true);
    atomic_store(&no_memory, false);
    ck_assert_int_eq(join(task), -ETIMEDOUT);
}
END_TEST

// ---- cancelling

START_TEST(a_cancelled_sleeper_leaves_no_timer_behind)
{
    fake_clock_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, sleeper, .when = smolscale_now() + 3600 * SS_NS_PER_S),
                     0);
    all_parked();
    ck_assert(smolscale_cancel(task));
    ck_assert_int_eq(join(task), -ECANCELED);
    // The worker that kept its time may still wake for it, once; the balancer looks a few times
    // more; then nothing wakes by itself.
    fake_clock_advance(3600 * SS_NS_PER_S);
    for (unsigned i = 0; i < 1000 && fake_clock_timed_sleepers() > 0; i++) {
        fake_clock_advance(20 * MS);
        test_breathe();
    }
    ck_assert_uint_eq(fake_clock_timed_sleepers(), 0);
}
END_TEST

// ---- intervals

struct ticker {
    SMOLSCALE_FRAME;
    smolscale_interval interval;
    smolscale_channel *ticks;
    int n, got;
    unsigned i;
    atomic_uint *waits_ended;
};
SMOLSCALE_ASYNC(ticker, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_interval_init(&f->interval, 10 * MS);
    SMOLSCALE_AWAIT(f->got, smolscale_send(cx, f->ticks, &f->n)); // it has begun
    for (f->i = 0; f->i < 4; f->i++) {
        SMOLSCALE_AWAIT(f->n, smolscale_interval_wait(cx, &f->interval));
        atomic_fetch_add(f->waits_ended, 1);
        SMOLSCALE_AWAIT(f->got, smolscale_send(cx, f->ticks, &f->n));
    }
    SMOLSCALE_END;
}

START_TEST(an_interval_tells_how_many_periods_have_passed)
{
    fake_clock_start();
    smolscale_channel *ticks;
    ck_assert_int_eq(smolscale_channel_new(&ticks, sizeof(int), 0), 0);
    smolscale_task *task;
    atomic_uint waits_ended = 0;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, ticker, .ticks = ticks, .waits_ended = &waits_ended),
                     0);
    int n;
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, ticks, &n)), 0);
    // It goes on to the next only when its last has been taken: 1, then 3 missed of which it is
    // told, then in time again.
    fake_clock_advance(10 * MS);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, ticks, &n)), 0);
    ck_assert_int_eq(n, 1);
    fake_clock_advance(10 * MS);
    EVENTUALLY(atomic_load(&waits_ended), ==, 2);
    fake_clock_advance(35 * MS);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, ticks, &n)), 0);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, ticks, &n)), 0);
    ck_assert_int_eq(n, 3);
    fake_clock_advance(5 * MS);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, ticks, &n)), 0);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(join(task), 0);
    smolscale_channel_unref(ticks);
}
END_TEST

// Each wait is cut off before its tick comes, some several times. Ticks that have come are given
// all the same.
struct cut_ticker {
    SMOLSCALE_FRAME;
    smolscale_interval interval;
    int got;
    atomic_ulong *periods, *cuts;
};
SMOLSCALE_ASYNC(cut_ticker, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_interval_init(&f->interval, 50 * MS);
    for (;;) {
        SMOLSCALE_TIMEOUT(f->got, 20 * MS, smolscale_interval_wait(cx, &f->interval));
        if (f->got == -ECANCELED)
            break;
        ck_assert_msg(f->got > 0 || f->got == -ETIMEDOUT, "got %d", f->got);
        if (f->got > 0)
            atomic_fetch_add(f->periods, (unsigned long)f->got);
        else
            atomic_fetch_add(f->cuts, 1);
    }
    SMOLSCALE_END;
}

START_TEST(a_wait_that_is_cut_off_takes_no_tick)
{
    fake_clock_start();
    smolscale_task *task;
    static atomic_ulong periods, cuts;
    uint64_t begin = smolscale_now();
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, cut_ticker, .periods = &periods, .cuts = &cuts), 0);
    EVENTUALLY(ss_next_due(), ==, begin + 20 * MS);
    for (unsigned ms = 10; ms <= 1000; ms += 10) {
        fake_clock_advance(10 * MS);
        // What has come by now is given now: it waits for something that is still to come.
        EVENTUALLY(ss_next_due() > smolscale_now() && ss_next_due() != SS_FOREVER, ==, true);
        EVENTUALLY(atomic_load(&periods), ==, ms / 50);
    }
    ck_assert_uint_ge(atomic_load(&cuts), 20);
    ck_assert(smolscale_cancel(task));
    ck_assert_int_eq(join(task), 0);
}
END_TEST

struct far_ticker {
    SMOLSCALE_FRAME;
    smolscale_interval interval;
    uint64_t period;
    int got;
};
SMOLSCALE_ASYNC(far_ticker, f)
{
    SMOLSCALE_BEGIN(f);
    smolscale_interval_init(&f->interval, f->period);
    SMOLSCALE_TIMEOUT(f->got, 20 * MS, smolscale_interval_wait(cx, &f->interval));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(times_beyond_the_end_of_the_range_never_come)
{
    static const uint64_t far[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - SS_NS_PER_S,
                                   UINT64_MAX / 2};
    fake_clock_start();
    for (unsigned i = 0; i < sizeof far / sizeof far[0]; i++) {
        smolscale_task *tick, *sleep;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&tick, far_ticker, .period = far[i]), 0);
        ck_assert_int_eq(SMOLSCALE_SPAWN(&sleep, sleeper, .when = far[i]), 0);
        ck_assert(ends_within(tick, 1000 * MS));
        ck_assert_int_eq(join(tick), -ETIMEDOUT);
        ck_assert_int_eq(SMOLSCALE_BLOCK((smolscale_begin_timeout(cx, 0), //
                                          smolscale_sleep(cx, far[i]))),
                         -ETIMEDOUT);
        ck_assert(!smolscale_finished(sleep));
        smolscale_cancel(sleep);
        ck_assert_int_eq(join(sleep), -ECANCELED);
    }
}
END_TEST

START_TEST(the_last_tick_of_the_range_is_not_followed_by_others)
{
    fake_clock_start();
    smolscale_interval interval;
    smolscale_interval_init(&interval, MS);
    interval.period = UINT64_MAX - MS;
    fake_clock_advance(2 * MS);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_interval_wait(cx, &interval)), 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK((smolscale_begin_timeout(cx, 0), //
                                      smolscale_interval_wait(cx, &interval))),
                     -ETIMEDOUT);
}
END_TEST

// ---- who wakes

// No divisor of the time between two looks of the balancer: it never looks just when a nap ends.
#define NAP (1900 * SS_NS_PER_US)

struct napper {
    SMOLSCALE_FRAME;
    unsigned times;
    int got;
};
SMOLSCALE_ASYNC(napper, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->times-- > 0) {
        SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, NAP));
        ck_assert_int_eq(f->got, 0);
    }
    SMOLSCALE_END;
}

// The clock stands still one nanosecond before the end of each nap, until the balancer, too, has
// looked and sleeps.
static void nap(smolscale_task *task, unsigned times)
{
    while (times-- > 0) {
        EVENTUALLY(ss_next_due(), ==, smolscale_now() + NAP);
        fake_clock_advance(NAP - 1);
        all_parked();
        EVENTUALLY(fake_clock_sleeps_on(&ss.balancer), ==, true);
        fake_clock_advance(1);
    }
    EVENTUALLY(smolscale_finished(task), ==, 1);
    ck_assert_int_eq(join(task), 0);
}

START_TEST(a_sleeping_task_is_woken_by_the_one_worker_that_runs_it)
{
    fake_clock_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, napper, .times = 1), 0);
    nap(task, 1);
    all_parked();
    uint64_t created = stats_now().workers_created;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, napper, .times = 50), 0);
    uint64_t wakes = stats_now().wakes; // the spawn's among them
    nap(task, 50);
    ck_assert_uint_eq(stats_now().wakes, wakes);
    ck_assert_uint_eq(stats_now().workers_created, created);
}
END_TEST

static struct counter met, freed = COUNTER_INIT;

static void meet(void *item, void *user_data)
{
    (void)item;
    counter_add(&met, 1);
    counter_wait(&met, *(unsigned long *)user_data);
}

// Two workers, both parked; one that keeps a time has parked first, so the other is woken first.
static smolscale_task *far_keeper_parks_first(void)
{
    static unsigned long both = 2;
    smolscale_queue *queue = queue_new(meet, &both, 2);
    met = (struct counter)COUNTER_INIT;
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), 2, NULL), 0);
    smolscale_queue_wait(queue);
    smolscale_task *far;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&far, sleeper, .when = smolscale_now() + 3600 * SS_NS_PER_S),
                     0);
    all_parked();
    both = 4;
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(0), 2, NULL), 0);
    smolscale_queue_wait(queue);
    all_parked();
    smolscale_queue_free(queue);
    return far;
}

struct blocker {
    SMOLSCALE_FRAME;
    int unused;
};
SMOLSCALE_ASYNC(blocker, f)
{
    SMOLSCALE_BEGIN(f);
    counter_wait(&freed, 1);
    SMOLSCALE_END;
}

struct near_sleeper {
    SMOLSCALE_FRAME;
    int got;
};
SMOLSCALE_ASYNC(near_sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_SPAWN(NULL, blocker, .unused = 0); // polled as soon as this one sleeps
    SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, MS));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_timer_fires_although_its_worker_is_blocked_and_the_keeper_sleeps_longer)
{
    setenv("SMOLSCALE_WORKERS", "2", 1);
    smolscale_task *far = far_keeper_parks_first(), *near;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&near, near_sleeper, .got = 0), 0);
    EVENTUALLY(smolscale_finished(near), ==, true); // and not in an hour
    ck_assert_int_eq(join(near), 0);
    counter_add(&freed, 1);
    smolscale_cancel(far);
    ck_assert_int_eq(join(far), -ECANCELED);
}
END_TEST

static void wait_for_free(void *item, void *user_data)
{
    (void)item;
    (void)user_data;
    counter_wait(&freed, 1);
}

struct pushing_sleeper {
    SMOLSCALE_FRAME;
    smolscale_queue *queue;
    int got;
};
SMOLSCALE_ASYNC(pushing_sleeper, f)
{
    SMOLSCALE_BEGIN(f);
    push(f->queue, item_of(0)); // a job for the worker that runs dry
    SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, MS));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_timer_fires_although_its_worker_runs_a_job_and_the_keeper_sleeps_longer)
{
    setenv("SMOLSCALE_WORKERS", "2", 1);
    smolscale_task *far = far_keeper_parks_first(), *near;
    smolscale_queue *queue = queue_new(wait_for_free, NULL, 2);
    ck_assert_int_eq(SMOLSCALE_SPAWN(&near, pushing_sleeper, .queue = queue), 0);
    EVENTUALLY(smolscale_finished(near), ==, true); // and not in an hour
    ck_assert_int_eq(join(near), 0);
    counter_add(&freed, 1);
    smolscale_cancel(far);
    ck_assert_int_eq(join(far), -ECANCELED);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(a_timer_fires_although_its_keeper_has_gone_to_a_dedicated_queue)
{
    fake_clock_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, sleeper, .when = smolscale_now() + SS_NS_PER_S), 0);
    all_parked();
    for (unsigned i = 0; i < 20; i++) { // until the balancer has nothing to look at
        fake_clock_advance(20 * MS);
        test_breathe();
    }
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = meet;
    attr.max_active = 1;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    EVENTUALLY(parked_workers(NULL), ==, stats_now().workers - 1); // it has taken the keeper
    ck_assert_msg(ends_within(task, 60 * SS_NS_PER_S), "the timer was forgotten");
    ck_assert_int_eq(join(task), 0);
    smolscale_queue_free(queue);
}
END_TEST

// ---- signals

static void take_signal(int number)
{
    (void)number;
}

// Each thread of the executor gets a signal, whose handler ends a wait in the kernel.
static bool ends_under_signals(smolscale_task *task, const struct tids *others)
{
    struct tids now;
    threads_now(&now);
    for (unsigned i = 0; i < now.count; i++) {
        bool other = false;
        for (unsigned j = 0; j < others->count; j++)
            other |= now.tid[i] == others->tid[j];
        if (!other)
            syscall(SYS_tgkill, getpid(), now.tid[i], SIGUSR1);
    }
    return smolscale_finished(task);
}

// A signal every millisecond or so: whoever begins its wait anew each time never gets to its end.
static void sleep_under_signals(const struct tids *others)
{
    struct sigaction action = {.sa_handler = take_signal, .sa_flags = SA_RESTART};
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    smolscale_task *task;
    uint64_t begin = test_clock(), woken_at = 0;
    ck_assert_int_eq(
        SMOLSCALE_SPAWN(&task, sleeper, .when = begin + 500 * MS, .woken_at = &woken_at), 0);
    EVENTUALLY(ends_under_signals(task, others), ==, true);
    ck_assert_int_eq(join(task), 0);
    ck_assert_uint_ge(woken_at - begin, 500 * MS);
}

START_TEST(a_sleep_ends_while_signals_come)
{
    struct tids others;
    threads_before_first_use(&others);
    sleep_under_signals(&others);
}
END_TEST

struct pipe_reader {
    SMOLSCALE_FRAME;
    int fd, got;
    char c;
};
SMOLSCALE_ASYNC(pipe_reader, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_AWAIT(f->got, smolscale_read(cx, f->fd, &f->c, 1));
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(a_sleep_ends_while_signals_come_and_a_descriptor_is_waited_for)
{
    struct tids others;
    threads_before_first_use(&others);
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    smolscale_task *reader;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&reader, pipe_reader, .fd = fds[0]), 0);
    all_parked();
    sleep_under_signals(&others);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    ck_assert_int_eq(join(reader), 1);
}
END_TEST

START_TEST(a_timer_fires_although_its_keeper_was_sent_away)
{
    fake_clock_start();
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, sleeper, .when = smolscale_now() + SS_NS_PER_S), 0);
    all_parked();
    EVENTUALLY(workers_after_retiring(), ==, 0);
    ck_assert_msg(ends_within(task, 60 * SS_NS_PER_S), "the timer was forgotten");
    ck_assert_int_eq(join(task), 0);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// What many deadlines cost
// ---------------------------------------------------------------------------------------------

static atomic_ulong heavy_fences;
static bool (*real_membarrier)(void);

static bool counted_membarrier(void)
{
    atomic_fetch_add(&heavy_fences, 1);
    return real_membarrier();
}

static void count_heavy_fences(void)
{
    real_membarrier = ss_os.membarrier;
    ss_os.membarrier = counted_membarrier;
}

static atomic_bool stop_yielding;

struct yielder {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(yielder, f)
{
    SMOLSCALE_BEGIN(f);
    while (!atomic_load(&stop_yielding))
        SMOLSCALE_YIELD();
    SMOLSCALE_END;
}

// The balancer registers the process when it finds a lane served; by its ticks, for which the clock
// must go on. False: the kernel does not.
static bool fences_are_asymmetric(void)
{
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, yielder), 0);
    for (unsigned i = 0; i < 1000 && !load_acquire(&ss_asymmetric); i++) {
        fake_clock_advance(10 * MS);
        test_breathe();
    }
    atomic_store(&stop_yielding, true);
    join(task);
    return load_acquire(&ss_asymmetric);
}

struct timed_receiver {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    uint64_t ns;
    int got;
    void *message;
};
static atomic_uint begun;
SMOLSCALE_ASYNC(timed_receiver, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_TIMEOUT(f->got, f->ns, smolscale_recv(cx, f->channel, &f->message));
    atomic_fetch_add(&ended, 1);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

START_TEST(deadlines_that_pass_together_share_heavy_fences)
{
    enum { TASKS = 1000 };
    static smolscale_task *tasks[TASKS];
    count_heavy_fences();
    fake_clock_start();
    if (!fences_are_asymmetric()) {
        printf("skipped: there is no membarrier\n");
        return;
    }
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(void *), 1), 0);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(
            SMOLSCALE_SPAWN(&tasks[i], timed_receiver, .channel = channel, .ns = 100 * SS_NS_PER_S),
            0);
    EVENTUALLY(atomic_load(&begun), ==, TASKS);
    all_parked();
    unsigned long before = atomic_load(&heavy_fences);
    fake_clock_advance(100 * SS_NS_PER_S);
    EVENTUALLY(atomic_load(&ended), ==, TASKS);
    unsigned long fences = atomic_load(&heavy_fences) - before;
    ck_assert_msg(fences >= 1 && fences <= TASKS / 8, "%lu fences for %d deadlines", fences, TASKS);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(join(tasks[i]), -ETIMEDOUT);
    smolscale_channel_unref(channel);
}
END_TEST

START_TEST(the_tasks_of_a_nursery_are_cancelled_by_few_heavy_fences)
{
    enum { TASKS = 1000 };
    count_heavy_fences();
    fake_clock_start();
    if (!fences_are_asymmetric()) {
        printf("skipped: there is no membarrier\n");
        return;
    }
    smolscale_channel *channel;
    smolscale_nursery *nursery;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(void *), 1), 0);
    ck_assert_int_eq(smolscale_nursery_new(&nursery), 0);
    for (unsigned i = 0; i < TASKS; i++)
        ck_assert_int_eq(SMOLSCALE_NURSERY_SPAWN(nursery, timed_receiver, .channel = channel,
                                                 .ns = 1000 * SS_NS_PER_S),
                         0);
    EVENTUALLY(atomic_load(&begun), ==, TASKS);
    all_parked();
    unsigned long before = atomic_load(&heavy_fences);
    smolscale_nursery_cancel(nursery);
    EVENTUALLY(atomic_load(&ended), ==, TASKS);
    unsigned long fences = atomic_load(&heavy_fences) - before;
    ck_assert_msg(fences >= 1 && fences <= TASKS / 8, "%lu fences for %d tasks", fences, TASKS);
    smolscale_nursery_free(nursery);
    all_parked();
    smolscale_channel_unref(channel);
}
END_TEST

// The lock is the test's: a task that needed it would stand.
START_TEST(a_timeout_around_what_need_not_be_waited_for_leaves_other_threads_alone)
{
    smolscale_channel *channel;
    smolscale_task *task;
    ck_assert_int_eq(smolscale_channel_new(&channel, sizeof(void *), 1), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, channel, &(void *){channel})), 0);
    ss_timers_lock();
    ck_assert_int_eq(
        SMOLSCALE_SPAWN(&task, timed_receiver, .channel = channel, .ns = 1000 * SS_NS_PER_S), 0);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ss_timers_unlock();
    ck_assert_int_eq(join(task), 0);
    smolscale_channel_unref(channel);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_sleep_of_a_thread_lasts_that_long,
        a_sleep_of_a_task_lasts_that_long,
        sleepers_wake_when_their_time_comes_and_not_before,
        a_time_that_has_passed_is_not_waited_for,
        ten_thousand_timers_each_fire_once_and_in_time,
        an_await_ends_when_its_time_is_up_and_not_before,
        sleeps_and_deadlines_end_at_their_time_to_the_nanosecond,
        what_comes_in_time_ends_the_timeout,
        the_sooner_of_nested_timeouts_holds,
        a_timeout_cuts_a_sleep,
        timeouts_and_messages_race_and_neither_is_mistaken,
        a_thread_may_have_a_deadline,
        a_task_whose_awaits_are_always_ready_times_out,
        a_task_that_only_yields_times_out,
        a_task_that_only_asks_times_out,
        a_task_whose_awaits_are_always_ready_is_cancelled,
        a_task_that_only_yields_is_cancelled,
        timeouts_within_a_timeout_do_not_put_it_off,
        what_has_come_is_given_though_time_is_up,
        an_await_whose_deadline_finds_no_memory_says_so,
        a_deadline_without_memory_holds_for_a_waker_too,
        a_cancelled_sleeper_leaves_no_timer_behind,
        an_interval_tells_how_many_periods_have_passed,
        a_wait_that_is_cut_off_takes_no_tick,
        times_beyond_the_end_of_the_range_never_come,
        the_last_tick_of_the_range_is_not_followed_by_others,
        a_sleeping_task_is_woken_by_the_one_worker_that_runs_it,
        a_timer_fires_although_its_worker_is_blocked_and_the_keeper_sleeps_longer,
        a_timer_fires_although_its_worker_runs_a_job_and_the_keeper_sleeps_longer,
        a_timer_fires_although_its_keeper_has_gone_to_a_dedicated_queue,
        a_timer_fires_although_its_keeper_was_sent_away,
        a_sleep_ends_while_signals_come,
        a_sleep_ends_while_signals_come_and_a_descriptor_is_waited_for,
        deadlines_that_pass_together_share_heavy_fences,
        the_tasks_of_a_nursery_are_cancelled_by_few_heavy_fences,
        a_timeout_around_what_need_not_be_waited_for_leaves_other_threads_alone,
        NULL,
    };
    return test_suite("timer", tests);
}
