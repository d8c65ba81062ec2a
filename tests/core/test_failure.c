// SPDX-License-Identifier: ISC
//
// Contract 9, failure is an answer: when threads cannot be created, work goes on with those there
// are, the error is reported where there is none at all, and is forgotten once a thread can be had.
// Failures come through the seam, at the nth creation for each n, and for real from the kernel
// (RLIMIT_NPROC).

#include "support.h"

#include <smolscale_async.h>

#include <grp.h>
#include <sys/resource.h>
#include <sys/wait.h>

static atomic_uint ran;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    atomic_fetch_add(&ran, 1);
}

static atomic_uint fail_from, fail_to; // the balancer asks at any time

static bool fails_between(unsigned n)
{
    return n >= fail_from && n <= fail_to;
}

// Pushes; items that were queued with -EAGAIN count as accepted. Returns how many such there were.
static unsigned push_all(smolscale_queue *queue, unsigned n)
{
    unsigned without_thread = 0;
    for (unsigned i = 0; i < n; i++) {
        int err = smolscale_queue_push(queue, item_of(i), NULL);
        ck_assert_msg(err == 0 || err == -EAGAIN, "expected 0 or -EAGAIN, got %d", err);
        without_thread += err != 0;
    }
    return without_thread;
}

// Every creation from the `from`th to the `to`th fails.
static void work_with_failures(unsigned from, unsigned to)
{
    fail_from = from;
    fail_to = to;
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    atomic_store(&ran, 0);
    push_all(queue, 500);
    EVENTUALLY(atomic_load(&ran), ==, 500);
    smolscale_queue_free(queue);
}

START_TEST(any_single_failed_creation_loses_nothing)
{
    failing_threads_start(fails_between);
    for (unsigned n = 1; n <= 12; n++) {
        fail_to = 0;
        EVENTUALLY(workers_after_retiring(), ==, 0);
        unsigned tries = failing_threads_tries();
        work_with_failures(tries + n, tries + n);
    }
}
END_TEST

// In processes of their own, so that each n meets a fresh executor.
static void in_child(void (*test)(unsigned n), unsigned n)
{
    pid_t pid = fork_child();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        test(n);
        _exit(CHILD_OK);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_OK,
                  "n = %u: expected exit %d, got %s %d", n, CHILD_OK,
                  WIFSIGNALED(status) ? "signal" : "exit",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static struct counter came = COUNTER_INIT;
static unsigned crowd_size;

static void wait_for_crowd(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&came, 1);
    counter_wait(&came, crowd_size);
}

static void crowd_with_failure_at(unsigned n)
{
    fail_from = fail_to = n;
    failing_threads_start(fails_between);
    crowd_size = 12;
    smolscale_queue *queue = queue_new(wait_for_crowd, NULL, SMOLSCALE_UNLIMITED);
    push_all(queue, crowd_size);
    counter_wait(&came, crowd_size);
    smolscale_queue_free(queue);
}

START_TEST(jobs_waiting_for_one_another_meet_though_the_nth_creation_fails)
{
    for (unsigned n = 1; n <= 14; n++)
        in_child(crowd_with_failure_at, n);
}
END_TEST

static void work_with_failures_from(unsigned n)
{
    fail_from = n;
    fail_to = UINT32_MAX; // never again
    failing_threads_start(fails_between);
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    CHILD_CHECK(push_all(queue, 500) == 0);
    smolscale_queue_wait(queue);
    CHILD_CHECK(atomic_load(&ran) == 500);
    CHILD_CHECK(stats_now().workers <= n);
    smolscale_queue_free(queue);
}

START_TEST(with_the_nth_creation_and_all_later_ones_failing_the_others_do_the_work)
{
    // From 3 on: the first two are a worker and the balancer, in either order.
    for (unsigned n = 3; n <= 6; n++)
        in_child(work_with_failures_from, n);
}
END_TEST

static void one_worker_without_balancer(unsigned n)
{
    (void)n;
    fail_from = 2; // one thread can be had, whichever it is
    fail_to = 40;
    failing_threads_start(fails_between);
    smolscale_queue *queue = queue_new(count, NULL, 4);
    push_all(queue, 100);
    for (unsigned i = 0; i < 100 && atomic_load(&ran) < 200; i++)
        push_all(queue, 1), test_breathe();
    smolscale_queue_free(queue);
    CHILD_CHECK(atomic_load(&ran) == 200);
}

START_TEST(a_single_thread_does_the_work_until_more_can_be_had)
{
    in_child(one_worker_without_balancer, 2);
}
END_TEST

static atomic_bool fails_all_the_time;

static bool fails_while_told(unsigned n)
{
    (void)n;
    return fails_all_the_time;
}

