// SPDX-License-Identifier: ISC
//
// What a worker can serve: a work queue (queue/) or a lane of tasks (task/). The scheduler knows
// only what stands here.
//
//   1. A runnable that has work is put into the injection queue of a group (ss_inject).
//   2. A worker of that group takes it out and calls ops->run(). This returns when the worker is to
//      look for other work.
//   3. The balancer asks what waits in the injection queues (demand) and what the workers have
//      taken and not dealt with (holds). It takes that back from a worker that stands still
//      (reclaim), and marks the worker as blocked (count_blocked).
//
// A runnable has a lock for its accounts, or none: then ss.lock guards all that the scheduler asks
// about, and ops->reclaim, inject and count_blocked are never called. Order of locks: the
// runnable's, then ss.lock.
//
// References. The injection queue has one to each runnable in it. It passes to the worker that
// takes the runnable out; that worker gives it up when it next looks for work. Each worker of a
// dedicated group has one to the group's owner. A runnable without ops->release lives for ever and
// is not counted.

#ifndef SS_RUNNABLE_H
#define SS_RUNNABLE_H

#include "base/atomic.h"
#include "os/lock.h"

#include <stdbool.h>
#include <stdint.h>

struct ss_runnable;
struct ss_worker;

// Notices that a worker may owe at a time. A notice tells one consumer that results of several jobs
// are there (smolscale_notify_soon).
#define SS_NOTICES_MAX 4u

// Notices that were taken from a worker: the taker gives them when it holds no lock.
struct ss_taken_notices {
    void (*notify)(void *whom);
    void *whom[SS_NOTICES_MAX];
    unsigned count;
};

// What a worker has taken and not yet dealt with. A set of bits.
enum ss_holding {
    SS_HOLDS_JOBS = 1,         // taken, not started
    SS_HOLDS_NOTICES = 2,      // owed
    SS_HOLDS_LATE_NOTICES = 4, // owed for longer than they should be
    SS_HOLDS_ALL = SS_HOLDS_JOBS | SS_HOLDS_NOTICES,
};

struct ss_runnable_ops {
    // Serves it. By the worker that took it out of the injection queue; no lock held.
    void (*run)(struct ss_runnable *runnable, struct ss_worker *worker);

    // How many more workers it could use now. A hint. ss.lock held.
    unsigned (*demand)(struct ss_runnable *runnable);

    // What the worker holds: bits of enum ss_holding. A hint. Called by any thread, with any locks
    // or none. It must look at the worker only, whose structure stays for as long as the caller can
    // know of it (worker.c): the runnable that the worker served may be gone. `now`: ns; 0: the
    // caller does not ask for late notices. NULL: a worker that serves such a runnable never holds
    // anything.
    unsigned (*holds)(struct ss_worker *worker, uint64_t now);

    // Takes from the worker, which serves the runnable, what it holds of the kinds that `what`
    // names (SS_HOLDS_JOBS, SS_HOLDS_NOTICES). Jobs are queued again, as they were. Notices are put
    // into `notices`, which is left alone if `what` names none. Returns whether there were jobs.
    // The runnable's lock held.
    bool (*reclaim)(struct ss_runnable *runnable, struct ss_worker *worker, unsigned what,
                    struct ss_taken_notices *notices);

    // Sees to it that it is in the injection queue if it can use a worker, and likewise whatever
    // shares its limits. Wakes no worker. The runnable's lock held.
    void (*inject)(struct ss_runnable *runnable);

    // One of the workers counted in it has been found blocked (1), or is no longer so (-1). The
    // runnable's lock and ss.lock held.
    void (*count_blocked)(struct ss_runnable *runnable, int change);

    // The thread of the worker, which serves the runnable, ends inside a job (pthread_exit):
    // settles the worker's accounts with it. By that thread; no lock held. NULL: there are none.
    void (*abandon)(struct ss_runnable *runnable, struct ss_worker *worker);

    // The last reference is gone: frees it. NULL: it lives for ever. No lock held.
    void (*release)(struct ss_runnable *runnable);

    bool times_jobs;    // `job_ns` says how long they take
    bool gives_notices; // its jobs may leave notices
    bool keeps_time;    // a worker that serves it also fires timers and looks for events
};

// Guards: C constant; S ss.lock; L the runnable's lock; l the same, and read without it as a hint;
// A atomic; B the balancer's own.
struct ss_runnable {
    struct ss_runnable *next;          // S: in the injection queue
    struct ss_runnable **prev_link;    // S: NULL: it is in none
    const struct ss_runnable_ops *ops; // C
    struct ss_lock *lock;              // C: of its accounts; NULL: ss.lock
    _Atomic unsigned refs;             // A
    _Atomic bool staffed;              // l: the workers that serve it will do: more would not pay
    _Atomic uint32_t job_ns;           // l: how long a job of it takes; 0: none has ended yet
    _Atomic uint64_t taken;            // l: counts what of it was begun
    uint64_t seen_taken;               // B
    uint64_t stalled_since;            // B: ns; 0: not seen yet
};

static inline bool ss_runnable_is_counted(const struct ss_runnable *runnable)
{
    return runnable->ops->release != NULL;
}

static inline void ss_runnable_ref(struct ss_runnable *runnable)
{
    if (ss_runnable_is_counted(runnable))
        fetch_add_relaxed(&runnable->refs, 1);
}

// No lock held.
static inline void ss_runnable_unref(struct ss_runnable *runnable)
{
    if (ss_runnable_is_counted(runnable) && fetch_sub_acq_rel(&runnable->refs, 1) == 1)
        runnable->ops->release(runnable);
}

// The same with any locks, where the reference is known not to be the last.
static inline void ss_runnable_unref_not_last(struct ss_runnable *runnable)
{
    if (ss_runnable_is_counted(runnable))
        fetch_sub_acq_rel(&runnable->refs, 1);
}

// Something whose limits do not count workers that sleep in its jobs. While work waits in it the
// balancer stays awake, even if none of it may start and so nothing of it is in an injection queue:
// only the balancer sees that a worker falls asleep.
struct ss_elastic {
    struct ss_elastic *next, **prev_link; // S
    const _Atomic size_t *waiting;        // C: how much waits in it; read as a hint
};

// ss.lock held.
void ss_elastic_add(struct ss_elastic *elastic);
void ss_elastic_remove(struct ss_elastic *elastic);

#endif // SS_RUNNABLE_H
