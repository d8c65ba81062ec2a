// SPDX-License-Identifier: ISC
//
// Groups of workers: what kind of threads they are, how many there may be, which of them a group
// has for its work, and the end of a group.
//
// A job finds in its thread what native threads would show it: the settings that its pool's threads
// inherit, and no leftovers of another API's jobs. So each layer, and each pool whose threads end
// with it, has a group of its own. All groups but those of dedicated queues share the CPUs: a group
// may keep as many workers running as the others leave CPUs, and at least one.
//
// The settings of a group are those of the thread that makes it (smolscale_group_new), or, of the
// default group, of the one that first uses it. When no thread is left that has them, and in a
// child of fork(), they are taken anew from the thread that next needs a worker, as native pools
// do.

#include "os/memory.h"
#include "sched/executor.h"

#include <errno.h>
#include <string.h>

static struct ss_group *free_groups; // ss.lock; never given back: a stale pointer may be followed

// ---- the list of groups, and what a group counts

void ss_group_init(struct ss_group *group)
{
    *group = (struct ss_group){
        .next = ss.groups,
        .ticks_since_blocked = UINT32_MAX,
        .max_workers = SMOLSCALE_UNLIMITED,
        .max_idle = SMOLSCALE_UNLIMITED,
        .refs = 1,
    };
    compiler_fence(); // see ss_chain_push()
    ss.groups = group;
}

static void unlink_group(struct ss_group *group)
{
    struct ss_group **link = &ss.groups;
    while (*link != group)
        link = &(*link)->next;
    *link = group->next;
}

void ss_group_refresh(struct ss_group *group)
{
    unsigned busy = ss_group_busy(group);
    if (!group->owner) {
        ss.busy += busy - group->counted;
        group->counted = busy;
    }
    unsigned limit = ss_group_limit(group);
    bool can_add = group->idle || ss_group_can_grow(group);
    store_relaxed(&group->can_recruit, !group->arriving && busy < limit && can_add);
    store_relaxed(&group->surplus, group->owner ? group->workers > group->wanted : busy > limit);
}

void ss_group_count_worker(struct ss_group *group, int change)
{
    group->workers += (unsigned)change;
    if (group->owner)
        return;
    ss.shared_workers += (unsigned)change;
    if (change > 0)
        ss_group_ref(group);
}

void ss_group_unref(struct ss_group *group)
{
    ss_lock(&ss.lock);
    if (group != &ss.shared && --group->refs == 0) {
        unlink_group(group);
        compiler_fence(); // it is off the one list before it is on the other
        ss_chain_push(free_groups, group);
    }
    ss_unlock(&ss.lock);
}

// ---- dedicated groups

static bool has_mask_and_cpus(const struct ss_traits *a, const struct ss_traits *b)
{
    return memcmp(&a->mask, &b->mask, sizeof a->mask) == 0 &&
           memcmp(&a->affinity, &b->affinity, sizeof a->affinity) == 0;
}

void ss_group_init_dedicated(struct ss_group *group, struct ss_runnable *owner, unsigned workers,
                             struct ss_group *reserve)
{
    ss_group_init(group);
    group->owner = owner;
    group->wanted = workers;
    if (!reserve)
        return;
    group->reserve = reserve;
    group->made_at = ss_os.now();
    group->joined = reserve->joined; // its workers may be that group's when they end
    group->stack_size = reserve->stack_size;
    ss_group_ref(reserve);
}

// Empties the injection queue of a dedicated group. The caller has a reference to the owner, which
// is all that can be in it.
static void drop_owner(struct ss_group *group)
{
    struct ss_runnable *stale = ss_inject_take_all(group);
    for (; stale; stale = stale->next)
        ss_runnable_unref_not_last(stale);
}

void ss_group_remove(struct ss_group *group)
{
    drop_owner(group);
    unlink_group(group);
}

// ---- the reserve of a dedicated group
//
// A worker changes its group in no other way than these: from a dedicated group to its reserve, and
// from there to another that has the same. It does so under ss.lock, and either by itself, when it
// looks for work, or while it is parked. So it serves nothing, is not on its way, and is not
// counted as blocked: nothing but the groups' lists and numbers knows that it is theirs. One that
// its reserve does not keep goes over as well, and ends there: so smolscale_group_free() waits for
// all of them.