START_TEST(without_any_thread_push_says_so_and_the_item_runs_once_one_can_be_had)
{
    fails_all_the_time = true;
    failing_threads_start(fails_while_told);
    smolscale_queue *queue = queue_new(count, NULL, 2);
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(0), NULL), -EAGAIN);
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(1), NULL), -EAGAIN);
    ck_assert_int_eq(smolscale_queue_push_many(queue, item_of(1), 3, NULL), -EAGAIN);
    ck_assert_uint_eq(smolscale_queue_pending(queue), 5);
    ck_assert_uint_eq(stats_now().workers, 0);
    ck_assert_uint_ge(stats_now().create_failures, 1);
    fails_all_the_time = false;
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(2), NULL), 0);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 6);
    smolscale_queue_free(queue);
}
END_TEST

START_TEST(an_item_without_thread_can_be_cancelled)
{
    fails_all_the_time = true;
    failing_threads_start(fails_while_told);
    smolscale_queue *queue = queue_new(count, NULL, 2);
    uint64_t ticket;
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(0), &ticket), -EAGAIN);
    ck_assert(smolscale_queue_cancel(queue, item_of(0), ticket));
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 0);
}
END_TEST

// The only thread that could create a worker is the one that waits.
START_TEST(waiting_for_a_queue_without_thread_ends_once_one_can_be_had)
{
    fail_from = 1;
    fail_to = 8;
    failing_threads_start(fails_between);
    smolscale_queue *queue = queue_new(count, NULL, 2);
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(0), NULL), -EAGAIN);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 1);
    smolscale_queue_free(queue);
}
END_TEST

static struct counter next_ran = COUNTER_INIT;

static void wait_for_next(void *item, void *user_data)
{
    if (number_of(item) == 0)
        counter_wait(&next_ran, 1);
    else
        counter_add(&next_ran, 1);
    count(item, user_data);
}

// One worker can be had, and for long neither a balancer nor another worker.
static bool fails_but_second(unsigned n)
{
    return n != 2 && n < 20;
}

START_TEST(waiting_for_a_queue_ends_though_its_only_worker_waits_for_the_next_job)
{
    failing_threads_start(fails_but_second);
    smolscale_queue *queue = queue_new(wait_for_next, NULL, SMOLSCALE_UNLIMITED);
    push(queue, item_of(0));
    push(queue, item_of(1));
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 2);
    smolscale_queue_free(queue);
}
END_TEST

// The threads of a dedicated queue serve no other.
START_TEST(waiting_for_a_queue_ends_though_only_dedicated_threads_exist_at_first)
{
    failing_threads_start(fails_between);
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    attr.max_active = 1;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    smolscale_queue *dedicated, *queue = queue_new(count, NULL, 2);
    ck_assert_int_eq(smolscale_queue_new(&dedicated, &attr), 0);
    push(dedicated, item_of(0));
    smolscale_queue_wait(dedicated);
    fail_to = failing_threads_tries() + 8;
    fail_from = failing_threads_tries() + 1;
    ck_assert_int_eq(smolscale_queue_push(queue, item_of(1), NULL), -EAGAIN);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 2);
    smolscale_queue_free(queue);
    smolscale_queue_free(dedicated);
}
END_TEST

START_TEST(a_dedicated_queue_whose_threads_fail_is_not_created)
{
    for (unsigned n = 1; n <= 3; n++) {
        fail_from = fail_to = failing_threads_tries() + n;
        if (n == 1)
            failing_threads_start(fails_between);
        struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
        attr.run = count;
        attr.max_active = 3;
        attr.flags = SMOLSCALE_QUEUE_DEDICATED;
        smolscale_queue *queue = (void *)&attr;
        // threads of the failed attempt before may be at hand, so that fewer need to be created
        int err = smolscale_queue_new(&queue, &attr);
        if (err == 0) {
            smolscale_queue_free(queue);
            continue;
        }
        ck_assert_int_eq(err, -EAGAIN);
        ck_assert_ptr_null(queue);
    }
    ck_assert_uint_ge(stats_now().create_failures, 1);
}
END_TEST

START_TEST(a_dedicated_queue_works_with_the_threads_it_got_and_asks_again)
{
    failing_threads_start(fails_between);
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = count;
    attr.max_active = 1;
    attr.flags = SMOLSCALE_QUEUE_DEDICATED;
    smolscale_queue *queue;
    ck_assert_int_eq(smolscale_queue_new(&queue, &attr), 0);
    fail_from = failing_threads_tries() + 2;
    fail_to = UINT32_MAX;
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 4), -EAGAIN);
    push_all(queue, 100);
    smolscale_queue_wait(queue);
    ck_assert_uint_eq(atomic_load(&ran), 100);
    ck_assert_uint_eq(stats_now().workers, 2);
    fail_to = 0;
    ck_assert_int_eq(smolscale_queue_set_max_active(queue, 4), 0);
    ck_assert_uint_eq(stats_now().workers, 4);
    crowd_size = 0;
    push_all(queue, 100);
    smolscale_queue_free(queue);
    ck_assert_uint_eq(atomic_load(&ran), 200);
}
END_TEST

static uint64_t fail_state;

static bool fails_now_and_then(unsigned n)
{
    (void)n;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    bool fails = test_random(&fail_state) % 3 == 0;
    pthread_mutex_unlock(&lock);
    return fails;
}

