// SPDX-License-Identifier: ISC
//
// One instance of the pool (see instance.h): what a libuv's functions jump to. It is the contract
// of relink.c, met at run time.
//
// Compiled with SS_UV_INSTANCE = 0, 1, ...: pool.c is included, with names of this instance's own.
// A function that pool.h gains and that is not renamed here is a "multiple definition" for the
// linker.

#include "instance.h"

#define PASTE2(name, number) name##_##number
#define PASTE(name, number)  PASTE2(name, number)
#define OWN(name)            PASTE(name, SS_UV_INSTANCE)

#ifdef SS_UV_ONE_POOL
#define ss_uv_submit       OWN(ss_uv_submit)
#define ss_uv_take         OWN(ss_uv_take)
#define ss_uv_next         OWN(ss_uv_next)
#define ss_uv_conclude     OWN(ss_uv_conclude)
#define ss_uv_leave        OWN(ss_uv_leave)
#define ss_uv_notify       OWN(ss_uv_notify)
#define ss_uv_cancel       OWN(ss_uv_cancel)
#define ss_uv_work_of      OWN(ss_uv_work_of)
#define ss_uv_prepare_work OWN(ss_uv_prepare_work)
#define ss_uv_shutdown     OWN(ss_uv_shutdown)
#define ss_uv_version      OWN(ss_uv_version)
#define ss_uv_async_send   OWN(ss_uv_async_send)
#include "../pool.c"
#else
#include "../pool.h"
#endif

#include "layout.h"

static struct ss_served libuv;      // written before its functions jump here
static uv_async_cb native_callback; // libuv's uv__work_done()
static bool retired, adopted;       // no more loops; a loop was taken over

#ifndef SS_UV_ONE_POOL

static struct ss_uv_pool pool;

static void init_pool(void)
{
    ss_uv_pool_init(&pool, libuv.version_function, libuv.async_send);
}

static void give_pool(uv_loop_t *loop)
{
    ss_uv_adopt(&pool, loop);
}

static void shutdown_pool(void)
{
    ss_uv_shutdown(&pool);
}

static bool work_of(uv_req_t *req, struct uv__work **w, enum ss_uv_kind *kind)
{
    uv_loop_t *loop;

    return ss_uv_work_of(req, w, &loop, kind);
}

#else

unsigned ss_uv_version(void)
{
    return libuv.version;
}

void ss_uv_async_send(uv_async_t *handle)
{
    (void)libuv.async_send(handle);
}

static void init_pool(void)
{
}

static void give_pool(uv_loop_t *loop)
{
    (void)loop;
}

static void shutdown_pool(void)
{
    ss_uv_shutdown();
}

static bool work_of(uv_req_t *req, struct uv__work **w, enum ss_uv_kind *kind)
{
    return ss_uv_work_of(req, w, kind);
}

#endif

// ---------------------------------------------------------------------------------------------
// Completion
// ---------------------------------------------------------------------------------------------

// libuv counts the callback of the loop's handle as one event; each further request in it is one
// more.
static void count_events(const uv_loop_t *loop, unsigned requests)
{
    struct ss_event_counters counters;

    if (requests < 2 || !ss_event_counters(loop, libuv.version, &counters))
        return;
    *counters.events += requests - 1;
    if (*counters.current_timeout == 0)
        *counters.events_waiting += requests - 1;
}

// In the place of uv__work_done(), as the callback of loop->wq_async; the mark of a loop that is
// ours.
static void work_done(uv_async_t *handle)
{
    uv_loop_t *loop = handle->loop;
    struct uv__work *w = ss_uv_take(loop);
    unsigned requests = 0;

    while (w != NULL) {
        struct uv__work *next = ss_uv_next(w);
        w->done(w, ss_uv_conclude(w));
        w = next;
        requests++;
    }
    count_events(loop, requests);
    // Its own pool may have taken over.
    if (__builtin_expect(__atomic_load_n(&retired, __ATOMIC_RELAXED), 0))
        __atomic_load_n(&native_callback, __ATOMIC_RELAXED)(handle);
    ss_uv_leave(loop);
}

// ---------------------------------------------------------------------------------------------
// Submission
// ---------------------------------------------------------------------------------------------

const struct ss_uv_instance OWN(ss_uv_instance);

static bool is_ours(const uv_loop_t *loop)
{
    return __builtin_expect(loop->wq_async.async_cb == work_done, 1);
}

// On the loop's thread, before its first submission.
static enum ss_adoption adopt(uv_loop_t *loop)
{
    uv_async_cb callback;
    enum ss_adoption adoption = ss_inside_adopt(&OWN(ss_uv_instance), loop, &callback);

    if (adoption == SS_LOOP_TAKEN) {
        __atomic_store_n(&native_callback, callback, __ATOMIC_RELAXED);
        __atomic_store_n(&adopted, true, __ATOMIC_RELAXED);
        loop->wq_async.async_cb = work_done;
        give_pool(loop);
    }
    return adoption;
}

static void submit(uv_loop_t *loop, struct uv__work *w, int kind, void (*work)(struct uv__work *w),
                   void (*done)(struct uv__work *w, int status))
{
    if (!is_ours(loop)) {
        enum ss_adoption adoption = adopt(loop);
        if (adoption == SS_LOOP_LEFT) {
            libuv.submit(loop, w, kind, work, done);
            return;
        }
        // A loop that is not as expected, and whose libuv we cannot get out of: the one thing left
        // is to do the work here and now. `done` is libuv's own and does all that is to be done.
        if (adoption == SS_LOOP_STUCK) {
            w->loop = loop;
            work(w);
            w->work = NULL;
            done(w, 0);
            return;
        }
    }
    w->loop = loop;
    w->work = work;
    w->done = done;
    ss_uv_submit(w, (enum ss_uv_kind)kind);
}

static int queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                      uv_after_work_cb after_work_cb)
{
    if (!is_ours(loop)) {
        enum ss_adoption adoption = adopt(loop);
        if (adoption == SS_LOOP_LEFT)
            return libuv.queue_work(loop, req, work_cb, after_work_cb);
        if (adoption == SS_LOOP_STUCK)
            return UV_ENOTSUP;
    }
    int err = ss_uv_prepare_work(loop, req, work_cb, after_work_cb);
    if (err == 0)
        ss_uv_submit(&req->work_req, SS_UV_CPU);
    return err;
}

static int cancel(uv_req_t *req)
{
    struct uv__work *w;
    enum ss_uv_kind kind;

    if (!work_of(req, &w, &kind))
        return UV_EINVAL;
    // It may be in either pool; what uv_cancel() may always say is that it is too late.
    if (__builtin_expect(__atomic_load_n(&retired, __ATOMIC_RELAXED), 0))
        return UV_EBUSY;
    return ss_uv_cancel(w, kind);
}

// ---------------------------------------------------------------------------------------------
// The instance
// ---------------------------------------------------------------------------------------------

static void serve(const struct ss_served *served)
{
    libuv = *served;
    init_pool();
    retired = false;
    adopted = false;
}

static bool retire(void)
{
    __atomic_store_n(&retired, true, __ATOMIC_RELAXED);
    return __atomic_load_n(&adopted, __ATOMIC_RELAXED);
}

const struct ss_uv_instance OWN(ss_uv_instance) = {
    .entry =
        {
            [SS_TAKEN_SUBMIT] = (const void *)submit,
            [SS_TAKEN_QUEUE_WORK] = (const void *)queue_work,
            [SS_TAKEN_CANCEL] = (const void *)cancel,
            [SS_TAKEN_CLEANUP] = (const void *)shutdown_pool,
        },
    .serve = serve,
    .retire = retire,
};
