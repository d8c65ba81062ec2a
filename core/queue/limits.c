// SPDX-License-Identifier: ISC
//
// What the scheduler asks of a queue's accounts; see limits.h.

#include "queue/limits.h"

unsigned ss_queue_demand(struct ss_runnable *runnable)
{
    smolscale_queue *queue = ss_queue_of(runnable);
    size_t waiting = load_relaxed(&queue->pending);
    unsigned room = load_relaxed(&queue->room);
    if (queue->parent && load_relaxed(&queue->parent->room) < room)
        room = load_relaxed(&queue->parent->room);
    return waiting < room ? (unsigned)waiting : room;
}

void ss_queue_count_blocked(struct ss_runnable *runnable, int change)
{
    for (smolscale_queue *queue = ss_queue_of(runnable); queue; queue = queue->parent) {
        queue->blocked += (unsigned)change;
        ss_queue_set_staffed(queue, false);
        ss_queue_publish_room(queue);
    }
}
