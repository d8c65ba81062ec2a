// SPDX-License-Identifier: ISC
//
// Queues whose jobs are observed, for the tests of what observers see. Included by one file of a
// test program.

#ifndef OBSERVED_H
#define OBSERVED_H

#include "support.h"

#include "queue/limits.h"
#include "queue/queue.h"
#include "trace/pools.h"

static struct counter ran = COUNTER_INIT;

static void count(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&ran, 1);
}

static smolscale_queue *labelled_queue(smolscale_run_fn *run, unsigned max_active)
{
    smolscale_queue *queue = queue_new(run, NULL, max_active);
    smolscale_queue_set_label(queue, "test", NULL);
    return queue;
}

static smolscale_queue *labelled(unsigned max_active)
{
    return labelled_queue(count, max_active);
}

static const struct ss_pool *pool(void)
{
    return ss_pool_find("test", NULL);
}

// ---- a batch whose first job waits

static struct counter in_batch = COUNTER_INIT, go_on = COUNTER_INIT;

static void first_of_batch_waits(void *item, void *user_data)
{
    (void)user_data;
    if (number_of(item) == 1) {
        counter_add(&in_batch, 1);
        counter_wait(&go_on, 1);
    }
    counter_add(&ran, 1);
}

// A queue without workers. If it has one and 64 jobs, that one takes them all at once; job 1 waits
// for `go_on`. Time stands still: else the balancer finds job 1 asleep, sooner or later, and
// recalls what lies behind it.
static smolscale_queue *queue_of_batches(void)
{
    fake_clock_start();
    smolscale_queue *queue = labelled_queue(first_of_batch_waits, 0);
    queue->mean = 10 << SS_MEAN_SHIFT; // short jobs
    return queue;
}

#endif // OBSERVED_H
