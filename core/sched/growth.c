// SPDX-License-Identifier: ISC
//
// How many more workers. For each group there are three reasons to add some:
//
//   request       A pusher found fewer workers than CPUs busy: one.
//   compensation  Work waits and fewer workers than CPUs are busy: the missing ones. If those added
//                 before are found blocked, too, four times as many each time.
//   stall         A runnable that may start something has started nothing for some ms: one, or two.
//                 What runs may be waiting for what does not. While a worker computes on one job,
//                 the time of some of the runnable's own jobs is enough.
//
// A parked worker is woken. Where there is none, one is ordered of the group's spawner.
//
// What struct ss_group and struct ss_runnable have for this is the balancer's own: `growth`,
// `ticks_since_blocked`; `seen_taken`, `stalled_since`.

#include "sched/growth.h"

#include "sched/executor.h"
#include "sched/tick.h"
#include "trace/points.h"

// All functions but the last: ss.lock held.

// Where no worker could be created, that is not tried again at once.
static bool may_create(const struct ss_tick *tick)
{
    return tick->now >= ss.create_retry_at;
}

// Can workers be had? If not, nothing is done, and the ticks are as far apart as they are where
// nothing moves.
static bool can_add(const struct ss_tick *tick, const struct ss_group *group)
{
    return group->idle || may_create(tick);
}

// Takes up to `count` parked workers into `list`, to be woken. Returns how many must be created.
static unsigned call_workers(struct ss_group *group, unsigned count, struct ss_worker **list)
{
    while (count > 0) {
        struct ss_worker *worker = ss_take_idle(group);
        if (!worker)
            break;
        ss_add_to_list(list, worker);
        count--;
    }
    return group->owner ? 0 : count;
}

// Workers that have a thread to run on, parked and blocked ones apart.
static unsigned running(const struct ss_group *group)
{
    return group->workers - group->idle_count - group->blocked;
}

// ---- request

static unsigned answer_request(struct ss_group *group)
{
    bool requested = group->spawn_requested;
    group->spawn_requested = false;
    bool answered =
        requested && ss_group_can_grow(group) && ss_group_busy(group) < ss_group_limit(group);
    if (answered)
        ss_point_order(SS_ORDER_REQUESTED, 1);
    return answered;
}

// ---- compensation

// Growth is forgotten when no worker was found blocked for some ticks.
static void age_growth(const struct ss_tick *tick, struct ss_group *group)
{
    if (tick->blocked)
        group->ticks_since_blocked = 0;
    else if (group->ticks_since_blocked < SS_GROWTH_TICKS)
        group->ticks_since_blocked++;
    if (group->ticks_since_blocked >= SS_GROWTH_TICKS)
        group->growth = 0;
}

// A runnable that is staffed is left to the workers that serve it, until it stalls.
static unsigned compensate(struct ss_tick *tick, struct ss_group *group, struct ss_worker **list)
{
    unsigned busy = ss_group_busy(group), limit = ss_group_limit(group);
    age_growth(tick, group);
    if (busy >= limit || !can_add(tick, group))
        return 0;
    uint64_t missing = limit - busy, most = (uint64_t)group->growth * SS_GROWTH_FACTOR;
    most = most > missing ? most : missing;
    most = most < SMOLSCALE_UNLIMITED ? most : SMOLSCALE_UNLIMITED;
    unsigned count = ss_group_unstaffed_demand(group, (unsigned)most);
    if (count == 0)
        return 0;
    group->growth = count;
    fetch_add_relaxed(&ss.stats.compensations, count);
    ss_point_order(SS_ORDER_COMPENSATES, count);
    tick->acted = true;
    return call_workers(group, count, list);
}

// ---- stall

// So many workers of a group are a crowd: more are added slowly.
static unsigned crowd(void)
{
    unsigned crowd = SS_STALL_CROWD_PER_CPU * ss_cpus();
    return crowd > SS_STALL_CROWD_MIN ? crowd : SS_STALL_CROWD_MIN;
}

// A worker computes on one job while nothing of the runnable starts. Either that job is one of its
// own, and may be waiting for those that have not started; or the runnable waits behind longer jobs
// than its own.
static bool waits_behind_a_job(const struct ss_tick *tick, const struct ss_group *group,
                               const struct ss_runnable *runnable)
{
    return runnable->ops->times_jobs && tick->computing && running(group) < crowd();
}

