// SPDX-License-Identifier: ISC
//
// What a worker keeps while it serves a work queue. It lies in the worker's structure, whose room
// is below this one and only reserves the bytes (SS_WORKER_QUEUE_PART). Nothing outside queue/
// touches it. When a worker serves no queue it holds no jobs and owes nothing, so no new worker has
// to set it up. It owns no memory either: smolscale_trim() frees the worker and asks no room.

#ifndef SS_SERVER_H
#define SS_SERVER_H

#include "queue/batch.h"
#include "queue/notices.h"
#include "sched/executor.h"

#include <stddef.h>

// Guards: O the owner alone.
struct ss_server {
    struct ss_batch batch;
    struct ss_notices notices;
    uint64_t batch_progress; // O: the worker's `progress` when the batch was begun
    uint64_t batch_start;    // O: when the batch was begun, or ended; ns
};

_Static_assert(sizeof(struct ss_server) <= SS_WORKER_QUEUE_PART, "it must fit into the worker");
_Static_assert(_Alignof(struct ss_server) <= _Alignof(uint64_t), "it lies behind plain words");
_Static_assert((offsetof(struct ss_worker, queue_part) + offsetof(struct ss_server, batch.end)) /
                       SS_CACHE_LINE ==
                   offsetof(struct ss_worker, progress) / SS_CACHE_LINE,
               "what is written once a job lies on one cache line");

static inline struct ss_server *ss_server_of(struct ss_worker *worker)
{
    return (struct ss_server *)(void *)worker->queue_part;
}

#endif // SS_SERVER_H
