// SPDX-License-Identifier: ISC
//
// The injection queues. A runnable that has work is put at the end of its group's, and a worker
// takes it from the front. Elastic things, whose work waits although it may not start, are kept in
// a list of their own, for the balancer.

#include "sched/executor.h"

// ---- the injection queue

// A runnable is in it exactly if it has a prev_link.
static void unlink_runnable(struct ss_group *group, struct ss_runnable *runnable)
{
    *runnable->prev_link = runnable->next;
    if (runnable->next)
        runnable->next->prev_link = runnable->prev_link;
    else
        group->tail_link = runnable->prev_link;
    runnable->prev_link = NULL;
    store_relaxed(&group->injected, load_relaxed(&group->injected) - 1);
}

static void link_runnable(struct ss_group *group, struct ss_runnable *runnable,
                          struct ss_runnable **link)
{
    runnable->next = *link;
    runnable->prev_link = link;
    if (runnable->next)
        runnable->next->prev_link = &runnable->next;
    else
        group->tail_link = &runnable->next;
    *link = runnable;
    store_relaxed(&group->injected, load_relaxed(&group->injected) + 1);
}

void ss_inject(struct ss_group *group, struct ss_runnable *runnable)
{
    link_runnable(group, runnable, group->head ? group->tail_link : &group->head);
}

void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable)
{
    unlink_runnable(group, runnable);
    link_runnable(group, runnable, &group->head);
}

bool ss_inject_withdraw(struct ss_group *group, struct ss_runnable *runnable)
{
    if (!runnable->prev_link)
        return false;
    unlink_runnable(group, runnable);
    return true;
}

struct ss_runnable *ss_inject_pop(struct ss_group *group)
{
    struct ss_runnable *runnable = group->head;
    if (runnable)
        unlink_runnable(group, runnable);
    return runnable;
}

struct ss_runnable *ss_inject_take_all(struct ss_group *group)
{
    struct ss_runnable *first = group->head;
    for (struct ss_runnable *runnable = first; runnable; runnable = runnable->next)
        runnable->prev_link = NULL;
    group->head = NULL;
    store_relaxed(&group->injected, 0);
    return first;
}

// ---- how much waits

// What is asked holds ss.lock, so no more than SS_RUNNABLES_PER_LOOK are: if none of these can use
// a worker, one is thought to behind them. They are listed for nothing then, and the worker that is
// called for it takes them out.

unsigned ss_group_unstaffed_demand(const struct ss_group *group, unsigned most)
{
    uint64_t sum = 0;
    unsigned looked_at = 0;
    for (struct ss_runnable *runnable = group->head; runnable && sum < most;
         runnable = runnable->next) {
        if (looked_at++ == SS_RUNNABLES_PER_LOOK)
            return sum > 0 ? (unsigned)sum : 1;
        if (!load_relaxed(&runnable->staffed))
            sum += runnable->ops->demand(runnable);
    }
    return sum < most ? (unsigned)sum : most;
}

bool ss_group_has_demand(const struct ss_group *group)
{
    unsigned looked_at = 0;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next)
        if (looked_at++ == SS_RUNNABLES_PER_LOOK || runnable->ops->demand(runnable) > 0)
            return true;
    return false;
}

static bool elastic_backlog(void)
{
    for (struct ss_elastic *elastic = ss.elastic; elastic; elastic = elastic->next)
        if (load_relaxed(elastic->waiting) > 0)
            return true;
    return false;
}

bool ss_any_backlog(void)
{
    for (struct ss_group *group = ss.groups; group; group = group->next)
        if (ss_group_has_demand(group))
            return true;
    return elastic_backlog();
}

// ---- the list of what is elastic

void ss_elastic_add(struct ss_elastic *elastic)
{
    elastic->next = ss.elastic;
    elastic->prev_link = &ss.elastic;
    if (ss.elastic)
        ss.elastic->prev_link = &elastic->next;
    ss.elastic = elastic;
}

void ss_elastic_remove(struct ss_elastic *elastic)
{
    *elastic->prev_link = elastic->next;
    if (elastic->next)
        elastic->next->prev_link = elastic->prev_link;
}
