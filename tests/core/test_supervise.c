// SPDX-License-Identifier: ISC
//
// Immortals begin anew, reapers and nurseries hold their tasks: the contracts one by one, with the
// clock standing still where time matters; then everything from many threads at once, while what
// holds the tasks is freed; and that nothing is left over.

#include "smolscale_async.h"
#include "support.h"
#include "task/waitlist.h"

#include <malloc.h>

// ---------------------------------------------------------------------------------------------
// Helpers
// ---------------------------------------------------------------------------------------------

static unsigned waiting(smolscale_waitlist *list)
{
    unsigned n = 0;
    ss_list_lock(list);
    unsigned flags = ss_list_flags(list);
    for (struct smolscale_task *task = list->first; task; task = task->next)
        n++;
    ss_list_unlock_with(list, flags);
    return n;
}

static int join(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

#define SPAWN(out, ...) ck_assert_int_eq(SMOLSCALE_SPAWN((out), __VA_ARGS__), 0)
#define NURSERY_SPAWN(nursery, ...) \
    ck_assert_int_eq(SMOLSCALE_NURSERY_SPAWN((nursery), __VA_ARGS__), 0)

// How often tasks have begun, ended well, and ended cancelled.
static atomic_uint begun, done, cancelled;

static void note_end(int result)
{
    ck_assert(result == 0 || result == -ECANCELED);
    atomic_fetch_add(result == 0 ? &done : &cancelled, 1);
}

// Waits for one permit.
struct hold {
    SMOLSCALE_FRAME;
    smolscale_semaphore *until;
    int value;
    int result;
};

SMOLSCALE_ASYNC(hold, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_AWAIT(f->result, smolscale_semaphore_acquire(cx, f->until));
    note_end(f->result);
    SMOLSCALE_RETURN(f->result < 0 ? f->result : f->value);
    SMOLSCALE_END;
}

struct give {
    SMOLSCALE_FRAME;
    int value;
};

SMOLSCALE_ASYNC(give, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_RETURN(f->value);
    SMOLSCALE_END;
}

// ---------------------------------------------------------------------------------------------
// Immortals
// ---------------------------------------------------------------------------------------------

static smolscale_immortal *immortal;

#define IMMORTAL(respawn, delay, ...) \
    ck_assert_int_eq(SMOLSCALE_IMMORTAL(&immortal, (respawn), (delay), __VA_ARGS__), 0)

// Ends with each message; its frame is not what it was then.
struct one_message {
    SMOLSCALE_FRAME;
    smolscale_channel *in;
    int fresh;
    int result;
};

SMOLSCALE_ASYNC(one_message, f)
{
    SMOLSCALE_BEGIN(f);
    ck_assert_int_eq(f->fresh, 17);
    f->fresh = 0;
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->in, NULL));
    note_end(f->result);
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

static smolscale_channel *channel_new(unsigned capacity)
{
    smolscale_channel *channel;
    ck_assert_int_eq(smolscale_channel_new(&channel, 0, capacity), 0);
    return channel;
}

START_TEST(an_immortal_begins_anew_with_its_first_frame)
{
    smolscale_channel *in = channel_new(1);
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, one_message, .in = in, .fresh = 17);
    for (unsigned i = 0; i < 50; i++) {
        EVENTUALLY(atomic_load(&begun), ==, i + 1);
        ck_assert_uint_eq(smolscale_immortal_restarts(immortal), i);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, in, NULL)), 0);
    }
    EVENTUALLY(smolscale_immortal_restarts(immortal), ==, 50);
    smolscale_immortal_free(immortal);
    EVENTUALLY(atomic_load(&cancelled), ==, 1);
    ck_assert_uint_eq(atomic_load(&done), 50);
}
END_TEST

