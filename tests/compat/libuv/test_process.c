// SPDX-License-Identifier: ISC
//
// fork(), uv_library_shutdown() and the end of the process.

#include "support.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// Waits for a child and expects it to have exited with status 0.
static void expect_good(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x",
                  (unsigned)status);
}

// In a child, where a failed assertion must not come back into the test runner.
#define CHILD_ASSERT(condition)                                             \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                       \
        }                                                                   \
    } while (0)

// What one process has submitted, and what of it has come back. A child that forks in a callback
// leaves its own requests in its child's loop: each process counts in storage of its own.
struct use {
    struct counter jobs;
    unsigned ended;
};
#define USE_INIT        \
    {                   \
        COUNTER_INIT, 0 \
    }

static void child_job(uv_work_t *req)
{
    struct use *use = req->data;
    count(&use->jobs);
}

static void child_job_ended(uv_work_t *req, int status)
{
    struct use *use = req->data;
    CHILD_ASSERT(status == 0);
    use->ended++;
}

static void file_ended(uv_fs_t *req)
{
    struct use *use = req->data;
    CHILD_ASSERT(req->result == 0);
    uv_fs_req_cleanup(req);
    use->ended++;
}

static void use_pool_in_child(uv_loop_t *loop)
{
    struct use use = USE_INIT;
    uv_work_t reqs[20];
    uv_fs_t file;
    for (int i = 0; i < 20; i++) {
        reqs[i].data = &use;
        CHILD_ASSERT(uv_queue_work(loop, &reqs[i], child_job, child_job_ended) == 0);
    }
    file.data = &use;
    CHILD_ASSERT(uv_fs_stat(loop, &file, "/", file_ended) == 0);
    while (use.ended < 21)
        uv_run(loop, UV_RUN_ONCE);
    CHILD_ASSERT(counted(&use.jobs) == 20);
}

START_TEST(a_child_has_a_pool_of_its_own_while_the_parents_is_full)
{
    uv_work_t blockers[4];
    uv_loop_t *loop = uv_default_loop();
    for (int i = 0; i < 4; i++)
        submit_gate_job(loop, &blockers[i]);
    await(&gate.started, 4);
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(uv_loop_fork(loop) == 0);
        use_pool_in_child(loop);
        _exit(0);
    }
    expect_good(child);
    open_gate();
    run_all(loop);
    ck_assert_uint_eq(noted, 4);
}
END_TEST

START_TEST(a_new_loop_in_the_child_works_too)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, note_end), 0);
    run_all(uv_default_loop());
    pid_t child = fork();
    if (child == 0) {
        uv_loop_t loop;
        CHILD_ASSERT(uv_loop_init(&loop) == 0);
        use_pool_in_child(&loop);
        CHILD_ASSERT(uv_loop_close(&loop) == 0);
        _exit(0);
    }
    expect_good(child);
}
END_TEST

START_TEST(a_child_reads_its_own_UV_THREADPOOL_SIZE)
{
    uv_work_t req;
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, note_end), 0);
    run_all(uv_default_loop());
    pid_t child = fork();
    if (child == 0) {
        struct use use = USE_INIT;
        uv_work_t blockers[3];
        uv_loop_t *loop = uv_default_loop();
        setenv("UV_THREADPOOL_SIZE", "3", 1);
        CHILD_ASSERT(uv_loop_fork(loop) == 0);
        for (int i = 0; i < 3; i++) {
            blockers[i].data = &use;
            CHILD_ASSERT(uv_queue_work(loop, &blockers[i], gate_job, child_job_ended) == 0);
        }
        await(&gate.started, 3);
        open_gate();
        while (use.ended < 3)
            uv_run(loop, UV_RUN_ONCE);
        _exit(0);
    }
    expect_good(child);
}
END_TEST

// Natively with 1.44 the child waits for ever: the mark of the parent's wake-up stays set. (1.45
// clears it.)
START_TEST(what_finished_before_the_fork_does_not_stop_the_childs_loop)
{
    uv_work_t req;
    uv_loop_t *loop = uv_default_loop();
    if (!on_smolscale())
        return;
    ck_assert_int_eq(uv_queue_work(loop, &req, counting_job, note_end), 0);
    await(&jobs_run, 1);
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(uv_loop_fork(loop) == 0);
        use_pool_in_child(loop);
        _exit(0);
    }
    expect_good(child);
    run_all(loop);
    ck_assert_uint_eq(noted, 1);
}
END_TEST

