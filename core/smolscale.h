// SPDX-License-Identifier: ISC
//
// smolscale: one balancing executor per process.
//
// Overview
//
//   The executor owns the worker threads of a process. It starts at first use, costs nothing
//   before, and wakes nobody while there is no work. What it runs are *jobs*: calls of a function
//   that run to completion and may block. Jobs are pushed onto *work queues*. A queue limits how
//   many of its jobs run at once (`max_active`); all queues share the executor's workers, of which
//   there are about as many runnable ones as the process may use CPUs, and more while some are
//   blocked.
//
// Typical use
//
//   1. Describe the queue, create it:
//
//        static void resize(void *item, void *user_data) { ... }
//
//        struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
//        attr.run = resize;
//        attr.max_active = 4;
//        smolscale_queue *queue;
//        int err = smolscale_queue_new(&queue, &attr);      // 0 or a negative errno value
//
//   2. Push items from any thread, also from a job:
//
//        err = smolscale_queue_push(queue, picture, NULL);
//
//   3. Wait for them, and free the queue:
//
//        smolscale_queue_wait(queue);
//        smolscale_queue_free(queue);
//
// Rules that hold for every function
//
//   * A function of the program's that is NULL is -EINVAL where there is an error to be returned;
//     elsewhere the call ends the process by SIGSEGV when it comes to it.
//   * Functions that can fail return 0 or a negative errno value. Nothing is printed, except one
//     line on stderr for each nonsensical SMOLSCALE_* variable, and what SMOLSCALE_VERBOSE asks
//     for.
//   * Unless said otherwise a function may be called from any thread, including from a job, but not
//     from a signal handler.
//   * A thread that waits inside smolscale never runs other jobs meanwhile.
//   * After fork() the child has an executor that has not started yet. Queues of the parent exist
//     in the child, empty and idle: what was queued or running belongs to the parent.
//   * At exit nothing is torn down: jobs that still run end with the process.
//   * A plug-in that the static library is linked into stays in memory from its first use on, for
//     the threads outlast dlclose(): its destructors run at exit.

#ifndef SMOLSCALE_H
#define SMOLSCALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SMOLSCALE_API __attribute__((visibility("default")))
#else
#define SMOLSCALE_API
#endif

// ---------------------------------------------------------------------------------------------
// Work queues
// ---------------------------------------------------------------------------------------------

// An ordered list of items and the function to call with each. Thread-safe as a whole.
typedef struct smolscale_queue smolscale_queue;

// Runs one item. `user_data` is that of the queue. May block, push to any queue, fork, exec and
// exit.
typedef void smolscale_run_fn(void *item, void *user_data);

// Orders items: negative when `a` is to run before `b`, 0 for "in the order of their push". Called
// by the thread that pushes and by the thread that sets it, about log2(n) times a push; not
// when items start, are taken back or moved. The queue is locked meanwhile: it may use other
// queues, but not this one or one of its family. (GLib reference, g_thread_pool_set_sort_function)
typedef int smolscale_compare_fn(const void *a, const void *b, void *compare_data);

// No limit on the jobs that run at once.
#define SMOLSCALE_UNLIMITED 0xffffffffu

// A set of threads that serve the queues which name it; see "Worker groups".
typedef struct ss_group smolscale_group;

// smolscale_queue_attr.flags:

// The queue has `max_active` threads of its own, which serve nothing else and exist until the queue
// is freed. They inherit signal mask and scheduling of the thread that creates the queue (or that
// raises the limit later). If the queue names a group, its threads become idle workers of that
// group instead of ending, as far as the limits of the group let them, and idle workers of the
// group serve the queue instead of new threads. That is so for as long as the thread that would
// create them has the settings of the group; a group without threads takes on its settings.
#define SMOLSCALE_QUEUE_DEDICATED 0x1u

// A job that is blocked (asleep in the kernel) does not count against `max_active`.
#define SMOLSCALE_QUEUE_ELASTIC 0x2u

struct smolscale_queue_attr {
    size_t size;                   // sizeof(struct smolscale_queue_attr); set by the initialiser
    smolscale_run_fn *run;         // required
    void *user_data;               // passed to run()
    unsigned max_active;           // jobs running at once; 0: none (paused); default: unlimited
    unsigned flags;                // SMOLSCALE_QUEUE_*
    const char *thread_name;       // name a worker carries while it serves this queue (15 bytes are
                                   // used, copied); NULL: whatever it has
    smolscale_compare_fn *compare; // NULL: first in, first out
    void *compare_data;
    smolscale_queue *parent;    // if set: jobs of this queue also count against the parent's
                                // max_active. The parent must outlive this queue.
    void (*notify)(void *whom); // called for smolscale_notify_soon(), by any thread of the executor
    smolscale_group *group;     // whose workers serve it; NULL: the parent's, or the default group,
                                // or, of a dedicated queue, no group's. Must outlive the queue
};

#define SMOLSCALE_QUEUE_ATTR_INIT                                                                  \
    {                                                                                              \
        sizeof(struct smolscale_queue_attr), NULL, NULL, SMOLSCALE_UNLIMITED, 0, NULL, NULL, NULL, \
            NULL, NULL, NULL                                                                       \
    }

// Creates a queue, owned by the caller. Errors: -EINVAL (no run function, unlimited dedicated
// queue, dedicated or grandchild queue with a parent), -ENOMEM, -EAGAIN (a dedicated queue's
// threads could not all be created; *out is NULL then). No thread is started for a shared queue
// until its first push.
SMOLSCALE_API int smolscale_queue_new(smolscale_queue **out,
                                      const struct smolscale_queue_attr *attr);

// Appends `item` (not NULL). On success it runs exactly once unless it is cancelled or cleared.
// `ticket`, if not NULL, receives a value that makes smolscale_queue_cancel() fast; it is written
// before the item can run.
// Returns 0; -EAGAIN when no worker exists and none can be created: the item *is* queued and runs
// as soon as a thread can be had; -ENOMEM, -EINVAL (NULL item) and -ESHUTDOWN (queue closed): the
// item is not queued.
SMOLSCALE_API int smolscale_queue_push(smolscale_queue *queue, void *item, uint64_t *ticket);

// Appends the same `item` `count` times, with one decision how many workers to wake: at once one
// worker for each, as far as max_active and the number of CPUs allow, whatever the queue's recent
// jobs cost. For a caller that goes on working itself: they are woken on other CPUs than its own
// where there are any. `ticket` receives the ticket of the first; the others follow by one each.
// Returns as push does.
SMOLSCALE_API int smolscale_queue_push_many(smolscale_queue *queue, void *item, unsigned count,
                                            uint64_t *ticket);

