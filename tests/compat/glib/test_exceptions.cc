// SPDX-License-Identifier: ISC
//
// Jobs written in C++: exceptions that stay within the job, whatever C frames they pass, and those
// that leave it, which end the process as they end one whose thread they leave.

#include <atomic>
#include <check.h>
#include <csignal>
#include <cstdlib>
#include <glib.h>
#include <stdexcept>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static std::atomic<unsigned> caught, destroyed;

struct guard {
    ~guard()
    {
        destroyed++;
    }
};

static int throw_at_once(const void *, const void *)
{
    throw std::runtime_error("from a callback of qsort()");
}

// Through the C frames of qsort(), and of a nested call of the job itself.
static void throw_and_catch(gpointer, gpointer)
{
    int numbers[8] = {8, 7, 6, 5, 4, 3, 2, 1};
    try {
        guard in_the_way;
        qsort(numbers, 8, sizeof numbers[0], throw_at_once);
    } catch (const std::runtime_error &) {
        caught++;
    }
}

START_TEST(exceptions_within_a_job_are_caught_there)
{
    GThreadPool *pool = g_thread_pool_new(throw_and_catch, nullptr, 4, _i, nullptr);
    for (unsigned i = 1; i <= 1000; i++)
        ck_assert(g_thread_pool_push(pool, GUINT_TO_POINTER(i), nullptr));
    g_thread_pool_free(pool, FALSE, TRUE);
    ck_assert_uint_eq(caught.load(), 1000);
    ck_assert_uint_eq(destroyed.load(), 1000);
}
END_TEST

static void throw_out(gpointer, gpointer)
{
    throw std::runtime_error("out of the job");
}

static void end_well()
{
    _exit(42);
}

// std::terminate() is called where the exception was thrown: a program's own handler sees it.
START_TEST(an_exception_that_leaves_a_job_ends_the_process)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        if (_i)
            std::set_terminate(end_well);
        GThreadPool *pool = g_thread_pool_new(throw_out, nullptr, 1, FALSE, nullptr);
        g_thread_pool_push(pool, GUINT_TO_POINTER(1), nullptr);
        for (;;)
            pause();
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (_i)
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    else
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

int main()
{
    Suite *suite = suite_create("exceptions");
    TCase *tcase = tcase_create("exceptions");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, exceptions_within_a_job_are_caught_there, 0, 2);
    tcase_add_loop_test(tcase, an_exception_that_leaves_a_job_ends_the_process, 0, 2);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