bool ss_group_keeps(const struct ss_group *reserve, const struct ss_worker *worker)
{
    return worker->goes_back && !reserve->ending && reserve->idle_count < reserve->max_idle;
}

// Of a parked worker. The caller has a reference to the group's owner. True: it must be woken, to
// park again.
static bool give_back(struct ss_worker *worker)
{
    struct ss_group *group = worker->group, *reserve = group->reserve;
    ss_runnable_unref_not_last(group->owner);
    ss_group_count_worker(group, -1);
    ss_group_count_worker(reserve, 1);
    return ss_park_in(worker, reserve);
}

// A parked worker of the reserve becomes one of the group, with a reference to the owner. It sleeps
// on until it is called.
static void take_from_reserve(struct ss_group *group)
{
    struct ss_group *reserve = group->reserve;
    struct ss_worker *worker = reserve->idle;
    ss_group_count_worker(reserve, -1);
    reserve->refs--; // the worker's; the owner has one
    ss_group_count_worker(group, 1);
    ss_runnable_ref(group->owner);
    worker->lent = true;
    ss_park_in(worker, group);
}

// ---- how many workers a dedicated group has

// Takes parked workers off the idle list of which the group has more than it wants: to end, or for
// the reserve. Returns those that must be woken, for ss_unpark_list().
static struct ss_worker *shrink(struct ss_group *group)
{
    struct ss_worker *leaving = NULL;
    unsigned surplus = group->workers > group->wanted ? group->workers - group->wanted : 0;
    for (; group->idle && surplus > 0; surplus--) {
        struct ss_worker *worker = group->idle;
        bool kept = group->reserve && ss_group_keeps(group->reserve, worker);
        if (kept && !give_back(worker))
            continue; // it sleeps on
        if (!kept)
            ss_take_off_idle(worker); // it finds that it is one too many
        ss_add_to_list(&leaving, worker);
    }
    if (group->dissolved && group->workers == 0)
        ss_group_remove(group);
    return leaving;
}

struct ss_worker *ss_group_want(struct ss_group *group, unsigned workers)
{
    group->wanted = workers;
    struct ss_worker *leaving = shrink(group);
    ss_group_refresh(group);
    return leaving;
}

struct ss_worker *ss_group_dissolve(struct ss_group *group)
{
    group->wanted = 0;
    group->dissolved = true;
    drop_owner(group); // no worker looks at it any more
    struct ss_worker *leaving = shrink(group);
    if (group->reserve)
        group->reserve->coming += group->workers;
    return leaving;
}

// What a dedicated group that has fewer workers than it wants gets.
enum supply { NOTHING_WANTED, FROM_RESERVE, TO_BE_CREATED };

// One more worker. *worker: to be started, with its reference to the owner; NULL: no memory; or, if
// it is of the reserve, to be woken, if not NULL. ss.lock held.
static enum supply supply(struct ss_group *group, bool lent, struct ss_worker **worker)
{
    *worker = NULL;
    if (group->workers >= group->wanted)
        return NOTHING_WANTED;
    if (lent && group->reserve->idle && !group->reserve->ending) {
        take_from_reserve(group);
        *worker = ss_group_has_demand(group) ? ss_take_idle(group) : NULL;
        return FROM_RESERVE;
    }
    *worker = ss_new_worker(group, true);
    if (!*worker)
        return TO_BE_CREATED;
    (*worker)->goes_back = lent;
    ss_runnable_ref(group->owner);
    return TO_BE_CREATED;
}

static int add_worker(struct ss_group *group, bool lent, bool *full)
{
    struct ss_worker *worker;
    ss_lock(&ss.lock);
    enum supply how = supply(group, lent, &worker);
    ss_unlock(&ss.lock);
    *full = how == NOTHING_WANTED;
    if (how == TO_BE_CREATED)
        return worker ? ss_start_worker(worker) : -ENOMEM;
    if (worker)
        ss_unpark(worker);
    return 0;
}

