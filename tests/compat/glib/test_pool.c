// SPDX-License-Identifier: ISC
//
// Pools at work: what is pushed runs, and as many at once as the limit says.

#include "support.h"

// Each item says how often it ran.
struct ledger {
    struct counter ran;
    _Atomic guint times[40001];
};

static void note_in_ledger(gpointer item, gpointer ledger_pointer)
{
    struct ledger *ledger = ledger_pointer;
    atomic_fetch_add(&ledger->times[GPOINTER_TO_UINT(item)], 1);
    counter_add(&ledger->ran, 1);
}

static void expect_each_once(struct ledger *ledger, guint count)
{
    for (guint i = 1; i <= count; i++)
        ck_assert_msg(atomic_load(&ledger->times[i]) == 1, "item %u ran %u times", i,
                      atomic_load(&ledger->times[i]));
}

START_TEST(every_pushed_item_runs_exactly_once)
{
    static struct ledger ledger = {.ran = COUNTER_INIT};
    GThreadPool *pool = new_pool(note_in_ledger, &ledger, 4, false);
    for (guint i = 1; i <= 40000; i++)
        push(pool, i);
    counter_wait(&ledger.ran, 40000);
    g_thread_pool_free(pool, FALSE, TRUE);
    expect_each_once(&ledger, 40000);
    ck_assert_uint_eq(counter_get(&ledger.ran), 40000);
}
END_TEST

struct pusher {
    GThreadPool *pool;
    guint first;
};

static void *push_ten_thousand(void *arg)
{
    struct pusher *pusher = arg;
    for (guint i = 0; i < 10000; i++)
        push(pusher->pool, pusher->first + i);
    return NULL;
}

static void push_from_four_threads(GThreadPool *pool)
{
    pthread_t threads[4];
    struct pusher pushers[4];
    for (guint i = 0; i < 4; i++) {
        pushers[i] = (struct pusher){pool, 1 + i * 10000};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_ten_thousand, &pushers[i]), 0);
    }
    for (guint i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(items_of_several_pushing_threads_run_exactly_once)
{
    static struct ledger ledger = {.ran = COUNTER_INIT};
    GThreadPool *pool = new_pool(note_in_ledger, &ledger, 2, false);
    push_from_four_threads(pool);
    g_thread_pool_free(pool, FALSE, TRUE);
    expect_each_once(&ledger, 40000);
}
END_TEST

START_TEST(items_of_an_exclusive_pool_run_exactly_once)
{
    static struct ledger ledger = {.ran = COUNTER_INIT};
    GThreadPool *pool = new_pool(note_in_ledger, &ledger, 3, true);
    push_from_four_threads(pool);
    g_thread_pool_free(pool, FALSE, TRUE);
    expect_each_once(&ledger, 40000);
}
END_TEST

struct countdown {
    GThreadPool *pool;
    struct counter ran;
};

static void push_one_less(gpointer item, gpointer countdown_pointer)
{
    struct countdown *countdown = countdown_pointer;
    guint n = GPOINTER_TO_UINT(item);
    if (n > 1)
        push(countdown->pool, n - 1);
    counter_add(&countdown->ran, 1);
}

START_TEST(a_job_can_push_to_its_own_pool)
{
    struct countdown countdown = {NULL, COUNTER_INIT};
    countdown.pool = new_pool(push_one_less, &countdown, 1, false);
    push(countdown.pool, 1000);
    counter_wait(&countdown.ran, 1000);
    g_thread_pool_free(countdown.pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&countdown.ran), 1000);
}
END_TEST

static void push_and_wait(gpointer item, gpointer pool)
{
    struct gate gate = GATE_INIT;
    (void)item;
    gate_open(&gate);
    GThreadPool *inner = gate_pool(&gate, 1, false);
    push(inner, 1);
    counter_wait(&gate.ended, 1);
    g_thread_pool_free(inner, FALSE, TRUE);
    counter_add(pool, 1);
}

START_TEST(a_job_can_wait_for_a_job_of_another_pool)
{
    struct counter ran = COUNTER_INIT;
    GThreadPool *pool = new_pool(push_and_wait, &ran, 8, false);
    for (guint i = 1; i <= 100; i++)
        push(pool, i);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&ran), 100);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Limits
