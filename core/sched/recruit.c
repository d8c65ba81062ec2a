// SPDX-License-Identifier: ISC
//
// Calling a worker for work that was published.
//
// At most one worker of a group is on its way for what pushers publish. When it arrives it sees,
// under ss.lock, what has come since, and recruits the next one if that pays (worker.c). One that
// is late does not count any more.

#include "sched/recruit.h"

#include "sched/executor.h"

// A worker is on its way, and has been for too long.
static bool is_late(const struct ss_group *group)
{
    return group->arriving && ss_os.now() > load_relaxed(&group->comes_until);
}

static struct ss_worker *wake_one(struct ss_group *group, bool away, enum ss_follow_up *todo)
{
    struct ss_worker *worker = ss_take_idle(group);
    if (away)
        ss_keep_away(worker);
    uint64_t now = ss_os.now();
    ss_comes_from(group, now);
    if (now >= load_relaxed(&ss.cpus_due))
        *todo = SS_WAKE_BALANCER; // it would sleep on, and see no change of the CPUs
    return worker;
}

struct ss_worker *ss_recruit(struct ss_group *group, enum ss_follow_up *todo)
{
    *todo = SS_DO_NOTHING;
    bool late = is_late(group);
    if (group->arriving && !late)
        return NULL;
    bool room = ss_group_busy(group) < ss_group_limit(group);
    if (room && group->idle)
        return wake_one(group, late, todo);
    *todo = SS_WAKE_BALANCER;
    if (group->workers == 0) {
        *todo = SS_CREATE_WORKER;
        group->starting = !group->owner;
    } else if (room && ss_group_can_grow(group) && !group->spawn_requested) {
        group->spawn_requested = true;
        *todo = SS_HURRY_BALANCER;
    } else if (!room && load_relaxed(&ss.balancer_is_slow)) {
        *todo = SS_HURRY_BALANCER; // those that count as busy may have fallen asleep meanwhile
    }
    return NULL;
}

struct ss_worker *ss_recruit_another(struct ss_group *group)
{
    bool wanted = load_relaxed(&group->injected) > group->arriving;
    return wanted && ss_group_busy(group) < ss_group_limit(group) ? ss_take_idle(group) : NULL;
}

struct ss_worker *ss_recruit_others(struct ss_group *group, unsigned count)
{
    struct ss_worker *list = NULL;
    for (unsigned i = 1; i < count && ss_group_busy(group) < ss_group_limit(group); i++) {
        struct ss_worker *other = ss_take_idle(group);
        if (!other)
            break;
        ss_keep_away(other);
        ss_add_to_list(&list, other);
    }
    return list;
}

int ss_follow_up(struct ss_group *group, struct ss_worker *wake, enum ss_follow_up todo)
{
    if (wake)
        ss_unpark(wake);
    switch (todo) {
    case SS_DO_NOTHING:
        return 0;
    case SS_WAKE_BALANCER:
        ss_wake_balancer();
        return 0;
    case SS_HURRY_BALANCER:
        ss_hurry_balancer();
        return 0;
    case SS_CREATE_WORKER:
        return group->owner ? ss_group_fill(group) : ss_group_first_worker(group);
    }
    return 0;
}
