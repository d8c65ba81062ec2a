// SPDX-License-Identifier: ISC
//
// The beginning and the end of what a worker keeps of tasks (part.h).

#include "task/part.h"

#include "task/lane.h"
#include "task/slab.h"

static void renew(struct ss_worker *worker)
{
    struct ss_lane_server *server = ss_lane_server(worker);
    store_relaxed(&server->in_section, false);
    store_relaxed(&server->lane, NULL);
    server->task = NULL;
    ss_slab_forget(worker);
}

const struct ss_worker_duty ss_task_part_duty = {renew, ss_slab_flush, ss_lane_taken_from};