START_TEST(a_freed_immortal_is_cancelled_and_does_not_begin_again)
{
    smolscale_channel *in = channel_new(SMOLSCALE_UNLIMITED);
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, one_message, .in = in, .fresh = 17);
    EVENTUALLY(atomic_load(&begun), ==, 1);
    smolscale_immortal_free(immortal);
    EVENTUALLY(atomic_load(&cancelled), ==, 1);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_int_eq(smolscale_try_send(in, NULL), 0);
        ck_assert_int_eq(SMOLSCALE_BLOCK_ON(give, .value = 1), 1);
    }
    ck_assert_uint_eq(smolscale_channel_count(in), 10);
    ck_assert_uint_eq(atomic_load(&begun), 1);
    smolscale_immortal_free(NULL);
}
END_TEST

START_TEST(an_immortal_may_be_freed_before_it_has_begun)
{
    smolscale_channel *in = channel_new(0);
    for (unsigned i = 0; i < 1000; i++) {
        IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, one_message, .in = in, .fresh = 17);
        smolscale_immortal_free(immortal);
    }
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(give, .value = 1), 1);
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    EVENTUALLY(atomic_load(&begun) - atomic_load(&cancelled), ==, 0);
    ck_assert_uint_eq(atomic_load(&done), 0);
}
END_TEST

// Takes cancellations for itself, once a life.
struct stubborn {
    SMOLSCALE_FRAME;
    smolscale_channel *in;
    int result;
};

SMOLSCALE_ASYNC(stubborn, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->in, NULL));
    smolscale_clear_cancel(cx);
    note_end(f->result);
    SMOLSCALE_END;
}

START_TEST(a_freed_immortal_ends_though_its_function_takes_the_cancellation)
{
    smolscale_channel *in = channel_new(0);
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, stubborn, .in = in);
    EVENTUALLY(atomic_load(&begun), ==, 1);
    smolscale_immortal_free(immortal);
    EVENTUALLY(atomic_load(&cancelled), ==, 1);
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(give, .value = 1), 1);
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    ck_assert_uint_eq(atomic_load(&begun), 1);
}
END_TEST

struct free_itself {
    SMOLSCALE_FRAME;
    smolscale_channel *in;
    int result;
};

SMOLSCALE_ASYNC(free_itself, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->in, NULL));
    smolscale_immortal_free(immortal);
    SMOLSCALE_AWAIT(f->result, smolscale_recv(cx, f->in, NULL));
    note_end(f->result);
    SMOLSCALE_END;
}

START_TEST(an_immortal_may_free_itself)
{
    smolscale_channel *in = channel_new(0);
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, free_itself, .in = in);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, in, NULL)), 0);
    EVENTUALLY(atomic_load(&cancelled), ==, 1);
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    ck_assert_uint_eq(atomic_load(&begun), 1);
}
END_TEST

struct end_at_once {
    SMOLSCALE_FRAME;
    int result;
};

