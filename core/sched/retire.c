// SPDX-License-Identifier: ISC
//
// How long idle workers stay, and sending workers away.
//
// A worker decides when it parks how long it may sleep, by the limits of its group, and ends when
// that time is over (idle.c). If a limit changes, the parked workers that it concerns are woken: to
// end, or to park again by the new limit. Workers that are not parked see `exit` or `exit_if_idle`
// when they next look for work.

#include "sched/retire.h"

#include "sched/executor.h"

#include <errno.h>

// ---- how long a parked worker may sleep

// Parked workers of a group that are kept without a time limit, where the executor decides.
static unsigned most_kept(const struct ss_group *group)
{
    unsigned kept = SS_IDLE_KEPT_PER_CPU * ss_cpus();
    if (kept < SS_IDLE_KEPT_MIN)
        kept = SS_IDLE_KEPT_MIN;
    return group->max_idle < kept ? group->max_idle : kept;
}

uint64_t ss_idle_time(const struct ss_group *group)
{
    if (group->owner)
        return SS_FOREVER;
    if (group->idle_count >= group->max_idle)
        return SS_IDLE_EXCESS_NS;
    if (group->idle_timeout)
        return group->idle_timeout;
    return group->kept < most_kept(group) ? SS_FOREVER : SS_IDLE_SURPLUS_NS;
}

// ---- sending workers away

void ss_group_dismiss(struct ss_group *group, unsigned kept, bool to_end)
{
    struct ss_worker *list = NULL;
    ss_lock(&ss.lock);
    struct ss_worker *coldest = ss_coldest(group);
    while (coldest && group->idle_count > kept) {
        struct ss_worker *worker = coldest;
        coldest = ss_next_warmer(worker);
        ss_take_off_idle(worker);
        worker->exit = to_end;
        ss_add_to_list(&list, worker);
    }
    ss_group_refresh(group);
    ss_unlock(&ss.lock);
    ss_unpark_list(list);
}

// Runs no job. The owner clears counted_in before it stops to count as active in the queue, so that
// a worker is always one of the two. One that was woken for work is neither.
static bool is_jobless(const struct ss_worker *worker, const struct ss_group *group)
{
    return worker->group == group && !worker->parking.arriving &&
           !load_relaxed(&worker->counted_in);
}

unsigned ss_group_jobless(const struct ss_group *group)
{
    unsigned jobless = 0;
    for (struct ss_worker *worker = ss_first_worker(); worker; worker = ss_next_worker(worker))
        jobless += is_jobless(worker, group) && !worker->exit;
    return jobless;
}

void ss_group_retire_idle(struct ss_group *group)
{
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss_first_worker(); worker; worker = ss_next_worker(worker)) {
        if (worker->group != group || worker->parking.listed)
            continue;
        if (worker->parking.arriving)
            worker->exit_if_idle = true; // for work that may be gone when it arrives
        else if (is_jobless(worker, group))
            worker->exit = true; // on its way to park
    }
    ss_unlock(&ss.lock);
    ss_group_dismiss(group, 0, true);
}

void ss_group_send_away(struct ss_group *group)
{
    ss_lock(&ss.lock);
    for (struct ss_worker *worker = ss_first_worker(); worker; worker = ss_next_worker(worker))
        if (worker->group == group && !worker->parking.listed)
            worker->exit = true;
    ss_unlock(&ss.lock);
    ss_group_dismiss(group, 0, true);
}

// ---- limits on workers, and their numbers

static struct ss_group *or_default(smolscale_group *group)
{
    ss_start();
    return group ? group : &ss.shared;
}

void smolscale_group_set_max_idle(smolscale_group *group, unsigned max_idle)
{
    group = or_default(group);
    ss_lock(&ss.lock);
    group->max_idle = max_idle;
    ss_unlock(&ss.lock);
    ss_group_dismiss(group, max_idle, true);
}

void smolscale_group_set_idle_timeout(smolscale_group *group, uint64_t timeout_ns)
{
    group = or_default(group);
    ss_lock(&ss.lock);
    group->idle_timeout = timeout_ns;
    ss_unlock(&ss.lock);
    ss_group_dismiss(group, 0, false);
}

void smolscale_group_retire_idle(smolscale_group *group)
{
    ss_group_retire_idle(or_default(group));
}

unsigned smolscale_group_idle_workers(smolscale_group *group)
{
    group = or_default(group);
    ss_lock(&ss.lock);
    unsigned idle = ss_group_jobless(group);
    ss_unlock(&ss.lock);
    return idle;
}

int smolscale_group_set_max_workers(smolscale_group *group, unsigned max_workers)
{
    if (max_workers == 0)
        return -EINVAL;
    group = or_default(group);
    ss_lock(&ss.lock);
    group->max_workers = max_workers;
    ss_group_refresh(group);
    ss_unlock(&ss.lock);
    return 0;
}

void smolscale_set_max_idle(unsigned max_idle)
{
    smolscale_group_set_max_idle(NULL, max_idle);
}

void smolscale_set_idle_timeout(uint64_t timeout_ns)
{
    smolscale_group_set_idle_timeout(NULL, timeout_ns);
}

void smolscale_retire_idle(void)
{
    smolscale_group_retire_idle(NULL);
}

unsigned smolscale_idle_workers(void)
{
    return smolscale_group_idle_workers(NULL);
}

unsigned smolscale_busy_workers(void)
{
    ss_start();
    ss_lock(&ss.lock);
    unsigned busy = 0;
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (!group->owner)
            busy += group->workers - group->idle_count - group->blocked;
    ss_unlock(&ss.lock);
    return busy;
}