static void fork_in_callback(uv_work_t *req, int status)
{
    note_end(req, status);
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(uv_loop_fork(req->loop) == 0);
        use_pool_in_child(req->loop);
        _exit(0);
    }
    expect_good(child);
}

// Natively it can hang, for the reason above.
START_TEST(a_fork_from_a_callback_is_like_any_other)
{
    uv_work_t reqs[3];
    if (!on_smolscale())
        return;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, fork_in_callback),
                         0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, 3);
}
END_TEST

static pid_t forked_in_job;

static void forking_job(uv_work_t *req)
{
    (void)req;
    pid_t child = fork();
    if (child == 0) {
        uv_loop_t loop;
        CHILD_ASSERT(uv_loop_init(&loop) == 0);
        use_pool_in_child(&loop);
        _exit(0);
    }
    forked_in_job = child;
}

START_TEST(a_job_may_fork)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, forking_job, note_end), 0);
    run_all(uv_default_loop());
    expect_good(forked_in_job);
}
END_TEST

// ---- the end

static int pipe_ends[2];

static void writing_job(uv_work_t *req)
{
    (void)req;
    CHILD_ASSERT(write(pipe_ends[1], "x", 1) == 1);
}

static void stuck_job(uv_work_t *req)
{
    (void)req;
    count(&gate.started);
    for (;;)
        poll(NULL, 0, -1);
}

START_TEST(queued_jobs_still_run_when_the_process_exits)
{
    static uv_work_t reqs[100];
    char bytes[200];
    ck_assert_int_eq(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            CHILD_ASSERT(uv_queue_work(uv_default_loop(), &reqs[i], writing_job, NULL) == 0);
        exit(0);
    }
    expect_good(child);
    ck_assert_int_eq(read(pipe_ends[0], bytes, sizeof bytes), 100);
}
END_TEST

// Jobs that take longer than anybody would wait for one that is stuck, each in its way.
static void sleeping_job(uv_work_t *req)
{
    uv_sleep(1500);
    writing_job(req);
}

static void computing_job(uv_work_t *req)
{
    uint64_t end = uv_hrtime() + 1500000000;
    while (uv_hrtime() < end)
        ;
    writing_job(req);
}

static void waiting_job(uv_work_t *req)
{
    int ends[2];
    CHILD_ASSERT(pipe(ends) == 0);
    CHILD_ASSERT(poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, 1500) == 0);
    writing_job(req);
}

static const uv_work_cb long_jobs[] = {sleeping_job, computing_job, waiting_job};
#define LONG_JOBS (int)(sizeof long_jobs / sizeof long_jobs[0])

// One thread runs the long job, and what is queued behind it.
static void submit_long_jobs(uv_work_t reqs[3], uv_work_cb job)
{
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    CHILD_ASSERT(uv_queue_work(uv_default_loop(), &reqs[0], job, NULL) == 0);
    for (int i = 1; i < 3; i++)
        CHILD_ASSERT(uv_queue_work(uv_default_loop(), &reqs[i], writing_job, NULL) == 0);
}

START_TEST(exit_waits_for_jobs_however_long_they_take_and_for_those_behind_them)
{
    uv_work_t reqs[3];
    char bytes[10];
    ck_assert_int_eq(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        submit_long_jobs(reqs, long_jobs[_i]);
        exit(0);
    }
    expect_good(child);
    ck_assert_int_eq(read(pipe_ends[0], bytes, sizeof bytes), 3);
}
END_TEST

START_TEST(uv_library_shutdown_waits_for_jobs_however_long_they_take_and_for_those_behind_them)
{
    uv_work_t reqs[3];
    char bytes[10];
    if (_i >= LONG_JOBS)
        setenv("SMOLSCALE_POLICY", "elastic", 1); // options are read once
    ck_assert_int_eq(pipe(pipe_ends), 0);
    submit_long_jobs(reqs, long_jobs[_i % LONG_JOBS]);
    uv_library_shutdown();
    ck_assert_int_eq(read(pipe_ends[0], bytes, sizeof bytes), 3);
}
END_TEST