SMOLSCALE_ASYNC(end_at_once, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(an_immortal_waits_for_its_delay_before_it_begins_anew)
{
    const uint64_t delay = 10 * SS_NS_PER_S;
    fake_clock_start();
    uint64_t now = smolscale_now();
    IMMORTAL(SMOLSCALE_RESPAWN_DELAYED, delay, end_at_once, .result = 0);
    for (unsigned i = 0; i < 5; i++) {
        now += delay;
        EVENTUALLY(ss_next_due() == now, ==, true);
        ck_assert_uint_eq(atomic_load(&begun), i + 1);
        ck_assert_uint_eq(smolscale_immortal_restarts(immortal), i);
        fake_clock_advance(delay);
    }
    EVENTUALLY(atomic_load(&begun), ==, 6);
    smolscale_immortal_free(immortal);
    EVENTUALLY(ss_next_due() == SS_FOREVER, ==, true);
}
END_TEST

START_TEST(a_jittered_delay_is_random_up_to_twice_the_delay)
{
    enum { LIVES = 400 };
    const uint64_t delay = 10 * SS_NS_PER_S;
    uint64_t sum = 0, least = UINT64_MAX, most = 0;
    fake_clock_start();
    IMMORTAL(SMOLSCALE_RESPAWN_JITTERED, delay, end_at_once, .result = -EIO);
    for (unsigned i = 0; i < LIVES; i++) {
        EVENTUALLY(atomic_load(&begun), ==, i + 1);
        EVENTUALLY(ss_next_due() != SS_FOREVER, ==, true);
        uint64_t rest = ss_next_due() - smolscale_now();
        ck_assert_uint_le(rest, 2 * delay);
        sum += rest;
        least = rest < least ? rest : least;
        most = rest > most ? rest : most;
        fake_clock_advance(rest);
    }
    ck_assert_uint_lt(least, delay / 2);
    ck_assert_uint_gt(most, delay * 3 / 2);
    ck_assert_uint_gt(sum / LIVES, delay * 3 / 4); // seven standard deviations
    ck_assert_uint_lt(sum / LIVES, delay * 5 / 4);
    smolscale_immortal_free(immortal);
}
END_TEST

static void rests_after_a_hundred_lives(enum smolscale_respawn respawn)
{
    fake_clock_start();
    IMMORTAL(respawn, 0, end_at_once, .result = 0);
    for (unsigned i = 1; i <= 5; i++) {
        EVENTUALLY(ss_next_due() == smolscale_now() + SS_NS_PER_MS, ==, true);
        ck_assert_uint_eq(atomic_load(&begun), 100 * i);
        fake_clock_advance(SS_NS_PER_MS);
    }
    smolscale_immortal_free(immortal);
}

START_TEST(a_function_that_ends_at_once_again_and_again_rests)
{
    rests_after_a_hundred_lives(SMOLSCALE_RESPAWN_AT_ONCE);
}
END_TEST

START_TEST(a_function_that_ends_at_once_rests_with_a_delay_of_nothing_too)
{
    rests_after_a_hundred_lives(SMOLSCALE_RESPAWN_DELAYED);
}
END_TEST

START_TEST(a_function_that_ends_at_once_rests_with_a_jitter_of_nothing_too)
{
    rests_after_a_hundred_lives(SMOLSCALE_RESPAWN_JITTERED);
}
END_TEST

START_TEST(a_function_that_is_served_does_not_rest)
{
    smolscale_channel *in = channel_new(SMOLSCALE_UNLIMITED);
    fake_clock_start();
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(smolscale_try_send(in, NULL), 0);
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, one_message, .in = in, .fresh = 17);
    EVENTUALLY(atomic_load(&done), ==, 1000); // with the clock standing still
    smolscale_immortal_free(immortal);
}
END_TEST

// Ends within a timeout that stays open: the next life waits without.
struct leave_deadline {
    SMOLSCALE_FRAME;
    int result;
};

SMOLSCALE_ASYNC(leave_deadline, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    ck_assert_uint_eq(smolscale_deadline(cx, smolscale_now() + SS_NS_PER_MS), 0);
    SMOLSCALE_AWAIT(f->result, smolscale_sleep(cx, SS_NS_PER_S));
    ck_assert(f->result == -ETIMEDOUT || f->result == -ECANCELED);
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

START_TEST(a_deadline_ends_with_the_life_that_set_it)
{
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, leave_deadline, .result = 0);
    EVENTUALLY(atomic_load(&begun), >=, 5);
    smolscale_immortal_free(immortal);
}
END_TEST

START_TEST(an_immortal_leaves_the_cpu_to_other_tasks)
{
    smolscale_permanently_single_threaded();
    IMMORTAL(SMOLSCALE_RESPAWN_AT_ONCE, 0, end_at_once, .result = 0);
    for (int i = 0; i < 100; i++) {
        smolscale_task *task;
        SPAWN(&task, give, .value = i);
        ck_assert_int_eq(join(task), i);
    }
    smolscale_immortal_free(immortal);
}
END_TEST

