// SPDX-License-Identifier: ISC
//
// Batches. A worker takes up to SS_BATCH_MAX jobs, or SS_BATCH_NS worth of them, at once. It starts
// the first of them. It *claims* the others one by one: fetch_add on `next`. Whoever holds the
// queue's lock may *recall* the rest: exchange of `next` for SS_BATCH_CLOSED. Both are
// read-modify-writes of one word, so each index is either claimed by the owner or recalled, never
// both and never neither (tests/model/batch.pml).
//
// The list of items keeps a place for each job that may be recalled, from the take until the batch
// is recalled or ends, so that a recall needs no memory.
//
// An ordered queue has batches of one. So a later item that goes first does, and no worker ever
// calls the queue's compare function.

#ifndef SS_BATCH_H
#define SS_BATCH_H

#include "base/atomic.h"

#include <stdint.h>

// Jobs that a worker takes at once: by number, and by expected duration.
#define SS_BATCH_MAX 64u
#define SS_BATCH_NS  10000u

#define SS_BATCH_CLOSED (UINT32_MAX / 2) // above any index, with room for late claims

// Guards: L the queue's lock, written by the owner; l the queue's lock; O the owner alone; A
// atomic.
struct ss_batch {
    _Atomic uint32_t next;          // A: the next to claim; the owner, or who recalls
    _Atomic uint32_t end;           // L: how many were taken; 0: there is no batch
    void *item[SS_BATCH_MAX];       // L
    struct ss_batch *newer, *older; // l: in the queue's list, while it has two jobs or more
};

// Jobs that nobody has claimed. A hint unless the queue's lock is held.
static inline unsigned ss_batch_unclaimed(const struct ss_batch *batch)
{
    // Acquires: who sees that a job is claimed also sees the notices owed by those before it.
    uint32_t next = load_acquire(&batch->next), end = load_relaxed(&batch->end);
    return next < end ? end - next : 0;
}

// Claims the next job: its index, or one that is not below `end`. The owner.
static inline uint32_t ss_batch_claim(struct ss_batch *batch)
{
    return fetch_add_release(&batch->next, 1);
}

#endif // SS_BATCH_H
