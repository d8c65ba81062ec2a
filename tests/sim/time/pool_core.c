// SPDX-License-Identifier: ISC

#include "../machine/sim.h"
#include "pool.h"
#include "smolscale.h"

SIM_STATE static smolscale_queue *queues[10000];

static void run(void *item, void *user_data)
{
    (void)user_data;
    sim_job_run(item);
}

static void open(unsigned count, unsigned limit)
{
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.max_active = limit;
    for (unsigned i = 0; i < count; i++)
        SIM_CHECK(smolscale_queue_new(&queues[i], &attr) == 0, "no queue");
}

static void push(unsigned queue, struct sim_job *job)
{
    SIM_CHECK(smolscale_queue_push(queues[queue], job, NULL) == 0, "not pushed");
}

const struct sim_pool sim_pool_core = {"smolscale", open, push};
