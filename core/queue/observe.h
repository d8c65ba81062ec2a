// SPDX-License-Identifier: ISC
//
// What a work queue does where somebody observes (trace/points.h): it keeps when each item was
// pushed, and says when jobs wait, start and end. Not on the way of a push that is not observed.
//
// An item's time goes where the item goes: from the queue (ages.h) into the batch of the worker
// that takes it (`pushed`), and back if the batch is recalled.
//
// Where somebody only looks, the same happens with some of the items: samples.h has those of a
// queue without an order. In one with an order an item has no place, so its pointer is kept in
// ages.h; of equal pointers the sample is then the one that starts first.
//
// All functions: the queue's lock held.

#ifndef SS_OBSERVE_H
#define SS_OBSERVE_H

#include "queue/queue.h"
#include "queue/server.h"
#include "trace/points.h"

// The queue's pool, as observers see it. NULL: no memory.
struct ss_pool *ss_queue_pool(smolscale_queue *queue);

// `count` items with this pointer were pushed.
void ss_observe_push(smolscale_queue *queue, const void *item, unsigned count);

// The same where somebody only looks: one of them becomes a sample. Sets when the next is due.
void ss_observe_sample(smolscale_queue *queue, const void *item, unsigned count);

// Is it known of any item in it, or may it be, when it was pushed?
static inline bool ss_queue_is_timed(const smolscale_queue *queue)
{
    return ((uintptr_t)queue->ages | (uintptr_t)queue->samples) != 0;
}

// All items are going to lie elsewhere.
void ss_observe_reorder(smolscale_queue *queue);

// These items were taken out and will not run.
void ss_observe_removal(smolscale_queue *queue, void *const *items, unsigned count);

// A worker has taken `count` jobs into its batch; or the jobs from `next` to `end` were put back.
// The first returns the pool if any of the jobs is observed, else NULL.
struct ss_pool *ss_observe_take(smolscale_queue *queue, struct ss_batch *batch, unsigned count);
void ss_observe_recall(smolscale_queue *queue, const struct ss_batch *batch, uint32_t next,
                       uint32_t end);

#endif // SS_OBSERVE_H