START_TEST(an_immortal_without_a_function_is_refused)
{
    immortal = (smolscale_immortal *)&begun;
    ck_assert_int_eq(smolscale_immortal_new(&immortal, NULL, NULL, 0, SMOLSCALE_RESPAWN_AT_ONCE, 0),
                     -EINVAL);
    ck_assert_ptr_null(immortal);
    ck_assert_int_eq(
        smolscale_immortal_new(&immortal, end_at_once, NULL, 0, (enum smolscale_respawn)3, 0),
        -EINVAL);
    ck_assert_int_eq(smolscale_immortal_new(&immortal, end_at_once, NULL, SIZE_MAX / 2,
                                            SMOLSCALE_RESPAWN_AT_ONCE, 0),
                     -ENOMEM);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Reapers
// ---------------------------------------------------------------------------------------------

static smolscale_reaper *reaper_new(void)
{
    smolscale_reaper *reaper;
    ck_assert_int_eq(smolscale_reaper_new(&reaper), 0);
    return reaper;
}

static void attach_holding(smolscale_reaper *reaper, smolscale_semaphore *until)
{
    smolscale_task *task;
    SPAWN(&task, hold, .until = until);
    ck_assert_int_eq(smolscale_reaper_attach(reaper, task), 0);
}

START_TEST(a_reaper_forgets_tasks_that_have_ended)
{
    smolscale_semaphore until;
    smolscale_reaper *reaper = reaper_new();
    smolscale_semaphore_init(&until, 0);
    for (unsigned i = 0; i < 10; i++)
        attach_holding(reaper, &until);
    ck_assert_uint_eq(smolscale_reaper_count(reaper), 10);
    EVENTUALLY(waiting(&until.waiters), ==, 10);
    for (unsigned i = 0; i < 10; i++) {
        smolscale_semaphore_release(&until, 1);
        EVENTUALLY(smolscale_reaper_count(reaper), ==, 9 - i);
    }
    ck_assert_uint_eq(atomic_load(&done), 10);
    smolscale_reaper_free(reaper);
}
END_TEST

START_TEST(a_freed_reaper_cancels_what_it_holds)
{
    smolscale_semaphore until;
    smolscale_reaper *reaper = reaper_new();
    smolscale_semaphore_init(&until, 0);
    for (unsigned i = 0; i < 100; i++)
        attach_holding(reaper, &until);
    EVENTUALLY(waiting(&until.waiters), ==, 100);
    smolscale_semaphore_release(&until, 30);
    EVENTUALLY(atomic_load(&done), ==, 30);
    smolscale_reaper_free(reaper);
    EVENTUALLY(atomic_load(&cancelled), ==, 70);
    ck_assert_uint_eq(waiting(&until.waiters), 0);
    smolscale_reaper_free(NULL);
}
END_TEST

START_TEST(a_task_that_has_ended_may_be_attached)
{
    smolscale_reaper *reaper = reaper_new();
    smolscale_task *task;
    SPAWN(&task, give, .value = 1);
    EVENTUALLY(smolscale_finished(task), ==, true);
    ck_assert_int_eq(smolscale_reaper_attach(reaper, task), 0);
    ck_assert_uint_eq(smolscale_reaper_count(reaper), 0);
    ck_assert_int_eq(smolscale_reaper_attach(reaper, NULL), -EINVAL);
    smolscale_reaper_free(reaper);
}
END_TEST

static smolscale_semaphore stress_until;

static void *attach_many(void *reaper)
{
    for (unsigned i = 0; i < SCALED(5000); i++) {
        attach_holding(reaper, &stress_until);
        if (i % 2)
            smolscale_semaphore_release(&stress_until, 1);
    }
    return NULL;
}

static void *release_many(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < SCALED(5000); i++) {
        smolscale_semaphore_release(&stress_until, 1);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

START_TEST(a_reaper_is_freed_while_its_tasks_end)
{
    enum { THREADS = 4, ROUNDS = 5 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        smolscale_reaper *reaper = reaper_new();
        pthread_t thread[THREADS];
        smolscale_semaphore_init(&stress_until, 0);
        for (unsigned i = 0; i < THREADS; i++)
            thread[i] = thread_start(attach_many, reaper);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
        pthread_t releasing = thread_start(release_many, NULL);
        smolscale_reaper_free(reaper);
        pthread_join(releasing, NULL);
        unsigned all = (round + 1) * THREADS * SCALED(5000);
        EVENTUALLY(atomic_load(&done) + atomic_load(&cancelled), ==, all);
        ck_assert_uint_eq(atomic_load(&begun), all);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Nurseries
// ---------------------------------------------------------------------------------------------

static smolscale_nursery *nursery_new(void)
{
    smolscale_nursery *nursery;
    ck_assert_int_eq(smolscale_nursery_new(&nursery), 0);
    return nursery;
}

static int next(smolscale_nursery *nursery, smolscale_task **task)
{
    return SMOLSCALE_BLOCK(smolscale_nursery_next(cx, nursery, task));
}

static int wait_all(smolscale_nursery *nursery)
{
    return SMOLSCALE_BLOCK(smolscale_nursery_wait(cx, nursery));
}

START_TEST(a_nursery_gives_its_tasks_in_the_order_in_which_they_end)
{
    enum { N = 5 };
    smolscale_nursery *nursery = nursery_new();
    smolscale_semaphore until[N];
    smolscale_task *task;
    ck_assert_int_eq(next(nursery, &task), -ENOENT);
    ck_assert_ptr_null(task);
    for (int i = 0; i < N; i++) {
        smolscale_semaphore_init(&until[i], 0);
        NURSERY_SPAWN(nursery, hold, .until = &until[i], .value = i);
    }
    for (int i = N - 1; i >= 0; i--) { // each ends while it is waited for, or before
        smolscale_semaphore_release(&until[i], 1);
        if (i % 2)
            EVENTUALLY(atomic_load(&done), ==, N - i);
        ck_assert_int_eq(next(nursery, &task), 0);
        ck_assert(smolscale_finished(task));
        ck_assert_int_eq(((struct hold *)smolscale_frame(task))->value, i);
        ck_assert_int_eq(join(task), i);
    }
    ck_assert_int_eq(next(nursery, &task), -ENOENT);
    smolscale_nursery_free(nursery);
}
END_TEST

START_TEST(waiting_for_a_nursery_gives_the_first_negative_result)
{
    smolscale_nursery *nursery = nursery_new();
    smolscale_semaphore until[4];
    const int value[4] = {1, -EIO, -EPROTO, 0};
    smolscale_permanently_single_threaded(); // one ends before the next goes on
    ck_assert_int_eq(wait_all(nursery), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            smolscale_semaphore_init(&until[i], 0);
            NURSERY_SPAWN(nursery, hold, .until = &until[i], .value = value[i]);
        }
        for (unsigned i = 0; i < 4; i++) {
            smolscale_semaphore_release(&until[round ? i : 3 - i], 1);
            EVENTUALLY(atomic_load(&done), ==, 4u * (unsigned)round + i + 1);
        }
        ck_assert_int_eq(wait_all(nursery), round ? -EIO : -EPROTO);
        ck_assert_int_eq(wait_all(nursery), 0); // as new
    }
    smolscale_nursery_free(nursery);
}
END_TEST

struct wait_for {
    SMOLSCALE_FRAME;
    smolscale_nursery *nursery;
    smolscale_task *task;
    bool all;
    int result;
};

SMOLSCALE_ASYNC(wait_for, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->all)
        SMOLSCALE_AWAIT(f->result, smolscale_nursery_wait(cx, f->nursery));
    else
        SMOLSCALE_AWAIT(f->result, smolscale_nursery_next(cx, f->nursery, &f->task));
    SMOLSCALE_RETURN(f->result);
    SMOLSCALE_END;
}

// The nursery's list is at its beginning.
static smolscale_waitlist *waiters_of(smolscale_nursery *nursery)
{
    return (smolscale_waitlist *)nursery;
}

START_TEST(one_at_a_time_awaits_a_nursery)
{
    smolscale_nursery *nursery = nursery_new();
    smolscale_semaphore until;
    smolscale_task *task, *waiter;
    smolscale_semaphore_init(&until, 0);
    for (int all = 0; all < 2; all++) {
        NURSERY_SPAWN(nursery, hold, .until = &until, .value = -EIO);
        SPAWN(&waiter, wait_for, .nursery = nursery, .all = all);
        EVENTUALLY(waiting(waiters_of(nursery)), ==, 1);
        ck_assert_int_eq(next(nursery, &task), -EBUSY);
        ck_assert_int_eq(wait_all(nursery), -EBUSY);
        smolscale_semaphore_release(&until, 1);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, waiter)), all ? -EIO : 0);
        smolscale_release(((struct wait_for *)smolscale_frame(waiter))->task);
        smolscale_release(waiter);
    }
    smolscale_nursery_free(nursery);
}
END_TEST

