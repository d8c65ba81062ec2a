// SPDX-License-Identifier: ISC
//
// The accounts of a work queue: what waits, what runs, how long jobs take, and how many may start.
//
// A queue may have a parent. The parent and its children are a *family*: one lock guards them all,
// and the parent's limit holds for the sum of what runs in it and in its children.
//
// All functions: the queue's lock held, except where noted. They are called once a push or once a
// batch, hence inline.

#ifndef SS_LIMITS_H
#define SS_LIMITS_H

#include "queue/fronts.h"
#include "queue/queue.h"

#define SS_MEAN_SHIFT 8 // queue->mean is in ns << SS_MEAN_SHIFT

// ---- the family

static inline smolscale_queue *ss_queue_head(smolscale_queue *queue)
{
    return queue->parent ? queue->parent : queue;
}

// The member of the family that follows `member`; NULL: it was the last. The head is the first.
static inline smolscale_queue *ss_queue_next_member(const smolscale_queue *member)
{
    return member->parent ? member->sibling : member->children;
}

// ---- what may start

// Workers that count against max_active.
static inline unsigned ss_queue_counted(const smolscale_queue *queue)
{
    return queue->flags & SMOLSCALE_QUEUE_ELASTIC ? queue->active - queue->blocked : queue->active;
}

static inline bool ss_queue_below_limit(const smolscale_queue *queue)
{
    return ss_queue_counted(queue) < queue->max_active;
}

// May another of its jobs start?
static inline bool ss_queue_may_start(const smolscale_queue *queue)
{
    return ss_queue_below_limit(queue) && (!queue->parent || ss_queue_below_limit(queue->parent));
}

// Do more run than may, after a limit was lowered?
static inline bool ss_queue_above_limit(const smolscale_queue *queue)
{
    return ss_queue_counted(queue) > queue->max_active ||
           (queue->parent && ss_queue_counted(queue->parent) > queue->parent->max_active);
}

static inline bool ss_queue_wants_worker(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) > 0 && ss_queue_may_start(queue);
}

static inline bool ss_queue_is_idle(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) == 0 && queue->active == 0;
}

// ---- changes

// After a change of the list of items.
static inline void ss_queue_publish_pending(smolscale_queue *queue)
{
    store_relaxed(&queue->pending, ss_items_count(&queue->items));
}

// After a change of what counts, or of the limit.
static inline void ss_queue_publish_room(smolscale_queue *queue)
{
    unsigned counted = ss_queue_counted(queue);
    store_relaxed(&queue->room, counted < queue->max_active ? queue->max_active - counted : 0);
}

// Will the workers that serve it do? Written only where it changes: the cache line is read at each
// push.
static inline void ss_queue_set_staffed(smolscale_queue *queue, bool staffed)
{
    if (load_relaxed(&queue->runnable.staffed) != staffed)
        store_relaxed(&queue->runnable.staffed, staffed);
}

// A worker begins (1) or ends (-1) to serve it.
static inline void ss_queue_count_active(smolscale_queue *queue, int change)
{
    for (; queue; queue = queue->parent) {
        queue->active += (unsigned)change;
        ss_queue_set_staffed(queue, false); // until somebody counts again
        ss_fronts_note_served(queue);
        ss_queue_publish_room(queue);
    }
}

// ---- how long jobs take

// What is queued should take so long, ns.
static inline uint64_t ss_queue_expected_ns(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) * queue->mean >> SS_MEAN_SHIFT;
}

static inline bool ss_queue_jobs_below(const smolscale_queue *queue, unsigned ns)
{
    return queue->mean <= (uint64_t)ns << SS_MEAN_SHIFT;
}

// `jobs` of them took so long. The mean moves by a quarter of what it differs.
static inline void ss_queue_learn(smolscale_queue *queue, uint64_t elapsed, unsigned jobs)
{
    uint64_t sample = (elapsed << SS_MEAN_SHIFT) / jobs + 1;
    queue->mean = queue->mean ? queue->mean - queue->mean / 4 + sample / 4 : sample;
    uint64_t ns = (queue->mean >> SS_MEAN_SHIFT) + 1;
    store_relaxed(&queue->runnable.job_ns, ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX);
}

// ---- what the scheduler asks (runnable.h)

unsigned ss_queue_demand(struct ss_runnable *runnable);
void ss_queue_count_blocked(struct ss_runnable *runnable, int change);

#endif // SS_LIMITS_H
