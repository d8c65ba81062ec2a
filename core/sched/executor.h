// SPDX-License-Identifier: ISC
//
// The executor: its one instance, and what its parts share.
//
//   executor.c   the whole: start, fork, CPUs
//   runnable.h   what a worker can serve: work queues, lanes of tasks
//   duty.c       what threads look after for the rooms above: time, events
//
//   group.c      groups of workers: their settings, their references and their end
//   inject.c     what waits for workers
//   recruit.c    calling a worker for work that was published
//   worker.c     a worker from its birth to its end
//   idle.c       how a worker sleeps, and how it is woken
//   placement.c  on which CPU it wakes
//   retire.c     how long idle workers stay
//   activity.c   what a worker is found to do
//   spawner.c    the threads that create workers, so that these inherit the settings of their group
//
//   balancer.c   what one of these also does: it looks at the whole, in ticks
//   blocked.c    which workers stand still
//   growth.c     how many more workers
//   costs.h      the times and numbers that all this is decided by
//
// Two kinds of locks. A runnable's lock guards its accounts. The executor's lock `ss.lock` guards
// everything else here. Order: the runnable's, then the executor's. Neither is held while a job
// runs. No thread is woken under ss.lock but a spawner, which may be gone without it (tell() in
// spawner.c), and none under a queue's lock but a worker that naps (queue/dry.h).

#ifndef SS_EXECUTOR_H
#define SS_EXECUTOR_H

#include "base/atomic.h"
#include "base/backoff.h"
#include "base/room.h"
#include "os/lock.h"
#include "os/os.h"
#include "sched/balancer.h"
#include "sched/costs.h"
#include "sched/group.h"
#include "sched/inject.h"
#include "sched/recruit.h"
#include "sched/retire.h"
#include "sched/runnable.h"
#include "sched/spawner.h"
#include "sched/worker.h"
#include "smolscale.h"

// The executor's counters: smolscale.h, struct smolscale_stats, says what each counts. Any thread
// adds; none reads them to decide anything.
struct ss_counters {
    _Atomic uint64_t wakes, ticks, takebacks, compensations;
    _Atomic uint64_t workers_created, workers_retired, create_failures;
    _Atomic unsigned workers, workers_peak;
};

// Those that workers count once a batch. There are several, each on a cache line of its own, which
// the workers share out (worker.c): on one line all would wait for it, however little their queues
// have in common (./dev sim bench empty-pairs). Whoever asks adds them up. A worker's structure may
// be freed; these stay.
struct ss_work_counters {
    _Alignas(SS_CACHE_LINE) _Atomic uint64_t jobs;
    _Atomic uint64_t wakes_saved, naps;
};
#define SS_WORK_COUNTERS 64u

// Who may touch a field:
//
//   C    constant once `started`
//   S    under `lock`
//   S+   written under `lock`, read without it as a hint
//   A    atomic: see the comment
struct ss_executor {
    struct ss_lock lock;
    _Atomic unsigned crowding;   // S+: how often workers that look for work find `lock` taken
    _Atomic bool started;        // A: set once, last
    unsigned generation;         // C: counts fork()s
    _Atomic unsigned cpus;       // S+: that it plans with
    _Atomic uint64_t cpus_due;   // A, the balancer writes: when it is to count them anew, ns; 0: no
                                 // balancer yet
    unsigned max_threads;        // C
    struct ss_elastic *elastic;  // S: all
    struct ss_group shared;      // the default group
    unsigned shared_workers;     // S: of all groups but the dedicated ones
    unsigned busy;               // S: of these, the sum of ss_group_busy()
    unsigned eager_groups;       // S
    unsigned frees;              // S: smolscale_group_free() calls under way
    struct ss_spawner *spawners; // S: all
    struct ss_group *groups;     // S: all
    struct ss_worker_list active;       // S: workers that the balancer looks at in each tick
    struct ss_worker_list resting;      // S: parked ones, and such as are known to be blocked
    struct ss_worker *free_workers;     // S: structures that are kept for the next
    struct ss_worker *allocated;        // S: all, in use or kept; smolscale_trim() takes some out
    _Atomic(struct ss_worker *) keeper; // S+: the parked worker that looks after timers
    _Atomic uint64_t keeper_until;      // S+: when it wakes by itself, ns; set before `keeper`
    _Atomic uint32_t balancer;          // A: enum ss_balancer_state; futex word; see balancer.c
    _Atomic bool balancer_runs;         // A: its thread has begun: it is not only being created
    _Atomic bool balancer_is_slow;      // A, a hint: its next look is a millisecond away, or more
    _Atomic bool lingering;             // A, a hint: a worker has lingered since its last look
    _Atomic uint32_t spawn_answers;     // S+: futex word: counts the orders for workers that were
                                        // dealt with
    uint64_t create_retry_at;           // S: after a failure no attempt before this time, ns
    unsigned waiting;                   // S: threads that wait for spawn_answers
    unsigned next_counters;             // S: which of the following the next worker takes
    struct ss_counters stats;
    struct ss_work_counters work[SS_WORK_COUNTERS]; // A
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

// A worker of the group is called, at `now`.
static inline void ss_comes_from(struct ss_group *group, uint64_t now)
{
    store_relaxed(&group->comes_until, now + ss_policy(late_ns));
}

// ---- of groups. Any locks or none.

// Is a worker of the group on its way, and in time? A hint: see ss_worker_comes().
static inline bool ss_expects_worker(const struct ss_group *group, uint64_t now)
{
    return now < load_relaxed(&group->comes_until);
}

// May the caller leave to that worker what it has published in a runnable that is listed? List
// (under ss.lock), publish, fence, look for the worker; the worker says that it has arrived, fences
// (ss_arrive), and looks at what waits in all that is listed (worker.c, look_for_work()). One of
// the two sees the other.
static inline bool ss_worker_comes(const struct ss_group *group)
{
    fence_seq_cst();
    return load_relaxed(&group->comes_until) != 0 && ss_expects_worker(group, ss_os.now());
}

// How many jobs have run. Any locks or none.
uint64_t ss_jobs_run(void);

// ---- of the balancer. No lock held.

// Makes sure the balancer looks at what the caller has just published (after an atomic
// read-modify-write that follows the publication, see fence_after_rmw()).
static inline void ss_wake_balancer_below(enum ss_balancer_state enough)
{
    // Publish, fence, look for the sleeper; the balancer announces its sleep, fences, looks for
    // work (balancer.c, sleep_until_needed()).
    fence_after_rmw();
    if (__builtin_expect(load_relaxed(&ss.balancer) < enough, 0))
        ss_wake_balancer_slow(enough);
}
static inline void ss_wake_balancer(void)
{
    ss_wake_balancer_below(SS_BALANCER_AWAKE);
}

// The same for a lane that is served, to which a dozing balancer comes soon enough.
static inline void ss_wake_balancer_for_lanes(void)
{
    ss_wake_balancer_below(SS_BALANCER_DOZING);
}

// A worker lingers in what it serves (queue/dry.h). What is pushed there is left to it, and needs
// the balancer awake. So the balancer, once it is, does not park: it would be woken for the next
// job.
static inline void ss_note_lingering(void)
{
    if (!load_relaxed(&ss.lingering)) // its cache line is read by many
        store_relaxed(&ss.lingering, true);
}

#endif // SS_EXECUTOR_H
