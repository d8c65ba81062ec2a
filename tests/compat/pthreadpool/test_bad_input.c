// SPDX-License-Identifier: ISC
//
// Arguments without sense, for every function there is: the thirty of 2021 natively and preloaded,
// all that the layer has linked. A call is looked up by its name, so that this one program serves
// both.

#include "pthreadpool.h"
#include "shapes.h"

#include <check.h>
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static _Atomic unsigned visits;

// A callback and a call for every row of the tables.
#define BEFORE_PLAIN
#define BEFORE_THREAD   size_t thread,
#define BEFORE_THREAD32 uint32_t thread,
#define BEFORE_UARCH    uint32_t uarch,
#define BEFORE_BOTH     uint32_t uarch, size_t thread,
#define UNUSED_PLAIN
#define UNUSED_THREAD   (void)thread;
#define UNUSED_THREAD32 (void)thread;
#define UNUSED_UARCH    (void)uarch;
#define UNUSED_BOTH     (void)uarch, (void)thread;
// A default above the maximum, which is the least there is.
#define GIVEN_PLAIN
#define GIVEN_THREAD
#define GIVEN_THREAD32
#define GIVEN_UARCH UINT32_MAX, 0,
#define GIVEN_BOTH  UINT32_MAX, 0,
#define RANGES_1(r) r[0]
#define RANGES_2(r) RANGES_1(r), r[1]
#define RANGES_3(r) RANGES_2(r), r[2]
#define RANGES_4(r) RANGES_3(r), r[3]
#define RANGES_5(r) RANGES_4(r), r[4]
#define RANGES_6(r) RANGES_5(r), r[5]
#define TILES_0(t)
#define TILES_1(t) , t
#define TILES_2(t) TILES_1(t), t
#define TILES_3(t) TILES_2(t), t
#define TILES_4(t) TILES_3(t), t

