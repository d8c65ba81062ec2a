// SPDX-License-Identifier: ISC
//
// User work: uv_queue_work() and uv_cancel(), the size of the pool, and how callbacks come back to
// their loops.

#include "support.h"

START_TEST(a_job_runs_once_and_its_callback_comes_on_the_loops_thread_with_status_0)
{
    uv_work_t req;
    uv_loop_t *loop = uv_default_loop();
    ck_assert_int_eq(uv_queue_work(loop, &req, counting_job, note_end), 0);
    ck_assert_int_eq(uv_loop_alive(loop), 1);
    ck_assert_uint_eq(noted, 0);
    run_all(loop);
    ck_assert_uint_eq(counted(&jobs_run), 1);
    ck_assert_uint_eq(noted, 1);
    ck_assert_ptr_eq(order[0], &req);
    ck_assert_int_eq(statuses[0], 0);
}
END_TEST

static atomic_bool ran_in_worker;

static void where_job(uv_work_t *req)
{
    (void)req;
    ran_in_worker = in_smolscale_worker();
}

START_TEST(jobs_run_on_smolscale_where_it_is_and_is_not_disabled)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, where_job, NULL), 0);
    run_all(uv_default_loop());
    ck_assert_int_eq(ran_in_worker, on_smolscale());
}
END_TEST

START_TEST(a_job_without_a_work_callback_is_refused)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, NULL, note_end), UV_EINVAL);
    ck_assert_int_eq(uv_loop_alive(uv_default_loop()), 0);
}
END_TEST

START_TEST(the_callback_after_the_work_may_be_missing)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, NULL), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 1);
}
END_TEST

#define MANY 3000

START_TEST(thousands_of_jobs_each_run_once)
{
    static uv_work_t reqs[MANY];
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, note_end), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), MANY);
    ck_assert_uint_eq(noted, MANY);
}
END_TEST

static unsigned resubmissions;

static void resubmit(uv_work_t *req, int status)
{
    ck_assert_int_eq(status, 0);
    if (++resubmissions < 1000)
        ck_assert_int_eq(uv_queue_work(req->loop, req, counting_job, resubmit), 0);
}

START_TEST(a_request_may_be_submitted_again_from_its_callback)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, resubmit), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 1000);
}
END_TEST

static void free_request(uv_work_t *req, int status)
{
    ck_assert_int_eq(status, 0);
    free(req);
}

START_TEST(a_request_may_be_freed_in_its_callback)
{
    for (int i = 0; i < 1000; i++) {
        uv_work_t *req = malloc(sizeof *req);
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), req, counting_job, free_request), 0);
    }
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 1000);
}
END_TEST

START_TEST(with_one_thread_jobs_and_callbacks_keep_the_order_of_submission)
{
    static uv_work_t reqs[200];
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, note_end), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, 200);
    for (int i = 0; i < 200; i++)
        ck_assert_ptr_eq(order[i], &reqs[i]);
}
END_TEST

// ---- cancelling

// Fills a pool of two, and waits until both jobs run.
static void saturate(uv_loop_t *loop, uv_work_t blockers[2])
{
    setenv("UV_THREADPOOL_SIZE", "2", 1);
    submit_gate_job(loop, &blockers[0]);
    submit_gate_job(loop, &blockers[1]);
    await(&gate.started, 2);
}

START_TEST(a_queued_job_is_cancelled_at_once_and_never_runs)
{
    uv_work_t blockers[2], req;
    uv_loop_t *loop = uv_default_loop();
    saturate(loop, blockers);
    ck_assert_int_eq(uv_queue_work(loop, &req, counting_job, note_end), 0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&req), 0);
    ck_assert_uint_eq(noted, 0); // through the loop, not from within
    // Delivered although the pool is still full.
    while (noted == 0)
        uv_run(loop, UV_RUN_ONCE);
    ck_assert_ptr_eq(order[0], &req);
    ck_assert_int_eq(statuses[0], UV_ECANCELED);
    open_gate();
    run_all(loop);
    ck_assert_uint_eq(noted, 3);
    ck_assert_uint_eq(counted(&jobs_run), 0);
}
END_TEST

