// SPDX-License-Identifier: ISC
//
// The end of a pool: g_thread_pool_free() in its four forms, in which states it may be called and
// from where, and what becomes of items that never run. Where a test runs twice, round 0 is about a
// shared pool and round 1 about an exclusive one.

#include "support.h"

// What item_free_func was called with, in order.
static struct {
    struct counter count;
    guint items[1000];
    unsigned long ended_before_first; // jobs of `watched` that had ended by then
} freed = {.count = COUNTER_INIT};
static struct gate *watched;

static void note_freed(gpointer item)
{
    unsigned long n = counter_get(&freed.count);
    if (n == 0 && watched != NULL)
        freed.ended_before_first = counter_get(&watched->ended);
    freed.items[n] = GPOINTER_TO_UINT(item);
    counter_add(&freed.count, 1);
}

static GThreadPool *freeing_pool(struct gate *gate, gint max_threads, bool exclusive)
{
    GError *error = NULL;
    watched = gate;
    GThreadPool *pool =
        g_thread_pool_new_full(pass_gate, gate, note_freed, max_threads, exclusive, &error);
    ck_assert_ptr_null(error);
    return pool;
}

static void *open_gate_after_start(void *gate_pointer)
{
    struct gate *gate = gate_pointer;
    counter_wait(&gate->started, 1);
    gate_open(gate);
    return NULL;
}

// ---------------------------------------------------------------------------------------------
// The four forms
// ---------------------------------------------------------------------------------------------

START_TEST(free_later_and_wait_returns_after_everything_has_run)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 2, _i == 1);
    for (guint i = 1; i <= 100; i++)
        push(pool, i);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 100);
    ck_assert_uint_eq(counter_get(&freed.count), 0); // those that ran are the job's own
}
END_TEST

START_TEST(free_later_without_waiting_returns_at_once_and_everything_runs)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 2, _i == 1);
    for (guint i = 1; i <= 100; i++)
        push(pool, i);
    g_thread_pool_free(pool, FALSE, FALSE);
    ck_assert_uint_eq(counter_get(&gate.ended), 0);
    gate_open(&gate);
    counter_wait(&gate.ended, 100);
    ck_assert_uint_eq(counter_get(&freed.count), 0);
}
END_TEST

START_TEST(free_immediately_and_wait_ends_running_jobs_and_frees_the_rest)
{
    struct gate gate = GATE_INIT;
    pthread_t opener;
    GThreadPool *pool = freeing_pool(&gate, 1, _i == 1);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    counter_wait(&gate.started, 1);
    pthread_create(&opener, NULL, open_gate_after_start, &gate);
    g_thread_pool_free(pool, TRUE, TRUE);
    pthread_join(opener, NULL);
    // The opener may have let some more through before free() was reached; each item met one fate.
    unsigned long ended = counter_get(&gate.ended);
    EVENTUALLY(counter_get(&freed.count), ==, 10 - ended);
    ck_assert_uint_eq(counter_get(&gate.ended), ended);
    ck_assert_uint_ge(ended, 1);
}
END_TEST

START_TEST(free_immediately_without_waiting_frees_items_after_the_last_job)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 2, _i == 1);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    counter_wait(&gate.started, 2);
    g_thread_pool_free(pool, TRUE, FALSE);
    ck_assert_uint_eq(counter_get(&freed.count), 0); // two jobs still run
    gate_open(&gate);
    counter_wait(&freed.count, 8);
    ck_assert_uint_eq(counter_get(&gate.started), 2);
    ck_assert_uint_eq(counter_get(&gate.ended), 2);
    ck_assert_uint_eq(freed.ended_before_first, 2);
}
END_TEST

START_TEST(items_that_never_run_are_freed_newest_first)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 0, false);
    for (guint i = 1; i <= 50; i++)
        push(pool, 100 + i);
    g_thread_pool_free(pool, TRUE, _i == 1);
    ck_assert_uint_eq(counter_get(&freed.count), 50);
    for (guint i = 0; i < 50; i++)
        ck_assert_uint_eq(freed.items[i], 150 - i);
    ck_assert_uint_eq(counter_get(&gate.started), 0);
}
END_TEST

static gint compare_numbers(gconstpointer a, gconstpointer b, gpointer user_data)
{
    (void)user_data;
    return (gint)GPOINTER_TO_UINT(a) - (gint)GPOINTER_TO_UINT(b);
}

