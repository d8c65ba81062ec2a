// SPDX-License-Identifier: ISC
//
// What can be seen of the work queues from outside at one moment (view.c): for the page that
// `smolscale top` shows.

#ifndef SS_QUEUE_VIEW_H
#define SS_QUEUE_VIEW_H

#include "sched/runnable.h"
#include "smolscale.h"

#include <stddef.h>
#include <stdint.h>

struct ss_queue_view {
    const struct ss_runnable *runnable; // as workers serve it
    uint64_t number;                    // of the queue, from 1 on; no other queue ever has it
    uint64_t parent;                    // the parent's; 0: none
    uint64_t pending;                   // not started
    uint64_t ended;                     // jobs that have run
    uint64_t mean;                      // of recent jobs' duration, ns; 0: not known
    unsigned active, blocked;           // workers that serve it; of these, known to be asleep
    unsigned max_active, flags;
    bool seen;             // false: the lock was not had
    char name[16];         // of its threads; empty: none
    smolscale_run_fn *run; // whose code its jobs are
    struct ss_pool *pool;  // trace/pools.h; NULL: not known
};

// References to up to `most` queues: first those in which something waits or runs. `*all`: how many
// queues there are. Returns how many references. Takes ss.lock, for a bounded time.
unsigned ss_queues_hold(smolscale_queue **queues, unsigned most, size_t *all);

// What is seen of such a queue. A compare function may run under the queue's lock for long, and so
// may a thread that waits for a CPU have it: then only what is known without it is given, its pool
// too.
void ss_queue_view(smolscale_queue *queue, struct ss_queue_view *view);

// Gives a reference up. No lock held.
void ss_queue_unhold(smolscale_queue *queue);

#endif // SS_QUEUE_VIEW_H
