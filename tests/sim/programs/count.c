// SPDX-License-Identifier: ISC

#include "count.h"
#include "sched/executor.h"

#include <errno.h>

SIM_STATE struct count count;

void count_begin(unsigned wanted)
{
    count.wanted = wanted;
}

void *count_item(unsigned i)
{
    return (void *)(uintptr_t)(i + 1);
}

void count_run(void *item, void *user_data)
{
    (void)user_data;
    unsigned i = (unsigned)(uintptr_t)item - 1;
    SIM_CHECK(i < SIM_JOBS_MAX, "a job that nobody pushed: %p", item);
    unsigned runs = fetch_add_relaxed(&count.runs[i], 1);
    SIM_CHECK(runs == 0, "job %u runs twice", i);
    count_cancelled();
}

void count_cancelled(void)
{
    if (fetch_add_acq_rel(&count.done, 1) + 1 != count.wanted)
        return;
    if (count.begins)
        sim_explore_begin();
    sim_flag_set(&count.all);
}

void count_wait(void)
{
    sim_flag_wait(&count.all);
}

void count_check(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        SIM_CHECK(count.runs[i] == 1, "job %u ran %u times", i, count.runs[i]);
}

smolscale_queue *count_queue(unsigned max_active, unsigned flags)
{
    return count_queue_of(count_run, max_active, flags);
}

smolscale_queue *count_queue_of(smolscale_run_fn *run, unsigned max_active, unsigned flags)
{
    smolscale_queue *queue = NULL;
    struct smolscale_queue_attr attr = SMOLSCALE_QUEUE_ATTR_INIT;
    attr.run = run;
    attr.max_active = max_active;
    attr.flags = flags;
    int err = smolscale_queue_new(&queue, &attr);
    sim_answered(err);
    SIM_CHECK(err == 0, "no queue: %d", err);
    return queue;
}

void push(smolscale_queue *queue, unsigned i)
{
    int err = smolscale_queue_push(queue, count_item(i), NULL);
    sim_answered(err);
    SIM_CHECK(err == 0, "push: %d", err);
}

void wait_for_workers(struct ss_group *group, unsigned left)
{
    for (unsigned workers = left + 1; workers > left;) {
        ss_os.rest();
        ss_lock(&ss.lock);
        workers = group->workers;
        ss_unlock(&ss.lock);
    }
}

void end_workers(void)
{
    struct smolscale_stats stats = {.size = sizeof stats};
    unsigned self = smolscale_in_worker();
    do {
        smolscale_retire_idle();
        ss_os.rest();
        smolscale_get_stats(&stats);
    } while (stats.workers > self);
}

void count_warm_up(smolscale_queue *queue, unsigned wanted)
{
    count_begin(1);
    count.begins = true;
    push(queue, SIM_JOBS_MAX - 1);
    count_wait();
    store_relaxed(&count.done, 0);
    store_relaxed(&count.all.set, 0);
    store_relaxed(&count.runs[SIM_JOBS_MAX - 1], 0);
    count.begins = false;
    count_begin(wanted);
}