// ---------------------------------------------------------------------------------------------

START_TEST(as_many_jobs_as_max_threads_run_at_once_and_no_more)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 3, false);
    for (guint i = 1; i <= 20; i++)
        push(pool, i);
    counter_wait(&gate.started, 3);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 17);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 20);
    ck_assert_int_eq(atomic_load(&gate.most_running), 3);
}
END_TEST

START_TEST(an_unlimited_pool_runs_all_blocked_jobs_at_once)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, -1, false);
    for (guint i = 1; i <= 64; i++)
        push(pool, i);
    counter_wait(&gate.started, 64);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 64);
}
END_TEST

START_TEST(blocked_jobs_of_one_pool_do_not_hold_up_another)
{
    struct gate blocked = GATE_INIT, open = GATE_INIT;
    gate_open(&open);
    GThreadPool *first = gate_pool(&blocked, 50, false);
    for (guint i = 1; i <= 100; i++)
        push(first, i);
    GThreadPool *second = gate_pool(&open, 1, false);
    for (guint i = 1; i <= 10; i++)
        push(second, i);
    counter_wait(&open.ended, 10);
    gate_open(&blocked);
    g_thread_pool_free(first, FALSE, TRUE);
    g_thread_pool_free(second, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&blocked.ended), 100);
}
END_TEST

START_TEST(max_threads_0_freezes_a_pool_until_it_is_raised)
{
    struct gate gate = GATE_INIT;
    gate_open(&gate);
    GThreadPool *pool = gate_pool(&gate, 0, false);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 10);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 0);
    ck_assert_uint_eq(counter_get(&gate.started), 0);
    ck_assert(g_thread_pool_set_max_threads(pool, 2, NULL));
    counter_wait(&gate.ended, 10);
    ck_assert_int_le(atomic_load(&gate.most_running), 2);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(a_running_pool_can_be_frozen)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 2, false);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    counter_wait(&gate.started, 2);
    ck_assert(g_thread_pool_set_max_threads(pool, 0, NULL));
    gate_open(&gate);
    counter_wait(&gate.ended, 2);
    // The two threads leave when they see the limit.
    EVENTUALLY(g_thread_pool_get_num_threads(pool), ==, 0);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 8);
    ck_assert_uint_eq(counter_get(&gate.started), 2);
    ck_assert(g_thread_pool_set_max_threads(pool, -1, NULL));
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 10);
}
END_TEST

START_TEST(raising_max_threads_starts_waiting_items_at_once)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 1, false);
    for (guint i = 1; i <= 30; i++)
        push(pool, i);
    counter_wait(&gate.started, 1);
    ck_assert(g_thread_pool_set_max_threads(pool, 5, NULL));
    counter_wait(&gate.started, 5);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 25);
    ck_assert(g_thread_pool_set_max_threads(pool, -1, NULL));
    counter_wait(&gate.started, 30);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(lowering_max_threads_lets_running_jobs_finish_and_holds_afterwards)
{
    struct gate before = GATE_INIT, after = GATE_INIT;
    GThreadPool *pool = gate_pool(&before, 4, false);
    for (guint i = 1; i <= 4; i++)
        push(pool, i);
    counter_wait(&before.started, 4);
    ck_assert(g_thread_pool_set_max_threads(pool, 1, NULL));
    EVENTUALLY(g_thread_pool_get_num_threads(pool), ==, 4);
    gate_open(&after);
    pool->user_data = &after; // for what starts from now on
    for (guint i = 1; i <= 200; i++)
        push(pool, i);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 200);
    gate_open(&before);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&after.ended), 200);
    ck_assert_int_eq(atomic_load(&after.most_running), 1);
}
END_TEST