START_TEST(a_cancelled_waiter_takes_no_task_with_it)
{
    smolscale_nursery *nursery = nursery_new();
    smolscale_semaphore until;
    smolscale_task *task, *waiter;
    smolscale_semaphore_init(&until, 0);
    NURSERY_SPAWN(nursery, hold, .until = &until, .value = 6);
    for (int all = 0; all < 2; all++) {
        SPAWN(&waiter, wait_for, .nursery = nursery, .all = all);
        EVENTUALLY(waiting(waiters_of(nursery)), ==, 1);
        smolscale_cancel(waiter);
        ck_assert_int_eq(join(waiter), -ECANCELED);
    }
    smolscale_semaphore_release(&until, 1);
    ck_assert_int_eq(next(nursery, &task), 0);
    ck_assert_int_eq(join(task), 6);
    smolscale_nursery_free(nursery);
}
END_TEST

START_TEST(a_cancelled_nursery_ends_and_may_be_used_again)
{
    smolscale_nursery *nursery = nursery_new();
    smolscale_semaphore until;
    smolscale_semaphore_init(&until, 0);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 100; i++)
            NURSERY_SPAWN(nursery, hold, .until = &until);
        smolscale_nursery_cancel(nursery);
        ck_assert_int_eq(wait_all(nursery), -ECANCELED);
        ck_assert_uint_eq(atomic_load(&cancelled), 100 * round);
    }
    smolscale_nursery_free(nursery);
}
END_TEST

