// SPDX-License-Identifier: ISC
//
// Teams from new to free; their list, which the balancer and the count of busy CPUs walk without a
// lock; and what happens to teams at fork().

#include "os/memory.h"
#include "region/region.h"

#include <errno.h>
#include <string.h>

// T.
static struct ss_lock lock = SS_LOCK_INIT;
static smolscale_team *unused;
static size_t users; // teams that somebody has made and not freed, those of for.c apart

// How many helpers the team's runnable wants (L1), or whether somebody is to have some lent.
static unsigned demand(struct ss_runnable *runnable)
{
    smolscale_team *team =
        (smolscale_team *)((char *)runnable - offsetof(smolscale_team, runnable));
    if (team->lender.lend)
        return team->to_lend > 0;
    return load_relaxed(&team->asked);
}

static const struct ss_runnable_ops team_ops = {.run = ss_team_serve, .demand = demand};

static smolscale_team *allocate(size_t threads)
{
    size_t capacity = threads < 4 ? 4 : threads, size;
    smolscale_team *team;
    if (__builtin_mul_overflow(capacity, sizeof team->of[0], &size) ||
        __builtin_add_overflow(size, sizeof *team, &size) ||
        capacity >= UINT32_MAX / SS_GATE_PRESENT)
        return NULL;
    team = ss_allocate_aligned(SS_CACHE_LINE, size);
    if (!team)
        return NULL;
    memset(team, 0, size);
    team->capacity = capacity;
    team->shares.of = team->of;
    team->runnable = (struct ss_runnable){.ops = &team_ops};
    smolscale_team *head = load_relaxed(&ss_teams);
    do
        store_relaxed(&team->next, head);
    while (!cas_weak_release(&ss_teams, &head, team));
    return team;
}

// One that was freed may still belong to a caller; see ss_team_settle().
static bool can_be_used_again(const smolscale_team *team, size_t threads)
{
    return team->capacity >= threads && !(load_acquire(&team->gate.word) & SS_GATE_BUSY);
}

// Its gate is idle, its shares are empty. NULL: no memory.
static smolscale_team *get(size_t threads)
{
    ss_lock(&lock);
    smolscale_team **at = &unused;
    while (*at && !can_be_used_again(*at, threads))
        at = &(*at)->next_unused;
    smolscale_team *team = *at;
    if (team) {
        *at = team->next_unused;
        team->used = true;
    }
    ss_unlock(&lock);
    if (team)
        return team;
    team = allocate(threads);
    if (team)
        team->used = true;
    return team;
}

static void put(smolscale_team *team)
{
    ss_lock(&lock);
    team->used = false;
    team->next_unused = unused;
    unused = team;
    ss_unlock(&lock);
}

static void prepare(smolscale_team *team, size_t threads)
{
    team->max_threads = threads;
    team->lender = (struct smolscale_lender){0};
    team->owns_group = team->anybodys = false;
    memset(team->thread_name, 0, sizeof team->thread_name);
    store_relaxed(&team->linger, 0);
    store_relaxed(&team->last_end, 0);
    store_relaxed(&team->threads, threads);
}

// The group's listing begins here. No lock held.
static void join_group(smolscale_team *team, struct ss_group *group)
{
    if (!team->owns_group)
        ss_group_settle(group);
    ss_lock(&ss.lock);
    if (!team->owns_group)
        ss_group_ref(group);
    team->group = group;
    ss_unlock(&ss.lock);
}

smolscale_team *ss_team_for_anybody(size_t threads)
{
    ss_start();
    ss_watch_register_calls();
    smolscale_team *team = get(threads);
    if (!team)
        return NULL;
    prepare(team, threads);
    team->anybodys = true;
    join_group(team, &ss.shared);
    return team;
}

// Threads of its own; or, of one whose threads are lent, the worker that lends them where the
// balancer wants some (lend.c), which is not created before.
static int make_group(smolscale_team *team, size_t helpers, bool lent)
{
    struct smolscale_group_attr attr = SMOLSCALE_GROUP_ATTR_INIT;
    smolscale_group *group;
    attr.max_workers = lent ? 1 : (unsigned)helpers;
    attr.idle_timeout = SMOLSCALE_FOREVER;
    attr.flags = lent ? 0 : SMOLSCALE_GROUP_EAGER;
    int err = smolscale_group_new(&group, &attr);
    if (err)
        return err;
    team->owns_group = true;
    join_group(team, group);
    return 0;
}

static bool valid(const struct smolscale_team_attr *attr)
{
    if (!attr || attr->size != sizeof *attr || (attr->flags & ~SMOLSCALE_TEAM_OWN_THREADS))
        return false;
    if (attr->lender && (!attr->lender->threads || !attr->lender->lend))
        return false;
    return !attr->group || !(attr->lender || (attr->flags & SMOLSCALE_TEAM_OWN_THREADS));
}

static size_t threads_of(const struct smolscale_team_attr *attr)
{
    size_t threads = attr->max_threads ? attr->max_threads : smolscale_cpus();
    if (!attr->lender)
        return threads;
    int lent = attr->lender->threads(attr->lender->context);
    return lent >= 0 && (size_t)lent < threads ? (size_t)lent + 1 : threads;
}

