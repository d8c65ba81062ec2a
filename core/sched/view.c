// SPDX-License-Identifier: ISC
//
// A look at the workers, for an observer of the process (view.h). It changes nothing.

#include "sched/view.h"

#include "sched/executor.h"

// Workers that are looked at under ss.lock, at most: where there are more, some are not shown.
#define LOOKS_MAX 2048u

static enum ss_worker_state state_of_job(const struct ss_worker *worker)
{
    switch (ss_activity_of(&worker->doing)) {
    case SS_BLOCKED:
        return SS_WORKER_BLOCKED;
    case SS_HOG:
        return SS_WORKER_HOG;
    default:
        return SS_WORKER_IN_JOB;
    }
}

// ss.lock held.
static enum ss_worker_state state_of(const struct ss_worker *worker)
{
    if (load_relaxed(&worker->tid) == 0)
        return SS_WORKER_STARTING;
    if (worker->parking.listed)
        return SS_WORKER_PARKED;
    if (load_relaxed(&worker->in_job))
        return state_of_job(worker);
    return load_relaxed(&worker->park) == SS_PARK_NAPPING ? SS_WORKER_NAPPING : SS_WORKER_LOOKING;
}

// ss.lock held, under which a worker that serves something has a reference to it.
static void view(struct ss_worker_view *view, const struct ss_worker *worker,
                 enum ss_worker_state state)
{
    *view = (struct ss_worker_view){
        .tid = load_relaxed(&worker->tid),
        .state = state,
        .serves = worker->serves,
        .ops = worker->serves ? worker->serves->ops : NULL,
        .started = load_relaxed(&worker->progress),
    };
}

// Those that are parked, or those that are not. ss.lock held.
static unsigned view_those(struct ss_worker_view *views, unsigned most, bool parked)
{
    unsigned count = 0, looks = 0;
    for (struct ss_worker *worker = ss_first_worker(); worker && count < most && looks < LOOKS_MAX;
         worker = ss_next_worker(worker), looks++) {
        enum ss_worker_state state = state_of(worker);
        if ((state == SS_WORKER_PARKED) == parked)
            view(&views[count++], worker, state);
    }
    return count;
}

// ss.lock held.
static void view_groups(struct ss_executor_view *whole)
{
    *whole = (struct ss_executor_view){.cpus = ss_cpus(), .balancer = load_relaxed(&ss.balancer)};
    for (const struct ss_group *group = ss.groups; group; group = group->next) {
        whole->groups++;
        whole->workers += group->workers;
        whole->parked += group->idle_count;
        whole->blocked += group->blocked;
        whole->hogs += group->hogs;
        whole->arriving += group->arriving;
        whole->injected += load_relaxed(&group->injected);
    }
}

unsigned ss_view_workers(struct ss_worker_view *views, unsigned most,
                         struct ss_executor_view *whole)
{
    ss_lock(&ss.lock);
    view_groups(whole);
    unsigned count = view_those(views, most, false);
    count += view_those(views + count, most - count, true);
    ss_unlock(&ss.lock);
    return count;
}