// Takes a queued item back: true when it had not started and now never will. `ticket` as given by
// push, or 0 when unknown (then the queue is searched, newest first). Never waits for a job.
SMOLSCALE_API bool smolscale_queue_cancel(smolscale_queue *queue, void *item, uint64_t ticket);

// Makes a queued item the next one to start (of equal items the one pushed last). False when it is
// not queued. Searches: O(pending). Needs no memory.
SMOLSCALE_API bool smolscale_queue_move_to_front(smolscale_queue *queue, void *item);

// Removes all queued items, and calls `drop` (if not NULL) with each, in order, in the calling
// thread and without a lock held. Returns their number. Running jobs are not affected.
SMOLSCALE_API size_t smolscale_queue_clear(smolscale_queue *queue, smolscale_run_fn *drop,
                                           void *user_data);

// Items that have not started. O(1) unless several workers hold batches of tiny jobs of the queue.
SMOLSCALE_API size_t smolscale_queue_pending(smolscale_queue *queue);

// Jobs of the queue that run at this moment. Includes workers that have just finished one and look
// for the next.
SMOLSCALE_API unsigned smolscale_queue_active(smolscale_queue *queue);

// Changes the limit. Lowering it does not stop running jobs. For a dedicated queue it creates or
// gives back threads; -EAGAIN if not all could be created (the limit is set all the same and the
// missing threads are tried again at the next call). For a shared queue: -EAGAIN when items may
// start now, no worker exists and none can be created (they run as soon as one can). -EINVAL:
// unlimited and dedicated.
SMOLSCALE_API int smolscale_queue_set_max_active(smolscale_queue *queue, unsigned max_active);

// What observers call the queue: in the times in queue of SMOLSCALE_STATS, in traces and at probes.
// `label` names the interface that the queue stands for, without spaces, such as "glib"; it is not
// copied and must live as long as the process. `code` is the address of the function whose calls are
// the jobs, whose symbol is added to the label; NULL: the label says all. Queues with the same label
// and code are one pool there. Without this call the thread name and run() serve. To be called before
// the first push.
SMOLSCALE_API void smolscale_queue_set_label(smolscale_queue *queue, const char *label,
                                             const void *code);

// Orders what is queued and what comes (stable). NULL: keeps the present order and appends from now
// on. -ENOMEM: nothing changed.
SMOLSCALE_API int smolscale_queue_set_compare(smolscale_queue *queue, smolscale_compare_fn *compare,
                                              void *compare_data);

// Waits until nothing is queued and no job runs. Called from a job of this very queue it never
// returns.
SMOLSCALE_API void smolscale_queue_wait(smolscale_queue *queue);

// Closes the queue: further pushes fail with -ESHUTDOWN. When the last queued item has run,
// `closed` (if not NULL) is called once, with `user_data`, from the worker that ran it, or from
// within this call when nothing was left to run; the queue is freed right after, so its pointer is
// invalid once this call has returned, except in jobs that still run. `closed` may do whatever a
// job may do.
SMOLSCALE_API void smolscale_queue_close(smolscale_queue *queue, void (*closed)(void *user_data),
                                         void *user_data);

// Closes the queue, waits until all its jobs have run, and frees it. NULL is ignored. Called from a
// job of this very queue it never returns.
SMOLSCALE_API void smolscale_queue_free(smolscale_queue *queue);

// ---------------------------------------------------------------------------------------------
// Tasks
// ---------------------------------------------------------------------------------------------
//
// A task is a state machine that is *polled*: its function runs until it has to wait, returns
// SMOLSCALE_PENDING, and is called again when what it waited for has come. Tasks cost 96
// bytes and no thread; passing a message from one to another costs some tens of nanoseconds. Write
// them with the macros of smolscale_async.h:
//
//     struct echo {
//         SMOLSCALE_FRAME;                 // first member
//         int fd;
//         int n;
//         char text[512];
//     };
//
//     SMOLSCALE_ASYNC(echo, f)             // struct echo *f, smolscale_cx *cx
//     {
//         SMOLSCALE_BEGIN(f);
//         for (;;) {
//             SMOLSCALE_AWAIT(f->n, smolscale_read(cx, f->fd, f->text, sizeof f->text));
//             if (f->n <= 0)
//                 SMOLSCALE_RETURN(f->n);
//             SMOLSCALE_AWAIT(f->n, smolscale_write(cx, f->fd, f->text, (size_t)f->n));
//         }
//         SMOLSCALE_END;
//     }
//
//     smolscale_task *task;
//     int err = SMOLSCALE_SPAWN(&task, echo, .fd = fd);
//
// *Awaitables* are the functions that take a smolscale_cx. They do their work and return its result
// at once, 0 or more or a negative errno value; or they return SMOLSCALE_PENDING, and then the
// result comes when the task is polled again (SMOLSCALE_AWAIT does both). Rules for all of them:
//
//   * After SMOLSCALE_PENDING the poll function must return SMOLSCALE_PENDING at once: the task
//     waits for one thing at a time, and what it waits for may still be locked.
//   * What an awaitable works on (channel, mutex, buffers) must stay until it has given its result.
//   * In a cancelled task each awaitable gives -ECANCELED, and after the end of a timeout
//     -ETIMEDOUT, unless what was waited for had come already: nothing that was handed over is
//     lost.
//   * A thread that is not a task calls them by SMOLSCALE_BLOCK(call), which waits.
//   * A poll function may block the thread; then others take its place as with jobs, but it costs
//     more than an await. smolscale_unblock() makes an awaitable of a blocking function.
//   * A child of fork() finds none of the parent's tasks: their handles and wakers mean nothing
//     there. What they share, such as a channel, may be used there only if nobody used it at the
//     moment of the fork(). An async function that forks must not await anything in the child.

// A task's handle. Each handle is given back once, by smolscale_release().
typedef struct smolscale_task smolscale_task;

// What a poll is called with: whose poll it is. Valid until the poll returns. The fields are
// private.
typedef struct smolscale_cx {
    smolscale_task *task;
    int result; // of the await that ended
    unsigned budget;
    unsigned suspend;
    void *where;
} smolscale_cx;

// "Not yet": no result has this value.
#define SMOLSCALE_PENDING (-0x7fffffff - 1)

// Runs the task on until it must wait (SMOLSCALE_PENDING) or ends (any other value: its result).
typedef int smolscale_poll_fn(smolscale_cx *cx, void *frame);

