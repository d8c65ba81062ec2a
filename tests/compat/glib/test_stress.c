// SPDX-License-Identifier: ISC
//
// Everything at once, from many threads. The layer and the core are linked into this program
// instead of preloaded, so that sanitizers see both; GLib itself, which they do not see, is left
// out of it.

#include "support.h"

#if defined(__SANITIZE_THREAD__)
#define ROUNDS 10
// Check forks each test from a process that has had threads.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#else
#define ROUNDS 60
#endif

#define PUSHERS 3
#define ITEMS   400

static struct counter ran = COUNTER_INIT, dropped = COUNTER_INIT;

static void run(gpointer item, gpointer user_data)
{
    (void)user_data;
    if (GPOINTER_TO_UINT(item) % 64 == 0)
        usleep(50); // some block
    counter_add(&ran, 1);
}

static void drop(gpointer item)
{
    (void)item;
    counter_add(&dropped, 1);
}

static gint compare(gconstpointer a, gconstpointer b, gpointer user_data)
{
    (void)user_data;
    return (gint)GPOINTER_TO_UINT(a) - (gint)GPOINTER_TO_UINT(b);
}

static void disturb(GThreadPool *pool, guint i)
{
    g_thread_pool_set_max_threads(pool, 1 + (gint)(i / 50) % 3, NULL);
    g_thread_pool_move_to_front(pool, ITEM(i - 3));
    ck_assert_uint_le(g_thread_pool_unprocessed(pool), PUSHERS * ITEMS);
    ck_assert_uint_le(g_thread_pool_get_num_threads(pool), 4); // the highest limit and one leaving
    if (i == ITEMS / 2)
        g_thread_pool_set_sort_function(pool, compare, NULL);
}

static void *push_and_disturb(void *pool)
{
    for (guint i = 1; i <= ITEMS; i++) {
        push(pool, i);
        if (i % 50 == 0)
            disturb(pool, i);
    }
    return NULL;
}

START_TEST(each_item_of_a_disturbed_pool_runs_or_is_dropped)
{
    for (guint round = 0; round < ROUNDS; round++) {
        GThreadPool *pool = g_thread_pool_new_full(run, NULL, drop, 2, _i == 1, NULL);
        pthread_t pushers[PUSHERS];
        for (guint i = 0; i < PUSHERS; i++)
            ck_assert_int_eq(pthread_create(&pushers[i], NULL, push_and_disturb, pool), 0);
        for (guint i = 0; i < PUSHERS; i++)
            pthread_join(pushers[i], NULL);
        g_thread_pool_free(pool, round & 1, round & 2);
    }
    EVENTUALLY(counter_get(&ran) + counter_get(&dropped), ==, ROUNDS * PUSHERS * ITEMS);
}
END_TEST

static struct counter pushed = COUNTER_INIT;

static void *make_and_free_pools(void *arg)
{
    (void)arg;
    for (guint round = 0; round < ROUNDS * 4; round++) {
        GThreadPool *pool =
            g_thread_pool_new_full(run, NULL, drop, 1 + (gint)round % 3, round % 8 == 7, NULL);
        for (guint i = 1; i <= round % 10; i++)
            push(pool, i);
        counter_add(&pushed, round % 10);
        g_thread_pool_free(pool, round & 1, round & 2);
        if (round % 16 == 0)
            g_thread_pool_stop_unused_threads();
        if (round % 16 == 8)
            g_thread_pool_set_max_unused_threads(round % 32 == 8 ? 1 : -1);
    }
    return NULL;
}

START_TEST(pools_come_and_go_in_many_threads)
{
    pthread_t threads[4];
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_and_free_pools, NULL), 0);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    EVENTUALLY(counter_get(&ran) + counter_get(&dropped), ==, counter_get(&pushed));
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {each_item_of_a_disturbed_pool_runs_or_is_dropped, 2},
        {pools_come_and_go_in_many_threads, 1},
        {NULL, 0},
    };
    return test_suite("stress", tests);
}