START_TEST(a_running_job_cannot_be_cancelled)
{
    uv_work_t blockers[2];
    uv_loop_t *loop = uv_default_loop();
    saturate(loop, blockers);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&blockers[0]), UV_EBUSY);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&blockers[1]), UV_EBUSY);
    open_gate();
    run_all(loop);
    ck_assert_uint_eq(noted, 2);
    ck_assert_int_eq(statuses[0], 0);
    ck_assert_int_eq(statuses[1], 0);
}
END_TEST

static int cancel_in_callback;

static void cancel_the_other(uv_work_t *req, int status)
{
    uv_work_t *other = req->data;
    note_end(req, status);
    if (noted == 1)
        cancel_in_callback = uv_cancel((uv_req_t *)other);
}

START_TEST(a_finished_job_cannot_be_cancelled_before_its_callback)
{
    uv_work_t reqs[2];
    reqs[0].data = &reqs[1];
    reqs[1].data = &reqs[0];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, cancel_the_other),
                         0);
    await(&jobs_run, 2);
    // Both functions have returned, or are about to.
    run_all(uv_default_loop());
    ck_assert_int_eq(cancel_in_callback, UV_EBUSY);
    ck_assert_uint_eq(noted, 2);
    ck_assert_int_eq(statuses[0], 0);
    ck_assert_int_eq(statuses[1], 0);
}
END_TEST

START_TEST(of_many_queued_jobs_every_second_is_cancelled_and_the_others_run)
{
    static uv_work_t reqs[1000];
    uv_work_t blockers[2];
    unsigned cancelled = 0;
    saturate(uv_default_loop(), blockers);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, note_end), 0);
    for (int i = 0; i < 1000; i += 2)
        ck_assert_int_eq(uv_cancel((uv_req_t *)&reqs[i]), 0);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 500);
    ck_assert_uint_eq(noted, 1002);
    for (unsigned i = 0; i < noted; i++) {
        if (statuses[i] == UV_ECANCELED) {
            ck_assert_int_eq((order[i] - reqs) % 2, 0);
            cancelled++;
        }
    }
    ck_assert_uint_eq(cancelled, 500);
}
END_TEST

// Whatever uv_cancel() says under way must be what happens.
START_TEST(cancelling_jobs_that_are_starting_is_consistent)
{
    static uv_work_t reqs[MANY];
    unsigned cancelled = 0, told = 0;
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], counting_job, note_end), 0);
        if (i % 3 == 0) {
            int err = uv_cancel((uv_req_t *)&reqs[i]);
            ck_assert(err == 0 || err == UV_EBUSY);
            cancelled += err == 0;
        }
    }
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, MANY);
    for (unsigned i = 0; i < noted; i++)
        told += statuses[i] == UV_ECANCELED;
    ck_assert_uint_eq(told, cancelled);
    ck_assert_uint_eq(counted(&jobs_run), MANY - cancelled);
}
END_TEST

START_TEST(requests_that_are_not_of_the_pool_cannot_be_cancelled)
{
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    uv_write_t write;
    connect.type = UV_CONNECT;
    shutdown.type = UV_SHUTDOWN;
    write.type = UV_WRITE;
    ck_assert_int_eq(uv_cancel((uv_req_t *)&connect), UV_EINVAL);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&shutdown), UV_EINVAL);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&write), UV_EINVAL);
}
END_TEST

static void job_with_a_loop(uv_work_t *req)
{
    uv_loop_t loop;
    uv_work_t inner;
    (void)req;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    uv_sleep(20); // so that nobody is still watching this job who would help it by chance
    ck_assert_int_eq(uv_queue_work(&loop, &inner, gate_job, note_end), 0);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&inner), 0);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    count(&jobs_run);
}

START_TEST(a_job_may_run_a_loop_of_its_own_and_cancel_there)
{
    uv_work_t req;
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, job_with_a_loop, NULL), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(counted(&jobs_run), 1);
    ck_assert_uint_eq(noted, 1);
    ck_assert_int_eq(statuses[0], UV_ECANCELED);
}
END_TEST

// Natively each completion comes at once; here it may come with others, but not only after a job
// that blocks.
static struct counter second_gate = COUNTER_INIT, at_second_gate = COUNTER_INIT;

static void second_gate_job(uv_work_t *req)
{
    (void)req;
    count(&at_second_gate);
    await(&second_gate, 1);
}