// Starts a task that runs `poll` on a copy of the `size` bytes at `frame` (zero where that is
// NULL). The copy is aligned to 32 bytes, not more: the macros of smolscale_async.h refuse a frame
// with a member that wants more. Such a member (of a vector type of 64 bytes, for instance) is
// allocated apart, and the frame points to it. `*out`, if out is not NULL, is its handle; otherwise
// it is detached. From a task it is queued where that runs, signalling nobody; from elsewhere a
// worker is woken if none looks. Returns 0, -ENOMEM or -EINVAL (`poll` is NULL; no task then), or
// -EAGAIN: no worker exists and none can be created; the task exists and runs as soon as a thread
// can be had.
SMOLSCALE_API int smolscale_spawn(smolscale_task **out, smolscale_poll_fn *poll, const void *frame,
                                  size_t size);

// Gives the handle back. A task that still runs runs on (is detached). NULL is ignored.
SMOLSCALE_API void smolscale_release(smolscale_task *task);

// Awaits the end of a task; its result. The handle stays valid. One at a time may join (-EBUSY),
// and only once: -EALREADY. A task cannot join itself (-EDEADLK).
SMOLSCALE_API int smolscale_join(smolscale_cx *cx, smolscale_task *task);

// Asks the task to end: the await it is in, and all later ones, give -ECANCELED. Does not wait:
// join it for that. False when it had ended or was cancelled before. Any thread.
SMOLSCALE_API bool smolscale_cancel(smolscale_task *task);

// True when the task has ended; its result and frame are then visible to the caller.
SMOLSCALE_API bool smolscale_finished(const smolscale_task *task);

// The task's frame: its output, once it has ended.
SMOLSCALE_API void *smolscale_frame(smolscale_task *task);

// For a poll: is the task cancelled (-ECANCELED), or its time up (-ETIMEDOUT)? 0: neither. What a
// task that computes for long without an await asks now and then.
SMOLSCALE_API int smolscale_interrupted(smolscale_cx *cx);

// Takes a cancellation as dealt with: awaits work again, for instance to say goodbye. Returns
// whether there was one.
SMOLSCALE_API bool smolscale_clear_cancel(smolscale_cx *cx);

// Lets the other tasks of the queue run first. Awaitable: 0; in a task that is cancelled or whose
// time is up it does so, too, and gives -ECANCELED or -ETIMEDOUT.
static inline int smolscale_yield(smolscale_cx *cx)
{
    cx->suspend = 5;
    return SMOLSCALE_PENDING;
}

// ---- wakers: for code that is not written with the awaitables here, such as another library's
// callback

// May be copied only by smolscale_waker_clone(); each is given back once, by
// smolscale_waker_drop(). Outlives its task. All four functions may be called from any thread.
typedef struct smolscale_waker {
    smolscale_task *task;
} smolscale_waker;

// A waker of the task that is polled. A poll that has taken one may return SMOLSCALE_PENDING of its
// own; it is polled again after smolscale_wake(), and perhaps without (await such a function by
// SMOLSCALE_POLL, which calls it again each time).
SMOLSCALE_API smolscale_waker smolscale_waker_new(smolscale_cx *cx);
SMOLSCALE_API smolscale_waker smolscale_waker_clone(smolscale_waker waker);
SMOLSCALE_API void smolscale_waker_drop(smolscale_waker waker);

// Has the task polled. If it is being polled at this moment, it is polled once more. Many wakes
// before a poll make one. No effect on a task that has ended.
SMOLSCALE_API void smolscale_wake(smolscale_waker waker);

// ---- from threads

// Storage for a thread that waits like a task; private.
typedef struct smolscale_thread {
    unsigned char storage[256] __attribute__((aligned(64)));
} smolscale_thread;

// Turns any awaitable into a blocking call: `int n = SMOLSCALE_BLOCK(smolscale_recv(cx, channel,
// &message));`. In a job or a poll another worker takes the thread's place meanwhile. Interrupted
// by nothing.
#define SMOLSCALE_BLOCK(call)                                                           \
    __extension__({                                                                     \
        smolscale_thread smolscale_thread_;                                             \
        _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"")   \
            smolscale_cx *cx = smolscale_thread_begin(&smolscale_thread_);              \
        _Pragma("GCC diagnostic pop") smolscale_thread_end(&smolscale_thread_, (call)); \
    })
SMOLSCALE_API smolscale_cx *smolscale_thread_begin(smolscale_thread *thread);
SMOLSCALE_API int smolscale_thread_end(smolscale_thread *thread, int result);

// Runs an async function to its end, and returns its result. `frame` is the caller's. It begins on
// the calling thread, and where it has to wait again and again it goes on on a worker, as a task
// would (if there are workers; else on the thread); smolscale_local_run() keeps one to its thread.
// May be called anywhere, also within a task: others take over what the worker was to run. -ENOMEM;
// -EINVAL: `poll` is NULL.
SMOLSCALE_API int smolscale_block_on(smolscale_poll_fn *poll, void *frame);

// Calls `run(arg)` on a thread where it may block, and awaits its end; its result. `run` must not
// return SMOLSCALE_PENDING. Once begun it is always called and awaited to its end: a task that is
// cancelled meanwhile, or whose time is up, gives -ECANCELED or -ETIMEDOUT only after `run` has
// returned. -ECANCELED also when `run` ends its thread. -ENOMEM, or -EINVAL where `run` is NULL:
// not called.
SMOLSCALE_API int smolscale_unblock(smolscale_cx *cx, int (*run)(void *arg), void *arg);

// ---- channels: from many senders to many receivers, first in, first out

typedef struct smolscale_channel smolscale_channel;

// A channel of messages of `size` bytes (0 is fine) that holds up to `capacity` of them; 0 is a
// rendezvous, SMOLSCALE_UNLIMITED has no limit. Has one reference. 0, -ENOMEM, or -EINVAL (messages
// of 2 GiB or more).
SMOLSCALE_API int smolscale_channel_new(smolscale_channel **out, size_t size, unsigned capacity);

// One more reference; gives one back (the last frees the channel and drops what is in it). NULL is
// ignored.
SMOLSCALE_API smolscale_channel *smolscale_channel_ref(smolscale_channel *channel);
SMOLSCALE_API void smolscale_channel_unref(smolscale_channel *channel);

// No more messages: sends give -EPIPE, also those that wait; receives give what is left, and then
// -EPIPE.
SMOLSCALE_API void smolscale_close(smolscale_channel *channel);

// Awaitables. 0; -EPIPE (closed); -ENOMEM (the room for messages grows as it is used). The message
// is copied before the send has given its result.
SMOLSCALE_API int smolscale_send(smolscale_cx *cx, smolscale_channel *channel, const void *message);
SMOLSCALE_API int smolscale_recv(smolscale_cx *cx, smolscale_channel *channel, void *message);

