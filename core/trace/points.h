// SPDX-License-Identifier: ISC
//
// The points at which the executor can be observed: what happens to jobs, to workers and to what
// the balancer decides. Three observers share them:
//
//   times   how long jobs wait in their queue (SMOLSCALE_STATS): pools.h
//   trace   every event, into rings in memory, and at the end into a file (SMOLSCALE_TRACE): ring.h
//   probes  USDT probes that a tracer such as bpftrace attaches to while the program runs
//
// A fourth one, `smolscale top`, wants the times of some jobs only (queue/samples.h). Work queues
// ask for it where they push and take; nothing else knows of it. A push that is looked at takes
// some percent longer than one that is not (bench/top), so where there are very many they are
// looked at for a part of the time.
//
// One word says whether anybody observes. Each point is an inline function that reads it, relaxed,
// and goes on if it is 0: one comparison and one branch that is never taken. Where a point would
// come once a job it is read once a batch. Clocks are read behind that branch only. All else is in
// points.c.
//
// The word is also the semaphore of all probes: the kernel adds 1 to its lower half for each tracer
// that attaches to one. So a probe costs nothing while nobody is attached, not even its arguments.
//
// All functions: any thread, any locks held. They take one lock at most, that of ring.c or of
// pools.c, under which nothing else is locked.

#ifndef SS_POINTS_H
#define SS_POINTS_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SS_OBSERVED_BY_PROBES 0x0000ffffu // a number: how many tracers' probes are attached
#define SS_OBSERVED_FOR_TIMES 0x00010000u
#define SS_OBSERVED_FOR_TRACE 0x00020000u
#define SS_OBSERVED_IN_PART   0x00040000u // the times of some of the jobs that are pushed now

// No observer: the executor has started. It is in the same word because a push has to know both,
// and so reads one word for the two (bench/glib, "empty").
#define SS_STARTED 0x80000000u

// On a cache line of its own, which is only read.
struct ss_observed {
    _Alignas(SS_CACHE_LINE) _Atomic uint32_t by;
    _Atomic bool in_part; // the same as its flag, or was and will be again
};

extern struct ss_observed ss_observed;

static inline bool ss_is_observed(void)
{
    return __builtin_expect(
        (load_relaxed(&ss_observed.by) & ~(SS_STARTED | SS_OBSERVED_IN_PART)) != 0, 0);
}

// Not in full, but are some of the jobs that are pushed now to be samples? And those that were?
static inline bool ss_is_observed_in_part(void)
{
    return load_acquire(&ss_observed.by) == (SS_STARTED | SS_OBSERVED_IN_PART);
}

static inline bool ss_has_samples(void)
{
    return load_relaxed(&ss_observed.in_part);
}

// The executor has started, which the caller sees with all that went before, and nobody observes.
static inline bool ss_is_started_unobserved(void)
{
    return __builtin_expect(load_acquire(&ss_observed.by) == SS_STARTED, 1);
}

void ss_note_started(void);

// Begins or ends to observe. Jobs that were pushed before have no known time in queue.
void ss_observe(uint32_t what);
void ss_observe_no_more(uint32_t what);

// The same for samples. In between samples are taken or not.
void ss_observe_in_part(bool begins);
void ss_observe_samples(bool are_taken);

// What happened. The numbers are those of the file (docs/trace-format.md): none is used anew.
enum ss_event {
    SS_EVENT_ENQUEUE = 1,  // pool; value: how many of the pool's jobs wait now
    SS_EVENT_START = 2,    // pool; value: the job's time in queue, ns; SS_EVENT_UNKNOWN: not known
    SS_EVENT_END = 3,      // pool: the job that the thread started last has ended
    SS_EVENT_REMOVE = 4,   // pool; value: how many wait now, after jobs were taken back
    SS_EVENT_PARK = 5,     // the thread, a worker, parks
    SS_EVENT_UNPARK = 6,   // it goes on
    SS_EVENT_WAKE = 7,     // value: the thread id of the worker that the thread wakes
    SS_EVENT_NAP = 8,      // pool: the worker naps or lingers at a queue that has run dry
    SS_EVENT_NAP_END = 9,  // pool
    SS_EVENT_BLOCKED = 10, // value: the thread id of a worker that is found asleep in its job
    SS_EVENT_RESUMED = 11, // value: the same, when that is over
    SS_EVENT_ORDER = 12,   // which: enum ss_order; value: how many
    SS_EVENT_THREAD = 13,  // which: enum ss_role; the thread begins
    SS_EVENT_THREAD_END = 14,
    SS_EVENT_KINDS,
};