#define PARALLELIZE(NAME, DIMS, TILED, FORM, STEP, TYPE)                                        \
    static void on_##NAME(void *context, BEFORE_##FORM RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED) \
    {                                                                                           \
        (void)context;                                                                          \
        (void)(const size_t[]){RANGE_NAMES_##DIMS TILE_NAMES_##TILED};                          \
        UNUSED_##FORM visits++;                                                                 \
    }                                                                                           \
    static void call_##NAME(void *function, pthreadpool_t pool, bool callback, const size_t *r, \
                            size_t tile, uint32_t flags)                                        \
    {                                                                                           \
        __typeof__(&(pthreadpool_parallelize_##NAME)) call =                                    \
            (__typeof__(&(pthreadpool_parallelize_##NAME)))function;                            \
        (void)tile;                                                                             \
        call(pool, callback ? on_##NAME : NULL, NULL,                                           \
             GIVEN_##FORM RANGES_##DIMS(r) TILES_##TILED(tile), flags);                         \
    }
PARALLELIZE_TABLE(PARALLELIZE)

#define COMPUTE(NAME, DIMS, TILED, TYPE)                                                  \
    static void on_compute_##NAME(void *context, RANGE_PARAMS_##DIMS TILE_PARAMS_##TILED) \
    {                                                                                     \
        (void)context;                                                                    \
        (void)(const size_t[]){RANGE_NAMES_##DIMS TILE_NAMES_##TILED};                    \
        visits++;                                                                         \
    }                                                                                     \
    static void call_compute_##NAME(void *function, pthreadpool_t pool, bool callback,    \
                                    const size_t *r, size_t tile, uint32_t flags)         \
    {                                                                                     \
        __typeof__(&(pthreadpool_compute_##NAME)) call =                                  \
            (__typeof__(&(pthreadpool_compute_##NAME)))function;                          \
        (void)tile, (void)flags;                                                          \
        call(pool, callback ? on_compute_##NAME : NULL, NULL,                             \
             RANGES_##DIMS(r) TILES_##TILED(tile));                                       \
    }
COMPUTE_TABLE(COMPUTE)

#ifdef OURS
#define LINKED(function) (void *)function
#else
#define LINKED(function) NULL
#endif

static const struct row {
    const char *name;
    int dims, tiled;
    void (*call)(void *function, pthreadpool_t pool, bool callback, const size_t *r, size_t tile,
                 uint32_t flags);
    void *linked;
} rows[] = {
#define ROW(NAME, DIMS, TILED, FORM, STEP, TYPE)                 \
    {"pthreadpool_parallelize_" #NAME, DIMS, TILED, call_##NAME, \
     LINKED(pthreadpool_parallelize_##NAME)},
    PARALLELIZE_TABLE(ROW)
#define COMPUTE_ROW(NAME, DIMS, TILED, TYPE)                         \
    {"pthreadpool_compute_" #NAME, DIMS, TILED, call_compute_##NAME, \
     LINKED(pthreadpool_compute_##NAME)},
        COMPUTE_TABLE(COMPUTE_ROW)};

enum { row_count = sizeof rows / sizeof rows[0] };

// NULL where the library of this process has no such function.
static void *function_of(const struct row *row)
{
    return row->linked ? row->linked : dlsym(RTLD_DEFAULT, row->name);
}

// NULL, one thread, four.
static const size_t threads[] = {0, 1, 4};
enum { pool_kinds = sizeof threads / sizeof threads[0] };

// Natively such a call is undefined in a pool with threads: divisions by zero, additions that
// overflow.
static unsigned kinds_that_take_it(void)
{
#ifdef OURS
    return pool_kinds;
#else
    bool (*disabled)(void) = (bool (*)(void))dlsym(RTLD_DEFAULT, "smolscale_disabled");
    return disabled && !disabled() ? pool_kinds : 2;
#endif
}

static pthreadpool_t pool_of(unsigned kind)
{
    pthreadpool_t pool = threads[kind] ? pthreadpool_create(threads[kind]) : NULL;
    ck_assert((pool != NULL) == (threads[kind] != 0));
    return pool;
}

// Calls every function there is in this process. Returns how many.
static unsigned call_all(pthreadpool_t pool, bool callback, const size_t *range, size_t tile,
                         uint32_t flags, size_t visits_each)
{
    unsigned called = 0;
    for (unsigned i = 0; i < row_count; i++) {
        void *function = function_of(&rows[i]);
        if (!function)
            continue;
        visits = 0;
        rows[i].call(function, pool, callback, range, tile, flags);
        ck_assert_msg(visits == visits_each, "%s: expected %zu calls, got %u", rows[i].name,
                      visits_each, visits);
        called++;
    }
    return called;
}

START_TEST(an_empty_range_in_any_dimension_calls_nothing_not_even_NULL)
{
    for (unsigned kind = 0; kind < kinds_that_take_it(); kind++) {
        pthreadpool_t pool = pool_of(kind);
        const size_t none[6] = {0};
        ck_assert_uint_ge(call_all(pool, false, none, 1, 0, 0), 26);
        for (unsigned i = 0; i < row_count; i++) {
            void *function = function_of(&rows[i]);
            for (int d = 0; function && d < rows[i].dims; d++) {
                size_t range[6] = {3, 3, 3, 3, 3, 3};
                range[d] = 0;
                visits = 0;
                rows[i].call(function, pool, false, range, 2, 0);
                rows[i].call(function, pool, true, range, 2, UINT32_MAX);
                ck_assert_msg(visits == 0, "%s: nothing in dimension %d, and %u calls",
                              rows[i].name, d, visits);
            }
        }
        pthreadpool_destroy(pool);
    }
}
END_TEST

START_TEST(any_flags_are_accepted)
{
    const size_t one[6] = {1, 1, 1, 1, 1, 1};
    for (unsigned kind = 0; kind < pool_kinds; kind++) {
        pthreadpool_t pool = pool_of(kind);
        call_all(pool, true, one, 1, UINT32_MAX, 1);
        call_all(pool, true, one, 1, 0x80000000u, 1);
        pthreadpool_destroy(pool);
    }
}
END_TEST

START_TEST(a_tile_without_end_is_one_tile)
{
    for (unsigned kind = 0; kind < kinds_that_take_it(); kind++) {
        pthreadpool_t pool = pool_of(kind);
        for (unsigned i = 0; i < row_count; i++) {
            void *function = function_of(&rows[i]);
            size_t range[6] = {2, 2, 2, 2, 2, 2}, expected = 1;
            for (int d = 0; d < rows[i].dims - rows[i].tiled; d++)
                expected *= 2;
            visits = 0;
            if (!function)
                continue;
            rows[i].call(function, pool, true, range, SIZE_MAX, 0);
            ck_assert_msg(visits == expected, "%s: expected %zu calls, got %u", rows[i].name,
                          expected, visits);
        }
        pthreadpool_destroy(pool);
    }
}
END_TEST

static void ck_ended_by_fault(const char *name, pid_t pid)
{
    int status;
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV,
                  "%s: expected SIGSEGV, got status %#x", name, (unsigned)status);
}

START_TEST(a_callback_that_is_NULL_is_called_and_ends_the_process)
{
    const size_t one[6] = {1, 1, 1, 1, 1, 1};
    for (unsigned i = 0; i < row_count; i++) {
        void *function = function_of(&rows[i]);
        pid_t pid = function ? fork() : 0;
        if (!function)
            continue;
        if (pid == 0) {
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
            rows[i].call(function, _i ? pthreadpool_create(2) : NULL, false, one, 1, 0);
            _exit(0);
        }
        ck_ended_by_fault(rows[i].name, pid);
    }
}
END_TEST

START_TEST(pools_of_no_size_and_no_pools_are_answered)
{
    pthreadpool_destroy(NULL);
    ck_assert_uint_eq(pthreadpool_get_threads_count(NULL), 1);
    ck_assert_ptr_null(pthreadpool_create((size_t)1 << 48)); // no memory
    pthreadpool_t pool = pthreadpool_create(0);
    ck_assert_ptr_nonnull(pool);
    ck_assert_uint_eq(pthreadpool_get_threads_count(pool), (size_t)sysconf(_SC_NPROCESSORS_ONLN));
    pthreadpool_destroy(pool);
}
END_TEST

#ifdef OURS
// Natively the size of the pool overflows, or a loop has no end.
START_TEST(what_natively_overflows_is_answered)
{
    ck_assert_ptr_null(pthreadpool_create(SIZE_MAX));
    ck_assert_ptr_null(pthreadpool_create(SIZE_MAX / 64));
    ck_assert_ptr_null(pthreadpool_create_v2(NULL, NULL, SIZE_MAX / 2));
    for (unsigned kind = 0; kind < pool_kinds; kind++) {
        pthreadpool_t pool = pool_of(kind);
        for (unsigned i = 0; i < row_count; i++)
            for (int d = 0; d < rows[i].dims; d++) {
                size_t range[6] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
                range[d] = 0;
                visits = 0;
                rows[i].call(function_of(&rows[i]), pool, true, range, 0, 0);
                ck_assert_uint_eq(visits, 0);
            }
        pthreadpool_destroy(pool);
    }
}
END_TEST

START_TEST(settings_of_a_pool_may_have_any_value)
{
    pthreadpool_t pool = pthreadpool_create(3);
    ck_assert_uint_eq(pthreadpool_set_threads_count(pool, SIZE_MAX), 3);
    ck_assert_uint_eq(pthreadpool_set_threads_count(pool, 0), 3);
    ck_assert_uint_eq(pthreadpool_set_threads_count(pool, 1), 1);
    struct pthreadpool_executor none = {NULL, NULL};
    ck_assert(!pthreadpool_update_executor(pool, &none, NULL)); // it is that one
    pthreadpool_release_executor_threads(pool);
    pthreadpool_destroy(pool);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("pthreadpool bad input");
    TCase *tcase = tcase_create("bad input");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, an_empty_range_in_any_dimension_calls_nothing_not_even_NULL);
    tcase_add_test(tcase, any_flags_are_accepted);
    tcase_add_test(tcase, a_tile_without_end_is_one_tile);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    tcase_add_loop_test(tcase, a_callback_that_is_NULL_is_called_and_ends_the_process, 0, 2);
    tcase_add_test(tcase, pools_of_no_size_and_no_pools_are_answered);
#ifdef OURS
    tcase_add_test(tcase, what_natively_overflows_is_answered);
#endif
#endif
#ifdef OURS
    tcase_add_test(tcase, settings_of_a_pool_may_have_any_value);
#endif
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