// At once, from anywhere: 0; -EAGAIN (full or empty); -EPIPE; -ENOMEM.
SMOLSCALE_API int smolscale_try_send(smolscale_channel *channel, const void *message);
SMOLSCALE_API int smolscale_try_recv(smolscale_channel *channel, void *message);

// Messages in it: a hint.
SMOLSCALE_API size_t smolscale_channel_count(smolscale_channel *channel);

// A list of waiting tasks and threads, and its lock. Private; part of what follows.
typedef struct smolscale_waitlist {
    unsigned lock;
    unsigned count;
    void *first;
} smolscale_waitlist;

// ---- one value, once

// Embedded where both sides reach it, initialised by SMOLSCALE_ONESHOT_INIT (all zero). Holds a
// pointer-sized value. Private.
typedef struct smolscale_oneshot {
    smolscale_waitlist waiters;
    void *value;
} smolscale_oneshot;
#define SMOLSCALE_ONESHOT_INIT \
    {                          \
        {0, 0, NULL}, NULL     \
    }

// Gives the value; from anywhere. 0; -EALREADY: given or closed before. After it the sender does
// not touch it.
SMOLSCALE_API int smolscale_oneshot_send(smolscale_oneshot *oneshot, void *value);

// The sender goes without a value: the receiver gets -EPIPE. No effect after a value.
SMOLSCALE_API void smolscale_oneshot_close(smolscale_oneshot *oneshot);

// Awaits the value. One receiver, once. 0; -EPIPE; -EBUSY (another receives); -EALREADY (received
// before). A value that is there is given in a cancelled task, too. May be freed as soon as it is
// received.
SMOLSCALE_API int smolscale_oneshot_recv(smolscale_cx *cx, smolscale_oneshot *oneshot,
                                         void **value);

// ---- mutex, semaphore, wait group, barrier: for tasks, and by SMOLSCALE_BLOCK for threads
//
// Embedded in the caller's storage; *_init() may be called again once nobody waits; nothing is to
// be freed. First come, first served. Private fields.

typedef struct smolscale_semaphore {
    smolscale_waitlist waiters; // count: permits
} smolscale_semaphore;
SMOLSCALE_API void smolscale_semaphore_init(smolscale_semaphore *semaphore, unsigned permits);
SMOLSCALE_API int smolscale_semaphore_acquire(smolscale_cx *cx,
                                              smolscale_semaphore *semaphore); // 0
SMOLSCALE_API bool smolscale_semaphore_try_acquire(smolscale_semaphore *semaphore);

// Permits go to the waiters, in their order, and what is left stays for later, up to
// SMOLSCALE_UNLIMITED.
SMOLSCALE_API void smolscale_semaphore_release(smolscale_semaphore *semaphore, unsigned permits);

// Owned by the task or thread that locked it until it is unlocked, but not tied to it: any may
// unlock. Unlocking one that is free: -EPERM.
typedef struct smolscale_mutex {
    smolscale_semaphore semaphore;
} smolscale_mutex;
SMOLSCALE_API void smolscale_mutex_init(smolscale_mutex *mutex);
SMOLSCALE_API int smolscale_mutex_lock(smolscale_cx *cx, smolscale_mutex *mutex); // 0
SMOLSCALE_API bool smolscale_mutex_try_lock(smolscale_mutex *mutex);
SMOLSCALE_API int smolscale_mutex_unlock(smolscale_mutex *mutex);

// Counts work: waiters go on when it falls to 0. done() below 0: -EINVAL. add() gives 0, or
// -EOVERFLOW where the count would exceed UINT_MAX: then nothing is added.
typedef struct smolscale_waitgroup {
    smolscale_waitlist waiters;
} smolscale_waitgroup;
SMOLSCALE_API void smolscale_waitgroup_init(smolscale_waitgroup *group, unsigned count);
SMOLSCALE_API int smolscale_waitgroup_add(smolscale_waitgroup *group, unsigned count);
SMOLSCALE_API int smolscale_waitgroup_done(smolscale_waitgroup *group);
SMOLSCALE_API int smolscale_waitgroup_wait(smolscale_cx *cx, smolscale_waitgroup *group); // 0

// `parties` (0 counts as 1) wait for one another, again and again. Gives 1 to the last to come, 0
// to the others. Who is interrupted has not come.
typedef struct smolscale_barrier {
    smolscale_waitlist waiters;
    unsigned parties;
} smolscale_barrier;
SMOLSCALE_API void smolscale_barrier_init(smolscale_barrier *barrier, unsigned parties);
SMOLSCALE_API int smolscale_barrier_wait(smolscale_cx *cx, smolscale_barrier *barrier);

// ---- timers. Times are of CLOCK_MONOTONIC, in ns.

SMOLSCALE_API uint64_t smolscale_now(void);

// Awaitables; 0. Accurate to some µs, also while all workers are busy with tasks. A time beyond the
// end of the number range never comes. -ENOMEM.
SMOLSCALE_API int smolscale_sleep(smolscale_cx *cx, uint64_t ns);
SMOLSCALE_API int smolscale_sleep_until(smolscale_cx *cx, uint64_t when);

// Every `period` ns (0 counts as 1), without drift. wait() gives how many periods have passed since
// the last time it gave any: 1 when in time. One that is cancelled or whose time is up takes no
// period away from the next.
typedef struct smolscale_interval {
    uint64_t next, period;
} smolscale_interval;
SMOLSCALE_API void smolscale_interval_init(smolscale_interval *interval,
                                           uint64_t period); // first after one period
SMOLSCALE_API int smolscale_interval_wait(smolscale_cx *cx, smolscale_interval *interval);

// From now on, until it is changed again, the task's awaits give -ETIMEDOUT once `when` has passed;
// 0: never. The first await under a deadline that has passed still gives what has come already. An
// await that would have to wait under a deadline gives -ENOMEM where there is no memory for a
// timer. Returns what was set before.
SMOLSCALE_API uint64_t smolscale_deadline(smolscale_cx *cx, uint64_t when);

// A deadline `ns` from now, unless a sooner one holds. Returns what was set before, to be set again
// by smolscale_deadline(). SMOLSCALE_TIMEOUT and SMOLSCALE_CALL_TIMEOUT use both around one await.
SMOLSCALE_API uint64_t smolscale_begin_timeout(smolscale_cx *cx, uint64_t ns);

// ---- sockets and pipes

// Awaits that `fd` can be read or written (events: SMOLSCALE_READABLE, SMOLSCALE_WRITABLE or both);
// gives those that hold, and SMOLSCALE_HANGUP: the other side is gone, or an error is to be had, or
// (for readers) it sends no more. Each direction of an fd is awaited by one task at a time
// (-EBUSY). Errors as epoll_ctl: -EPERM for files that are always ready.
#define SMOLSCALE_READABLE 1
#define SMOLSCALE_WRITABLE 2
#define SMOLSCALE_HANGUP   4
SMOLSCALE_API int smolscale_ready(smolscale_cx *cx, int fd, int events);