#define TINY 300

START_TEST(completions_do_not_wait_for_a_job_that_blocks_behind_them)
{
    static uv_work_t first, tiny[TINY], last;
    uv_loop_t *loop = uv_default_loop();
    setenv("UV_THREADPOOL_SIZE", "1", 1);
    submit_gate_job(loop, &first);
    for (int i = 0; i < TINY; i++)
        ck_assert_int_eq(uv_queue_work(loop, &tiny[i], counting_job, note_end), 0);
    ck_assert_int_eq(uv_queue_work(loop, &last, second_gate_job, note_end), 0);
    open_gate();
    await(&at_second_gate, 1);
    while (noted < 1 + TINY)
        uv_run(loop, UV_RUN_ONCE);
    ck_assert_uint_eq(noted, 1 + TINY);
    count(&second_gate);
    run_all(loop);
    ck_assert_uint_eq(noted, 2 + TINY);
}
END_TEST

// ---- the size of the pool

// So many jobs run at once, and not one more: the next one can still be cancelled when all these
// have started.
static void expect_size(const char *value, unsigned size)
{
    static uv_work_t reqs[1025];
    if (value != NULL)
        setenv("UV_THREADPOOL_SIZE", value, 1);
    else
        unsetenv("UV_THREADPOOL_SIZE");
    for (unsigned i = 0; i <= size; i++)
        submit_gate_job(uv_default_loop(), &reqs[i]);
    await(&gate.started, size);
    ck_assert_int_eq(uv_cancel((uv_req_t *)&reqs[size]), 0);
    ck_assert_uint_eq(counted(&gate.started), size);
    open_gate();
    run_all(uv_default_loop());
    ck_assert_uint_eq(gate.most_inside, size);
    ck_assert_uint_eq(noted, size + 1);
}

static const struct {
    const char *value;
    unsigned size;
} sizes[] = {
    {NULL, 4}, {"1", 1}, {"2", 2}, {"7", 7}, {"64", 64}, {"0", 1}, {"nonsense", 1}, {"3 dogs", 3},
};

START_TEST(the_pool_is_as_large_as_UV_THREADPOOL_SIZE_says)
{
    expect_size(sizes[_i].value, sizes[_i].size);
}
END_TEST

static const char *const huge[] = {"-1", "1025", "99999"};

START_TEST(a_size_beyond_1024_is_1024)
{
    expect_size(huge[_i], 1024);
}
END_TEST

START_TEST(the_size_is_read_at_the_first_submission)
{
    uv_loop_t loop;
    setenv("UV_THREADPOOL_SIZE", "9", 1);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    expect_size("3", 3);
}
END_TEST

static void brief_job(uv_work_t *req)
{
    (void)req;
    unsigned inside = atomic_fetch_add(&gate.inside, 1) + 1;
    unsigned most = atomic_load(&gate.most_inside);
    while (inside > most && !atomic_compare_exchange_weak(&gate.most_inside, &most, inside))
        ;
    sched_yield();
    atomic_fetch_sub(&gate.inside, 1);
}

START_TEST(never_do_more_jobs_run_at_once_than_the_size_allows)
{
    static uv_work_t reqs[MANY];
    setenv("UV_THREADPOOL_SIZE", "3", 1);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(uv_queue_work(uv_default_loop(), &reqs[i], brief_job, note_end), 0);
    run_all(uv_default_loop());
    ck_assert_uint_le(gate.most_inside, 3);
    ck_assert_uint_eq(noted, MANY);
}
END_TEST

// ---- loops

START_TEST(all_that_has_finished_comes_in_one_turn_of_the_loop)
{
    static uv_work_t reqs[100];
    uv_loop_t *loop = uv_default_loop();
    setenv("UV_THREADPOOL_SIZE", "1", 1); // then the hundredth is known to be the last
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(uv_queue_work(loop, &reqs[i], counting_job, note_end), 0);
    await(&jobs_run, 100);
    // 99 have been handed back; the last is about to be.
    uv_run(loop, UV_RUN_ONCE);
    ck_assert_uint_ge(noted, 99);
    run_all(loop);
    ck_assert_uint_eq(noted, 100);
}
END_TEST

