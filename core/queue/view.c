// SPDX-License-Identifier: ISC
//
// A look at the work queues, for an observer of the process (view.h). It changes nothing.

#include "queue/view.h"

#include "queue/batch.h"
#include "queue/limits.h"
#include "queue/queue.h"

#include <string.h>

// Queues that are looked at under ss.lock, at most: where there are more, the newest are shown.
#define LOOKS_MAX 2048u

// Does something wait in it, or has another than its owner a reference: a worker that serves it,
// the injection queue, a child? A hint, without the queue's lock.
static bool is_in_use(const smolscale_queue *queue)
{
    return load_relaxed(&queue->pending) > 0 || load_relaxed(&queue->runnable.refs) > 1;
}

// Those that are in use, or those that are not. A queue in the list has its owner's reference.
// ss.lock held.
static unsigned hold_those(smolscale_queue **queues, unsigned most, bool in_use)
{
    unsigned count = 0, looks = 0;
    for (smolscale_queue *queue = ss_queues_first(); queue && count < most && looks < LOOKS_MAX;
         queue = queue->next, looks++) {
        if (is_in_use(queue) != in_use)
            continue;
        ss_runnable_ref(&queue->runnable);
        queues[count++] = queue;
    }
    return count;
}

unsigned ss_queues_hold(smolscale_queue **queues, unsigned most, size_t *all)
{
    ss_lock(&ss.lock);
    *all = ss_queues_count();
    unsigned count = hold_those(queues, most, true);
    count += hold_those(queues + count, most - count, false);
    ss_unlock(&ss.lock);
    return count;
}

// The queue's lock held.
static void view_accounts(const smolscale_queue *queue, struct ss_queue_view *view)
{
    view->active = queue->active;
    view->blocked = queue->blocked;
    view->max_active = queue->max_active;
    view->mean = queue->mean >> SS_MEAN_SHIFT;
    view->ended = queue->ended;
    for (const struct ss_batch *batch = queue->oldest; batch; batch = batch->newer)
        view->pending += ss_batch_unclaimed(batch);
}

// The thread that has the lock may wait for the CPU that this one has.
static bool lock_within_some_looks(struct ss_lock *lock)
{
    enum { TRIES = 10 };
    for (unsigned i = 0; i < TRIES; i++) {
        if (ss_lock_soon(lock))
            return true;
        ss_os.yield();
    }
    return false;
}

void ss_queue_view(smolscale_queue *queue, struct ss_queue_view *view)
{
    *view = (struct ss_queue_view){
        .runnable = &queue->runnable,
        .number = queue->number,
        .parent = queue->parent ? queue->parent->number : 0,
        .flags = queue->flags,
        .run = queue->run,
        .pool = load_acquire(&queue->pool), // pairs with ss_queue_pool()
    };
    memcpy(view->name, queue->name, sizeof view->name);
    bool locked = lock_within_some_looks(queue->runnable.lock);
    view->pending = load_relaxed(&queue->pending);
    view->seen = locked;
    if (!locked)
        return;
    view_accounts(queue, view);
    ss_unlock(queue->runnable.lock);
}

void ss_queue_unhold(smolscale_queue *queue)
{
    ss_runnable_unref(&queue->runnable);
}