// read(), write(), accept4() and connect() on a non-blocking descriptor, awaited. read() gives at
// most INT_MAX bytes at once, 0 at the end. write() writes all of it and gives its size (INT_MAX if
// that is more), or the error: then some may be written; no SIGPIPE comes from a socket. What was
// not given is not read: after a cancelled read() or accept() it is there for the next.
SMOLSCALE_API int smolscale_read(smolscale_cx *cx, int fd, void *buffer, size_t size);
SMOLSCALE_API int smolscale_write(smolscale_cx *cx, int fd, const void *buffer, size_t size);
struct sockaddr;
SMOLSCALE_API int smolscale_accept(smolscale_cx *cx,
                                   int fd); // the new descriptor: non-blocking, close-on-exec
SMOLSCALE_API int smolscale_connect(smolscale_cx *cx, int fd, const struct sockaddr *address,
                                    unsigned length);

// To be called before close(fd) where an awaitable above was used on it: forgets it. Tasks that
// wait for it get -EBADF, and none may begin to until the number is used again. Without it they
// would wait for good, and so might those that wait for the next descriptor of that number (where
// that comes from smolscale_accept() or goes to smolscale_connect(), they do not).
SMOLSCALE_API void smolscale_forget(int fd);

// ---- supervision

// A task that begins anew when it ends, with its first frame: at once, after `delay` ns, or after a
// random time up to twice that (jitter: on average `delay`). What it gives does not matter. "At
// once" lets other tasks run before; and a function that has ended a hundred times without having
// waited for anything is given a ms of rest, so that it leaves the CPU to the others. So is one
// with a delay of less than 10 µs.
// new() gives 0, -ENOMEM, -EINVAL, or -EAGAIN as smolscale_spawn() does. free() cancels it, it does
// not begin again, and nothing is waited for; also from within. NULL is ignored.
typedef struct smolscale_immortal smolscale_immortal;
enum smolscale_respawn {
    SMOLSCALE_RESPAWN_AT_ONCE,
    SMOLSCALE_RESPAWN_DELAYED,
    SMOLSCALE_RESPAWN_JITTERED
};
SMOLSCALE_API int smolscale_immortal_new(smolscale_immortal **out, smolscale_poll_fn *poll,
                                         const void *frame, size_t size,
                                         enum smolscale_respawn respawn, uint64_t delay);
SMOLSCALE_API uint64_t smolscale_immortal_restarts(const smolscale_immortal *immortal);
SMOLSCALE_API void smolscale_immortal_free(smolscale_immortal *immortal);

// Holds tasks, forgets those that have ended, and cancels the others when it is freed (awaiting
// nothing). attach() takes the handle over if it gives 0; -ENOMEM, -EINVAL (NULL). All but free()
// may be called from any thread at any time.
typedef struct smolscale_reaper smolscale_reaper;
SMOLSCALE_API int smolscale_reaper_new(smolscale_reaper **out);
SMOLSCALE_API int smolscale_reaper_attach(smolscale_reaper *reaper, smolscale_task *task);
SMOLSCALE_API size_t smolscale_reaper_count(smolscale_reaper *reaper); // tasks that have not ended
SMOLSCALE_API void smolscale_reaper_free(smolscale_reaper *reaper);

// A nursery: tasks that belong together. Its tasks may spawn into it, too. spawn() returns as
// smolscale_spawn() does. One at a time awaits it (-EBUSY): next() awaits the end of any task and
// gives its handle (to be released), in the order in which they end, or -ENOENT when none is left;
// wait() awaits the end of all and gives the first negative result, in that order, of those that
// next() has not given, or 0. Then the nursery is as new. cancel() cancels all. free() cancels what
// is left and awaits nothing: the frames of tasks that still run must not need what goes with it.
typedef struct smolscale_nursery smolscale_nursery;
SMOLSCALE_API int smolscale_nursery_new(smolscale_nursery **out);
SMOLSCALE_API int smolscale_nursery_spawn(smolscale_nursery *nursery, smolscale_poll_fn *poll,
                                          const void *frame, size_t size);
SMOLSCALE_API int smolscale_nursery_next(smolscale_cx *cx, smolscale_nursery *nursery,
                                         smolscale_task **ended);
SMOLSCALE_API int smolscale_nursery_wait(smolscale_cx *cx, smolscale_nursery *nursery);
SMOLSCALE_API void smolscale_nursery_cancel(smolscale_nursery *nursery);
SMOLSCALE_API void smolscale_nursery_free(smolscale_nursery *nursery);

// ---- a run queue of one's own, for tasks that must stay on one thread or run inside another event
// loop
//
// One thread at a time runs it; spawning onto it and waking its tasks is free to all threads. What
// its tasks wait for comes while the thread is in tick(), run() or another loop, also if there is
// no worker. In a child of fork() it can only be freed.

typedef struct smolscale_local smolscale_local;
SMOLSCALE_API int smolscale_local_new(smolscale_local **out); // -ENOMEM, -EMFILE

// As smolscale_spawn(), but for -EAGAIN: it needs no worker.
SMOLSCALE_API int smolscale_local_spawn(smolscale_local *local, smolscale_task **out,
                                        smolscale_poll_fn *poll, const void *frame, size_t size);

// Polls one task if one is ready: true. try_tick() returns at once; tick() waits for one.
SMOLSCALE_API bool smolscale_local_try_tick(smolscale_local *local);
SMOLSCALE_API void smolscale_local_tick(smolscale_local *local);

// Runs its tasks until the async function has ended; its result. -ENOMEM; -EINVAL: `poll` is NULL.
SMOLSCALE_API int smolscale_local_run(smolscale_local *local, smolscale_poll_fn *poll, void *frame);

// Readable while tasks are ready: poll it in another loop, then call try_tick() until it is false.
SMOLSCALE_API int smolscale_local_fd(smolscale_local *local);

// Tasks that have not ended are dropped where they stand: their handles stay valid, and join gives
// -ECANCELED. What they hold goes with them, and so does what they have been handed and have not
// yet seen: a message, a permit, a lock. Where that matters, cancel and join them first. By the
// thread that runs it, outside of its tasks. NULL is ignored.
SMOLSCALE_API void smolscale_local_free(smolscale_local *local);

// ---- modes

// From now on one worker at a time runs the tasks; likewise SMOLSCALE_SINGLE=1. Only a poll that
// blocks or computes for milliseconds is left behind, and the others go on beside it.
SMOLSCALE_API void smolscale_permanently_single_threaded(void);

