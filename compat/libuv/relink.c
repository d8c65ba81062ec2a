// SPDX-License-Identifier: ISC
//
// libsmolscale-uv.a: takes the place of libuv's threadpool object when a program is linked with
//
//   libsmolscale-uv.a libsmolscale.a libuv_a.a
//
// It defines the five symbols that object defines, all of them here in one object, so that the
// linker, once it has taken this one, has no reason to take libuv's. Everything of libuv that uses
// the pool (user work, files, name look-ups, random) comes through uv__work_submit().
//
// Compiled against the uv.h of the libuv it is linked with. From 1.45 on, uv__work_done() counts
// events in the loop's internal fields: with libuv's src/ on the include path their own
// declarations are used, else the mirror below, which holds for 1.45 to 1.52.

#include <stddef.h>

#if defined(__has_include)
#if __has_include("uv-common.h")
#include "uv-common.h"
#define HAVE_INTERNAL_HEADER 1
#endif
#endif

#include "pool.h"

#define HAVE_EVENT_METRICS (UV_VERSION_HEX >= 0x012d00)

#ifndef HAVE_INTERNAL_HEADER
enum uv__work_kind { UV__WORK_CPU, UV__WORK_FAST_IO, UV__WORK_SLOW_IO };
void uv__work_submit(uv_loop_t *loop, struct uv__work *w, enum uv__work_kind kind,
                     void (*work)(struct uv__work *w),
                     void (*done)(struct uv__work *w, int status));
void uv__work_done(uv_async_t *handle);
void uv__threadpool_cleanup(void);
#endif

_Static_assert((int)UV__WORK_CPU == (int)SS_UV_CPU && (int)UV__WORK_FAST_IO == (int)SS_UV_FAST_IO &&
                   (int)UV__WORK_SLOW_IO == (int)SS_UV_SLOW_IO,
               "the kinds of work are libuv's");

#if HAVE_EVENT_METRICS
// The beginning of libuv's struct uv__loop_internal_fields_s.
struct internal_fields {
    unsigned int flags;
    struct {
        uv_metrics_t metrics;
        uint64_t provider_entry_time;
        uint64_t provider_idle_time;
        uv_mutex_t lock;
    } loop_metrics;
    int current_timeout;
};

#ifdef HAVE_INTERNAL_HEADER
#define SAME_OFFSET(field)                                                 \
    _Static_assert(offsetof(struct internal_fields, field) ==              \
                       offsetof(struct uv__loop_internal_fields_s, field), \
                   "libuv's internal fields have changed")
SAME_OFFSET(loop_metrics.metrics);
SAME_OFFSET(current_timeout);
#endif

// libuv counts the callback of the loop's handle as one event; each further request in it is one
// more.
static void count_events(uv_loop_t *loop, unsigned requests)
{
    struct internal_fields *fields = loop->internal_fields;

    if (requests > 1) {
        fields->loop_metrics.metrics.events += requests - 1;
        if (fields->current_timeout == 0)
            fields->loop_metrics.metrics.events_waiting += requests - 1;
    }
}
#else
static void count_events(uv_loop_t *loop, unsigned requests)
{
    (void)loop;
    (void)requests;
}
#endif

static struct ss_uv_pool pool = {uv_version, uv_async_send, .knows_all_sends = true,
                                 .lock = PTHREAD_MUTEX_INITIALIZER};

void uv__work_submit(uv_loop_t *loop, struct uv__work *w, enum uv__work_kind kind,
                     void (*work)(struct uv__work *w), void (*done)(struct uv__work *w, int status))
{
    w->loop = loop;
    w->work = work;
    w->done = done;
    ss_uv_adopt(&pool, loop);
    ss_uv_submit(w, (enum ss_uv_kind)kind);
}

void uv__work_done(uv_async_t *handle)
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

int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                  uv_after_work_cb after_work_cb)
{
    int err = ss_uv_prepare_work(loop, req, work_cb, after_work_cb);

    if (err == 0) {
        ss_uv_adopt(&pool, loop);
        ss_uv_submit(&req->work_req, SS_UV_CPU);
    }
    return err;
}

int uv_cancel(uv_req_t *req)
{
    struct uv__work *w;
    uv_loop_t *loop;
    enum ss_uv_kind kind;

    if (!ss_uv_work_of(req, &w, &loop, &kind))
        return UV_EINVAL;
    return ss_uv_cancel(w, kind);
}

void uv__threadpool_cleanup(void)
{
    ss_uv_shutdown(&pool);
}