START_TEST(a_freed_nursery_cancels_what_is_left)
{
    smolscale_nursery *nursery = nursery_new();
    smolscale_semaphore until;
    smolscale_semaphore_init(&until, 0);
    for (unsigned i = 0; i < 100; i++)
        NURSERY_SPAWN(nursery, hold, .until = &until);
    EVENTUALLY(waiting(&until.waiters), ==, 100);
    smolscale_semaphore_release(&until, 20); // nobody asks for these
    EVENTUALLY(atomic_load(&done), ==, 20);
    smolscale_nursery_free(nursery);
    EVENTUALLY(atomic_load(&cancelled), ==, 80);
    smolscale_nursery_free(NULL);
}
END_TEST

// A binary tree: each task spawns two others into the nursery.
struct grow {
    SMOLSCALE_FRAME;
    smolscale_nursery *nursery;
    unsigned depth;
};

SMOLSCALE_ASYNC(grow, f)
{
    SMOLSCALE_BEGIN(f);
    atomic_fetch_add(&begun, 1);
    if (f->depth > 0) {
        NURSERY_SPAWN(f->nursery, grow, .nursery = f->nursery, .depth = f->depth - 1);
        SMOLSCALE_YIELD();
        NURSERY_SPAWN(f->nursery, grow, .nursery = f->nursery, .depth = f->depth - 1);
    }
    SMOLSCALE_END;
}