// What the balancer orders.
enum ss_order {
    SS_ORDER_REQUESTED,   // workers that a pusher asked for
    SS_ORDER_COMPENSATES, // workers in place of blocked ones
    SS_ORDER_UNSTALLS,    // workers for what has started nothing for too long
    SS_ORDER_CREATES,     // of those, workers that a spawner is to create
    SS_ORDER_MOVES,       // tasks from a lane to another
    SS_ORDERS,
};

enum ss_role { SS_ROLE_PROGRAM, SS_ROLE_WORKER, SS_ROLE_SPAWNER, SS_ROLES };

// ---- when a job was pushed
//
// A time in ns; 0: not known. Of a sample also for how many jobs it stands: 1 << shift.

#define SS_STAMP_SAMPLE    (UINT64_C(1) << 63)
#define SS_STAMP_TIME_BITS 58
#define SS_STAMP_SHIFT_MAX 31u

static inline uint64_t ss_stamp_time(uint64_t stamp)
{
    return stamp & ((UINT64_C(1) << SS_STAMP_TIME_BITS) - 1);
}

static inline unsigned ss_stamp_shift(uint64_t stamp)
{
    return stamp >> SS_STAMP_TIME_BITS & SS_STAMP_SHIFT_MAX;
}

// Of a sample.
static inline uint64_t ss_stamp(uint64_t time, unsigned shift)
{
    return SS_STAMP_SAMPLE | (uint64_t)shift << SS_STAMP_TIME_BITS | ss_stamp_time(time);
}

#define SS_EVENT_VALUE_BITS 44
#define SS_EVENT_UNKNOWN    ((UINT64_C(1) << SS_EVENT_VALUE_BITS) - 1) // and what is larger

// ---- behind the branch

struct ss_pool;

void ss_note_enqueue(struct ss_pool *pool, unsigned count);
void ss_note_remove(struct ss_pool *pool, unsigned count);

// `pushed`: when the job was pushed, a stamp. `waits`: it was in a queue, and is counted there if
// the time is known.
void ss_note_start(struct ss_pool *pool, uint64_t pushed, bool waits);
void ss_note_end(struct ss_pool *pool);
void ss_note_nap(struct ss_pool *pool);
void ss_note_nap_end(struct ss_pool *pool);
void ss_note_park(void);
void ss_note_unpark(void);
void ss_note_wake(pid_t tid);
void ss_note_blocked(pid_t tid, bool blocked);
void ss_note_order(enum ss_order which, uint64_t count);
void ss_note_thread(enum ss_role role);
void ss_note_thread_end(void);

// ---- the points

static inline void ss_point_park(void)
{
    if (ss_is_observed())
        ss_note_park();
}

static inline void ss_point_unpark(void)
{
    if (ss_is_observed())
        ss_note_unpark();
}

static inline void ss_point_wake(pid_t tid)
{
    if (ss_is_observed())
        ss_note_wake(tid);
}

static inline void ss_point_blocked(pid_t tid, bool blocked)
{
    if (ss_is_observed())
        ss_note_blocked(tid, blocked);
}

static inline void ss_point_order(enum ss_order which, uint64_t count)
{
    if (ss_is_observed())
        ss_note_order(which, count);
}

static inline void ss_point_thread(enum ss_role role)
{
    if (ss_is_observed())
        ss_note_thread(role);
}

static inline void ss_point_thread_end(void)
{
    if (ss_is_observed())
        ss_note_thread_end();
}

#endif // SS_POINTS_H
