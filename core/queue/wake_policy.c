// SPDX-License-Identifier: ISC
//
// Putting queues into the injection queue, and recruiting workers for them; see wake_policy.h.

#include "queue/wake_policy.h"

// Puts the queue into the injection queue, unless it is there. If a worker has taken it out and not
// arrived, it is put there once more: that worker may stand still. ss.lock held, too.
static void inject(smolscale_queue *queue)
{
    queue->listed = true;
    queue->awaited = false;
    if (queue->runnable.prev_link)
        return;
    ss_runnable_ref(&queue->runnable); // the injection queue's
    ss_inject(queue->group, &queue->runnable);
}

struct ss_worker *ss_queue_inject_and_recruit(smolscale_queue *queue, bool needed,
                                              enum ss_follow_up *todo)
{
    struct ss_worker *wake = NULL;
    ss_lock(&ss.lock);
    bool taken_out = queue->listed && !queue->runnable.prev_link;
    if (taken_out) { // whoever else came would find nothing
        queue->awaited = true;
        ss_unlock(&ss.lock);
        *todo = SS_WAKE_BALANCER;
        return NULL;
    }
    inject(queue);
    if (needed)
        wake = ss_recruit(queue->group, todo);
    else
        *todo = queue->napper ? SS_DO_NOTHING : SS_WAKE_BALANCER;
    ss_unlock(&ss.lock);
    return wake;
}

struct ss_worker *ss_queue_offer(smolscale_queue *queue, enum ss_follow_up *todo)
{
    *todo = SS_DO_NOTHING;
    struct ss_worker *wake = NULL;
    for (smolscale_queue *member = ss_queue_head(queue); member;
         member = ss_queue_next_member(member)) {
        if (load_relaxed(&member->pending) == 0)
            continue;
        enum ss_follow_up member_todo;
        struct ss_worker *other = ss_queue_call_worker(member, &member_todo);
        if (other && wake)
            ss_unpark(wake); // it looked late to ss_recruit(), which gave another
        wake = other ? other : wake;
        *todo = member_todo > *todo ? member_todo : *todo;
    }
    return wake;
}

void ss_queue_inject_family(struct ss_runnable *runnable)
{
    smolscale_queue *member = ss_queue_head(ss_queue_of(runnable));
    ss_lock(&ss.lock);
    for (; member; member = ss_queue_next_member(member))
        if (ss_queue_wants_worker(member))
            inject(member);
    ss_unlock(&ss.lock);
}