START_TEST(tasks_of_a_nursery_spawn_into_it_and_all_are_awaited)
{
    smolscale_nursery *nursery = nursery_new();
    const unsigned depth = SCALED(1024) >= 1024 ? 14 : 8;
    NURSERY_SPAWN(nursery, grow, .nursery = nursery, .depth = depth);
    ck_assert_int_eq(wait_all(nursery), 0);
    ck_assert_uint_eq(atomic_load(&begun), (2u << depth) - 1);
    smolscale_nursery_free(nursery);
}
END_TEST

static void *spawn_many(void *nursery)
{
    for (unsigned i = 0; i < SCALED(10000); i++)
        NURSERY_SPAWN(nursery, give, .value = (int)i);
    return NULL;
}

START_TEST(a_nursery_gives_each_task_of_many_threads_once)
{
    enum { THREADS = 3 };
    smolscale_nursery *nursery = nursery_new();
    pthread_t thread[THREADS];
    unsigned *times = calloc(SCALED(10000), sizeof *times);
    for (unsigned i = 0; i < THREADS; i++)
        thread[i] = thread_start(spawn_many, nursery);
    for (unsigned given = 0; given < THREADS * SCALED(10000);) {
        smolscale_task *task;
        int err = next(nursery, &task);
        ck_assert(err == 0 || err == -ENOENT); // none at this moment
        if (err == 0) {
            times[join(task)]++;
            given++;
        }
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < SCALED(10000); i++)
        ck_assert_uint_eq(times[i], THREADS);
    free(times);
    smolscale_nursery_free(nursery);
}
END_TEST

static void *cancel_often(void *nursery)
{
    for (unsigned i = 0; i < SCALED(200); i++)
        smolscale_nursery_cancel(nursery);
    return NULL;
}

static void *spawn_holding(void *nursery)
{
    for (unsigned i = 0; i < SCALED(5000); i++) {
        NURSERY_SPAWN(nursery, hold, .until = &stress_until);
        if (i % 2)
            smolscale_semaphore_release(&stress_until, 1);
    }
    return NULL;
}

START_TEST(a_nursery_is_cancelled_awaited_and_freed_while_its_tasks_end)
{
    enum { THREADS = 3, ROUNDS = 4 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        smolscale_nursery *nursery = nursery_new();
        pthread_t spawning[THREADS], cancelling[2];
        smolscale_semaphore_init(&stress_until, 0);
        for (unsigned i = 0; i < THREADS; i++)
            spawning[i] = thread_start(spawn_holding, nursery);
        for (unsigned i = 0; i < 2; i++)
            cancelling[i] = thread_start(cancel_often, nursery);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(spawning[i], NULL);
        for (unsigned i = 0; i < 2; i++)
            pthread_join(cancelling[i], NULL);
        pthread_t releasing = thread_start(release_many, NULL);
        if (round % 2) {
            smolscale_nursery_cancel(nursery);
            int result = wait_all(nursery);
            ck_assert(result == 0 || result == -ECANCELED);
        }
        smolscale_nursery_free(nursery);
        pthread_join(releasing, NULL);
        unsigned all = (round + 1) * THREADS * SCALED(5000);
        EVENTUALLY(atomic_load(&done) + atomic_load(&cancelled), ==, all);
        ck_assert_uint_eq(atomic_load(&begun), all);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Nothing is left over
// ---------------------------------------------------------------------------------------------

// Frames so large that their tasks come from malloc(), whose count of bytes is exact.
struct large_hold {
    struct hold hold;
    char pad[2000];
};
struct large_message {
    struct one_message one_message;
    char pad[2000];
};

static void use_everything(void)
{
    smolscale_semaphore until;
    smolscale_channel *in = channel_new(0);
    struct large_hold hold_frame = {.hold.until = &until};
    struct large_message message_frame = {.one_message = {.in = in, .fresh = 17}};
    smolscale_semaphore_init(&until, 0);
    unsigned done_before = atomic_load(&done), cancelled_before = atomic_load(&cancelled);
    smolscale_reaper *reaper = reaper_new();
    smolscale_nursery *nursery = nursery_new();
    ck_assert_int_eq(smolscale_immortal_new(&immortal, one_message, &message_frame,
                                            sizeof message_frame, SMOLSCALE_RESPAWN_AT_ONCE, 0),
                     0);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_send(cx, in, NULL)), 0);
    for (unsigned i = 0; i < 10; i++) {
        smolscale_task *task;
        ck_assert_int_eq(smolscale_spawn(&task, hold, &hold_frame, sizeof hold_frame), 0);
        ck_assert_int_eq(smolscale_reaper_attach(reaper, task), 0);
        ck_assert_int_eq(smolscale_nursery_spawn(nursery, hold, &hold_frame, sizeof hold_frame), 0);
    }
    EVENTUALLY(waiting(&until.waiters), ==, 20);
    smolscale_semaphore_release(&until, 10);
    smolscale_immortal_free(immortal);
    smolscale_reaper_free(reaper);
    smolscale_nursery_free(nursery);
    EVENTUALLY(atomic_load(&done) + atomic_load(&cancelled), >=,
               done_before + cancelled_before + 22);
    EVENTUALLY(smolscale_running_threads(), ==, 0);
    smolscale_channel_unref(in);
}

