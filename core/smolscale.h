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
//   * Functions that can fail return 0 or a negative errno value. Nothing is printed, except one
//   line
//     on stderr for each nonsensical SMOLSCALE_* variable, and what SMOLSCALE_VERBOSE asks for.
//   * Unless said otherwise a function may be called from any thread, including from a job, but not
//     from a signal handler.
//   * A thread that waits inside smolscale never runs other jobs meanwhile.
//   * After fork() the child has an executor that has not started yet. Queues of the parent exist
//   in
//     the child, empty and idle: what was queued or running belongs to the parent.
//   * At exit nothing is torn down: jobs that still run end with the process.

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
// with the queue locked, by pushing threads and by workers: it must not call into smolscale.
typedef int smolscale_compare_fn(const void *a, const void *b, void *compare_data);

// No limit on the jobs that run at once.
#define SMOLSCALE_UNLIMITED 0xffffffffu

// smolscale_queue_attr.flags:

// The queue has `max_active` threads of its own, which serve nothing else and exist until the queue
// is freed. They inherit signal mask and scheduling of the thread that creates the queue (or that
// raises the limit later).
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
    smolscale_queue *parent; // if set: jobs of this queue also count against the parent's
                             // max_active. The parent must outlive this queue.
};

#define SMOLSCALE_QUEUE_ATTR_INIT                                                                  \
    {                                                                                              \
        sizeof(struct smolscale_queue_attr), NULL, NULL, SMOLSCALE_UNLIMITED, 0, NULL, NULL, NULL, \
            NULL                                                                                   \
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
// not queued. Searches: O(pending).
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

// Orders what is queued and what comes (stable). NULL: keeps the present order and appends from now
// on.
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
// The executor
// ---------------------------------------------------------------------------------------------

// Says that the calling job is about to block for longer than a few µs, and that it has finished
// blocking. Another worker takes its place at once instead of when the balancer has noticed. Pairs
// nest. No effect outside a worker.
SMOLSCALE_API void smolscale_blocking_begin(void);
SMOLSCALE_API void smolscale_blocking_end(void);

// True in a thread that belongs to the executor.
SMOLSCALE_API bool smolscale_in_worker(void);

// The queue whose job the calling thread runs; NULL outside jobs.
SMOLSCALE_API smolscale_queue *smolscale_current_queue(void);

// CPUs the executor plans with: SMOLSCALE_WORKERS if that is set, else the lesser of the affinity
// mask and the cgroup quota (rounded up); at least 1. Constant once asked.
SMOLSCALE_API unsigned smolscale_cpus(void);

// Shared workers that run no job and have not been called for one.
SMOLSCALE_API unsigned smolscale_idle_workers(void);

// Shared workers that are awake and not known to be blocked: CPUs the executor keeps busy.
SMOLSCALE_API unsigned smolscale_busy_workers(void);

// At most `max_idle` shared workers stay idle. More of them end now; one that becomes idle later
// and is one too many ends after half a second. SMOLSCALE_UNLIMITED: the executor decides (it keeps
// some for each CPU, and the others for about one second).
SMOLSCALE_API void smolscale_set_max_idle(unsigned max_idle);

// Ends every shared worker that is idle now.
SMOLSCALE_API void smolscale_retire_idle(void);

// A sleeping shared worker ends after this long (ns); 0: the executor decides.
SMOLSCALE_API void smolscale_set_idle_timeout(uint64_t timeout_ns);

// True when SMOLSCALE_DISABLE=1 or the program is setuid/setgid (AT_SECURE): a compatibility layer
// then leaves everything to the native implementation. Starts nothing; may be called before
// constructors.
SMOLSCALE_API bool smolscale_disabled(void);

// True when SMOLSCALE_POLICY=elastic: a compatibility layer may let its queues exceed limits that
// do not guard correctness.
SMOLSCALE_API bool smolscale_elastic(void);

// Counters since the start of the process. Each is read on its own; together they are not a
// snapshot.
struct smolscale_stats {
    size_t size;              // sizeof(struct smolscale_stats), set by the caller
    uint64_t jobs;            // jobs run
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
