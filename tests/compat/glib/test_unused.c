// SPDX-License-Identifier: ISC
//
// Unused threads: their limits, how they are counted and how they end.

#include "support.h"

static GThreadPool *run_some_blocked_jobs(guint count)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, -1, false);
    for (guint i = 1; i <= count; i++)
        push(pool, i);
    counter_wait(&gate.started, count);
    gate_open(&gate);
    counter_wait(&gate.ended, count);
    EVENTUALLY(g_thread_pool_get_num_threads(pool), ==, 0);
    return pool;
}

START_TEST(the_defaults_are_those_of_this_glib)
{
    ck_assert_int_eq(g_thread_pool_get_max_unused_threads(), glib_at_least(2, 83, 1) ? 8 : 2);
    ck_assert_uint_eq(g_thread_pool_get_max_idle_time(), 15000);
    ck_assert_uint_eq(g_thread_pool_get_num_unused_threads(), 0);
}
END_TEST

START_TEST(the_limits_tell_what_was_set)
{
    static const gint limits[] = {0, 1, 17, -1};
    for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_thread_pool_set_max_unused_threads(limits[i]);
        ck_assert_int_eq(g_thread_pool_get_max_unused_threads(), limits[i]);
    }
    static const guint times[] = {0, 1, 20000, G_MAXINT};
    for (size_t i = 0; i < G_N_ELEMENTS(times); i++) {
        g_thread_pool_set_max_idle_time(times[i]);
        ck_assert_uint_eq(g_thread_pool_get_max_idle_time(), times[i]);
    }
}
END_TEST

START_TEST(a_thread_without_a_pool_is_unused)
{
    g_thread_pool_set_max_unused_threads(-1);
    GThreadPool *pool = run_some_blocked_jobs(5);
    // At once, without waiting: a thread leaves the pool by becoming unused.
    ck_assert_uint_gt(g_thread_pool_get_num_unused_threads(), 0);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_gt(g_thread_pool_get_num_unused_threads(), 0);
}
END_TEST

START_TEST(stop_unused_threads_stops_them_all_and_keeps_the_limit)
{
    g_thread_pool_set_max_unused_threads(-1);
    GThreadPool *pool = run_some_blocked_jobs(20);
    g_thread_pool_stop_unused_threads();
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
    ck_assert_int_eq(g_thread_pool_get_max_unused_threads(), -1);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(no_more_than_max_unused_threads_stay)
{
    g_thread_pool_set_max_unused_threads(3);
    GThreadPool *pool = run_some_blocked_jobs(20);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), <=, 3);
    g_thread_pool_set_max_unused_threads(1);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), <=, 1);
    g_thread_pool_set_max_unused_threads(0);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(unused_threads_end_after_the_idle_time)
{
    g_thread_pool_set_max_unused_threads(-1);
    g_thread_pool_set_max_idle_time(10);
    GThreadPool *pool = run_some_blocked_jobs(10);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(an_idle_time_set_later_holds_for_threads_that_are_unused_already)
{
    g_thread_pool_set_max_unused_threads(-1);
    GThreadPool *pool = run_some_blocked_jobs(10);
    g_thread_pool_set_max_idle_time(10);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(pools_work_with_every_limit_of_unused_threads)
{
    for (gint limit = -1; limit <= 1; limit++) {
        struct gate gate = GATE_INIT;
        gate_open(&gate);
        g_thread_pool_set_max_unused_threads(limit);
        GThreadPool *pool = gate_pool(&gate, 4, false);
        for (guint i = 1; i <= 300; i++) {
            push(pool, i);
            if (i % 3 == 0)
                counter_wait(&gate.ended, i);
            if (i % 50 == 0)
                g_thread_pool_stop_unused_threads();
        }
        g_thread_pool_free(pool, FALSE, TRUE);
        ck_assert_uint_eq(counter_get(&gate.ended), 300);
    }
}
END_TEST

START_TEST(threads_of_an_exclusive_pool_are_not_unused)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 4, true);
    g_thread_pool_stop_unused_threads();
    g_thread_pool_set_max_unused_threads(0);
    g_thread_pool_set_max_idle_time(1);
    ck_assert_uint_eq(g_thread_pool_get_num_unused_threads(), 0);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 4);
    for (guint i = 1; i <= 4; i++)
        push(pool, i);
    counter_wait(&gate.started, 4);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

