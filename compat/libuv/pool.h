// SPDX-License-Identifier: ISC
//
// libuv's thread pool on smolscale's queues: what the relinked archive (relink.c) and the preloaded
// library (preload.c) share.
//
// A request's `struct uv__work` is everything there is of it: its address is the item that the core
// queues, one of its two `wq` words keeps the core's ticket while it is queued, the other links it
// into its loop's list of finished requests. Nothing is allocated for a request.
//
// Who may call what: everything is called on the thread of the loop concerned, as libuv demands of
// its own functions, unless said otherwise.

#ifndef SS_UV_POOL_H
#define SS_UV_POOL_H

#include <stdbool.h>
#include <uv.h>

// The kinds of work, with the values of libuv's `enum uv__work_kind`.
enum ss_uv_kind {
    SS_UV_CPU,     // uv_queue_work and uv_random
    SS_UV_FAST_IO, // the file system
    SS_UV_SLOW_IO, // name look-ups: at most half of the pool
    SS_UV_KINDS
};

// Queues `w`, whose loop, work and done are set. On a worker w->work(w) will run, and w will then
// be among what ss_uv_take(loop) returns.
void ss_uv_submit(struct uv__work *w, enum ss_uv_kind kind);

// Takes all finished and cancelled work of the loop, oldest first, linked by ss_uv_next(); NULL:
// none. Called from the callback of loop->wq_async.
struct uv__work *ss_uv_take(uv_loop_t *loop);

// What was finished after `w`. To be read before w->done is called, which may free it.
struct uv__work *ss_uv_next(const struct uv__work *w);

// The status that w->done must be called with, 0 or UV_ECANCELED. From then on w counts as
// finished: a second call says 0.
int ss_uv_conclude(struct uv__work *w);

// Called at the end of the callback of loop->wq_async. May give the CPU to the workers for a few µs
// if more is about to finish. From when it returns the program may close the loop.
void ss_uv_leave(uv_loop_t *loop);

// Wakes the loop for work that is finished but that ss_uv_take() will not return. From any thread.
void ss_uv_notify(uv_loop_t *loop);

// uv_cancel for work given to ss_uv_submit(): 0, and the work comes out of ss_uv_take() as
// cancelled without having run; or UV_EBUSY.
int ss_uv_cancel(struct uv__work *w, enum ss_uv_kind kind);

// The work of a cancellable request and its kind. False: not a request of the thread pool.
bool ss_uv_work_of(uv_req_t *req, struct uv__work **w, enum ss_uv_kind *kind);

// Makes a uv_work_t ready for ss_uv_submit(); UV_EINVAL without a work callback.
int ss_uv_prepare_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                       uv_after_work_cb after_work_cb);

// What libuv does with its pool in uv_library_shutdown(), which also runs when the process exits:
// waits for what is queued and running, but not for jobs that are stuck. May be called more than
// once.
void ss_uv_shutdown(void);

// Provided by relink.c and preload.c: libuv's own functions, by whatever way they are reached.
unsigned ss_uv_version(void);              // as uv_version(): 0xMMmmpp
void ss_uv_async_send(uv_async_t *handle); // from any thread

#endif // SS_UV_POOL_H
