// SPDX-License-Identifier: ISC
//
// See support.h.

#include "support.h"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/resource.h>

int test_suite(const char *name, const struct test *tests)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, TEST_TIMEOUT);
    for (; tests->test != NULL; tests++)
        tcase_add_loop_test(tcase, tests->test, 0, tests->rounds);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int run = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    printf("%s: %d passed, %d failed\n", preloaded() ? "preloaded" : "native", run - failed,
           failed);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// The core is in the process only by way of the layer: these programs do not link it.
bool preloaded(void)
{
    bool (*disabled)(void) = (bool (*)(void))dlsym(RTLD_DEFAULT, "smolscale_disabled");
    return disabled != NULL && !disabled();
}

bool in_smolscale_worker(void)
{
    bool (*in_worker)(void) = (bool (*)(void))dlsym(RTLD_DEFAULT, "smolscale_in_worker");
    return in_worker != NULL && in_worker();
}

bool glib_at_least(guint major, guint minor, guint micro)
{
    return glib_check_version(major, minor, micro) == NULL;
}

void pass_gate(gpointer item, gpointer gate_pointer)
{
    struct gate *gate = gate_pointer;
    (void)item;
    int running = atomic_fetch_add(&gate->running, 1) + 1;
    int most = atomic_load(&gate->most_running);
    while (running > most && !atomic_compare_exchange_weak(&gate->most_running, &most, running))
        ;
    counter_add(&gate->started, 1);
    counter_wait(&gate->may_end, 1);
    atomic_fetch_sub(&gate->running, 1);
    counter_add(&gate->ended, 1);
}

void gate_open(struct gate *gate)
{
    counter_add(&gate->may_end, 1);
}

GThreadPool *new_pool(GFunc func, gpointer user_data, gint max_threads, bool exclusive)
{
    GError *error = NULL;
    GThreadPool *pool = g_thread_pool_new(func, user_data, max_threads, exclusive, &error);
    ck_assert_msg(error == NULL, "g_thread_pool_new: %s", error ? error->message : "");
    ck_assert_ptr_nonnull(pool);
    return pool;
}

GThreadPool *gate_pool(struct gate *gate, gint max_threads, bool exclusive)
{
    return new_pool(pass_gate, gate, max_threads, exclusive);
}

void push(GThreadPool *pool, guint item)
{
    GError *error = NULL;
    gboolean done = g_thread_pool_push(pool, ITEM(item), &error);
    ck_assert_msg(error == NULL, "g_thread_pool_push: %s", error ? error->message : "");
    ck_assert(done);
}

guint test_random(guint64 *state)
{
    *state =
        *state * G_GUINT64_CONSTANT(6364136223846793005) + G_GUINT64_CONSTANT(1442695040888963407);
    return (guint)(*state >> 33);
}

static GAsyncQueue *messages;

static void keep_message(const gchar *domain, GLogLevelFlags level, const gchar *message,
                         gpointer user_data)
{
    (void)level;
    (void)user_data;
    g_async_queue_push(messages, g_strdup_printf("%s: %s", domain, message));
}

void catch_messages(void)
{
    messages = g_async_queue_new();
    g_log_set_default_handler(keep_message, NULL);
}

char *take_message(void)
{
    return g_async_queue_try_pop(messages);
}

static void *return_at_once(void *arg)
{
    return arg;
}

bool forbid_threads(void)
{
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
        return false;
    struct rlimit limit;
    getrlimit(RLIMIT_NPROC, &limit);
    limit.rlim_cur = 0;
    setrlimit(RLIMIT_NPROC, &limit);
    pthread_t thread;
    if (pthread_create(&thread, NULL, return_at_once, NULL) != 0)
        return true;
    pthread_join(thread, NULL);
    return false;
}

void allow_threads(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NPROC, &limit);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
}

void do_nothing(gpointer item, gpointer user_data)
{
    (void)item;
    (void)user_data;
}

gint compare_nothing(gconstpointer a, gconstpointer b, gpointer user_data)
{
    (void)a;
    (void)b;
    (void)user_data;
    return 0;
}