START_TEST(creations_that_fail_now_and_then_lose_nothing)
{
    failing_threads_start(fails_now_and_then);
    unsigned total = 0;
    for (unsigned round = 0; round < 200; round++) {
        smolscale_queue *queue = queue_new(count, NULL, round % 5 + 1);
        push_all(queue, round % 7 + 1);
        total += round % 7 + 1;
        smolscale_queue_free(queue);
        if (round % 3 == 0)
            smolscale_retire_idle();
    }
    ck_assert_uint_eq(atomic_load(&ran), total);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// For real: a user that may have `n` threads and no more
// ---------------------------------------------------------------------------------------------

#ifndef TEST_TSAN // has a thread of its own, which counts
static void limited_user(unsigned n)
{
    // A user id nobody else has, so that only this process counts.
    uid_t uid = 200000 + (uid_t)getpid() % 1000000;
    struct rlimit limit = {n, n};
    if (geteuid() == 0)
        CHILD_CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
    CHILD_CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
    smolscale_queue *queue = queue_new(count, NULL, SMOLSCALE_UNLIMITED);
    unsigned without_thread = push_all(queue, 200);
    if (n == 1) {
        CHILD_CHECK(without_thread == 200);
        CHILD_CHECK(smolscale_queue_pending(queue) == 200);
        CHILD_CHECK(stats_now().create_failures > 0);
        CHILD_CHECK(smolscale_queue_clear(queue, NULL, NULL) == 200);
        smolscale_queue_free(queue);
        return;
    }
    smolscale_queue_wait(queue);
    CHILD_CHECK(atomic_load(&ran) == 200);
    CHILD_CHECK(stats_now().workers <= n - 1);
    smolscale_queue_free(queue);
}
#endif

START_TEST(a_user_out_of_threads_still_gets_its_work_done)
{
#ifndef TEST_TSAN
    if (geteuid() != 0)
        return; // other processes of the user count, too
    for (unsigned n = 1; n <= 6; n++)
        if (n != 2) // whether the one thread is a worker or the balancer is not said
            in_child(limited_user, n);
#endif
    ck_assert(true);
}
END_TEST

// ---- smolscale_block_on(): the calling thread can always go on

struct naps {
    SMOLSCALE_FRAME;
    unsigned left;
    int got;
};
SMOLSCALE_ASYNC(naps, f)
{
    SMOLSCALE_BEGIN(f);
    for (; f->left > 0; f->left--) {
        SMOLSCALE_YIELD();
        SMOLSCALE_TRY(smolscale_sleep(cx, 1000));
    }
    SMOLSCALE_RETURN(7);
    SMOLSCALE_END;
}

START_TEST(block_on_ends_without_any_thread)
{
    fails_all_the_time = true;
    failing_threads_start(fails_while_told);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK_ON(naps, .left = 10), 7);
    ck_assert_uint_eq(stats_now().workers, 0);
    fails_all_the_time = false;
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(SMOLSCALE_BLOCK_ON(naps, .left = 10), 7);
}
END_TEST

static struct counter entered = COUNTER_INIT, left_alone = COUNTER_INIT;

static void block(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&entered, 1);
    counter_wait(&left_alone, 1);
}

START_TEST(block_on_ends_though_the_only_worker_is_blocked)
{
    failing_threads_start(fails_while_told);
    smolscale_queue *queue = queue_new(block, NULL, 1);
    push(queue, item_of(0));
    counter_wait(&entered, 1);
    fails_all_the_time = true;
    ck_assert_int_eq(SMOLSCALE_BLOCK_ON(naps, .left = 10), 7);
    fails_all_the_time = false;
    counter_add(&left_alone, 1);
    smolscale_queue_free(queue);
}
END_TEST

int main(void)
{
    return test_suite("failure",
                      (const TTest *[]){
                          any_single_failed_creation_loses_nothing,
                          jobs_waiting_for_one_another_meet_though_the_nth_creation_fails,
                          with_the_nth_creation_and_all_later_ones_failing_the_others_do_the_work,
                          a_single_thread_does_the_work_until_more_can_be_had,
                          without_any_thread_push_says_so_and_the_item_runs_once_one_can_be_had,
                          an_item_without_thread_can_be_cancelled,
                          waiting_for_a_queue_without_thread_ends_once_one_can_be_had,
                          waiting_for_a_queue_ends_though_its_only_worker_waits_for_the_next_job,
                          waiting_for_a_queue_ends_though_only_dedicated_threads_exist_at_first,
                          a_dedicated_queue_whose_threads_fail_is_not_created,
                          a_dedicated_queue_works_with_the_threads_it_got_and_asks_again,
                          creations_that_fail_now_and_then_lose_nothing,
                          a_user_out_of_threads_still_gets_its_work_done,
                          block_on_ends_without_any_thread,
                          block_on_ends_though_the_only_worker_is_blocked,
                          NULL,
                      });
}