// Does the calling thread have the settings of the group's reserve? Then those that it creates may
// go there, and it may have what is there. No lock held.
static bool shares_reserve(const struct ss_group *group)
{
    struct ss_group *reserve = group->reserve;
    if (!reserve)
        return false;
    struct ss_traits mine;
    ss_os.thread_traits(&mine);
    ss_lock(&ss.lock);
    // Its owner's and this group's: no thread is left that has them.
    bool left = reserve->refs > 2 || group->workers > 0 || reserve->eager;
    if (!left || !reserve->settled)
        reserve->traits = mine;
    reserve->settled = true;
    bool shares =
        has_mask_and_cpus(&mine, &reserve->traits) && ss_same_scheduling(&mine, &reserve->traits);
    ss_unlock(&ss.lock);
    return shares;
}

static bool is_full(const struct ss_group *group)
{
    ss_lock(&ss.lock);
    bool full = group->workers >= group->wanted;
    ss_unlock(&ss.lock);
    return full;
}

int ss_group_fill(struct ss_group *group)
{
    if (is_full(group))
        return 0;
    bool lent = shares_reserve(group), full = false;
    int err = 0;
    while (!err && !full)
        err = add_worker(group, lent, &full);
    return err;
}

// ---- settings

// Those that the calling thread would give to the group. No lock held.
static void take_traits(const struct ss_group *group, struct ss_traits *traits)
{
    ss_os.thread_traits(traits);
    if (!group->scheduled_as)
        return;
    traits->policy = group->scheduled_as->traits.policy;
    traits->priority = group->scheduled_as->traits.priority;
    traits->nice = group->scheduled_as->traits.nice;
}

void ss_group_settle(struct ss_group *group)
{
    ss_lock(&ss.lock);
    bool settled = group->settled;
    ss_unlock(&ss.lock);
    if (settled)
        return;
    struct ss_traits traits;
    take_traits(group, &traits);
    ss_lock(&ss.lock);
    if (!group->settled)
        group->traits = traits;
    group->settled = true;
    ss_unlock(&ss.lock);
}

bool smolscale_group_suits(smolscale_group *group)
{
    group = group ? group : &ss.shared;
    ss_start();
    struct ss_traits mine;
    ss_os.thread_traits(&mine);
    ss_lock(&ss.lock);
    const struct ss_traits *its = &group->traits;
    bool suits = !group->settled || (has_mask_and_cpus(&mine, its) &&
                                     (group->scheduled_as || ss_same_scheduling(&mine, its)));
    ss_unlock(&ss.lock);
    return suits;
}

// ---- making one

static bool valid(const struct smolscale_group_attr *attr)
{
    return attr && attr->size == sizeof *attr && attr->max_workers > 0 &&
           (attr->flags & ~SMOLSCALE_GROUP_EAGER) == 0;
}

// ss.lock held.
static struct ss_group *allocate(void)
{
    struct ss_group *group = free_groups;
    if (group)
        ss_chain_take_first(free_groups);
    else
        group = ss_allocate(sizeof *group);
    return group;
}

// ss.lock held. NULL: no memory.
static struct ss_group *new_group(const struct smolscale_group_attr *attr)
{
    struct ss_group *group = allocate();
    if (!group)
        return NULL;
    ss_group_init(group);
    group->max_workers = attr->max_workers;
    group->max_idle = attr->max_idle;
    group->idle_timeout = attr->idle_timeout;
    group->stack_size = attr->stack_size;
    group->scheduled_as = attr->scheduled_as;
    group->joined = true;
    group->eager = attr->flags & SMOLSCALE_GROUP_EAGER;
    ss.eager_groups += group->eager;
    ss_group_refresh(group);
    return group;
}

int smolscale_group_new(smolscale_group **out, const struct smolscale_group_attr *attr)
{
    *out = NULL;
    ss_start();
    if (!valid(attr))
        return -EINVAL;
    ss_lock(&ss.lock);
    struct ss_group *group = new_group(attr);
    ss_unlock(&ss.lock);
    if (!group)
        return -ENOMEM;
    ss_group_settle(group);
    // If this fails, the push that needs the first worker tries again.
    if (attr->flags & SMOLSCALE_GROUP_EAGER)
        ss_group_start_spawner(group);
    *out = group;
    return 0;
}