struct loop_thread {
    pthread_t thread;
    unsigned ended;
};

static void end_in_thread(uv_work_t *req, int status)
{
    struct loop_thread *self = req->data;
    ck_assert_int_eq(status, 0);
    ck_assert(pthread_equal(pthread_self(), self->thread));
    if (++self->ended < 2000)
        ck_assert_int_eq(uv_queue_work(req->loop, req, counting_job, end_in_thread), 0);
}

static void *loop_main(void *argument)
{
    struct loop_thread *self = argument;
    uv_loop_t loop;
    uv_work_t reqs[16];
    self->thread = pthread_self();
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    for (int i = 0; i < 16; i++) {
        reqs[i].data = self;
        ck_assert_int_eq(uv_queue_work(&loop, &reqs[i], counting_job, end_in_thread), 0);
    }
    run_all(&loop);
    return NULL;
}

START_TEST(loops_in_several_threads_get_their_own_callbacks)
{
    struct loop_thread threads[4] = {{0}};
    pthread_t ids[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&ids[i], NULL, loop_main, &threads[i]), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(ids[i], NULL), 0);
    ck_assert_uint_eq(counted(&jobs_run), 4 * 2015);
}
END_TEST

START_TEST(a_loop_may_be_closed_and_freed_as_soon_as_its_last_callback_has_come)
{
    for (int i = 0; i < 2000; i++) {
        uv_loop_t *loop = malloc(sizeof *loop);
        uv_work_t req;
        ck_assert_int_eq(uv_loop_init(loop), 0);
        ck_assert_int_eq(uv_queue_work(loop, &req, counting_job, NULL), 0);
        run_all(loop);
        memset(loop, 0xa5, sizeof *loop);
        free(loop);
    }
    ck_assert_uint_eq(counted(&jobs_run), 2000);
}
END_TEST

START_TEST(a_loop_with_work_under_way_cannot_be_closed)
{
    uv_loop_t loop;
    uv_work_t req;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    submit_gate_job(&loop, &req);
    ck_assert_int_eq(uv_loop_close(&loop), UV_EBUSY);
    open_gate();
    run_all(&loop);
}
END_TEST

static void run_nested(uv_work_t *req, int status)
{
    static uv_work_t inner;
    note_end(req, status);
    if (noted > 1)
        return;
    ck_assert_int_eq(uv_queue_work(req->loop, &inner, counting_job, note_end), 0);
    while (noted < 2)
        uv_run(req->loop, UV_RUN_ONCE);
}

// libuv forbids it, programs do it all the same, and natively it works.
START_TEST(a_callback_may_run_the_loop_until_its_own_job_is_done)
{
    uv_work_t req;
    ck_assert_int_eq(uv_queue_work(uv_default_loop(), &req, counting_job, run_nested), 0);
    run_all(uv_default_loop());
    ck_assert_uint_eq(noted, 2);
}
END_TEST

// ---- many short jobs in flight, between which a loop here stays up

#define FLYING 32

struct flight {
    uv_loop_t *loop;
    uv_work_t reqs[FLYING];
    unsigned turn_of[FLYING]; // when each was submitted
    unsigned ended, enough, turn;
    uv_prepare_t prepare;
    uv_work_t inner; // of a callback that runs the loop
    bool nested, inner_ended;
};

static void note_turn(uv_prepare_t *prepare)
{
    struct flight *flight = prepare->data;
    flight->turn++;
}

static void end_flight(uv_work_t *req, int status);

static void fly(struct flight *flight, uv_work_t *req)
{
    req->data = flight;
    flight->turn_of[req - flight->reqs] = flight->turn;
    ck_assert_int_eq(uv_queue_work(flight->loop, req, counting_job, end_flight), 0);
}

static void end_inner(uv_work_t *req, int status)
{
    struct flight *flight = req->data;
    ck_assert_int_eq(status, 0);
    flight->inner_ended = true;
}

static void run_inner(struct flight *flight)
{
    flight->nested = true;
    flight->inner_ended = false;
    flight->inner.data = flight;
    ck_assert_int_eq(uv_queue_work(flight->loop, &flight->inner, counting_job, end_inner), 0);
    while (!flight->inner_ended)
        uv_run(flight->loop, UV_RUN_ONCE);
    flight->nested = false;
}

