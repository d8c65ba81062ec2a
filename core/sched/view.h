// SPDX-License-Identifier: ISC
//
// What can be seen of the executor from outside at one moment (view.c): for the page that
// `smolscale top` shows. Each look takes ss.lock once, for a bounded time.

#ifndef SS_VIEW_H
#define SS_VIEW_H

#include "sched/runnable.h"

#include <stdint.h>
#include <sys/types.h>

enum ss_worker_state {
    SS_WORKER_STARTING, // has no thread yet, or its thread has not begun
    SS_WORKER_LOOKING,  // between two jobs
    SS_WORKER_IN_JOB,   // in user code
    SS_WORKER_BLOCKED,  // in user code, asleep, and the balancer has noted it
    SS_WORKER_HOG,      // in user code, and it has computed there for long
    SS_WORKER_NAPPING,  // asleep for a moment, its place in a queue kept
    SS_WORKER_PARKED,   // asleep until it is woken
};

struct ss_worker_view {
    pid_t tid; // 0: not yet
    enum ss_worker_state state;
    const struct ss_runnable *serves;  // NULL: nothing. Only to be compared: it may be gone
    const struct ss_runnable_ops *ops; // of that; NULL: nothing
    uint64_t started;                  // jobs and runnables that it has begun
};

struct ss_executor_view {
    unsigned workers, parked, blocked, hogs, arriving; // of all groups
    unsigned groups, injected;                         // groups; runnables that wait for a worker
    unsigned cpus;
    uint32_t balancer; // enum ss_balancer_state
};

// Up to `most` workers, those that are awake first. Returns how many.
unsigned ss_view_workers(struct ss_worker_view *views, unsigned most,
                         struct ss_executor_view *whole);

#endif // SS_VIEW_H
