// SPDX-License-Identifier: ISC
//
// Arguments without sense for each of the sixteen functions: a table of calls, each with what GLib
// complains about (NULL: nothing) and what it gives. Beyond the complaints in test_errors.c these
// are the numbers at the ends of their ranges, and calls in states in which they mean little.

#include "support.h"

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

// What the calls work on: a pool that is frozen, so that what is pushed stays; NULL in the end.
static GThreadPool *frozen;
static GError *error;

// A call, what it gives, and the complaint.
#define CALLS(X)                                                                          \
    X(g_thread_pool_get_num_unused_threads(), 0, NULL)                                    \
    X(g_thread_pool_new(NULL, NULL, 1, FALSE, NULL) != NULL, 0,                           \
      "new_full: assertion 'func' failed")                                                \
    X(g_thread_pool_new(do_nothing, NULL, INT_MIN, FALSE, NULL) != NULL, 0,               \
      "new_full: assertion 'max_threads >= -1' failed")                                   \
    X(g_thread_pool_new(do_nothing, NULL, INT_MIN, TRUE, &error) != NULL, 0,              \
      "new_full: assertion 'max_threads >= -1' failed")                                   \
    X(g_thread_pool_new_full(do_nothing, NULL, g_free, -1, TRUE, &error) != NULL, 0,      \
      "new_full: assertion '!exclusive || max_threads != -1' failed")                     \
    X(g_thread_pool_new_full(NULL, NULL, NULL, -2, TRUE, &error) != NULL, 0,              \
      "new_full: assertion 'func' failed")                                                \
    X(g_thread_pool_push(NULL, ITEM(1), &error), 0, "push: assertion 'real' failed")      \
    X(g_thread_pool_push(NULL, NULL, NULL), 0, "push: assertion 'real' failed")           \
    X(g_thread_pool_unprocessed(NULL), 0, "unprocessed: assertion 'real' failed")         \
    X((g_thread_pool_set_sort_function(NULL, NULL, NULL), 0), 0,                          \
      "set_sort_function: assertion 'real' failed")                                       \
    X(g_thread_pool_set_max_threads(NULL, INT_MIN, &error), 0,                            \
      "set_max_threads: assertion 'real' failed")                                         \
    X(g_thread_pool_get_max_threads(NULL), 0, "get_max_threads: assertion 'real' failed") \
    X(g_thread_pool_get_num_threads(NULL), 0, "get_num_threads: assertion 'real' failed") \
    X((g_thread_pool_free(NULL, TRUE, FALSE), 0), 0, "free: assertion 'real' failed")     \
    X((g_thread_pool_free(NULL, FALSE, FALSE), 0), 0, "free: assertion 'real' failed")    \
                                                                                          \
    X(g_thread_pool_set_max_threads(frozen, INT_MIN, &error), 0,                          \
      "set_max_threads: assertion 'max_threads >= -1' failed")                            \
    X(g_thread_pool_set_max_threads(frozen, -2, NULL), 0,                                 \
      "set_max_threads: assertion 'max_threads >= -1' failed")                            \
    X(g_thread_pool_get_max_threads(frozen), 0, NULL)                                     \
    X(g_thread_pool_move_to_front(frozen, ITEM(1)), 0, NULL)                              \
    X(g_thread_pool_push(frozen, ITEM(1), NULL), 1, NULL)                                 \
    X(g_thread_pool_push(frozen, GSIZE_TO_POINTER(G_MAXSIZE), &error), 1, NULL)           \
    X(g_thread_pool_unprocessed(frozen), 2, NULL)                                         \
    X(g_thread_pool_move_to_front(frozen, GSIZE_TO_POINTER(G_MAXSIZE)), 1, NULL)          \
    X(g_thread_pool_move_to_front(frozen, ITEM(2)), 0, NULL)                              \
    X((g_thread_pool_set_sort_function(frozen, NULL, frozen), 0), 0, NULL)                \
    X((g_thread_pool_set_sort_function(frozen, compare_nothing, NULL), 0), 0, NULL)       \
    X(g_thread_pool_unprocessed(frozen), 2, NULL)                                         \
    X(g_thread_pool_get_num_threads(frozen), 0, NULL)                                     \
    X(g_thread_pool_set_max_threads(frozen, INT_MAX, &error), 1, NULL)                    \
    X(g_thread_pool_get_max_threads(frozen), INT_MAX, NULL)                               \
    X(g_thread_pool_set_max_threads(frozen, -1, &error), 1, NULL)                         \
    X(g_thread_pool_get_max_threads(frozen), -1, NULL)                                    \
    X((g_thread_pool_free(frozen, FALSE, TRUE), 0), 0, NULL)                              \
                                                                                          \
    X((g_thread_pool_set_max_unused_threads(INT_MIN), 0), 0,                              \
      "set_max_unused_threads: assertion 'max_threads >= -1' failed")                     \
    X((g_thread_pool_set_max_unused_threads(-1), 0), 0, NULL)                             \
    X(g_thread_pool_get_max_unused_threads(), -1, NULL)                                   \
    X((g_thread_pool_set_max_unused_threads(INT_MAX), 0), 0, NULL)                        \
    X(g_thread_pool_get_max_unused_threads(), INT_MAX, NULL)                              \
    X((g_thread_pool_set_max_unused_threads(0), 0), 0, NULL)                              \
    X((g_thread_pool_set_max_idle_time(UINT_MAX), 0), 0, NULL)                            \
    X(g_thread_pool_get_max_idle_time(), UINT_MAX, NULL)                                  \
    X((g_thread_pool_set_max_idle_time(0), 0), 0, NULL)                                   \
    X(g_thread_pool_get_max_idle_time(), 0, NULL)                                         \
    X((g_thread_pool_stop_unused_threads(), 0), 0, NULL)                                  \
    X((g_thread_pool_stop_unused_threads(), 0), 0, NULL)