// Threads that run tasks at this moment.
SMOLSCALE_API unsigned smolscale_running_threads(void);

// ---------------------------------------------------------------------------------------------
// Parallel loops
// ---------------------------------------------------------------------------------------------
//
// A loop whose items do not depend on each other is run by the thread that calls it and by
// *helpers*, workers of the executor, which are asked for only where their work is worth a wake-up.
// A loop that is too short for that costs no more than a function call. Items are cut into pieces
// by what they have lately cost; a thread that has run out of items takes some of another's.
//
//     static void brighten(void *context, size_t begin, size_t end, size_t thread)
//     {
//         struct picture *picture = context;
//         for (size_t line = begin; line < end; line++)
//             ...
//     }
//
//     smolscale_parallel_for(0, picture->height, brighten, picture, NULL);
//
// Rules:
//
//   * Each item runs exactly once, and the call returns when all have run. What items have written
//     is then visible to the caller. It waits for no thread that has not begun to help.
//   * There is no error: without memory or threads the caller runs all items itself.
//   * Any thread may call, also a job, a task's poll (which blocks meanwhile, as with any call that
//     blocks) and an item: a call within an item may get helpers of its own.
//   * Items may block and wait for each other, if there are threads enough for all that wait: a
//     call that stands still gets more helpers within milliseconds, up to its limit. With a grain
//     of 0 items that are called in one go do not run at once; waiting items want a grain of 1.
//   * Items must return: a helper's item must not leave by longjmp(), by an exception or with its
//     thread. If one that the caller runs leaves the call (to a function that called it), helpers
//     run what is left. In a call without a team these do not come by themselves once nobody helps,
//     and what the call has taken of memory is not used again; a team (below) goes on with the call
//     when its caller next uses it.
//   * An item may fork(). The child's part of the call is that of the forking thread: it runs on
//     what it had taken; items of other threads belong to the parent.

// Runs the items [begin, end). `thread` is below the limit of threads, and of no other thread of
// this call at the same time. The caller is 0; in an item of the same team it has the number that
// it has there, if that is below the limit.
typedef void smolscale_body_fn(void *context, size_t begin, size_t end, size_t thread);

// Threads that run loops together; see "Teams".
typedef struct smolscale_team smolscale_team;

// The processor flushes denormal numbers to zero in all items of the loop (where it can); outside
// of them each thread has the setting that it had.
#define SMOLSCALE_LOOP_FLUSH_DENORMALS 0x1u

// Helpers do not stay for the next loop for the moment (20 us at most) that pays where loops follow
// each other closely.
#define SMOLSCALE_LOOP_NO_LINGER 0x2u

struct smolscale_parallel_attr {
    size_t size;          // sizeof(struct smolscale_parallel_attr); set by the initialiser
    size_t grain;         // items that the body gets at once, fewer only at the end; 0: as many as
                          // keep all threads busy to the end, down to 1
    size_t max_threads;   // that run items at once, the caller included; 0: one for each CPU
                          // (smolscale_cpus()), or as many as the team has
    unsigned flags;       // SMOLSCALE_LOOP_*
    smolscale_team *team; // whose threads; NULL: the executor's
};

#define SMOLSCALE_PARALLEL_ATTR_INIT                          \
    {                                                         \
        sizeof(struct smolscale_parallel_attr), 0, 0, 0, NULL \
    }

// Calls `body` until each item of [begin, end) has run. `attr` may be NULL: all by default.
SMOLSCALE_API void smolscale_parallel_for(size_t begin, size_t end, smolscale_body_fn *body,
                                          void *context,
                                          const struct smolscale_parallel_attr *attr);

// ---- teams: threads that run one loop after the other together
//
// A team remembers between its loops that they come in quick succession, and may have threads of
// its own. It runs one loop at a time: other callers wait for their turn. An item that runs a loop
// of its own team runs that alone. All functions but new() and free() may be called by several
// threads at once.

// smolscale_team_attr.flags: the team has threads of its own, which run nothing else. They are
// created when first needed, with the settings of the thread that makes the team, and have ended
// when smolscale_team_free() returns.
#define SMOLSCALE_TEAM_OWN_THREADS 0x1u

// Threads that the program lends. Each call of `lend` has one of them call help(team) once, soon,
// and must not wait for that. It is called by callers of loops and by workers of the executor.
struct smolscale_lender {
    int (*threads)(void *context); // how many there are; asked when the team is made
    void (*lend)(void *context, void *team, void (*help)(void *team));
    void *context;
};

struct smolscale_team_attr {
    size_t size;             // sizeof(struct smolscale_team_attr)
    size_t max_threads;      // the caller of a loop included; 0: smolscale_cpus()
    unsigned flags;          // SMOLSCALE_TEAM_*
    const char *thread_name; // of threads of its own (15 bytes are used, copied); NULL:
                             // whatever they have
    smolscale_group *group;  // whose workers help; NULL: the default group. Must
                             // outlive the team. Not with the next, nor with OWN_THREADS
    const struct smolscale_lender *lender; // copied; NULL: workers help
};

#define SMOLSCALE_TEAM_ATTR_INIT                                   \
    {                                                              \
        sizeof(struct smolscale_team_attr), 0, 0, NULL, NULL, NULL \
    }

// Creates a team, owned by the caller. Errors: -EINVAL, -ENOMEM.
SMOLSCALE_API int smolscale_team_new(smolscale_team **out, const struct smolscale_team_attr *attr);

// Threads that loops of the team may use, callers included. set() waits until no loop runs; 0, and
// more than the team was made for, mean as many as that; returns what then holds.
SMOLSCALE_API size_t smolscale_team_threads(const smolscale_team *team);
SMOLSCALE_API size_t smolscale_team_set_threads(smolscale_team *team, size_t threads);

// Exchanges the lender of a team that has one, when no loop runs. True: it is another now.
SMOLSCALE_API bool smolscale_team_set_lender(smolscale_team *team,
                                             const struct smolscale_lender *lender);

// Helpers that wait for the next loop need not.
SMOLSCALE_API void smolscale_team_release_helpers(smolscale_team *team);

// Waits until no loop runs, all threads that were lent have come and gone, and the team's own have
// ended; then frees the team. A loop whose caller has left it by longjmp() or an exception is
// waited for until all its items have begun. NULL is ignored.
SMOLSCALE_API void smolscale_team_free(smolscale_team *team);