// Natively, and with the strict policy, such a process never ends.
START_TEST(elastic_a_stuck_job_does_not_keep_the_process_from_exiting)
{
    uv_work_t req, behind;
    setenv("SMOLSCALE_POLICY", "elastic", 1); // options are read once
    if (!on_smolscale())
        return;
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(uv_queue_work(uv_default_loop(), &req, stuck_job, NULL) == 0);
        CHILD_ASSERT(uv_queue_work(uv_default_loop(), &behind, counting_job, NULL) == 0);
        await(&gate.started, 1);
        exit(0);
    }
    expect_good(child); // within the test's time limit
}
END_TEST

static void piecemeal_job(uv_work_t *req)
{
    for (int i = 0; i < 40; i++) {
        uv_sleep(50);
        writing_job(req);
    }
}

// Two seconds, but never one without a write.
START_TEST(elastic_exit_waits_for_a_job_that_writes_now_and_then)
{
    uv_work_t req;
    char bytes[100];
    setenv("SMOLSCALE_POLICY", "elastic", 1);
    ck_assert_int_eq(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(uv_queue_work(uv_default_loop(), &req, piecemeal_job, NULL) == 0);
        exit(0);
    }
    expect_good(child);
    ck_assert_int_eq(read(pipe_ends[0], bytes, sizeof bytes), 40);
}
END_TEST

static void submit_again(uv_work_t *req, int status)
{
    CHILD_ASSERT(status == 0);
    count(&gate.passed);
    CHILD_ASSERT(uv_queue_work(req->loop, req, counting_job, submit_again) == 0);
}

static void *submit_for_ever(void *unused)
{
    uv_loop_t loop;
    uv_work_t reqs[8];
    (void)unused;
    CHILD_ASSERT(uv_loop_init(&loop) == 0);
    for (int i = 0; i < 8; i++)
        CHILD_ASSERT(uv_queue_work(&loop, &reqs[i], counting_job, submit_again) == 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    return NULL;
}

// Natively these requests meet a pool that has been taken down, which aborts now and then.
START_TEST(what_is_submitted_while_the_process_exits_does_not_keep_it)
{
    pthread_t thread;
    if (!on_smolscale())
        return;
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(pthread_create(&thread, NULL, submit_for_ever, NULL) == 0);
        await(&gate.passed, 1000);
        exit(0);
    }
    expect_good(child);
}
END_TEST

static void exiting_job(uv_work_t *req)
{
    (void)req;
    exit(0);
}

// Natively the thread joins itself, which aborts.
START_TEST(a_job_may_end_the_process)
{
    uv_work_t req;
    if (!on_smolscale())
        return;
    pid_t child = fork();
    if (child == 0) {
        CHILD_ASSERT(uv_queue_work(uv_default_loop(), &req, exiting_job, NULL) == 0);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        pause();
    }
    expect_good(child);
}
END_TEST

START_TEST(uv_library_shutdown_without_any_work_is_nothing)
{
    uv_library_shutdown();
    uv_library_shutdown();
}
END_TEST

Suite *process_suite(void)
{
    Suite *suite = suite_create("process");
    TCase *tcase = new_case(suite, "fork");
    tcase_add_test(tcase, a_child_has_a_pool_of_its_own_while_the_parents_is_full);
    tcase_add_test(tcase, a_new_loop_in_the_child_works_too);
    tcase_add_test(tcase, a_child_reads_its_own_UV_THREADPOOL_SIZE);
    tcase_add_test(tcase, what_finished_before_the_fork_does_not_stop_the_childs_loop);
    tcase_add_test(tcase, a_fork_from_a_callback_is_like_any_other);
    tcase_add_test(tcase, a_job_may_fork);
    tcase = new_case(suite, "the end");
    tcase_add_test(tcase, queued_jobs_still_run_when_the_process_exits);
    tcase_add_loop_test(tcase, exit_waits_for_jobs_however_long_they_take_and_for_those_behind_them,
                        0, LONG_JOBS);
    tcase_add_loop_test(
        tcase, uv_library_shutdown_waits_for_jobs_however_long_they_take_and_for_those_behind_them,
        0, 2 * LONG_JOBS);
    tcase_add_test(tcase, elastic_a_stuck_job_does_not_keep_the_process_from_exiting);
    tcase_add_test(tcase, elastic_exit_waits_for_a_job_that_writes_now_and_then);
    tcase_add_test(tcase, what_is_submitted_while_the_process_exits_does_not_keep_it);
    tcase_add_test(tcase, a_job_may_end_the_process);
    tcase_add_test(tcase, uv_library_shutdown_without_any_work_is_nothing);
    return suite;
}
