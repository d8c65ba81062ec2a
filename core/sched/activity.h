// SPDX-License-Identifier: ISC
//
// What a worker is found to do (activity.c): it runs, it sleeps in its job, or it computes for
// long. The balancer notes it. So do the look at lanes, when it takes a lane from a server that is
// stuck, and a job that says that it is about to block.
//
// Who may touch a field:
//
//   SQ   written under ss.lock and the lock of the runnable that counts the worker, if one does;
//        read under either, or as a hint without
//   O    the worker's own thread

#ifndef SS_ACTIVITY_H
#define SS_ACTIVITY_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

struct ss_worker;

enum ss_activity {
    SS_RUNNING,
    SS_BLOCKED, // asleep in its job: another may take its CPU
    SS_HOG,     // computing on one job for long: others may share its CPU
};

// The worker's part.
struct ss_doing {
    _Atomic uint32_t activity; // SQ: enum ss_activity
    bool blocked_last;         // O: its last job was found blocked: the next may be, too
    unsigned blocking_depth;   // O: smolscale_blocking_begin() calls that are open
};

static inline enum ss_activity ss_activity_of(const struct ss_doing *doing)
{
    return (enum ss_activity)load_relaxed(&doing->activity);
}

// A life of the worker begins.
void ss_doing_renew(struct ss_doing *doing);

// Notes what a worker does. ss.lock held, and the lock of the runnable that counts the worker, if
// one does.
void ss_set_activity(struct ss_worker *worker, enum ss_activity activity);

// A worker that was found blocked, or long computing, has finished that job. The lock of the
// runnable that counts the worker held; ss.lock not. ss_resume() (worker.h) calls it if need be.
void ss_resume_slow(struct ss_worker *worker);

// The same for a worker that no runnable counts, such as the server of a lane: it has left user
// code. No lock held.
void ss_leave_job(struct ss_worker *worker);

// ---- by the worker's own thread

// Was its last job found blocked? Then the next may block, too.
static inline bool ss_blocked_last(const struct ss_doing *doing)
{
    return doing->blocked_last;
}

// It begins other jobs, about which that says nothing.
static inline void ss_forget_blocked(struct ss_doing *doing)
{
    doing->blocked_last = false;
}

// smolscale_blocking_begin() and ..._end(), which may be nested. Whether it is the outermost.
static inline bool ss_blocking_open(struct ss_doing *doing)
{
    return doing->blocking_depth++ == 0;
}

static inline bool ss_blocking_close(struct ss_doing *doing)
{
    return doing->blocking_depth > 0 && --doing->blocking_depth == 0;
}

// The job has ended: closes what it has left open.
static inline void ss_blocking_end(struct ss_doing *doing)
{
    doing->blocking_depth = 0;
}

#endif // SS_ACTIVITY_H