static void end_flight(uv_work_t *req, int status)
{
    struct flight *flight = req->data;
    ck_assert_int_eq(status, 0);
    // The loop has begun a turn, with its prepare handles, since it was submitted.
    ck_assert_uint_gt(flight->turn, flight->turn_of[req - flight->reqs]);
    if (++flight->ended < flight->enough) {
        fly(flight, req);
        if (flight->ended % 100 == 0 && !flight->nested)
            run_inner(flight);
    } else if (flight->ended == flight->enough + FLYING - 1) { // the last
        uv_close((uv_handle_t *)&flight->prepare, NULL);
    }
}

static void fly_many(struct flight *flight, uv_loop_t *loop, unsigned enough)
{
    memset(flight, 0, sizeof *flight);
    flight->loop = loop;
    flight->enough = enough;
    uv_prepare_init(loop, &flight->prepare);
    flight->prepare.data = flight;
    uv_prepare_start(&flight->prepare, note_turn);
    for (int i = 0; i < FLYING; i++)
        fly(flight, &flight->reqs[i]);
}

START_TEST(the_loop_turns_between_a_submission_and_its_callback_however_many_jobs_fly)
{
    struct flight flight;
    fly_many(&flight, uv_default_loop(), 5000);
    run_all(uv_default_loop());
    ck_assert_uint_eq(flight.ended, 5000 + FLYING - 1);
}
END_TEST

START_TEST(a_loop_may_be_closed_and_freed_as_soon_as_the_last_of_many_jobs_has_ended)
{
    for (int i = 0; i < 300; i++) {
        struct flight flight;
        uv_loop_t *loop = malloc(sizeof *loop);
        ck_assert_int_eq(uv_loop_init(loop), 0);
        fly_many(&flight, loop, 95);
        run_all(loop);
        memset(loop, 0xa5, sizeof *loop);
        free(loop);
    }
}
END_TEST

#define BURST 32

static unsigned short_ended;

static void short_job(uv_work_t *req)
{
    uint64_t end = uv_hrtime() + (uintptr_t)req->data % 8 * 1000;
    while (uv_hrtime() < end)
        ;
}

static void note_short(uv_work_t *req, int status)
{
    (void)req;
    ck_assert_int_eq(status, 0);
    short_ended++;
}

// Submits jobs of 0 to 7 us and runs the loop until they have ended. The turns without a callback.
static unsigned burst(uv_loop_t *loop, uv_work_t *reqs, uv_after_work_cb ended)
{
    unsigned empty = 0, expected = short_ended + BURST;
    for (int i = 0; i < BURST; i++) {
        reqs[i].data = (void *)(uintptr_t)i;
        ck_assert_int_eq(uv_queue_work(loop, &reqs[i], short_job, ended), 0);
    }
    while (short_ended < expected) {
        unsigned before = short_ended;
        uv_run(loop, UV_RUN_ONCE);
        empty += short_ended == before;
    }
    return empty;
}

// Natively a few turns of a thousand have none: a thread adds a result after the loop has cleared
// the mark, the loop takes it at once, and the send comes afterwards.
START_TEST(uv_run_once_returns_with_a_callback)
{
    uv_work_t reqs[BURST];
    unsigned empty = 0;
    for (int i = 0; i < 200; i++)
        empty += burst(uv_default_loop(), reqs, note_short);
    if (on_smolscale())
        ck_assert_uint_eq(empty, 0);
}
END_TEST

// A handle that a callback has made and another thread is to send to; then NULL. The loop's thread
// closes it when the send has come.
static uv_async_t *_Atomic fresh;
static unsigned made, answered;
static atomic_bool sending;

