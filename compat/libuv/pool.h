// SPDX-License-Identifier: ISC
//
// libuv's thread pool on smolscale's queues: what the relinked archive (relink.c) and the preloaded
// library (preload.c) share.
//
// A request's `struct uv__work` is everything there is of it: its address is the item that the core
// queues, one of its two `wq` words keeps the core's ticket while it is queued, the other links it
// into its loop's list of finished requests. Nothing is allocated for a request.
//
// A process may have several libuvs, as when a plug-in brings its own. Natively each has a pool of
// its own, with a size of its own, and jobs of one may wait for jobs of the other; so it has here.
//
// Who may call what: everything is called on the thread of the loop concerned, as libuv demands of
// its own functions, unless said otherwise.

#ifndef SS_UV_POOL_H
#define SS_UV_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "smolscale.h"

// The kinds of work, with the values of libuv's `enum uv__work_kind`.
enum ss_uv_kind {
    SS_UV_CPU,     // uv_queue_work and uv_random
    SS_UV_FAST_IO, // the file system
    SS_UV_SLOW_IO, // name look-ups: at most half of the pool
    SS_UV_KINDS
};

enum ss_uv_state {
    SS_UV_UNUSED, // in this process
    SS_UV_READY,
    SS_UV_ENDED, // what is submitted now never runs
};

// The pool of one libuv. Zero but for the first members until the first submission; it stays where
// it is for the life of the process.
struct ss_uv_pool {
    // That libuv's own functions.
    unsigned (*version)(void);
    int (*async_send)(uv_async_t *handle);

    // Nobody but this layer wakes a loop for finished work without ss_uv_notify(). May become true
    // at any time.
    bool knows_all_sends;

    // How many owe a loop a send, or are inside of one.
    size_t sends;

    // Private. Written at the first submission, in each process, under `lock`.
    pthread_mutex_t lock;
    enum ss_uv_state state;
    bool early;                           // libuv before 1.45
    smolscale_group *group;               // its workers
    smolscale_queue *queues[SS_UV_KINDS]; // by kind; a queue may stand for several kinds
    struct ss_uv_pool *next;              // all that have had queues
    bool listed;                          // is among them

    // Slow I/O. `posted`: the item that stands for it is in the queue, so somebody will come and
    // look. Guarded by its lock, which is held for a few instructions only.
    struct ss_uv_slow {
        pthread_mutex_t lock;
        void *list[2]; // circular, of the `wq` words (next, previous); a member's previous word is
                       // not NULL
        size_t queued;
        unsigned running, limit;
        bool posted;
    } slow;
};
// Makes a record ready for a libuv, also one that was another's, which has been shut down.
void ss_uv_pool_init(struct ss_uv_pool *pool, unsigned (*version)(void),
                     int (*async_send)(uv_async_t *handle));

// Makes it the loop's pool, if it is not. From any thread; a loop has one pool in its life.
void ss_uv_adopt(struct ss_uv_pool *pool, uv_loop_t *loop);

// The pool of a loop that was adopted; NULL: it was not.
struct ss_uv_pool *ss_uv_pool_of(uv_loop_t *loop);

// Queues `w`, whose loop, work and done are set, and whose loop is adopted. On a worker w->work(w)
// will run, and w will then be among what ss_uv_take(loop) returns.
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

// The work of a cancellable request, its loop and its kind. False: not a request of the thread
// pool.
bool ss_uv_work_of(uv_req_t *req, struct uv__work **w, uv_loop_t **loop, enum ss_uv_kind *kind);

// Was it made ready by ss_uv_prepare_work()?
bool ss_uv_is_user_work(const struct uv__work *w);

// Makes a uv_work_t ready for ss_uv_submit(); UV_EINVAL without a work callback.
int ss_uv_prepare_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                       uv_after_work_cb after_work_cb);

// What libuv does with its pool in uv_library_shutdown(), which also runs when the process exits:
// waits for what is queued and running. What is submitted from then on never runs. With the elastic
// policy, or called from a job, it gives up on jobs that stand still. May be called more than once,
// from any thread.
void ss_uv_shutdown(struct ss_uv_pool *pool);

#endif // SS_UV_POOL_H
