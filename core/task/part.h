// SPDX-License-Identifier: ISC
//
// What a worker keeps of tasks: the lane that it serves, and memory that it has put aside. It lies
// in the worker's structure, whose room is below this one and only reserves the bytes
// (SS_WORKER_TASK_PART). Nothing outside task/ touches it.
//
// Letters: O the worker's own thread; L ss.lock; A atomic, anybody.

#ifndef SS_PART_H
#define SS_PART_H

#include "sched/duty.h"
#include "sched/executor.h"

#include <stddef.h>

struct ss_lane;
struct ss_block;

// See lane.c.
struct ss_lane_server {
    _Atomic bool in_section;        // O, read by the balancer
    _Atomic(struct ss_lane *) lane; // L, read by O: NULL: none, or it was taken away
    struct smolscale_task *task;    // O: that it polls
};

// Memory for tasks, by size in cache lines; see slab.c.
#define SS_SLAB_CLASSES 16
struct ss_slab_cache {
    struct ss_block *first, *reserve;
    unsigned count, reserve_count;
};

struct ss_task_part {
    struct ss_lane_server server;
    struct ss_slab_cache cache[SS_SLAB_CLASSES + 1]; // O
};
_Static_assert(sizeof(struct ss_task_part) <= SS_WORKER_TASK_PART, "it must fit into the worker");
_Static_assert(offsetof(struct ss_worker, task_part) % SS_CACHE_LINE == 0,
               "the server of a lane begins a cache line");

static inline struct ss_task_part *ss_task_part(struct ss_worker *worker)
{
    return (struct ss_task_part *)(void *)worker->task_part;
}

static inline struct ss_lane_server *ss_lane_server(struct ss_worker *worker)
{
    return &ss_task_part(worker)->server;
}

static inline struct ss_slab_cache *ss_slab_cache(struct ss_worker *worker)
{
    return ss_task_part(worker)->cache;
}

// Handed down before a worker keeps anything.
extern const struct ss_worker_duty ss_task_part_duty;

#endif // SS_PART_H
