// SPDX-License-Identifier: ISC
//
// Items that do not return: they jump out of the call, into the function that made it. What the
// native library does then is all that a program can rely on: the other items run all the same,
// other pools can be called, and destroy returns. This program is run natively, preloaded and
// disabled, and linked with the layer with OURS defined, where the pool itself can be called again,
// too. test_exceptions.cc is the same with exceptions.

#include <check.h>
#include <pthread.h>
#include <pthreadpool.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { threads = 4, items = 16 };

struct escape {
    pthread_t caller;
    jmp_buf out;
    _Atomic bool left; // the caller has
    _Atomic int begun;
};

// Others take one item each at most before the caller, so some are left for it.
static void caller_jumps_out(void *context, size_t i)
{
    struct escape *e = context;
    (void)i;
    e->begun++;
    if (pthread_equal(pthread_self(), e->caller)) {
        e->left = true;
        longjmp(e->out, 1);
    }
    while (!e->left)
        sched_yield();
}

// The struct outlives the call: items of it still run.
static __attribute__((noinline)) void leave_a_call(pthreadpool_t pool, struct escape *e)
{
    e->caller = pthread_self();
    e->left = false;
    e->begun = 0;
    if (setjmp(e->out) == 0) {
        pthreadpool_parallelize_1d(pool, caller_jumps_out, e, items, 0);
        ck_abort_msg("the call returned");
    }
}

static void wait_for_the_others(struct escape *e)
{
    while (e->begun < items)
        sched_yield();
}

static void count(void *context, size_t i)
{
    (void)i;
    atomic_fetch_add((_Atomic int *)context, 1);
}

// Makes a call, with something else where frames of former calls were.
static __attribute__((noinline)) int call_from_deeper(pthreadpool_t pool,
                                                      pthreadpool_task_1d_t task, void *context,
                                                      size_t range)
{
    volatile char *used = __builtin_alloca(4096);
    memset((char *)used, 0x41, 4096);
    pthreadpool_parallelize_1d(pool, task, context, range, 0);
    return used[0];
}

START_TEST(the_other_items_run_all_the_same)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    struct escape e;
    leave_a_call(pool, &e);
    wait_for_the_others(&e);
    pthreadpool_destroy(pool);
    ck_assert_int_eq(e.begun, items);
}
END_TEST

START_TEST(other_pools_can_be_called_and_destroy_returns)
{
    pthreadpool_t left = pthreadpool_create(threads);
    pthreadpool_t other = pthreadpool_create(threads);
    struct escape e;
    leave_a_call(left, &e);
    for (int round = 0; round < 10; round++) {
        _Atomic int n = 0;
        call_from_deeper(other, count, &n, items);
        ck_assert_int_eq(n, items);
        pthreadpool_t later = pthreadpool_create(threads - 1);
        n = 0;
        call_from_deeper(later, count, &n, items);
        ck_assert_int_eq(n, items);
        pthreadpool_destroy(later);
    }
    pthreadpool_destroy(other);
    pthreadpool_destroy(left);
    ck_assert_int_eq(e.begun, items); // it has waited for the pool's threads, hence for these
}
END_TEST

struct lone_caller {
    pthreadpool_t pool;
    struct escape escape;
    pthread_barrier_t left, destroyed;
};

static void *leave_a_call_and_stay(void *argument)
{
    struct lone_caller *l = argument;
    leave_a_call(l->pool, &l->escape);
    pthread_barrier_wait(&l->left);
    pthread_barrier_wait(&l->destroyed);
    return NULL;
}

static bool is_native(void)
{
#ifdef OURS
    return false;
#else
    return !getenv("LD_PRELOAD") || getenv("SMOLSCALE_DISABLE");
#endif
}

// Natively destroy calls off what the pool's threads have not begun; here it waits for all items.
START_TEST(another_thread_can_destroy_the_pool)
{
    struct lone_caller l = {.pool = pthreadpool_create(threads)};
    pthread_barrier_init(&l.left, NULL, 2);
    pthread_barrier_init(&l.destroyed, NULL, 2);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, leave_a_call_and_stay, &l), 0);
    pthread_barrier_wait(&l.left);
    if (is_native())
        wait_for_the_others(&l.escape);
    pthreadpool_destroy(l.pool);
    ck_assert_int_eq(l.escape.begun, items);
    // What comes next gets none of its calls.
    pthreadpool_t next = pthreadpool_create(threads);
    _Atomic int n = 0;
    pthreadpool_parallelize_1d(next, count, &n, items, 0);
    ck_assert_int_eq(n, items);
    pthreadpool_destroy(next);
    pthread_barrier_wait(&l.destroyed);
    pthread_join(thread, NULL);
}
END_TEST

#ifdef OURS
struct meeting {
    _Atomic int here;
};

static void meet(void *context, size_t i)
{
    struct meeting *m = context;
    (void)i;
    m->here++;
    while (m->here < threads)
        sched_yield();
}

static __attribute__((noinline)) void call_from_here(pthreadpool_t pool, struct meeting *m)
{
    pthreadpool_parallelize_1d(pool, meet, m, threads, 0);
}

// Natively such a call hangs: the pool's mutex is locked.
START_TEST(the_pool_itself_can_be_called_again_by_all_its_threads)
{
    pthreadpool_t pool = pthreadpool_create(threads);
    struct escape e;
    for (int round = 0; round < 10; round++) {
        leave_a_call(pool, &e);
        struct meeting m = {0};
        if (round % 2)
            call_from_deeper(pool, meet, &m, threads);
        else
            call_from_here(pool, &m);
        ck_assert_int_eq(m.here, threads);
        ck_assert_int_eq(e.begun, items); // one call after the other
    }
    leave_a_call(pool, &e);
    ck_assert_uint_eq(pthreadpool_set_threads_count(pool, threads), threads);
    ck_assert_int_eq(e.begun, items);
    pthreadpool_destroy(pool);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("pthreadpool escape");
    TCase *jumps = tcase_create("jumps");
    tcase_set_timeout(jumps, 300);
    tcase_add_test(jumps, the_other_items_run_all_the_same);
    tcase_add_test(jumps, other_pools_can_be_called_and_destroy_returns);
    tcase_add_test(jumps, another_thread_can_destroy_the_pool);
#ifdef OURS
    tcase_add_test(jumps, the_pool_itself_can_be_called_again_by_all_its_threads);
#endif
    suite_add_tcase(suite, jumps);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
