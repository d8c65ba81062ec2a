// SPDX-License-Identifier: ISC
//
// The threads that jobs find themselves on, and what the pool takes from the process.

#include "support.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    size_t stack;
    sigset_t mask;
    char name[16];
} seen;

static void look_around(uv_work_t *req)
{
    pthread_attr_t attributes;
    (void)req;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstacksize(&attributes, &seen.stack);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, NULL, &seen.mask);
    prctl(PR_GET_NAME, seen.name);
}

static void look(void)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, look_around, note_end), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, 1);
}

START_TEST(stacks_have_8_mb)
{
    // From libuv 1.45 on whatever the limit; before, and here, the limit's 8 MB.
    struct rlimit limit = {8u << 20, RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_STACK, &limit), 0);
    look();
    ck_assert_uint_ge(seen.stack, 8u << 20);
}
END_TEST

START_TEST(stacks_follow_the_limit_before_libuv_1_45)
{
    struct rlimit limit = {1u << 20, RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_STACK, &limit), 0);
    look();
    ck_assert_uint_eq(seen.stack, uv_version() < 0x012d00 ? 1u << 20 : 8u << 20);
}
END_TEST

START_TEST(threads_have_the_signal_mask_of_the_thread_that_starts_the_pool)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGCHLD);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
    look();
    for (int number = 1; number < 32; number++) {
        if (number != SIGKILL && number != SIGSTOP)
            ck_assert_msg(sigismember(&mask, number) == sigismember(&seen.mask, number),
                          "signal %d is %s", number,
                          sigismember(&seen.mask, number) ? "blocked" : "not blocked");
    }
}
END_TEST

START_TEST(threads_are_named_as_in_this_version_of_libuv)
{
    ck_assert_int_eq(prctl(PR_SET_NAME, "submitter"), 0);
    look();
    ck_assert_str_eq(seen.name, uv_version() < 0x013200 ? "submitter" : "libuv-worker");
}
END_TEST

// ---- the life of the threads

static pthread_key_t key;
static atomic_uint destroyed;

static void note_destroyed(void *unused)
{
    (void)unused;
    atomic_fetch_add(&destroyed, 1);
}

static void leave_something_in_the_thread(uv_work_t *req)
{
    pthread_setspecific(key, req);
    pass_gate();
}

static unsigned threads_of_the_process(void)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;
    ck_assert_ptr_nonnull(tasks);
    for (const struct dirent *task; (task = readdir(tasks)) != NULL;)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

START_TEST(what_is_left_in_threads_is_destroyed_when_uv_library_shutdown_returns_and_they_are_gone)
{
    uv_work_t reqs[4];
    ck_assert_int_eq(pthread_key_create(&key, note_destroyed), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(
            uv_queue_work(uv_default_loop(), &reqs[i], leave_something_in_the_thread, note_end), 0);
    await(&gate.started, 4);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(atomic_load(&destroyed), 0);
    uv_library_shutdown();
    ck_assert_uint_eq(atomic_load(&destroyed), 4);
    // A thread that was joined may be on its last instructions in the kernel.
    while (threads_of_the_process() > 1)
        sched_yield();
}
END_TEST

static pid_t worker_seen;
static unsigned workers_seen;

static void note_worker(uv_work_t *req)
{
    static unsigned jobs;
    pid_t tid = gettid();
    (void)req;
    workers_seen += worker_seen != tid;
    worker_seen = tid;
    if (++jobs % 10 == 0)
        uv_sleep(30);
    else if (jobs % 10 == 5)
        for (uint64_t end = uv_hrtime() + 12000000; uv_hrtime() < end;)
            ;
}

START_TEST(a_pool_of_size_1_is_always_the_same_thread)
{
    static uv_work_t reqs[200];
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], note_worker, note_end), 0);
        if (i % 20 == 0)
            run_all(uv_default_loop());
    }
    run_all(uv_default_loop());
    ck_assert_uint_eq(workers_seen, 1);
}
END_TEST

#define CHILDREN 16

static atomic_int children[CHILDREN];

// The signal comes when the thread ends, not the process.
static void start_child_that_ends_with_its_parent(uv_work_t *req)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    atomic_store((atomic_int *)req->data, child);
    pass_gate();
}

