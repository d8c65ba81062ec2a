// SPDX-License-Identifier: ISC
//
// The structure of a work queue. Private to queue/; the public functions are in smolscale.h.
//
//   queue.c        public functions: push, take back, look, change settings
//   life.c         creation, waiting, becoming idle, closing, end, fork()
//   limits.h       the accounts: what waits, what runs, what may start
//   items, sorted  the list of items
//   serve.c        how a worker serves a queue, and the operations that the scheduler calls
//   server.h       what a worker keeps while it does so
//   batch.h        jobs that a worker has taken at once
//   notices.h      one wake-up of a consumer for many results
//   observe.h      how long jobs wait, and other events, where somebody observes
//   ages.h         when what waits was pushed
//   samples.h      the same of some of it
//   dry.h          what a worker does when a queue runs dry: nap, linger
//   view.h         what an observer of the process sees
//   wake_policy.h  when a wake-up pays
//
// A queue that may start another job is *listed*: it is in its group's injection queue, where
// workers find it. Whenever the queue's lock is free:
//
//   (listed)   if an item is queued and the limits allow it to start, the queue is in the injection
//              queue, or a worker that has taken it out is about to lock it (if that stands still,
//              the balancer lists the queue once more); or the queue is staffed: workers that serve
//              it, and are not known to be blocked, will do;
//   (covered)  for such a queue a worker is on its way; or workers are busy with it or with others,
//              and the balancer is awake to see whether they come.
//
// Every function that changes what is queued, what runs, or what is allowed ends with
// ss_queue_offer(), which restores both. What is left to a queue's own workers needs the executor's
// lock for nothing, so queues with a worker each share nothing (docs/internals.md). A queue may be
// listed for nothing: that costs a worker one look. It stays listed because taking it out would
// cost every short burst two turns at ss.lock.

#ifndef SS_QUEUE_H
#define SS_QUEUE_H

#include "base/backoff.h"
#include "queue/items.h"
#include "sched/executor.h"

#include <stddef.h>

struct ss_ages;
struct ss_batch;
struct ss_dry_policy;
struct ss_fronts;
struct ss_pool;
struct ss_samples;

// The letter before a field's meaning says what guards it:
//
//   C  nothing: constant after creation
//   L  the family's lock, `runnable.lock`, which a parent and its children share
//   l  the same lock; read without it as a hint
//   S  ss.lock
struct smolscale_queue {
    struct ss_runnable runnable;         // see runnable.h; its lock is this queue's or the parent's
    const struct ss_dry_policy *dry;     // C: dry.h
    smolscale_queue *parent;             // C: NULL: none
    smolscale_queue *children, *sibling; // L: the parent's children

    // ---- the accounts (limits.h)
    struct ss_items items;   // L: what waits
    _Atomic size_t pending;  // l: how many items
    _Atomic unsigned room;   // l: how many more may start, the parent's limit apart
    unsigned max_active;     // L
    unsigned active;         // L: workers that serve it; a parent counts its children's too
    unsigned blocked;        // L: of these, known to be asleep in a job
    unsigned push_crowding;  // L: how often pushes find the lock taken; see fronts.h. Not 0 while
                             // fronts are open
    bool listed;             // L: it is in the injection queue, or a worker has taken it out
    bool awaited;            // L: that worker was found not to have arrived
    bool closed;             // L: no more pushes
    bool done;               // L: closed, and its last job has run
    unsigned waiters;        // L: threads in smolscale_queue_wait()
    struct ss_batch *oldest; // L: batches of two jobs or more
    struct ss_batch *newest; // L

    // ---- what the policies know (dry.h, wake_policy.h)
    struct ss_worker *napper;   // L: the worker that naps with its place kept; NULL: none
    unsigned lingering;         // L: workers that linger
    uint64_t dry_since;         // L: when a worker left it last, ns
    bool steady;                // L: jobs keep coming
    struct ss_skips nap;        // L: occasions to nap
    struct ss_gains linger;     // L: occasions to linger
    unsigned wakes_saved;       // L: not yet added to the counters
    unsigned crowding;          // L: how often workers find the lock taken; see batch.h
    uint64_t taken_at;          // L: when a worker last took jobs, ns
    unsigned pushes_since_take; // L
    unsigned pass_over;         // L: pushes until the next sample, where somebody looks
    uint64_t pushed_at;         // L: a recent push, ns; see wake_policy.h
    uint64_t ended;             // L: jobs that have run, for observers
    uint64_t mean;              // L: of recent jobs' duration, ns << SS_MEAN_SHIFT; 0: not known
    _Atomic uint32_t idle_word; // l: futex word of the waiters: counts the times it became idle

    // ---- from its creation on
    smolscale_run_fn *run;              // C
    void *user_data;                    // C
    void (*notify)(void *whom);         // C: NULL: it gives no notices
    void (*closed_fn)(void *user_data); // L
    void *closed_data;                  // L
    unsigned flags;                     // C: SMOLSCALE_QUEUE_*
    char name[16];                      // C: of the threads that serve it; empty: as they are
    _Atomic(struct ss_fronts *) fronts; // l: NULL: none are open
    struct ss_group *group;             // C: own_group, or one that it shares
    struct ss_group own_group;          // S: with dedicated workers
    struct ss_lock own_lock;

    struct ss_fronts *fronts_memory; // L: NULL: none yet

    // ---- for observers (observe.h)
    const char *label;            // C from the first push on: of its layer; NULL: none
    const void *code;             // the same: of the function whose calls are its jobs
    struct ss_pool *_Atomic pool; // l: once set it stays; NULL: nobody has observed it
    struct ss_ages *ages;         // L: when what waits was pushed; NULL: nobody has asked
    struct ss_samples *samples;   // L: the same of some of it; NULL: the same

    // ---- among all queues
    struct ss_elastic elastic;          // S: with SMOLSCALE_QUEUE_ELASTIC
    uint64_t number;                    // C: from 1 on, for observers
    smolscale_queue *next, **prev_link; // S
};

_Static_assert(offsetof(smolscale_queue, runnable) == 0, "ss_queue_of() relies on it");

// NULL gives NULL.
static inline smolscale_queue *ss_queue_of(struct ss_runnable *runnable)
{
    return (smolscale_queue *)runnable;
}

// The queue whose job the calling thread runs; NULL: none.
static inline smolscale_queue *ss_queue_of_job(void)
{
    return ss_self ? ss_queue_of(load_relaxed(&ss_self->counted_in)) : NULL;
}

// ---- life.c

// Drops the lock after a change that may have made the queue idle, or able to start jobs. 0, or a
// negative errno value: there is no worker and none can be created.
int ss_queue_unlock_and_follow_up(smolscale_queue *queue);

// All queues, by `next`, and how many there are. ss.lock held.
smolscale_queue *ss_queues_first(void);
size_t ss_queues_count(void);

// The last reference is gone: frees it. No lock held.
void ss_queue_release(struct ss_runnable *runnable);

// ---- serve.c: what the scheduler calls

extern const struct ss_runnable_ops ss_queue_ops;
extern const struct ss_runnable_ops ss_queue_ops_with_notices;

#endif // SS_QUEUE_H
