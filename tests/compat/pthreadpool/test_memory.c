// SPDX-License-Identifier: ISC
//
// A pool is made, or there is none and nothing is left of it: each allocation that
// pthreadpool_create() makes fails once. Linked with the layer's and the core's archives, whose
// allocations go through here.

#include "threads.h"

#include <check.h>
#include <pthreadpool.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

static _Thread_local int fails_in = -1; // allocations of this thread until one fails; < 0: none
static _Atomic long blocks;

static bool fails(void)
{
    return fails_in >= 0 && fails_in-- == 0;
}

static void *counted(void *memory)
{
    blocks += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *memory)
{
    blocks -= memory != NULL;
    __real_free(memory);
}

enum { threads = 6 };

static void meet(void *context, size_t i)
{
    _Atomic int *here = context;
    (void)i;
    ++*here;
    while (*here < threads)
        sched_yield();
}

// (Assertions allocate, so they come where blocks are not counted.)
static void use_and_destroy(pthreadpool_t pool)
{
    _Atomic int here = 0;
    pthreadpool_parallelize_1d(pool, meet, &here, threads, 0);
    pthreadpool_destroy(pool);
    if (here != threads)
        ck_abort_msg("expected %d items, got %d", threads, here);
}

// How many allocations fail before one of them is the last that create makes.
static int failures_of_create(void)
{
    for (int n = 0;; n++) {
        fails_in = n;
        pthreadpool_t pool = pthreadpool_create(threads);
        bool none_failed = fails_in >= 0;
        fails_in = -1;
        if (none_failed) {
            if (!pool)
                ck_abort_msg("no pool though no allocation failed");
            use_and_destroy(pool);
            return n;
        }
        // Without the first thread it does: whoever needs one tries again.
        if (pool)
            use_and_destroy(pool);
    }
}

START_TEST(nothing_is_lost_where_a_pool_cannot_be_made)
{
    // What the library needs once is had before, by a pool so small that its team will not do for
    // those that follow.
    pthreadpool_destroy(pthreadpool_create(1));
    int before = threads_now();
    ck_assert_int_ge(failures_of_create(), 2); // the team, its group
    failures_of_create();
    enum { rounds = 100 };
    long before_them = blocks;
    for (int round = 0; round < rounds; round++)
        failures_of_create();
    // What is used again may still have grown by a few; what a failure leaves behind grows by one
    // each round.
    long kept = blocks - before_them;
    ck_assert_int_lt(kept, rounds);
    while (threads_now() != before)
        sched_yield(); // one that was joined is listed until soon after
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pthreadpool memory");
    TCase *memory = tcase_create("memory");
    tcase_set_timeout(memory, 300);
    tcase_add_test(memory, nothing_is_lost_where_a_pool_cannot_be_made);
    suite_add_tcase(suite, memory);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