static size_t bytes_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// One member a round that is not freed would be 50 bytes and more.
START_TEST(supervision_leaves_no_memory_behind)
{
    enum { ROUNDS = 2000 };
    for (unsigned i = 0; i < 100; i++)
        use_everything();
    size_t before = bytes_in_use();
    for (unsigned i = 0; i < ROUNDS; i++)
        use_everything();
    ck_assert_uint_lt(bytes_in_use(), before + ROUNDS * 32);
}
END_TEST

int main(void)
{
    return test_suite(
        "supervise", (const TTest *[]) {
            an_immortal_begins_anew_with_its_first_frame,
                a_freed_immortal_is_cancelled_and_does_not_begin_again,
                an_immortal_may_be_freed_before_it_has_begun,
                a_freed_immortal_ends_though_its_function_takes_the_cancellation,
                an_immortal_may_free_itself, an_immortal_waits_for_its_delay_before_it_begins_anew,
                a_jittered_delay_is_random_up_to_twice_the_delay,
                a_function_that_ends_at_once_again_and_again_rests,
                a_function_that_ends_at_once_rests_with_a_delay_of_nothing_too,
                a_function_that_ends_at_once_rests_with_a_jitter_of_nothing_too,
                a_function_that_is_served_does_not_rest, a_deadline_ends_with_the_life_that_set_it,
                an_immortal_leaves_the_cpu_to_other_tasks,
                an_immortal_without_a_function_is_refused, a_reaper_forgets_tasks_that_have_ended,
                a_freed_reaper_cancels_what_it_holds, a_task_that_has_ended_may_be_attached,
                a_reaper_is_freed_while_its_tasks_end,
                a_nursery_gives_its_tasks_in_the_order_in_which_they_end,
                waiting_for_a_nursery_gives_the_first_negative_result,
                one_at_a_time_awaits_a_nursery, a_cancelled_waiter_takes_no_task_with_it,
                a_cancelled_nursery_ends_and_may_be_used_again,
                a_freed_nursery_cancels_what_is_left,
                tasks_of_a_nursery_spawn_into_it_and_all_are_awaited,
                a_nursery_gives_each_task_of_many_threads_once,
                a_nursery_is_cancelled_awaited_and_freed_while_its_tasks_end,
#if !defined(TEST_TSAN) && !defined(TEST_ASAN)
                supervision_leaves_no_memory_behind,
#endif
                NULL,
        });
}
