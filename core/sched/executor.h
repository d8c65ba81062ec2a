// SPDX-License-Identifier: ISC
//
// The executor: its one instance, and what its parts share.
//
//   executor.c  the whole: start, fork, CPUs
//   group.c     groups of workers: their settings, limits and end
//   worker.c    a worker from birth to its end; waking it
//   spawner.c   the threads that create workers, so that these inherit the settings of their group
//   balancer.c  what one of these also does: watch for blocked workers, stuck queues, growth
//   costs.h     the times and numbers that they decide by
//   ../queue/   work queues: push, cancel, limits, and serving one (on a worker)
//
// Two locks. A work queue's lock (shared by a family: a queue and its children) guards the queue.
// The executor's lock `ss.lock` guards everything else here. Order: queue before executor. Neither
// is held while a job runs. No thread is woken under ss.lock but a spawner, which may be gone
// without it (tell() in spawner.c), and none under a queue's lock but a worker that naps (end_nap()
// in queue.c).

#ifndef SS_EXECUTOR_H
#define SS_EXECUTOR_H

#include "base/atomic.h"
#include "base/backoff.h"
#include "base/room.h"
#include "os/lock.h"
#include "os/os.h"
#include "queue/items.h"
#include "sched/balancer.h"
#include "sched/costs.h"
#include "sched/group.h"
#include "sched/spawner.h"
#include "sched/worker.h"
#include "smolscale.h"

// Something a worker can run: a work queue that wants to be served (or a task).
struct ss_runnable {
    struct ss_runnable *next;
    void (*run)(struct ss_runnable *runnable, struct ss_worker *worker);
    // How many workers it could use now. A hint, read without the lock that guards the answer.
    unsigned (*hunger)(struct ss_runnable *runnable);
    smolscale_queue
        *queue; // if it is a work queue: the queue, of which the injection queue has a reference
    _Atomic uint64_t taken; // counts what of it was begun; who guards it writes
    uint64_t seen_taken;    // the balancer's notes
    uint64_t stalled_since; // ns; 0: not seen yet
};

// How often something is passed over that did not pay.
struct ss_trial {
    unsigned penalty, skip;
};

struct smolscale_queue {
    struct ss_runnable runnable;         // in the injection queue while `listed`
    struct ss_lock *lock;                // own_lock, or the parent's
    smolscale_queue *parent;             // NULL, or the head of the family
    smolscale_queue *children, *sibling; // of a parent

    // ---- guarded by the lock
    struct ss_items items;
    _Atomic size_t pending; // items; read without the lock as a hint
    _Atomic unsigned room;  // how many more may start, the parent's limit apart; likewise
    _Atomic bool attended;  // those who serve it will do, by the economics of waking; likewise
    unsigned max_active;
    unsigned active;  // workers serving it; a parent counts its children's too
    unsigned blocked; // of these, known to be asleep in a job (likewise)
    bool listed;      // in the injection queue, or just popped by a worker that is about to look
    bool closed;      // no more pushes
    bool done;        // closed, and its last job has run
    unsigned waiters; // threads in smolscale_queue_wait()
    struct ss_worker *batchers; // workers that hold a batch of more than one, the oldest first
    struct ss_worker *batchers_tail;
    struct ss_worker *napper;
    uint64_t dry_since; // when a worker left it last, ns
    bool steady;        // jobs keep coming; with the next two: see "Naps" in queue.c
    struct ss_trial nap, linger;
    unsigned wakes_saved; // not yet added to the counters
    uint64_t taken_at;    // when a worker last took jobs, ns
    unsigned pushes_since_take;
    uint64_t pushed_at;         // a recent push, ns
    uint64_t mean;              // of recent jobs' duration, ns * 256; 0: not known
    _Atomic uint32_t idle_word; // futex word of the waiters: counts the times it became idle

    // ---- constant, or set once
    smolscale_run_fn *run;
    void *user_data;
    void (*notify)(void *whom);
    void (*closed_fn)(void *user_data);
    void *closed_data;
    unsigned flags;
    char name[16];
    struct ss_group *group;
    struct ss_group own_group; // with dedicated workers
    struct ss_lock own_lock;

    // ---- the executor's
    _Atomic unsigned refs; // owner, injection queue, serving workers, dedicated workers, visits
    smolscale_queue *next, **prev_link; // all queues; ss.lock
};

// The executor's counters: smolscale.h, struct smolscale_stats, says what each counts. Any thread
// adds; none reads them to decide anything.
struct ss_counters {
    _Atomic uint64_t jobs, wakes, wakes_saved, naps, ticks, takebacks, compensations;
    _Atomic uint64_t workers_created, workers_retired, create_failures;
    _Atomic unsigned workers, workers_peak;
};