// ---- of exclusive pools that are gone

static void count_destroyed(gpointer counter)
{
    counter_add(counter, 1);
}
static GPrivate thread_data = G_PRIVATE_INIT(count_destroyed);

// A job's thread leaves its mark in itself, and tells the job that finds it.
struct marks {
    struct counter destroyed;
    _Atomic guint found;
};
#define MARKS_INIT                \
    {                             \
        .destroyed = COUNTER_INIT \
    }

static void find_or_leave_mark(gpointer item, gpointer marks_pointer)
{
    (void)item;
    struct marks *marks = marks_pointer;
    atomic_fetch_add(&marks->found, g_private_get(&thread_data) != NULL);
    g_private_set(&thread_data, &marks->destroyed);
}

static guint found_by_an_exclusive_pool(struct marks *marks)
{
    GThreadPool *pool = new_pool(find_or_leave_mark, marks, 1, true);
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    return atomic_load(&marks->found);
}

START_TEST(a_thread_of_an_exclusive_pool_that_is_gone_is_unused_until_it_is_stopped)
{
    struct marks marks = MARKS_INIT;
    found_by_an_exclusive_pool(&marks);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 1);
    ck_assert_uint_eq(counter_get(&marks.destroyed), 0);
    g_thread_pool_stop_unused_threads();
    counter_wait(&marks.destroyed, 1);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
}
END_TEST

// In the end: it is unused only some time after its pool is gone, and then the next is likely to
// get it. Threads that have left a mark may end after the test.
START_TEST(an_unused_thread_serves_the_next_exclusive_pool)
{
    g_thread_pool_set_max_unused_threads(-1);
    static struct marks marks = MARKS_INIT;
    EVENTUALLY(found_by_an_exclusive_pool(&marks), >, 0);
    g_thread_pool_stop_unused_threads();
}
END_TEST

START_TEST(unused_threads_of_exclusive_pools_end_after_the_idle_time)
{
    g_thread_pool_set_max_idle_time(10);
    struct marks marks = MARKS_INIT;
    found_by_an_exclusive_pool(&marks);
    counter_wait(&marks.destroyed, 1);
}
END_TEST

START_TEST(an_idle_time_set_later_holds_for_unused_threads_of_exclusive_pools)
{
    struct marks marks = MARKS_INIT;
    found_by_an_exclusive_pool(&marks);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 1);
    g_thread_pool_set_max_idle_time(10);
    counter_wait(&marks.destroyed, 1);
}
END_TEST

START_TEST(no_more_than_max_unused_threads_of_exclusive_pools_stay)
{
    struct gate gate = GATE_INIT;
    g_thread_pool_set_max_unused_threads(3);
    GThreadPool *pool = gate_pool(&gate, 10, true);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    counter_wait(&gate.started, 10);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), >, 0);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), <=, 3);
    g_thread_pool_set_max_unused_threads(0);
    EVENTUALLY(g_thread_pool_get_num_unused_threads(), ==, 0);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {the_defaults_are_those_of_this_glib, 1},
        {the_limits_tell_what_was_set, 1},
        {a_thread_without_a_pool_is_unused, 1},
        {stop_unused_threads_stops_them_all_and_keeps_the_limit, 1},
        {no_more_than_max_unused_threads_stay, 1},
        {unused_threads_end_after_the_idle_time, 1},
        {an_idle_time_set_later_holds_for_threads_that_are_unused_already, 1},
        {pools_work_with_every_limit_of_unused_threads, 1},
        {threads_of_an_exclusive_pool_are_not_unused, 1},
        {a_thread_of_an_exclusive_pool_that_is_gone_is_unused_until_it_is_stopped, 1},
        {an_unused_thread_serves_the_next_exclusive_pool, 1},
        {unused_threads_of_exclusive_pools_end_after_the_idle_time, 1},
        {an_idle_time_set_later_holds_for_unused_threads_of_exclusive_pools, 1},
        {no_more_than_max_unused_threads_of_exclusive_pools_stay, 1},
        {NULL, 0},
    };
    return test_suite("unused", tests);
}
