// SPDX-License-Identifier: ISC
//
// What workers are found to do, and the accounts that follow from it: a group counts its blocked
// workers and its hogs, and a runnable counts those of its workers that are blocked.
//
// A mark is made only while the worker is in the job that it is about. The marker sees so under the
// locks that guard the mark. The worker clears `in_job` and then takes the same locks to take the
// mark back. So it either finds the mark, or the marker finds that it has left the job.

#include "sched/activity.h"

#include "sched/executor.h"
#include "trace/points.h"

void ss_doing_renew(struct ss_doing *doing)
{
    store_relaxed(&doing->activity, SS_RUNNING);
    doing->blocked_last = false;
    doing->blocking_depth = 0;
}

static void count(struct ss_worker *worker, enum ss_activity activity, int change)
{
    struct ss_group *group = worker->group;
    if (activity == SS_HOG)
        group->hogs += (unsigned)change;
    if (activity == SS_BLOCKED) {
        struct ss_runnable *runnable = load_relaxed(&worker->counted_in);
        group->blocked += (unsigned)change;
        if (runnable)
            runnable->ops->count_blocked(runnable, change);
    }
}

static void observe(const struct ss_worker *worker, enum ss_activity was, enum ss_activity is)
{
    if ((was == SS_BLOCKED) != (is == SS_BLOCKED))
        ss_note_blocked(load_relaxed(&worker->tid), is == SS_BLOCKED);
}

void ss_set_activity(struct ss_worker *worker, enum ss_activity activity)
{
    count(worker, ss_activity_of(&worker->doing), -1);
    count(worker, activity, 1);
    if (ss_is_observed())
        observe(worker, ss_activity_of(&worker->doing), activity);
    store_relaxed(&worker->doing.activity, activity);
    if (activity != SS_BLOCKED)
        ss_end_rest(worker);
    ss_group_refresh(worker->group);
}

void ss_resume_slow(struct ss_worker *worker)
{
    worker->doing.blocked_last = ss_activity_of(&worker->doing) == SS_BLOCKED;
    ss_lock(&ss.lock);
    ss_set_activity(worker, SS_RUNNING);
    ss_unlock(&ss.lock);
}

// Under ss.lock, so the balancer's verdict on a worker in a task's poll either precedes this and is
// undone here, or finds in_job false.
void ss_leave_job(struct ss_worker *worker)
{
    ss_lock(&ss.lock);
    store_relaxed(&worker->in_job, false);
    enum ss_activity activity = ss_activity_of(&worker->doing);
    if (activity != SS_RUNNING) {
        worker->doing.blocked_last = activity == SS_BLOCKED;
        ss_set_activity(worker, SS_RUNNING);
    }
    ss_unlock(&ss.lock);
    ss_blocking_end(&worker->doing); // whatever its job or its tasks have left open
}
