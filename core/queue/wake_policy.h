// SPDX-License-Identifier: ISC
//
// When a wake-up pays. A sleeping worker costs its waker a system call, and comes some µs later: in
// that time a worker that is awake has run hundreds of tiny jobs. So somebody is woken for a queue
//
//   - if no worker serves it, or nothing is known of its jobs;
//   - if what is queued would keep the workers that serve it for longer than a wake-up costs; or
//   - if the workers that serve it are behind what its jobs should take: they may be waiting for a
//   CPU,
//     perhaps the one that the pusher runs on.
//
// Where as many workers linger as items wait, the last is the only reason.
//
// Else the queue is left to the workers that serve it, and the balancer watches whether they come.
//
// Inline, because it is called at each push. All functions: the queue's lock held.

#ifndef SS_WAKE_POLICY_H
#define SS_WAKE_POLICY_H

#include "queue/dry.h"
#include "queue/limits.h"

// Are the workers that serve the queue behind? The clock is looked at when the pushes since the
// last take come to 1, 2, 4, ... 64, and then every 64th time: a flood of pushes pays little for
// it, a trickle is looked at closely.
static inline bool ss_queue_is_behind(smolscale_queue *queue)
{
    unsigned pushes = ++queue->pushes_since_take;
    if ((pushes & (pushes - 1)) != 0 && pushes % 64 != 0)
        return false;
    queue->pushed_at = ss_os.now();
    return !queue->napper &&
           queue->pushed_at - queue->taken_at > ss_policy(wake_ns) + ss_queue_expected_ns(queue);
}

static inline bool ss_queue_needs_worker(smolscale_queue *queue)
{
    if (queue->active == 0 || queue->mean == 0)
        return true;
    if (load_relaxed(&queue->pending) <= queue->lingering)
        return ss_queue_is_behind(queue);
    // Where workers nap, what gathers during a nap is no reason to wake another.
    uint64_t enough = (uint64_t)ss_policy(wake_ns) * queue->active;
    if (ss_queue_has_tiny_jobs(queue))
        enough += 2 * (uint64_t)load_relaxed(queue->dry->nap_ns);
    return ss_queue_is_behind(queue) || ss_queue_expected_ns(queue) > enough;
}

// Puts the queue into the injection queue, if it is not there, and recruits a worker if one is
// needed. Returns as ss_queue_call_worker().
struct ss_worker *ss_queue_inject_and_recruit(smolscale_queue *queue, bool needed,
                                              enum ss_follow_up *todo);

// Sees to it that the queue is listed if it may start a job, or staffed. Returns a worker that the
// caller must wake when the lock is dropped, or NULL. `todo` says what else the caller must do
// then; see ss_follow_up().
static inline struct ss_worker *ss_queue_call_worker(smolscale_queue *queue,
                                                     enum ss_follow_up *todo)
{
    if (!ss_queue_wants_worker(queue)) {
        // Nothing may start now. The worker that next frees a slot calls ss_queue_offer(). Where
        // sleeping workers do not count, the balancer must see whether those that serve it sleep.
        bool elastic = queue->flags & SMOLSCALE_QUEUE_ELASTIC;
        *todo = elastic && load_relaxed(&queue->pending) > 0 ? SS_WAKE_BALANCER : SS_DO_NOTHING;
        return NULL;
    }
    bool needed = ss_queue_needs_worker(queue);
    bool staffed = !needed && queue->active > queue->blocked;
    ss_queue_set_staffed(queue, staffed);
    queue->wakes_saved += !needed;
    // Left to those that serve it. The workers of a parent's children count as its own here, but do
    // not come to its items.
    if (!needed && (queue->listed || (staffed && !queue->children))) {
        *todo = queue->napper ? SS_DO_NOTHING : SS_WAKE_BALANCER;
        return NULL;
    }
    // can_recruit is read without ss.lock. If it is stale no worker is woken now; SS_WAKE_BALANCER
    // makes the balancer do it within a tick.
    if (queue->listed && queue->active && !load_relaxed(&queue->group->can_recruit)) {
        *todo = SS_WAKE_BALANCER;
        return NULL;
    }
    // Left to the worker that has taken it out. The balancer sees if that stands still before it
    // has arrived (blocked.c).
    if (queue->awaited) {
        *todo = SS_WAKE_BALANCER;
        return NULL;
    }
    // It sees the item when it arrives.
    if (queue->listed && ss_worker_comes(queue->group)) {
        *todo = SS_DO_NOTHING;
        return NULL;
    }
    return ss_queue_inject_and_recruit(queue, needed, todo);
}

// The same for the whole family.
struct ss_worker *ss_queue_offer(smolscale_queue *queue, enum ss_follow_up *todo);

// Sees to it that each member of the family that may start a job is in the injection queue. Wakes
// nobody: the balancer calls this, which counts itself the workers that it wakes.
void ss_queue_inject_family(struct ss_runnable *runnable);

#endif // SS_WAKE_POLICY_H