static void *send_to_fresh_handles(void *unused)
{
    (void)unused;
    while (atomic_load(&sending)) {
        uv_async_t *handle = atomic_exchange(&fresh, NULL);
        if (handle != NULL)
            uv_async_send(handle);
        else
            sched_yield();
    }
    return NULL;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void note_answer(uv_async_t *handle)
{
    answered++;
    uv_close((uv_handle_t *)handle, free_handle);
}

static void make_handle(uv_work_t *req, int status)
{
    note_short(req, status);
    if (made > answered)
        return;
    uv_async_t *handle = malloc(sizeof *handle);
    ck_assert_int_eq(uv_async_init(req->loop, handle, note_answer), 0);
    made++;
    atomic_store(&fresh, handle);
}

// A loop that takes a send to itself back must not take another handle's with it.
START_TEST(sends_of_other_threads_come_while_short_jobs_are_in_flight)
{
    uv_work_t reqs[BURST];
    pthread_t thread;
    atomic_store(&sending, true);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_to_fresh_handles, NULL), 0);
    for (int i = 0; i < 200; i++) {
        (void)burst(uv_default_loop(), reqs, make_handle);
        // No job is in flight: nothing but the send wakes the loop.
        while (answered < made)
            uv_run(uv_default_loop(), UV_RUN_ONCE);
    }
    atomic_store(&sending, false);
    pthread_join(thread, NULL);
    run_all(uv_default_loop());
}
END_TEST

Suite *work_suite(void)
{
    Suite *suite = suite_create("work");
    TCase *tcase = new_case(suite, "jobs");
    tcase_add_test(tcase, a_job_runs_once_and_its_callback_comes_on_the_loops_thread_with_status_0);
    tcase_add_test(tcase, jobs_run_on_smolscale_where_it_is_and_is_not_disabled);
    tcase_add_test(tcase, a_job_without_a_work_callback_is_refused);
    tcase_add_test(tcase, the_callback_after_the_work_may_be_missing);
    tcase_add_test(tcase, thousands_of_jobs_each_run_once);
    tcase_add_test(tcase, a_request_may_be_submitted_again_from_its_callback);
    tcase_add_test(tcase, a_request_may_be_freed_in_its_callback);
    tcase_add_test(tcase, with_one_thread_jobs_and_callbacks_keep_the_order_of_submission);
    tcase = new_case(suite, "cancel");
    tcase_add_test(tcase, a_queued_job_is_cancelled_at_once_and_never_runs);
    tcase_add_test(tcase, a_running_job_cannot_be_cancelled);
    tcase_add_test(tcase, a_finished_job_cannot_be_cancelled_before_its_callback);
    tcase_add_test(tcase, of_many_queued_jobs_every_second_is_cancelled_and_the_others_run);
    tcase_add_loop_test(tcase, cancelling_jobs_that_are_starting_is_consistent, 0, 10);
    tcase_add_test(tcase, requests_that_are_not_of_the_pool_cannot_be_cancelled);
    tcase_add_test(tcase, a_job_may_run_a_loop_of_its_own_and_cancel_there);
    tcase = new_case(suite, "size");
    tcase_add_loop_test(tcase, the_pool_is_as_large_as_UV_THREADPOOL_SIZE_says, 0,
                        sizeof sizes / sizeof sizes[0]);
    tcase_add_loop_test(tcase, a_size_beyond_1024_is_1024, 0, sizeof huge / sizeof huge[0]);
    tcase_add_test(tcase, the_size_is_read_at_the_first_submission);
    tcase_add_test(tcase, never_do_more_jobs_run_at_once_than_the_size_allows);
    tcase = new_case(suite, "loops");
    tcase_add_test(tcase, all_that_has_finished_comes_in_one_turn_of_the_loop);
    tcase_add_test(tcase, completions_do_not_wait_for_a_job_that_blocks_behind_them);
    tcase_add_test(tcase, loops_in_several_threads_get_their_own_callbacks);
    tcase_add_test(tcase, a_loop_may_be_closed_and_freed_as_soon_as_its_last_callback_has_come);
    tcase_add_test(tcase, a_loop_with_work_under_way_cannot_be_closed);
    tcase_add_test(tcase, a_callback_may_run_the_loop_until_its_own_job_is_done);
    tcase = new_case(suite, "many in flight");
    tcase_add_test(tcase,
                   the_loop_turns_between_a_submission_and_its_callback_however_many_jobs_fly);
    tcase_add_test(tcase,
                   a_loop_may_be_closed_and_freed_as_soon_as_the_last_of_many_jobs_has_ended);
    tcase_add_test(tcase, uv_run_once_returns_with_a_callback);
    tcase_add_test(tcase, sends_of_other_threads_come_while_short_jobs_are_in_flight);
    return suite;
}