START_TEST(sorted_items_that_never_run_are_freed_last_first)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 0, false);
    g_thread_pool_set_sort_function(pool, compare_numbers, NULL);
    for (guint i = 1; i <= 50; i++)
        push(pool, 100 + i * 7 % 50);
    g_thread_pool_free(pool, TRUE, TRUE);
    ck_assert_uint_eq(counter_get(&freed.count), 50);
    for (guint i = 0; i < 50; i++)
        ck_assert_uint_eq(freed.items[i], 149 - i);
}
END_TEST

START_TEST(the_item_1_is_freed_like_any_other)
{
    ONLY_PRELOADED; // GLib takes it for a mark of its own and forgets it
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 0, false);
    push(pool, 1);
    g_thread_pool_free(pool, TRUE, TRUE);
    ck_assert_uint_eq(counter_get(&freed.count), 1);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// States
// ---------------------------------------------------------------------------------------------

START_TEST(a_pool_that_was_never_used_can_be_freed_in_each_form)
{
    struct gate gate = GATE_INIT;
    g_thread_pool_free(gate_pool(&gate, 2, _i == 1), FALSE, TRUE);
    g_thread_pool_free(gate_pool(&gate, 2, _i == 1), FALSE, FALSE);
    g_thread_pool_free(gate_pool(&gate, 2, _i == 1), TRUE, TRUE);
    g_thread_pool_free(gate_pool(&gate, 2, _i == 1), TRUE, FALSE);
}
END_TEST

START_TEST(a_pool_that_has_run_dry_can_be_freed_in_each_form)
{
    struct gate gate = GATE_INIT;
    gate_open(&gate);
    for (guint form = 0; form < 4; form++) {
        GThreadPool *pool = gate_pool(&gate, 2, _i == 1);
        for (guint i = 1; i <= 10; i++)
            push(pool, i);
        counter_wait(&gate.ended, 10 * (form + 1));
        g_thread_pool_free(pool, form & 1, form & 2);
    }
    ck_assert_uint_eq(counter_get(&gate.ended), 40);
}
END_TEST

START_TEST(a_frozen_pool_without_items_can_be_freed_in_each_form)
{
    struct gate gate = GATE_INIT;
    catch_messages();
    for (guint form = 0; form < 4; form++)
        g_thread_pool_free(gate_pool(&gate, 0, _i == 1), form & 1, form & 2);
    ck_assert_ptr_null(take_message());
}
END_TEST

START_TEST(a_frozen_pool_with_items_refuses_to_be_freed_later_and_goes_on)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 0, false);
    push(pool, 1);
    catch_messages();
    g_thread_pool_free(pool, FALSE, _i == 1);
    char *message = take_message();
    ck_assert_str_eq(message, "GLib: g_thread_pool_free: assertion 'immediate || "
                              "real->max_threads != 0 || "
                              "g_async_queue_length (real->queue) == 0' failed");
    g_free(message);
    push(pool, 2);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 2);
    gate_open(&gate);
    ck_assert(g_thread_pool_set_max_threads(pool, 1, NULL));
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 2);
}
END_TEST

START_TEST(a_pool_frozen_while_jobs_run_can_be_freed_immediately)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = freeing_pool(&gate, 1, false);
    for (guint i = 1; i <= 5; i++)
        push(pool, i);
    counter_wait(&gate.started, 1);
    ck_assert(g_thread_pool_set_max_threads(pool, 0, NULL));
    g_thread_pool_free(pool, TRUE, FALSE);
    gate_open(&gate);
    counter_wait(&freed.count, 4);
    ck_assert_uint_eq(counter_get(&gate.ended), 1);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Jobs and the end of their pool
// ---------------------------------------------------------------------------------------------

struct suicide {
    GThreadPool *pool;
    gboolean immediate;
    struct counter may_start;
    struct counter ran;
};

static void free_own_pool(gpointer item, gpointer suicide_pointer)
{
    struct suicide *suicide = suicide_pointer;
    counter_wait(&suicide->may_start, 1);
    if (GPOINTER_TO_UINT(item) == 1)
        g_thread_pool_free(suicide->pool, suicide->immediate, FALSE);
    counter_add(&suicide->ran, 1);
}

START_TEST(a_job_can_free_its_own_pool_and_let_the_rest_run)
{
    struct suicide suicide = {NULL, FALSE, COUNTER_INIT, COUNTER_INIT};
    suicide.pool = new_pool(free_own_pool, &suicide, 1, _i == 1);
    for (guint i = 1; i <= 10; i++)
        push(suicide.pool, i);
    counter_add(&suicide.may_start, 1);
    counter_wait(&suicide.ran, 10);
}
END_TEST