// ---- loops that claim their items themselves
//
// smolscale_parallel_for() calls a function for some items at a time. What must be inlined around
// each item, such as loop nests and tiles, is a *loop function*: it is called for a stretch of
// items, and claims each before it runs it, which costs about a nanosecond.
//
//     struct sum {
//         struct smolscale_loop loop; // first member
//         const float *from;
//         float *to;
//     };
//
//     static size_t run(const struct smolscale_loop *loop, struct smolscale_share *share,
//                       size_t first, size_t end, size_t thread)
//     {
//         const struct sum *sum = (const struct sum *)loop;
//         for (size_t i = first; i < end; i++) {
//             if (!smolscale_claim(share, i + 1, loop->fenced))
//                 return i;
//             sum->to[i] += sum->from[i];
//         }
//         return end;
//     }
//
//     struct sum sum = {{.run = run, .items = n}, from, to};
//     smolscale_team_run(team, &sum.loop, sizeof sum);

#define SMOLSCALE_LOOP_MAX 256 // bytes of a loop with what stands behind it

struct smolscale_loop;
struct smolscale_share;

// Runs the items [first, end), each when it has claimed it, from the first. Returns the first that
// it could not claim, or `end`. Must not end otherwise.
typedef size_t smolscale_loop_fn(const struct smolscale_loop *loop, struct smolscale_share *share,
                                 size_t first, size_t end, size_t thread);

struct smolscale_loop {
    smolscale_loop_fn *run;
    size_t items;     // from 0 on
    const void *what; // tells loops with the same `run` apart: what they cost is remembered by both
                      // and by the number of items
    size_t max_threads; // that run items at once, the caller included; 0: as many as the team has
    unsigned flags;     // SMOLSCALE_LOOP_*
    bool guided;        // `run` claims several items at a time, no more than smolscale_loop_part()
    bool fenced;        // for smolscale_claim(); set by the library
    size_t guide;       // for smolscale_loop_part(); set by the library
};

// What a thread has still to run of a loop. Private, except for `local`.
struct smolscale_share {
    size_t next;
    size_t claimed;
    size_t limit;
    unsigned taken;
    unsigned cpu;
    uintptr_t owner;
    uint64_t local; // the loop function's, for what it finds out once for each thread; 0 when the
                    // thread begins with the loop
} __attribute__((aligned(64)));