static void check(const char *call, gint64 got, gint64 expected, const char *complaint)
{
    ck_assert_msg(got == expected, "%s: expected %lld, got %lld", call, (long long)expected,
                  (long long)got);
    char *message = take_message();
    char *whole = complaint ? g_strdup_printf("GLib: g_thread_pool_%s", complaint) : NULL;
    ck_assert_msg(g_strcmp0(message, whole) == 0, "%s: expected the message \"%s\", got \"%s\"",
                  call, whole ? whole : "", message ? message : "");
    g_free(message);
    g_free(whole);
    ck_assert_msg(take_message() == NULL, "%s: more than one message", call);
    ck_assert_msg(error == NULL, "%s: an error besides: %s", call, error ? error->message : "");
}

START_TEST(each_call_without_sense_is_answered_as_by_glib)
{
    catch_messages();
    frozen = new_pool(do_nothing, NULL, 0, false);
#define CHECK(call, expected, complaint) check(#call, (gint64)(call), expected, complaint);
    CALLS(CHECK)
#undef CHECK
}
END_TEST

// GLib looks at this one's pool without having asked whether there is one.
START_TEST(move_to_front_of_NULL_ends_the_process)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        g_thread_pool_move_to_front(NULL, ITEM(1));
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
}
END_TEST

// It is the caller's mistake, which matters only where there is an error to be set.
START_TEST(an_error_that_is_set_already_is_left_alone)
{
    GError *mine = g_error_new_literal(G_THREAD_ERROR, G_THREAD_ERROR_AGAIN, "mine");
    GError *same = mine;
    catch_messages();
    GThreadPool *pool = g_thread_pool_new(do_nothing, NULL, 1, FALSE, &mine);
    ck_assert_ptr_nonnull(pool);
    ck_assert(g_thread_pool_push(pool, ITEM(1), &mine));
    ck_assert(g_thread_pool_set_max_threads(pool, 2, &mine));
    ck_assert_ptr_eq(mine, same);
    ck_assert_ptr_null(take_message());
    g_error_free(mine);
    g_thread_pool_free(pool, FALSE, TRUE);
}
END_TEST

int main(void)
{
    const struct test tests[] = {
        {each_call_without_sense_is_answered_as_by_glib, 1},
        {move_to_front_of_NULL_ends_the_process, 1},
        {an_error_that_is_set_already_is_left_alone, 1},
        {NULL, 0},
    };
    return test_suite("bad input", tests);
}
