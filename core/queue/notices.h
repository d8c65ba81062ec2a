// SPDX-License-Identifier: ISC
//
// Notices. A consumer that waits for results of tiny jobs is told once for many of them
// (smolscale_notify_soon): a wake-up costs as much as hundreds of such jobs, and a consumer woken
// on the worker's CPU would take that CPU after each. A worker keeps in `owed` the consumers that
// it has to tell. It gives its notices when it has no more jobs at hand, or before jobs after which
// they would be older than ss_policy(owed_ns), going by what jobs of the queue take.
//
// The thread that takes an entry out (exchange for NULL) makes the call: the owner; or, under the
// queue's lock, the balancer, when the worker stands still, or when an entry is older than
// ss_policy(owed_ns) because a job takes longer than expected. The balancer looks for that every
// NOTICE_TICK (balancer.c), not at once: waking it costs as much as a notice.
//
// A notice never waits for a job that blocks: the balancer is awake while a job runs and a notice
// is owed. The worker sees to that before the job (SS_WAKE_BALANCER), and the balancer does not
// park while jobs are unclaimed or notices are owed. It looks in this order: an entry is written
// before the next job is claimed (release), so a thread that sees the claim (acquire) sees the
// entry (tests/model/notice.pml).
//
// The worker gives its notices last, just before it gives up its place: what comes of them may
// arrive meanwhile (bench/libuv, "work-64").

#ifndef SS_NOTICES_H
#define SS_NOTICES_H

#include "base/atomic.h"
#include "sched/costs.h"
#include "sched/runnable.h"
#include "smolscale.h"

// Guards: A atomic; o written by the owner, read by others as a hint; O the owner alone.
struct ss_notices {
    _Atomic(void *) owed[SS_NOTICES_MAX]; // A: the consumer to tell; NULL: none
    unsigned count;                       // O: entries written since it last gave them
    _Atomic uint64_t since;               // o: when the first of these was promised, at most; ns
};

// Is any notice owed? A hint.
static inline bool ss_notices_owed(const struct ss_notices *notices)
{
    for (unsigned i = 0; i < SS_NOTICES_MAX; i++)
        if (load_relaxed(&notices->owed[i]))
            return true;
    return false;
}

// Takes out all notices that are owed. The owner, or with the queue's lock held.
void ss_notices_take(const smolscale_queue *queue, struct ss_notices *notices,
                     struct ss_taken_notices *taken);

// The owner gives all notices that it owes. No lock held.
void ss_notices_give(const smolscale_queue *queue, struct ss_notices *notices);

#endif // SS_NOTICES_H
