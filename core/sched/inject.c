// SPDX-License-Identifier: ISC
//
// The injection queues. A runnable that has work is put at the end of its group's, and a worker
// takes it from the front. Elastic things, whose work waits although it may not start, are kept in
// a list of their own, for the balancer.

#include "sched/executor.h"

// ---- the injection queue

void ss_inject(struct ss_group *group, struct ss_runnable *runnable)
{
    runnable->next = NULL;
    if (group->head)
        group->tail->next = runnable;
    else
        group->head = runnable;
    group->tail = runnable;
    store_relaxed(&group->injected, load_relaxed(&group->injected) + 1);
}

void ss_inject_first(struct ss_group *group, struct ss_runnable *runnable)
{
    struct ss_runnable *before = NULL;
    for (struct ss_runnable *other = group->head; other != runnable; other = other->next)
        before = other;
    if (!before)
        return;
    before->next = runnable->next;
    if (group->tail == runnable)
        group->tail = before;
    runnable->next = group->head;
    group->head = runnable;
}

bool ss_inject_withdraw(struct ss_group *group, struct ss_runnable *runnable)
{
    struct ss_runnable *before = NULL, *other = group->head;
    for (; other && other != runnable; other = other->next)
        before = other;
    if (!other)
        return false;
    *(before ? &before->next : &group->head) = runnable->next;
    if (group->tail == runnable)
        group->tail = before;
    store_relaxed(&group->injected, load_relaxed(&group->injected) - 1);
    return true;
}

struct ss_runnable *ss_inject_pop(struct ss_group *group)
{
    struct ss_runnable *runnable = group->head;
    if (!runnable)
        return NULL;
    group->head = runnable->next;
    store_relaxed(&group->injected, load_relaxed(&group->injected) - 1);
    return runnable;
}

struct ss_runnable *ss_inject_take_all(struct ss_group *group)
{
    struct ss_runnable *first = group->head;
    group->head = NULL;
    store_relaxed(&group->injected, 0);
    return first;
}

// ---- how much waits

static unsigned to_demand(uint64_t sum)
{
    return sum < SMOLSCALE_UNLIMITED ? (unsigned)sum : SMOLSCALE_UNLIMITED;
}

unsigned ss_group_demand(const struct ss_group *group)
{
    uint64_t sum = 0;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next)
        sum += runnable->ops->demand(runnable);
    return to_demand(sum);
}

unsigned ss_group_unstaffed_demand(const struct ss_group *group)
{
    uint64_t sum = 0;
    for (struct ss_runnable *runnable = group->head; runnable; runnable = runnable->next)
        if (!load_relaxed(&runnable->staffed))
            sum += runnable->ops->demand(runnable);
    return to_demand(sum);
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
        if (ss_group_demand(group) > 0)
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