// Claims the items below `upto`, which is beyond those claimed before. False: the next of them, or
// all of them, may be another thread's: the loop function returns that item's number.
static inline __attribute__((always_inline)) bool smolscale_claim(struct smolscale_share *share,
                                                                  size_t upto, bool fenced)
{
    __atomic_store_n(&share->next, upto, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (fenced)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __builtin_expect(upto <= __atomic_load_n(&share->limit, __ATOMIC_RELAXED), 1);
}

// How many items a guided loop may claim at once from `at` on: at least 1, and fewer the fewer are
// left, so that all threads end at about the same time.
static inline size_t smolscale_loop_part(const struct smolscale_loop *loop,
                                         const struct smolscale_share *share, size_t at)
{
    size_t limit = __atomic_load_n(&share->limit, __ATOMIC_RELAXED);
    size_t left = limit > at ? limit - at : 0;
    size_t part = loop->guide ? left / loop->guide : left;
    return part ? part : 1;
}

// Runs the loop by the team, or by the calling thread alone if that is NULL, as
// smolscale_parallel_for() does. `size` is that of the structure that begins with the loop, at most
// SMOLSCALE_LOOP_MAX (more runs in the caller alone); it is copied, and the loop function gets the
// copy.
SMOLSCALE_API void smolscale_team_run(smolscale_team *team, const struct smolscale_loop *loop,
                                      size_t size);

// ---------------------------------------------------------------------------------------------
// Worker groups
// ---------------------------------------------------------------------------------------------
//
// A group is a set of workers of one kind: they have the same settings (signal mask, scheduling
// policy and priority, nice value, CPU affinity, confinement), and run nothing but jobs of the
// queues that name the group. Queues that name none, and tasks, have the default group. All groups
// share the CPUs: each has as many workers running as the others leave CPUs, and at least one when
// it has work. Make a group where jobs must not meet what other jobs leave in a thread
// (thread-local data, children that end with the thread that started them), or where threads are to
// end with what they were for.
//
//   1. struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
//      err = smolscale_group_new(&group, &attr);
//   2. queue_attr.group = group;  err = smolscale_queue_new(&queue, &queue_attr);
//   3. smolscale_queue_free(queue);  smolscale_group_free(group);
//
// Workers inherit their settings: they are created by threads that have them. They are those of the
// thread that calls smolscale_group_new(), and of the default group those of the thread that uses
// it first. When no thread of the group is left, and in a child of fork(), the next thread that
// needs a worker of the group passes its own on (unless the group is SMOLSCALE_GROUP_EAGER).

// smolscale_group_attr.flags: starts a thread at once that has the settings and creates the group's
// workers, so that it does not matter later which thread needs the first one. It lives as long as
// the group.
#define SMOLSCALE_GROUP_EAGER 0x1u

struct smolscale_group_attr {
    size_t size;           // sizeof(struct smolscale_group_attr); set by the initialiser
    unsigned max_workers;  // threads at most, at least 1; default: unlimited
    unsigned max_idle;     // idle workers kept at most; default: unlimited (the executor decides)
    uint64_t idle_timeout; // ns after which an idle worker ends; 0: the executor decides (it keeps
                           // some for each CPU, and the others for about a second);
                           // SMOLSCALE_FOREVER: never
    size_t stack_size;     // bytes; 0: as the C library decides (RLIMIT_STACK)
    unsigned flags;        // SMOLSCALE_GROUP_*
    const smolscale_group *scheduled_as; // if set: scheduling policy, priority and nice value are
                                         // those of that group, which must outlive this one
};
#define SMOLSCALE_FOREVER UINT64_MAX

#define SMOLSCALE_GROUP_ATTR_INIT                                                               \
    {                                                                                           \
        sizeof(struct smolscale_group_attr), SMOLSCALE_UNLIMITED, SMOLSCALE_UNLIMITED, 0, 0, 0, \
            NULL                                                                                \
    }

// Creates a group, owned by the caller. Errors: -EINVAL, -ENOMEM.
SMOLSCALE_API int smolscale_group_new(smolscale_group **out,
                                      const struct smolscale_group_attr *attr);

// Ends the group. Its queues must have been freed, or have nothing to run any more: none of their
// jobs starts from now on. Its workers' threads have ended when it returns: what they had in
// thread-local storage is destroyed. If no other thread of the executor has anything to do, those
// that create workers and watch them have ended, too. Called from a worker of the group it does not
// wait for that one. NULL is ignored.
SMOLSCALE_API void smolscale_group_free(smolscale_group *group);

// Would workers that the calling thread creates have the settings of the group?
SMOLSCALE_API bool smolscale_group_suits(smolscale_group *group);

// Changes the limits given to smolscale_group_new(). Of max_idle, too many that are idle end now;
// one that becomes idle later and is one too many ends after half a second. max_workers ends
// nobody; -EINVAL: 0. NULL is the default group, here and below.
SMOLSCALE_API int smolscale_group_set_max_workers(smolscale_group *group, unsigned max_workers);
SMOLSCALE_API void smolscale_group_set_max_idle(smolscale_group *group, unsigned max_idle);
SMOLSCALE_API void smolscale_group_set_idle_timeout(smolscale_group *group, uint64_t timeout_ns);

// Ends every worker of the group that runs no job now: also one that was called for a job and finds
// none when it comes.
SMOLSCALE_API void smolscale_group_retire_idle(smolscale_group *group);

// Workers of the group that run no job and have not been called for one.
SMOLSCALE_API unsigned smolscale_group_idle_workers(smolscale_group *group);

// ---------------------------------------------------------------------------------------------
// The executor
// ---------------------------------------------------------------------------------------------

// Says that the calling job is about to block for longer than a few µs, and that it has finished
// blocking. Another worker takes its place at once instead of when the balancer has noticed. Pairs
// nest. No effect outside a worker.
SMOLSCALE_API void smolscale_blocking_begin(void);
SMOLSCALE_API void smolscale_blocking_end(void);

// The last thing a job does: has `notify(whom)` of its queue called once, soon: when no more jobs
// are at hand, or before a job by whose end, as jobs of the queue go, 50 µs would have passed.
// Where a job takes longer than that let expect, the notice comes while it runs: within 0.6 ms (5
// ms where the executor was watching work that is stuck), or as soon as the thread that gives it
// gets a CPU. So the consumer of many tiny results is told of them once. `notify` sees what the job
// has written; it may come just after the queue has become idle. False: it will not come (this is
// no job of a queue with `notify`, or several others are to be told already); the caller does it
// himself.
SMOLSCALE_API bool smolscale_notify_soon(void *whom);

// True in a thread that belongs to the executor.
SMOLSCALE_API bool smolscale_in_worker(void);

// The queue whose job the calling thread runs; NULL outside jobs.
SMOLSCALE_API smolscale_queue *smolscale_current_queue(void);

// CPUs the executor plans with: SMOLSCALE_WORKERS if that is set, else the CPUs that the caller,
// the main thread or workers may run on (the union of their affinity masks), and no more than the
// cgroup quota, rounded up; at least 1. Follows changes of these within about a second while there
// is work; the quota counts from the first work on.
SMOLSCALE_API unsigned smolscale_cpus(void);

// Workers of all groups that are awake and not known to be blocked: CPUs the executor keeps busy.
// Those of dedicated queues are not counted.
SMOLSCALE_API unsigned smolscale_busy_workers(void);

// The functions of the same names above, for the default group.
SMOLSCALE_API unsigned smolscale_idle_workers(void);
SMOLSCALE_API void smolscale_set_max_idle(unsigned max_idle);
SMOLSCALE_API void smolscale_set_idle_timeout(uint64_t timeout_ns);
SMOLSCALE_API void smolscale_retire_idle(void);

// Gives memory back to the C library's allocator that the library keeps for later use, and returns
// how many bytes (which go to the system as the allocator sees fit: malloc_trim(3)). These are:
// what queues and channels had room for and do not need for what is in them; the room for timers;
// memory of tasks that have ended, as far as it fills whole chunks of 256 KiB, also what parked
// workers and the caller have put aside; and what was known of threads that have ended. What it
// passes over is what is in use at that moment: a worker that runs keeps what it has put aside, a
// queue is left as it is while a compare function of it runs, and none of the threads that have
// ended is forgotten while the balancer looks. Without it as much is kept as docs/limits.md says.
//
// Any thread, at any time, also in a job, a task, a compare function and notify(); not in a signal
// handler. Starts nothing. It ends no thread: smolscale_retire_idle() does that. Takes some µs for
// each queue and each channel of more than 4 KiB, each of which is locked for as long as a copy of
// what is in it takes, and for each 256 KiB that go. For times of rest, such as the end of a burst:
// the next has to fetch its memory again, and then a channel may say -ENOMEM that did not before.
SMOLSCALE_API size_t smolscale_trim(void);

// True when SMOLSCALE_DISABLE=1 or the program is setuid/setgid (AT_SECURE): a compatibility layer
// then leaves everything to the native implementation. Starts nothing; may be called before
// constructors.
SMOLSCALE_API bool smolscale_disabled(void);

// True when SMOLSCALE_POLICY=elastic: a compatibility layer may let its queues exceed limits that
// do not guard correctness.
SMOLSCALE_API bool smolscale_elastic(void);

// SMOLSCALE_QUIET=1: only system calls that a plain thread pool makes, too (docs/system-calls.md).
SMOLSCALE_API bool smolscale_quiet(void);

// The value of a SMOLSCALE_ variable that has a number or one of several words (then the word's
// place, from 0), as read from the environment at first use or by default; -1: no such variable.
// Starts nothing; may be called before constructors. For compatibility layers.
SMOLSCALE_API long smolscale_option(const char *name);

// Writes a text to standard error, by one call: lines of several processes do not mix. To nowhere,
// where the program has closed it, or has another file in its place; errno stays as it is. Starts
// nothing. Any thread. For compatibility layers: for what SMOLSCALE_VERBOSE asks them to tell.
SMOLSCALE_API void smolscale_say(const char *text);

// Counters since the start of the process. Each is read on its own; together they are not a
// snapshot.
struct smolscale_stats {
    size_t size;              // sizeof(struct smolscale_stats), set by the caller
    uint64_t jobs;            // jobs run, and how often a worker helped with a parallel call
    uint64_t wakes;           // sleeping workers woken
    uint64_t wakes_saved;     // pushes that found it not worth waking anybody
    uint64_t naps;            // short sleeps of workers that need no wake-up
    uint64_t ticks;           // looks of the balancer
    uint64_t takebacks;       // batches taken back from workers that stood still
    uint64_t compensations;   // workers added because others were blocked or stuck
    uint64_t workers_created; // threads created
    uint64_t workers_retired; // threads ended
    uint64_t create_failures; // threads that could not be created
    unsigned workers;         // threads now, dedicated ones included
    unsigned workers_peak;    // most threads at once
    unsigned workers_blocked; // as far as the executor knows
};
SMOLSCALE_API void smolscale_get_stats(struct smolscale_stats *stats);

#ifdef __cplusplus
}
#endif

#endif // SMOLSCALE_H
