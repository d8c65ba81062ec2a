// SPDX-License-Identifier: ISC
//
// One instance of the pool (see instance.h): what a libuv's functions jump to. It is the contract
// of relink.c, met at run time.
//
// Compiled with SS_UV_INSTANCE = 0, 1, ...

#include "instance.h"

#define PASTE2(name, number) name##_##number
#define PASTE(name, number)  PASTE2(name, number)
#define OWN(name)            PASTE(name, SS_UV_INSTANCE)

#include "../pool.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "layout.h"

// Written before its functions jump here. Whoever comes by such a jump has a loop, which was made
// after epoll_create1() had returned, and has got it from the thread that called that.
static struct ss_served libuv;

static struct ss_uv_pool pool;

static void init_pool(void)
{
    ss_uv_pool_init(&pool, libuv.version_function, libuv.async_send);
    pool.knows_all_sends = true;
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
    enum ss_adoption adoption = ss_inside_adopt(&OWN(ss_uv_instance), loop);

    if (adoption == SS_LOOP_TAKEN) {
        give_pool(loop);
        // Others may ask whose loop it is (ss_inside_origin).
        word_store_release(&loop->wq_async.async_cb, work_done);
    }
    return adoption;
}

// A request that neither pool can serve: its work, on a thread of its own.
struct aside {
    struct uv__work *w;
    void (*work)(struct uv__work *w);
};

static void *run_aside(void *data)
{
    struct aside aside = *(struct aside *)data;
    struct uv__work *w = aside.w;
    uv_loop_t *loop = w->loop;
    void **list = (void **)&loop->wq;

    free(data);
    aside.work(w);
    // As libuv's worker ends a request; its own uv__work_done() does the rest. The mutex is held
    // over the send, which the loop's end waits for.
    pthread_mutex_lock(&loop->wq_mutex);
    void **last = list[1];
    ((void **)&w->wq)[0] = list;
    ((void **)&w->wq)[1] = last;
    last[0] = &w->wq;
    list[1] = &w->wq;
    (void)libuv.async_send(&loop->wq_async);
    pthread_mutex_unlock(&loop->wq_mutex);
    return NULL;
}

static void submit_aside(struct uv__work *w)
{
    struct aside *aside = malloc(sizeof(*aside));
    pthread_t thread;

    if (aside == NULL)
        abort(); // libuv's own answer to that, when it starts its pool
    *aside = (struct aside){w, w->work};
    w->work = NULL; // not to be cancelled
    if (pthread_create(&thread, NULL, run_aside, aside) == 0)
        pthread_detach(thread);
    else
        run_aside(aside);
}

static void submit(uv_loop_t *loop, struct uv__work *w, int kind, void (*work)(struct uv__work *w),
                   void (*done)(struct uv__work *w, int status))
{
    enum ss_adoption adoption = is_ours(loop) ? SS_LOOP_TAKEN : adopt(loop);

    if (__builtin_expect(adoption == SS_LOOP_LEFT, 0)) {
        libuv.submit(loop, w, kind, work, done);
        return;
    }
    w->loop = loop;
    w->work = work;
    w->done = done;
    if (adoption == SS_LOOP_TAKEN)
        ss_uv_submit(w, (enum ss_uv_kind)kind);
    else
        submit_aside(w);
}

static int queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                      uv_after_work_cb after_work_cb)
{
    enum ss_adoption adoption = is_ours(loop) ? SS_LOOP_TAKEN : adopt(loop);

    if (__builtin_expect(adoption == SS_LOOP_LEFT, 0))
        return libuv.queue_work(loop, req, work_cb, after_work_cb);
    int err = ss_uv_prepare_work(loop, req, work_cb, after_work_cb);
    if (err != 0)
        return err;
    if (adoption == SS_LOOP_TAKEN)
        ss_uv_submit(&req->work_req, SS_UV_CPU);
    else
        submit_aside(&req->work_req);
    return 0;
}

static int cancel(uv_req_t *req)
{
    struct uv__work *w;
    enum ss_uv_kind kind;

    if (!work_of(req, &w, &kind))
        return UV_EINVAL;
    return ss_uv_cancel(w, kind);
}

// ---------------------------------------------------------------------------------------------
// The instance
// ---------------------------------------------------------------------------------------------

static void serve(const struct ss_served *served)
{
    libuv = *served;
    init_pool();
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
    .libuv = &libuv,
    .work_done = work_done,
};
