// SPDX-License-Identifier: ISC
//
// Batches. A worker takes up to SS_BATCH_MAX jobs, or ss_policy(batch_ns) worth of them, at once.
// It starts the first of them. It *claims* the others one by one: fetch_add on `next`. A thread
// that holds the queue's lock may *recall* the rest: exchange of `next` for SS_BATCH_CLOSED. Both
// are read-modify-writes of one word, so each index is either claimed by the owner or recalled,
// never both and never neither (tests/model/batch.pml).
//
// The list of items keeps a place for each job that may be recalled, from the take until the batch
// is recalled or ends, so that a recall needs no memory.
//
// An ordered queue has batches of one. So a later item that goes first does, and no worker ever
// calls the queue's compare function.

#ifndef SS_BATCH_H
#define SS_BATCH_H

#include "base/atomic.h"
#include "sched/costs.h"
#include "smolscale.h"

#include <stdint.h>

#define SS_BATCH_CLOSED (UINT32_MAX / 2) // above any index, with room for late claims

// Guards: L the queue's lock; w written by the owner under that lock; A atomic.
struct ss_batch {
    _Atomic uint32_t next;          // A: the next to claim
    _Atomic uint32_t end;           // w: how many jobs were taken; 0: there is no batch
    void *item[SS_BATCH_MAX];       // w
    struct ss_batch *older, *newer; // L: among the queue's batches, if it has two jobs or more
    bool times_known;               // w: of one job at least it is known when it was pushed
    uint64_t times[SS_BATCH_MAX];   // w: if so, when each was (observe.h), ns; 0: not known
};

// Jobs that nobody has claimed. A hint unless the queue's lock is held.
static inline unsigned ss_batch_unclaimed(const struct ss_batch *batch)
{
    // Acquires: a thread that sees that a job is claimed also sees the notices of the jobs before
    // it.
    uint32_t next = load_acquire(&batch->next), end = load_relaxed(&batch->end);
    return next < end ? end - next : 0;
}

// Claims the next job. Returns its index; one that is not below `end`: there is none. The owner.
static inline uint32_t ss_batch_claim(struct ss_batch *batch)
{
    return fetch_add_release(&batch->next, 1);
}

// The following: the queue's lock held.

// How many jobs a worker would take now. There is one at least.
unsigned ss_batch_size(const smolscale_queue *queue);

// The owner takes as many jobs as suit; there is one at least. Returns how many. `now`: ns.
unsigned ss_batch_take(smolscale_queue *queue, struct ss_batch *batch, uint64_t now);

// The owner has started all that it could claim.
void ss_batch_end(smolscale_queue *queue, struct ss_batch *batch);

// Queues again, as they were, the jobs that nobody has claimed. True: there were some. Needs no
// memory.
bool ss_batch_recall(smolscale_queue *queue, struct ss_batch *batch);

// The same for all batches of the queue.
bool ss_batch_recall_all(smolscale_queue *queue);

#endif // SS_BATCH_H