START_TEST(get_max_threads_tells_the_limit)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 7, false);
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 7);
    ck_assert(g_thread_pool_set_max_threads(pool, -1, NULL));
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), -1);
    ck_assert(g_thread_pool_set_max_threads(pool, 0, NULL));
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 0);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(num_threads_counts_running_jobs_and_ends_at_0)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 4, false);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 0);
    for (guint i = 1; i <= 3; i++) {
        push(pool, i);
        ck_assert_uint_ge(g_thread_pool_get_num_threads(pool), i); // already, whoever runs it when
    }
    counter_wait(&gate.started, 3);
    EVENTUALLY(g_thread_pool_get_num_threads(pool), ==, 3);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 4);
    gate_open(&gate);
    EVENTUALLY(g_thread_pool_get_num_threads(pool), ==, 0);
    ck_assert_uint_eq(counter_get(&gate.ended), 13); // 0 threads: everything has run
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(no_threads_after_a_burst_means_that_everything_has_run)
{
    struct gate gate = GATE_INIT;
    gate_open(&gate);
    GThreadPool *pool = gate_pool(&gate, -1, false);
    for (unsigned long round = 1; round <= 3; round++) {
        for (guint i = 1; i <= 500; i++)
            push(pool, i);
        while (g_thread_pool_get_num_threads(pool) != 0)
            ;
        ck_assert_uint_eq(counter_get(&gate.ended), round * 500);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

START_TEST(unprocessed_counts_items_that_have_not_started)
{
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 1, false);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 0);
    push(pool, 1);
    counter_wait(&gate.started, 1);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 0);
    for (guint i = 1; i <= 9; i++) {
        push(pool, i);
        ck_assert_uint_eq(g_thread_pool_unprocessed(pool), i);
    }
    gate_open(&gate);
    counter_wait(&gate.ended, 10);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 0);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// The public struct
// ---------------------------------------------------------------------------------------------

START_TEST(the_public_members_tell_what_was_given_to_new)
{
    struct gate gate = GATE_INIT;
    GThreadPool *shared = gate_pool(&gate, 1, false);
    ck_assert(shared->func == pass_gate);
    ck_assert_ptr_eq(shared->user_data, &gate);
    ck_assert(!shared->exclusive);
    GThreadPool *exclusive = gate_pool(&gate, 1, true);
    ck_assert(exclusive->exclusive);
    g_thread_pool_free(shared, TRUE, TRUE);
    g_thread_pool_free(exclusive, TRUE, TRUE);
}
END_TEST

static void add_item(gpointer item, gpointer counter)
{
    counter_add(counter, GPOINTER_TO_UINT(item));
}

static void add_tenfold(gpointer item, gpointer counter)
{
    counter_add(counter, 10ul * GPOINTER_TO_UINT(item));
}

START_TEST(func_and_user_data_are_read_at_each_call)
{
    struct counter first = COUNTER_INIT, second = COUNTER_INIT;
    GThreadPool *pool = new_pool(add_item, &first, 1, false);
    push(pool, 5);
    counter_wait(&first, 5);
    pool->func = add_tenfold;
    push(pool, 1);
    counter_wait(&first, 15);
    pool->user_data = &second;
    push(pool, 2);
    counter_wait(&second, 20);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&first), 15);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {every_pushed_item_runs_exactly_once, 1},
        {items_of_several_pushing_threads_run_exactly_once, 1},
        {items_of_an_exclusive_pool_run_exactly_once, 1},
        {a_job_can_push_to_its_own_pool, 1},
        {a_job_can_wait_for_a_job_of_another_pool, 1},
        {as_many_jobs_as_max_threads_run_at_once_and_no_more, 1},
        {an_unlimited_pool_runs_all_blocked_jobs_at_once, 1},
        {blocked_jobs_of_one_pool_do_not_hold_up_another, 1},
        {max_threads_0_freezes_a_pool_until_it_is_raised, 1},
        {a_running_pool_can_be_frozen, 1},
        {raising_max_threads_starts_waiting_items_at_once, 1},
        {lowering_max_threads_lets_running_jobs_finish_and_holds_afterwards, 1},
        {get_max_threads_tells_the_limit, 1},
        {num_threads_counts_running_jobs_and_ends_at_0, 1},
        {no_threads_after_a_burst_means_that_everything_has_run, 1},
        {unprocessed_counts_items_that_have_not_started, 1},
        {the_public_members_tell_what_was_given_to_new, 1},
        {func_and_user_data_are_read_at_each_call, 1},
        {NULL, 0},
    };
    return test_suite("pool", tests);
}