START_TEST(a_job_can_free_its_own_pool_and_drop_the_rest)
{
    struct suicide suicide = {NULL, TRUE, COUNTER_INIT, COUNTER_INIT};
    suicide.pool = g_thread_pool_new_full(free_own_pool, &suicide, note_freed, 1, _i == 1, NULL);
    for (guint i = 1; i <= 10; i++)
        push(suicide.pool, i);
    counter_add(&suicide.may_start, 1);
    counter_wait(&freed.count, 9);
    ck_assert_uint_eq(counter_get(&suicide.ran), 1);
}
END_TEST

struct late {
    GThreadPool *pool;
    struct counter may_push;
    struct counter pushed;
    _Atomic int accepted;
};

static void push_late(gpointer item, gpointer late_pointer)
{
    struct late *late = late_pointer;
    (void)item;
    counter_wait(&late->may_push, 1);
    if (g_thread_pool_push(late->pool, ITEM(2), NULL))
        atomic_fetch_add(&late->accepted, 1);
    counter_add(&late->pushed, 1);
}

START_TEST(a_push_to_a_pool_being_freed_is_complained_about_and_refused)
{
    struct late late = {NULL, COUNTER_INIT, COUNTER_INIT, 0};
    late.pool = new_pool(push_late, &late, 1, _i == 1);
    push(late.pool, 1);
    catch_messages();
    // Once free() has returned, the job may push.
    g_thread_pool_free(late.pool, FALSE, FALSE);
    counter_add(&late.may_push, 1);
    counter_wait(&late.pushed, 1);
    char *message = take_message();
    ck_assert_str_eq(message, "GLib: g_thread_pool_push: assertion 'real->running' failed");
    g_free(message);
    ck_assert_int_eq(atomic_load(&late.accepted), 0);
}
END_TEST

struct churn {
    struct counter ran;
    struct counter dropped;
};
static struct churn churn = {COUNTER_INIT, COUNTER_INIT};

static void count_run(gpointer item, gpointer user_data)
{
    (void)item;
    (void)user_data;
    counter_add(&churn.ran, 1);
}

static void count_dropped(gpointer item)
{
    (void)item;
    counter_add(&churn.dropped, 1);
}

START_TEST(each_item_of_many_short_lived_pools_either_runs_or_is_freed)
{
    unsigned long pushed = 0;
    for (guint round = 0; round < 400; round++) {
        GThreadPool *pool = g_thread_pool_new_full(count_run, NULL, count_dropped,
                                                   1 + (gint)round % 3, round % 8 == 7, NULL);
        for (guint i = 1; i <= round % 20; i++, pushed++)
            push(pool, i);
        // Natively an item that a thread is just about to take is lost when the pool is freed
        // immediately: it neither runs nor is freed. So natively that form is left out.
        gboolean immediate = preloaded() && round % 4 < 2;
        g_thread_pool_free(pool, immediate, round % 2);
    }
    EVENTUALLY(counter_get(&churn.ran) + counter_get(&churn.dropped), ==, pushed);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {free_later_and_wait_returns_after_everything_has_run, 2},
        {free_later_without_waiting_returns_at_once_and_everything_runs, 2},
        {free_immediately_and_wait_ends_running_jobs_and_frees_the_rest, 2},
        {free_immediately_without_waiting_frees_items_after_the_last_job, 2},
        {items_that_never_run_are_freed_newest_first, 2},
        {sorted_items_that_never_run_are_freed_last_first, 1},
        {the_item_1_is_freed_like_any_other, 1},
        {a_pool_that_was_never_used_can_be_freed_in_each_form, 2},
        {a_pool_that_has_run_dry_can_be_freed_in_each_form, 2},
        {a_frozen_pool_without_items_can_be_freed_in_each_form, 2},
        {a_frozen_pool_with_items_refuses_to_be_freed_later_and_goes_on, 2},
        {a_pool_frozen_while_jobs_run_can_be_freed_immediately, 1},
        {a_job_can_free_its_own_pool_and_let_the_rest_run, 2},
        {a_job_can_free_its_own_pool_and_drop_the_rest, 2},
        {a_push_to_a_pool_being_freed_is_complained_about_and_refused, 2},
        {each_item_of_many_short_lived_pools_either_runs_or_is_freed, 1},
        {NULL, 0},
    };
    return test_suite("free", tests);
}