START_TEST(children_that_end_with_the_thread_that_started_them_live_while_the_pool_is_idle)
{
    static uv_work_t reqs[CHILDREN];
    setenv("UV_THREADPOOL_SIZE", "16", 1);
    for (int i = 0; i < CHILDREN; i++) {
        reqs[i].data = &children[i];
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i],
                                       start_child_that_ends_with_its_parent, note_end),
                         0);
    }
    await(&gate.started, CHILDREN);
    open_gate();
    run_all(uv_default_loop());
    uv_sleep(2500); // idle for longer than a surplus worker lives
    for (int i = 0; i < CHILDREN; i++)
        ck_assert_int_eq(waitpid(atomic_load(&children[i]), NULL, WNOHANG), 0);
    for (int i = 0; i < CHILDREN; i++)
        kill(atomic_load(&children[i]), SIGKILL);
}
END_TEST

static unsigned left;

static void again(uv_work_t *req, int status)
{
    // No assertion that holds, for Check allocates at each.
    if (status != 0)
        ck_abort_msg("status %d", status);
    if (left > 0) {
        left--;
        uv_queue_work(req->loop, req, counting_job, again);
    }
}

static void in_flight(unsigned requests, unsigned jobs)
{
    static uv_work_t reqs[64];
    left = jobs - requests;
    for (unsigned i = 0; i < requests; i++)
        uv_queue_work(uv_default_loop(), &reqs[i], counting_job, again);
    run_all(uv_default_loop());
}

START_TEST(a_request_costs_no_allocation)
{
    in_flight(64, 1000);
    unsigned long before = atomic_load(&allocations);
    in_flight(64, 10000);
    // The balancer may start or end a thread meanwhile, which allocates a few times.
    ck_assert_uint_lt(atomic_load(&allocations) - before, 100);
    ck_assert_uint_eq(counted(&jobs_run), 11000);
}
END_TEST

START_TEST(work_submitted_without_memory_runs_all_the_same)
{
    static uv_work_t reqs[4000], held[4];
    for (int i = 0; i < 4; i++) // the pool is there, and full
        submit_gate_job(uv_default_loop(), &held[i]);
    await(&gate.started, 4);
    for (int i = 0; i < 4000; i++) {
        all_later_ones_fail = _i % 2;
        allocation_fails_in = 1 + (unsigned)_i / 2;
        int err = uv_queue_work(uv_default_loop(), &reqs[i], counting_job, note_end);
        allocation_fails_in = 0;
        ck_assert_int_eq(err, 0);
    }
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 4000);
    ck_assert_uint_eq(noted, 4004);
}
END_TEST

// Natively a thread that cannot be created aborts the process.
START_TEST(a_thread_that_cannot_be_created_delays_work_and_loses_none)
{
    static uv_work_t reqs[50];
    if (!on_smolscale())
        return;
    atomic_store(&failing_creations, 2);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, note_end), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 50);
    ck_assert_uint_eq(noted, 50);
    ck_assert_int_le(atomic_load(&failing_creations), 0);
}
END_TEST

Suite *thread_suite(void)
{
    Suite *suite = suite_create("threads");
    TCase *tcase = new_case(suite, "threads");
    tcase_add_test(tcase, stacks_have_8_mb);
    tcase_add_test(tcase, stacks_follow_the_limit_before_libuv_1_45);
    tcase_add_test(
        tcase,
        what_is_left_in_threads_is_destroyed_when_uv_library_shutdown_returns_and_they_are_gone);
    tcase_add_test(tcase, a_pool_of_size_1_is_always_the_same_thread);
    tcase_add_test(tcase,
                   children_that_end_with_the_thread_that_started_them_live_while_the_pool_is_idle);
    tcase_add_test(tcase, threads_have_the_signal_mask_of_the_thread_that_starts_the_pool);
    tcase_add_test(tcase, threads_are_named_as_in_this_version_of_libuv);
    tcase_add_test(tcase, a_request_costs_no_allocation);
    tcase_add_loop_test(tcase, work_submitted_without_memory_runs_all_the_same, 0, 6);
    tcase_add_test(tcase, a_thread_that_cannot_be_created_delays_work_and_loses_none);
    return suite;
}