int smolscale_team_new(smolscale_team **out, const struct smolscale_team_attr *attr)
{
    *out = NULL;
    ss_start();
    if (!valid(attr))
        return -EINVAL;
    size_t threads = threads_of(attr);
    smolscale_team *team = get(threads);
    if (!team)
        return -ENOMEM;
    ss_watch_register_calls();
    prepare(team, threads);
    if (attr->thread_name)
        strncpy(team->thread_name, attr->thread_name, sizeof team->thread_name - 1);
    if (attr->lender)
        team->lender = *attr->lender;
    int err = 0;
    if (attr->lender || ((attr->flags & SMOLSCALE_TEAM_OWN_THREADS) && threads > 1))
        err = make_group(team, threads - 1, attr->lender != NULL);
    else if (threads > 1)
        join_group(team, attr->group ? attr->group : &ss.shared);
    if (err) {
        put(team);
        return err;
    }
    ss_lock(&lock);
    users++;
    ss_unlock(&lock);
    *out = team;
    return 0;
}

size_t smolscale_team_threads(const smolscale_team *team)
{
    return load_relaxed(&team->threads);
}

size_t smolscale_team_set_threads(smolscale_team *team, size_t threads)
{
    ss_team_reclaim(team, __builtin_frame_address(0));
    ss_gate_lock(&team->gate);
    if (threads == 0 || threads > team->max_threads)
        threads = team->max_threads;
    store_relaxed(&team->threads, threads);
    ss_gate_unlock(&team->gate);
    return threads;
}

bool smolscale_team_set_lender(smolscale_team *team, const struct smolscale_lender *lender)
{
    ss_team_reclaim(team, __builtin_frame_address(0));
    ss_gate_lock(&team->gate);
    ss_lock(&ss.lock);
    bool changes = team->lender.threads != lender->threads || team->lender.lend != lender->lend ||
                   team->lender.context != lender->context;
    team->lender = *lender;
    ss_unlock(&ss.lock);
    ss_gate_unlock(&team->gate);
    return changes;
}

void smolscale_team_release_helpers(smolscale_team *team)
{
    store_relaxed(&team->linger, 0);
}

// With the last team the balancer need not look any longer, and its thread may end with those of
// the team.
static void end_watch(void)
{
    ss_lock(&lock);
    bool last = --users == 0;
    ss_unlock(&lock);
    if (last)
        ss_unwatch_calls();
}

void smolscale_team_free(smolscale_team *team)
{
    if (!team)
        return;
    ss_team_settle(team);
    end_watch();
    ss_team_close(team);
    put(team);
}

// ---- fork ----

// In the child there are no helpers, and no callers but this thread, if it forked from an item: as
// the caller of a call or as a helper of one, whose caller then is none of the child's. It goes on
// with what is left in its own share; items in the shares of others belong to the parent. Nobody
// can take back of the piece that it is in before the child has registered for membarrier (ss_steal
// then goes without), which the owner's plain stores rely on.
static void reset(smolscale_team *team, uintptr_t self)
{
    uint64_t word = load_relaxed(&team->gate.word);
    struct smolscale_share *mine = NULL;
    if ((word & SS_GATE_BUSY) && load_relaxed(&team->caller) == self)
        mine = &team->of[0];
    else
        store_relaxed(&team->caller, 0);
    for (size_t i = 1; i < team->capacity; i++)
        if (word_load_relaxed(&team->of[i].owner) == self)
            mine = &team->of[i];
    bool helps = mine && mine != &team->of[0];
    word = ss_gate_idle(word);
    if (mine)
        word |= SS_GATE_BUSY | SS_GATE_READY | (helps ? SS_GATE_ORPHAN | SS_GATE_PRESENT : 0);
    store_relaxed(&team->gate.word, word);
    store_relaxed(&team->gate.waiting, 0);
    ss_lock_reset(&team->shares.lock);
    store_relaxed(&team->asked, 0);
    store_relaxed(&team->around, helps ? 1 : 0);
    store_relaxed(&team->lent, 0); // and ss_region_generation says so to one that forked
    team->to_lend = 0;
    team->listed = false;
    team->runnable.prev_link = NULL;
    team->runnable.next = NULL;
    team->runnable.seen_taken = team->runnable.stalled_since = 0;
    store_relaxed(&team->runnable.taken, 0);
    if (team->group && !team->owns_group)
        ss_group_ref(team->group);
    for (size_t i = 0; i < team->capacity; i++) {
        struct smolscale_share *share = &team->of[i];
        if (share == mine)
            continue;
        word_store_relaxed(&share->limit, (size_t)0);
        word_store_relaxed(&share->claimed, (size_t)0);
        word_store_relaxed(&share->taken, 0u);
        word_store_relaxed(&share->owner, (uintptr_t)0);
    }
}

static void after_fork(void)
{
    uintptr_t self = ss_this_thread();
    fetch_add_relaxed(&ss_region_generation, 1);
    ss_lock_reset(&lock);
    unused = NULL;
    for (smolscale_team *team = load_relaxed(&ss_teams); team; team = load_relaxed(&team->next)) {
        reset(team, self);
        if (team->used)
            continue;
        team->next_unused = unused;
        unused = team;
    }
}

SS_ROOM(region_team, NULL, after_fork);
