// SPDX-License-Identifier: ISC
//
// What is refused and how: GLib's complaints about wrong arguments, word for word, and the errors
// when no thread can be had.

#include "support.h"

#define EXPECT_MESSAGE(text)                                                \
    do {                                                                    \
        char *message_ = take_message();                                    \
        ck_assert_msg(message_ != NULL, "no message instead of: %s", text); \
        ck_assert_str_eq(message_, text);                                   \
        g_free(message_);                                                   \
        ck_assert_ptr_null(take_message());                                 \
    } while (0)

// ---------------------------------------------------------------------------------------------
// Complaints
// ---------------------------------------------------------------------------------------------

START_TEST(a_pool_needs_a_function)
{
    catch_messages();
    ck_assert_ptr_null(g_thread_pool_new(NULL, NULL, 1, FALSE, NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_new_full: assertion 'func' failed");
    ck_assert_ptr_null(g_thread_pool_new_full(NULL, NULL, NULL, 1, FALSE, NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_new_full: assertion 'func' failed");
}
END_TEST

START_TEST(an_exclusive_pool_cannot_be_unlimited)
{
    catch_messages();
    ck_assert_ptr_null(g_thread_pool_new(do_nothing, NULL, -1, TRUE, NULL));
    EXPECT_MESSAGE(
        "GLib: g_thread_pool_new_full: assertion '!exclusive || max_threads != -1' failed");
    GThreadPool *pool = new_pool(do_nothing, NULL, 1, true);
    ck_assert(!g_thread_pool_set_max_threads(pool, -1, NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_set_max_threads: assertion "
                   "'!real->pool.exclusive || max_threads != -1' failed");
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 1);
    g_thread_pool_free(pool, TRUE, TRUE);
}
END_TEST

START_TEST(a_limit_below_minus_1_is_refused)
{
    catch_messages();
    ck_assert_ptr_null(g_thread_pool_new(do_nothing, NULL, -2, FALSE, NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_new_full: assertion 'max_threads >= -1' failed");
    GThreadPool *pool = new_pool(do_nothing, NULL, 3, false);
    ck_assert(!g_thread_pool_set_max_threads(pool, -2, NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_set_max_threads: assertion 'max_threads >= -1' failed");
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 3);
    g_thread_pool_set_max_unused_threads(-2);
    EXPECT_MESSAGE(
        "GLib: g_thread_pool_set_max_unused_threads: assertion 'max_threads >= -1' failed");
    g_thread_pool_free(pool, TRUE, TRUE);
}
END_TEST

START_TEST(NULL_is_not_a_pool)
{
    catch_messages();
    ck_assert(!g_thread_pool_push(NULL, ITEM(1), NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_push: assertion 'real' failed");
    ck_assert_uint_eq(g_thread_pool_unprocessed(NULL), 0);
    EXPECT_MESSAGE("GLib: g_thread_pool_unprocessed: assertion 'real' failed");
    g_thread_pool_set_sort_function(NULL, compare_nothing, NULL);
    EXPECT_MESSAGE("GLib: g_thread_pool_set_sort_function: assertion 'real' failed");
    ck_assert(!g_thread_pool_set_max_threads(NULL, 1, NULL));
    EXPECT_MESSAGE("GLib: g_thread_pool_set_max_threads: assertion 'real' failed");
    ck_assert_int_eq(g_thread_pool_get_max_threads(NULL), 0);
    EXPECT_MESSAGE("GLib: g_thread_pool_get_max_threads: assertion 'real' failed");
    ck_assert_uint_eq(g_thread_pool_get_num_threads(NULL), 0);
    EXPECT_MESSAGE("GLib: g_thread_pool_get_num_threads: assertion 'real' failed");
    g_thread_pool_free(NULL, TRUE, TRUE);
    EXPECT_MESSAGE("GLib: g_thread_pool_free: assertion 'real' failed");
}
END_TEST

START_TEST(NULL_is_not_an_item)
{
    catch_messages();
    GThreadPool *pool = new_pool(do_nothing, NULL, 0, false);
    ck_assert(g_thread_pool_push(pool, NULL, NULL)); // complained about, and yet TRUE
    EXPECT_MESSAGE("GLib: g_async_queue_push_unlocked: assertion 'data' failed");
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 0);
    ck_assert(!g_thread_pool_move_to_front(pool, NULL));
    EXPECT_MESSAGE("GLib: g_async_queue_remove_unlocked: assertion 'item != NULL' failed");
    g_thread_pool_free(pool, TRUE, TRUE);
}
END_TEST

// A job that calls everything on its own pool while that is being freed.
struct dying {
    GThreadPool *pool;
    struct counter started;
    struct counter being_freed;
    struct counter called;
};

static void call_everything(gpointer item, gpointer dying_pointer)
{
    struct dying *dying = dying_pointer;
    (void)item;
    counter_add(&dying->started, 1);
    counter_wait(&dying->being_freed, 1);
    ck_assert(!g_thread_pool_push(dying->pool, ITEM(1), NULL));
    ck_assert_uint_eq(g_thread_pool_unprocessed(dying->pool), 0);
    g_thread_pool_set_sort_function(dying->pool, compare_nothing, NULL);
    ck_assert(!g_thread_pool_set_max_threads(dying->pool, 1, NULL));
    ck_assert_int_eq(g_thread_pool_get_max_threads(dying->pool), 0);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(dying->pool), 0);
    g_thread_pool_free(dying->pool, TRUE, FALSE);
    counter_add(&dying->called, 1);
}

START_TEST(a_pool_being_freed_is_not_running)
{
    static const char *const functions[] = {"push",
                                            "unprocessed",
                                            "set_sort_function",
                                            "set_max_threads",
                                            "get_max_threads",
                                            "get_num_threads",
                                            "free"};
    struct dying dying = {NULL, COUNTER_INIT, COUNTER_INIT, COUNTER_INIT};
    dying.pool = new_pool(call_everything, &dying, 2, false);
    push(dying.pool, 1);
    counter_wait(&dying.started, 1);
    catch_messages();
    g_thread_pool_free(dying.pool, _i == 1, FALSE);
    counter_add(&dying.being_freed, 1);
    counter_wait(&dying.called, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
        char expected[100];
        g_snprintf(expected, sizeof expected,
                   "GLib: g_thread_pool_%s: assertion 'real->running' failed", functions[i]);
        char *message = take_message();
        ck_assert_str_eq(message, expected);
        g_free(message);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// No threads
// ---------------------------------------------------------------------------------------------

// Threads can be forbidden only where the system enforces RLIMIT_NPROC.
#define FORBID_THREADS         \
    do {                       \
        if (!forbid_threads()) \
            return;            \
    } while (0)

static void expect_thread_error(GError *error)
{
    ck_assert_ptr_nonnull(error);
    ck_assert(error->domain == G_THREAD_ERROR);
    ck_assert_int_eq(error->code, G_THREAD_ERROR_AGAIN);
    ck_assert_str_eq(error->message, "Error creating thread: Resource temporarily unavailable");
}

START_TEST(a_push_without_a_thread_fails_and_the_item_stays_queued)
{
    struct gate gate = GATE_INIT;
    GError *error = NULL;
    gate_open(&gate);
    GThreadPool *pool = gate_pool(&gate, 2, false);
    FORBID_THREADS;
    ck_assert(!g_thread_pool_push(pool, ITEM(1), &error));
    expect_thread_error(error);
    g_error_free(error);
    ck_assert(!g_thread_pool_push(pool, ITEM(2), NULL));
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 2);
    ck_assert_uint_eq(counter_get(&gate.started), 0);
    allow_threads();
    push(pool, 3);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 3);
}
END_TEST

START_TEST(raising_the_limit_without_a_thread_fails_and_holds)
{
    struct gate gate = GATE_INIT;
    GError *error = NULL;
    gate_open(&gate);
    GThreadPool *pool = gate_pool(&gate, 0, _i == 1);
    push(pool, 1);
    FORBID_THREADS;
    ck_assert(!g_thread_pool_set_max_threads(pool, 2, &error));
    expect_thread_error(error);
    g_error_free(error);
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 2);
    allow_threads();
    push(pool, 2);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 2);
}
END_TEST

START_TEST(the_first_shared_pool_without_a_thread_is_refused_from_2_85_2_on)
{
    struct gate gate = GATE_INIT;
    GError *error = NULL;
    if (!preloaded() && glib_at_least(2, 75, 3) && !glib_at_least(2, 85, 2))
        return; // these end the program
    gate_open(&gate);
    FORBID_THREADS;
    if (glib_at_least(2, 85, 2)) {
        ck_assert_ptr_null(g_thread_pool_new(pass_gate, &gate, 2, FALSE, &error));
        expect_thread_error(error);
        g_error_free(error);
        allow_threads();
    }
    GThreadPool *pool = gate_pool(&gate, 2, false);
    allow_threads();
    push(pool, 1);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 1);
}
END_TEST

START_TEST(an_exclusive_pool_without_threads_comes_with_an_error_and_fills_up_later)
{
    struct gate gate = GATE_INIT;
    GError *error = NULL;
    gate_open(&gate);
    FORBID_THREADS;
    GThreadPool *pool = g_thread_pool_new(pass_gate, &gate, 2, TRUE, &error);
    expect_thread_error(error);
    g_clear_error(&error);
    if (glib_at_least(2, 85, 3)) {
        ck_assert_ptr_null(pool);
        return;
    }
    ck_assert_ptr_nonnull(pool);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 0);
    ck_assert(!g_thread_pool_push(pool, ITEM(1), &error));
    expect_thread_error(error);
    g_clear_error(&error);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 1);
    allow_threads();
    push(pool, 2);
    push(pool, 3);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 3);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {a_pool_needs_a_function, 1},
        {an_exclusive_pool_cannot_be_unlimited, 1},
        {a_limit_below_minus_1_is_refused, 1},
        {NULL_is_not_a_pool, 1},
        {NULL_is_not_an_item, 1},
        {a_pool_being_freed_is_not_running, 2},
        {a_push_without_a_thread_fails_and_the_item_stays_queued, 1},
        {raising_the_limit_without_a_thread_fails_and_holds, 2},
        {the_first_shared_pool_without_a_thread_is_refused_from_2_85_2_on, 1},
        {an_exclusive_pool_without_threads_comes_with_an_error_and_fills_up_later, 1},
        {NULL, 0},
    };
    return test_suite("errors", tests);
}
