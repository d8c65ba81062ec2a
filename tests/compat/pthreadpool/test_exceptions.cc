// SPDX-License-Identifier: ISC
//
// Items that throw, in the caller's thread, where the function that made the call catches it.
// (Thrown in another thread it ends the program, natively as here.) As test_escape.c, which says
// what must hold and how the program is run.

#include <atomic>
#include <check.h>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <pthreadpool.h>
#include <sched.h>
#include <stdexcept>

namespace
{

enum { threads = 4, items = 16 };

struct Escape {
    pthread_t caller;
    std::atomic<bool> left;
    std::atomic<int> begun;
};

void caller_throws(void *context, size_t)
{
    Escape *e = static_cast<Escape *>(context);
    e->begun++;
    if (pthread_equal(pthread_self(), e->caller)) {
        e->left = true;
        throw std::runtime_error("an item failed");
    }
    while (!e->left)
        sched_yield();
}

struct Destructed {
    bool &flag;
    explicit Destructed(bool &f) : flag(f)
    {
    }
    ~Destructed()
    {
        flag = true;
    }
};

__attribute__((noinline)) void leave_a_call(pthreadpool_t pool, Escape *e)
{
    e->caller = pthread_self();
    e->left = false;
    e->begun = 0;
    bool unwound = false;
    bool caught = false;
    try {
        Destructed local(unwound);
        pthreadpool_parallelize_1d(pool, caller_throws, e, items, 0);
    } catch (const std::runtime_error &error) {
        caught = std::strcmp(error.what(), "an item failed") == 0;
    }
    ck_assert(caught);
    ck_assert(unwound);
}

void count(void *context, size_t)
{
    ++*static_cast<std::atomic<int> *>(context);
}

__attribute__((noinline)) int call_from_deeper(pthreadpool_t pool, pthreadpool_task_1d_t task,
                                               void *context, size_t range)
{
    volatile char *used = static_cast<char *>(__builtin_alloca(4096));
    std::memset(const_cast<char *>(used), 0x41, 4096);
    pthreadpool_parallelize_1d(pool, task, context, range, 0);
    return used[0];
}

START_TEST(the_other_items_run_all_the_same)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    Escape e;
    leave_a_call(pool, &e);
    while (e.begun < items)
        sched_yield();
    pthreadpool_destroy(pool);
    ck_assert_int_eq(e.begun, items);
}
END_TEST

START_TEST(other_pools_can_be_called_and_destroy_returns)
{
    pthreadpool_t left = pthreadpool_create(threads);
    pthreadpool_t other = pthreadpool_create(threads);
    Escape e;
    leave_a_call(left, &e);
    for (int round = 0; round < 10; round++) {
        std::atomic<int> n(0);
        call_from_deeper(other, count, &n, items);
        ck_assert_int_eq(n, items);
    }
    pthreadpool_destroy(other);
    pthreadpool_destroy(left);
    ck_assert_int_eq(e.begun, items);
}
END_TEST

#ifdef OURS
void meet(void *context, size_t)
{
    std::atomic<int> *here = static_cast<std::atomic<int> *>(context);
    ++*here;
    while (*here < threads)
        sched_yield();
}

START_TEST(the_pool_itself_can_be_called_again_by_all_its_threads)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    Escape e;
    for (int round = 0; round < 10; round++) {
        leave_a_call(pool, &e);
        std::atomic<int> here(0);
        call_from_deeper(pool, meet, &here, threads);
        ck_assert_int_eq(here, threads);
        ck_assert_int_eq(e.begun, items);
    }
    pthreadpool_destroy(pool);
}
END_TEST
#endif

} // namespace

int main()
{
    Suite *suite = suite_create("pthreadpool exceptions");
    TCase *exceptions = tcase_create("exceptions");
    tcase_set_timeout(exceptions, 300);
    tcase_add_test(exceptions, the_other_items_run_all_the_same);
    tcase_add_test(exceptions, other_pools_can_be_called_and_destroy_returns);
#ifdef OURS
    tcase_add_test(exceptions, the_pool_itself_can_be_called_again_by_all_its_threads);
#endif
    suite_add_tcase(suite, exceptions);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