// ---- ending one

// Nothing is ordered for the group from now on, and all its workers are to leave.
static void begin_end(struct ss_group *group, bool from_within)
{
    ss_lock(&ss.lock);
    ss.frees++;
    group->ending = true;
    group->ordered = 0;
    ss.eager_groups -= group->eager;
    group->eager = false;
    if (from_within)
        ss_self->exit = true;
    ss_unlock(&ss.lock);
    ss_group_send_away(group);
}

// Waits until all workers of the group have left, but for the calling thread if it is one.
static void wait_for_end(struct ss_group *group, bool from_within)
{
    for (;;) {
        ss_lock(&ss.lock);
        uint32_t seen = load_relaxed(&group->ended_word);
        bool ended = group->workers + group->coming == from_within && group->leaving == 0;
        ss_unlock(&ss.lock);
        if (ended)
            return;
        // Counted under the lock: a wait begun too late finds another number.
        ss_os.futex_wait_until(&group->ended_word, seen, SS_FOREVER);
    }
}

// Empties the injection queue: of queues that are gone, whose items were taken back before a worker
// came.
static void drop_injected(struct ss_group *group)
{
    ss_lock(&ss.lock);
    struct ss_runnable *stale = ss_inject_take_all(group);
    ss_unlock(&ss.lock);
    while (stale) {
        struct ss_runnable *next = stale->next;
        ss_runnable_unref(stale);
        stale = next;
    }
}

// Joins the thread that ended last, which has joined those before it.
static void join_last(struct ss_group *group)
{
    ss_lock(&ss.lock);
    struct ss_worker *ended = group->ended;
    group->ended = NULL;
    group->joined = false; // the calling worker, if it is one of them, is not joined
    ss_unlock(&ss.lock);
    if (ended)
        ss_join_worker(ended);
}

// Is the calling worker one of the group, or on its way to it, in the last that it does for a
// dedicated queue (`closed` of smolscale_queue_close())?
static bool is_worker_of(const struct ss_group *group)
{
    ss_lock(&ss.lock);
    const struct ss_group *its = ss_self->group;
    bool is = its == group || (its->reserve == group && its->dissolved);
    ss_unlock(&ss.lock);
    return is;
}

void smolscale_group_free(smolscale_group *group)
{
    if (!group)
        return;
    bool from_within = ss_self && is_worker_of(group);
    begin_end(group, from_within);
    wait_for_end(group, from_within);
    drop_injected(group); // no worker comes by any more
    join_last(group);
    ss_group_unref(group);
    ss_spawners_retire();
}

// ---- fork()

// In the child the threads of a group do not exist. The group does, for its owner.
static void reset(struct ss_group *group)
{
    group->head = NULL;
    store_relaxed(&group->injected, 0);
    group->idle = NULL;
    group->idle_count = group->kept = group->workers = group->blocked = group->hogs = 0;
    group->arriving = group->growth = group->ordered = group->counted = 0;
    group->leaving = group->coming = 0;
    store_relaxed(&group->comes_until, 0);
    group->ticks_since_blocked = UINT32_MAX;
    group->spawn_requested = group->starting = group->settled = false;
    group->spawner = NULL;
    group->ended = NULL;
    ss.eager_groups += group->eager;
    group->refs = 1; // its queues and workers count themselves again
    ss_group_refresh(group);
}

static void after_fork(void)
{
    struct ss_group *group = ss.groups;
    ss.groups = NULL;
    ss.elastic = NULL; // what was in it is added again
    ss.eager_groups = 0;
    if (!load_relaxed(&ss.started))
        return; // a start that another thread had begun is begun anew
    while (group) {
        struct ss_group *next = group->next;
        if (!group->owner) { // those of dedicated queues come again with their queues
            reset(group);
            group->next = ss.groups;
            ss.groups = group;
        }
        group = next;
    }
}

SS_ROOM(sched_group, NULL, after_fork);