// Who may touch a field:
//
//   C    constant once `started`
//   S    under `lock`
//   S+   written under `lock`, read without it as a hint
//   A    atomic: see the comment
struct ss_executor {
    struct ss_lock lock;
    _Atomic bool started;        // A: set once, last
    unsigned generation;         // C: counts fork()s
    _Atomic unsigned cpus;       // S+: that it plans with
    _Atomic uint64_t cpus_due;   // A, the balancer writes: when it is to count them anew, ns; 0: no
                                 // balancer yet
    unsigned max_threads;        // C
    unsigned elastic_queues;     // S: queues with SMOLSCALE_QUEUE_ELASTIC
    struct ss_group shared;      // the default group
    unsigned shared_workers;     // S: of all groups but the dedicated ones
    unsigned busy;               // S: of these, the sum of ss_group_busy()
    unsigned eager_groups;       // S
    unsigned frees;              // S: smolscale_group_free() calls under way
    struct ss_spawner *spawners; // S: all
    struct ss_group *groups;     // S: all
    struct ss_worker *workers;   // S: all that live
    struct ss_worker *free_workers;     // S: never given back: a late wake may touch one
    struct ss_worker *allocated;        // S: all that there ever were; only grows
    smolscale_queue *queues;            // S: all
    _Atomic(struct ss_worker *) keeper; // S+: the parked worker that looks after timers
    _Atomic uint64_t keeper_until;      // S+: when it wakes by itself, ns; set before `keeper`
    _Atomic uint32_t balancer;          // A: enum ss_balancer_state; futex word; see balancer.c
    _Atomic uint32_t spawn_answers;     // S+: futex word: counts the orders for workers that were
                                        // dealt with
    uint64_t create_retry_at;           // S: after a failure no attempt before this time, ns
    unsigned waiting;                   // S: threads that wait for spawn_answers
    struct ss_counters stats;
};

extern struct ss_executor ss;

// Changes at run time: read once for one decision.
static inline unsigned ss_cpus(void)
{
    return load_relaxed(&ss.cpus);
}

// Starts the executor if it has not started. Cheap afterwards.
void ss_start_slow(void);
static inline void ss_start(void)
{
    if (__builtin_expect(!load_acquire(&ss.started), 0))
        ss_start_slow();
}

// Counts the CPUs anew, if they are counted at all (SMOLSCALE_WORKERS). No lock held.
void ss_count_cpus(void);

// ---- of groups. ss.lock held.

// May the group have another worker? A group that has none always may.
static inline bool ss_group_can_grow(const struct ss_group *group)
{
    if (group->owner || group->ending)
        return false;
    return group->workers == 0 ||
           (group->workers < group->max_workers && ss.shared_workers < ss.max_threads);
}

// A reference more.
static inline void ss_group_ref(struct ss_group *group)
{
    if (group != &ss.shared)
        group->refs++;
}

// Workers of the group that have a claim to a CPU of their own.
static inline unsigned ss_group_busy(const struct ss_group *group)
{
    unsigned most = SS_HOGS_PER_CPU * ss_cpus();
    unsigned hogs = group->hogs < most ? group->hogs : most;
    return group->workers - group->idle_count - group->blocked - hogs;
}

// How many of them the executor aims at: as many as there are CPUs that the other groups leave, and
// at least one.
static inline unsigned ss_group_limit(const struct ss_group *group)
{
    if (group->owner)
        return SMOLSCALE_UNLIMITED;
    unsigned others = ss.busy - group->counted;
    return ss_cpus() > others + 1 ? ss_cpus() - others : 1;
}

// ---- of the balancer. No lock held.

// Makes sure the balancer looks at what the caller has just published (after an atomic
// read-modify-write that follows the publication, see fence_after_rmw()).
static inline void ss_watch_as(enum ss_balancer_state enough)
{
    // Publish, fence, look for the sleeper; the balancer announces its sleep, fences, looks for
    // work (balancer.c, "Going to sleep").
    fence_after_rmw();
    if (__builtin_expect(load_relaxed(&ss.balancer) < enough, 0))
        ss_watch_slow(enough);
}
static inline void ss_watch(void)
{
    ss_watch_as(SS_BALANCER_AWAKE);
}

// The same for a lane that is served, to which a dozing balancer comes soon enough.
static inline void ss_watch_lanes(void)
{
    ss_watch_as(SS_BALANCER_DOZING);
}

// ---- queue.c

void ss_queue_unref(smolscale_queue *queue);

// Puts what the worker has not started of its batch back into the queue. Queue's lock held. True if
// there was something.
bool ss_recall_batch(smolscale_queue *queue, struct ss_worker *worker);

// Sees to it that a queue that may start more jobs is in the injection queue, and likewise its
// family. Queue's lock held. Returns a worker to unpark, or NULL.
struct ss_worker *ss_queue_offer(smolscale_queue *queue, enum ss_cover *cover);

// The same without waking anybody, for the balancer, who counts for himself.
void ss_queue_list(smolscale_queue *queue);

// May another of its jobs start? Queue's lock held.
bool ss_queue_may_start(const smolscale_queue *queue);

// Counts a serving worker as asleep (1) or no longer so (-1), for the queue and its parent. Queue's
// lock held.
void ss_queue_count_blocked(smolscale_queue *queue, int change);

// Jobs of its batch that the worker has not started: a hint unless the queue's lock is held.
unsigned ss_unclaimed(struct ss_worker *worker);

// Does it owe somebody a notice? A hint.
bool ss_owes(struct ss_worker *worker);

// Takes out whom it owes a notice, for the caller to call queue->notify with each. The owner, or
// with the lock held of the queue that it serves. Their number.
unsigned ss_take_notices(struct ss_worker *worker, void *whom[SS_OWED_MAX]);

// A worker that was found blocked or long computing has finished that job.
void ss_resume(struct ss_worker *worker);

// The worker's thread ends inside a job (pthread_exit): settles its account.
void ss_queue_abandon(struct ss_worker *worker);

#endif // SS_EXECUTOR_H