static uint64_t stall_ns(const struct ss_tick *tick, const struct ss_group *group,
                         const struct ss_runnable *runnable)
{
    unsigned count = running(group), cpus = ss_cpus();
    uint64_t usual = count < cpus + 2  ? SS_STALL_FIRST_NS
                     : count < crowd() ? SS_STALL_NS
                                       : SS_STALL_CROWDED_NS;
    if (!waits_behind_a_job(tick, group, runnable))
        return usual;
    uint64_t soon = (uint64_t)load_relaxed(&runnable->job_ns) * SS_STALL_JOBS;
    soon = soon > ss_policy(stall_soon_ns) ? soon : ss_policy(stall_soon_ns);
    return soon < usual ? soon : usual;
}

// How many workers a runnable gets that has stood for too long. Where no job of it has ended yet,
// nothing says that one will before the others run.
static unsigned stall_workers(const struct ss_tick *tick, const struct ss_group *group,
                              struct ss_runnable *runnable)
{
    unsigned count = running(group), cpus = ss_cpus(), extra = count > cpus ? count - cpus : 0;
    if (!waits_behind_a_job(tick, group, runnable) || load_relaxed(&runnable->job_ns) != 0)
        return extra == 1 ? 2 : 1;
    unsigned demand = runnable->ops->demand(runnable), room = crowd() - count;
    unsigned most = demand < room ? demand : room;
    return extra + 1 < most ? extra + 1 : most;
}

// When the runnable will have stood for too long.
static uint64_t stall_deadline(const struct ss_tick *tick, struct ss_runnable *runnable,
                               uint64_t allowed)
{
    uint64_t taken = load_relaxed(&runnable->taken);
    if (taken != runnable->seen_taken || runnable->stalled_since == 0) {
        runnable->seen_taken = taken;
        runnable->stalled_since = tick->now;
    }
    return runnable->stalled_since + allowed;
}

// The first runnable that has stood for too long; NULL: none has. Of the first ones: those behind
// them have their turn when these have been served.
static struct ss_runnable *find_stalled(struct ss_tick *tick, struct ss_group *group)
{
    struct ss_runnable *found = NULL;
    unsigned left = SS_RUNNABLES_PER_LOOK;
    for (struct ss_runnable *runnable = group->head; runnable && left > 0;
         runnable = runnable->next, left--) {
        if (runnable->ops->demand(runnable) == 0)
            continue;
        uint64_t deadline = stall_deadline(tick, runnable, stall_ns(tick, group, runnable));
        if (deadline <= tick->now && !found) {
            found = runnable;
            runnable->stalled_since = tick->now;
        } else if (deadline < tick->deadline) {
            tick->deadline = deadline;
        }
    }
    return found;
}

static unsigned unstall(struct ss_tick *tick, struct ss_group *group, struct ss_worker **list)
{
    struct ss_runnable *runnable = find_stalled(tick, group);
    if (!runnable)
        return 0;
    ss_inject_first(group, runnable);
    fetch_add_relaxed(&ss.stats.compensations, 1);
    tick->acted = true;
    unsigned count = stall_workers(tick, group, runnable);
    ss_point_order(SS_ORDER_UNSTALLS, count);
    return call_workers(group, count, list);
}

// ---- all of it

// How many workers are to be created for the group. Those that can be woken go to `list`.
static unsigned strengthen(struct ss_tick *tick, struct ss_group *group, struct ss_worker **list)
{
    if (group->starting)
        return 0; // by a thread that has the group's settings
    bool acted = tick->acted;
    tick->acted = false;
    unsigned to_create = answer_request(group);
    unsigned more = group->arriving ? 0 : compensate(tick, group, list);
    if (!tick->acted)
        more = unstall(tick, group, list);
    tick->acted |= acted;
    return more > to_create ? more : to_create;
}

void ss_add_workers(struct ss_tick *tick)
{
    struct ss_worker *list = NULL;
    ss_lock(&ss.lock);
    for (struct ss_group *group = ss.groups; group; group = group->next) {
        unsigned to_create = strengthen(tick, group, &list);
        if (to_create > 0 && may_create(tick))
            ss_spawner_order(group, to_create);
    }
    ss_unlock(&ss.lock);
    ss_unpark_list(list);
    ss_spawner_serve();
}
