// SPDX-License-Identifier: ISC
//
// Pools and fork(), and pools that GLib made itself. In a child of fork() GLib's own pools have
// lost their threads; the layer's pools are empty and work. So most of this is about the layer
// alone.

#include "support.h"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>

static void expect_success(pid_t child)
{
    int status;
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x",
                  status);
}

// In the child: a check that fails must not run the parent's tests on.
#define CHILD_ASSERT(condition)                                \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "in the child: %s\n", #condition); \
            _exit(1);                                          \
        }                                                      \
    } while (0)

static void use_a_new_pool(bool exclusive)
{
    struct gate gate = GATE_INIT;
    gate_open(&gate);
    GThreadPool *pool = g_thread_pool_new(pass_gate, &gate, 2, exclusive, NULL);
    for (guint i = 1; i <= 100; i++)
        CHILD_ASSERT(g_thread_pool_push(pool, ITEM(i), NULL));
    g_thread_pool_free(pool, FALSE, TRUE);
    CHILD_ASSERT(counter_get(&gate.ended) == 100);
}

START_TEST(a_child_of_a_process_without_pools_can_use_pools)
{
    pid_t child = fork();
    if (child == 0) {
        use_a_new_pool(false);
        use_a_new_pool(true);
        _exit(0);
    }
    expect_success(child);
    use_a_new_pool(false);
}
END_TEST

START_TEST(a_child_can_use_new_pools_and_those_of_its_parent)
{
    ONLY_PRELOADED;
    struct gate gate = GATE_INIT;
    GThreadPool *pool = gate_pool(&gate, 2, _i == 1);
    for (guint i = 1; i <= 10; i++)
        push(pool, i);
    counter_wait(&gate.started, 2);
    pid_t child = fork();
    if (child == 0) {
        struct gate open = GATE_INIT;
        gate_open(&open);
        use_a_new_pool(false);
        use_a_new_pool(true);
        CHILD_ASSERT(g_thread_pool_unprocessed(pool) == 0); // what was queued is the parent's
        pool->user_data = &open;
        for (guint i = 1; i <= 100; i++)
            CHILD_ASSERT(g_thread_pool_push(pool, ITEM(i), NULL));
        g_thread_pool_free(pool, FALSE, TRUE);
        CHILD_ASSERT(counter_get(&open.ended) == 100);
        _exit(0);
    }
    expect_success(child);
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 10);
}
END_TEST

static void fork_in_job(gpointer item, gpointer counter)
{
    (void)item;
    pid_t child = fork();
    if (child == 0) {
        use_a_new_pool(false);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        counter_add(counter, 1);
}

START_TEST(a_job_can_fork_and_the_child_can_use_pools)
{
    ONLY_PRELOADED;
    struct counter succeeded = COUNTER_INIT;
    GThreadPool *pool = new_pool(fork_in_job, &succeeded, 2, _i == 1);
    for (guint i = 1; i <= 20; i++)
        push(pool, i);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&succeeded), 20);
}
END_TEST

static void spawn_in_job(gpointer item, gpointer counter)
{
    const char *argv[] = {"true", NULL};
    gint status = -1;
    (void)item;
    if (g_spawn_sync(NULL, (gchar **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                     &status, NULL) &&
        status == 0)
        counter_add(counter, 1);
}

START_TEST(a_job_can_start_programs)
{
    struct counter succeeded = COUNTER_INIT;
    GThreadPool *pool = new_pool(spawn_in_job, &succeeded, 4, _i == 1);
    for (guint i = 1; i <= 20; i++)
        push(pool, i);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&succeeded), 20);
}
END_TEST

static void sleep_for_ever(gpointer item, gpointer counter)
{
    (void)item;
    counter_add(counter, 1);
    for (;;)
        pause();
}

START_TEST(a_process_can_end_while_jobs_run)
{
    pid_t child = fork();
    if (child == 0) {
        struct counter started = COUNTER_INIT;
        GThreadPool *pool = g_thread_pool_new(sleep_for_ever, &started, 4, _i == 1, NULL);
        for (guint i = 1; i <= 10; i++)
            g_thread_pool_push(pool, ITEM(i), NULL);
        counter_wait(&started, 4);
        exit(0);
    }
    expect_success(child);
}
END_TEST

START_TEST(a_pool_that_glib_made_itself_is_handed_on)
{
    ONLY_PRELOADED;
    void *glib = dlopen("libglib-2.0.so.0", RTLD_LAZY | RTLD_NOLOAD);
    __typeof__(&g_thread_pool_new) native_new =
        (__typeof__(&g_thread_pool_new))dlsym(glib, "g_thread_pool_new");
    ck_assert(native_new != NULL && native_new != g_thread_pool_new);

    struct gate gate = GATE_INIT;
    GThreadPool *pool = native_new(pass_gate, &gate, 1, FALSE, NULL);
    for (guint i = 1; i <= 5; i++)
        push(pool, i);
    counter_wait(&gate.started, 1);
    ck_assert_uint_eq(g_thread_pool_unprocessed(pool), 4);
    ck_assert_uint_eq(g_thread_pool_get_num_threads(pool), 1);
    ck_assert_int_eq(g_thread_pool_get_max_threads(pool), 1);
    ck_assert(g_thread_pool_move_to_front(pool, ITEM(4)));
    g_thread_pool_set_sort_function(pool, NULL, NULL);
    ck_assert(g_thread_pool_set_max_threads(pool, 2, NULL));
    gate_open(&gate);
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(counter_get(&gate.ended), 5);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {a_child_of_a_process_without_pools_can_use_pools, 1},
        {a_child_can_use_new_pools_and_those_of_its_parent, 2},
        {a_job_can_fork_and_the_child_can_use_pools, 2},
        {a_job_can_start_programs, 2},
        {a_process_can_end_while_jobs_run, 2},
        {a_pool_that_glib_made_itself_is_handed_on, 1},
        {NULL, 0},
    };
    return test_suite("processes", tests);
}
