// SPDX-License-Identifier: ISC
//
// smolscale_parallel_for(): a body that is called for some items at a time, made of a loop
// function; and the teams for callers that bring none, of which each call that is in progress has
// one for itself.

#include "region/region.h"

// ---- the loop

struct body_loop {
    struct smolscale_loop loop;
    smolscale_body_fn *body;
    void *context;
    size_t begin, end;
    size_t grain;
};

// An item of the loop is `grain` of the user's.
static size_t run_grains(const struct smolscale_loop *loop, struct smolscale_share *share,
                         size_t first, size_t end, size_t thread)
{
    const struct body_loop *given = (const struct body_loop *)loop;
    for (size_t i = first; i < end; i++) {
        if (!smolscale_claim(share, i + 1, loop->fenced))
            return i;
        size_t from = given->begin + i * given->grain, left = given->end - from;
        given->body(given->context, from, left < given->grain ? given->end : from + given->grain,
                    thread);
    }
    return end;
}

// An item of the loop is one of the user's; as many go into one call as balance allows.
static size_t run_parts(const struct smolscale_loop *loop, struct smolscale_share *share,
                        size_t first, size_t end, size_t thread)
{
    const struct body_loop *given = (const struct body_loop *)loop;
    for (size_t i = first; i < end;) {
        size_t part = smolscale_loop_part(loop, share, i);
        size_t upto = part < end - i ? i + part : end;
        if (!smolscale_claim(share, upto, loop->fenced))
            return i;
        given->body(given->context, given->begin + i, given->begin + upto, thread);
        i = upto;
    }
    return end;
}

// ---- teams for anybody

static struct ss_lock lock = SS_LOCK_INIT;
static smolscale_team *idle; // by next_unused; `lock`

enum { SIZES = 8 }; // a team is made for a multiple of so many threads

static smolscale_team *borrow(size_t threads)
{
    ss_lock(&lock);
    smolscale_team **at = &idle;
    while (*at && (*at)->max_threads < threads)
        at = &(*at)->next_unused;
    smolscale_team *team = *at;
    if (team)
        *at = team->next_unused;
    ss_unlock(&lock);
    // Of a few sizes, so that one serves loops of many.
    size_t room = threads < SIZE_MAX - SIZES ? (threads + SIZES - 1) / SIZES * SIZES : threads;
    return team ? team : ss_team_for_anybody(room);
}

static void give_back(smolscale_team *team)
{
    ss_lock(&lock);
    team->next_unused = idle;
    idle = team;
    ss_unlock(&lock);
}

// What other threads had borrowed is free here. One whose call goes on in the child is given back
// when it ends.
static void after_fork(void)
{
    ss_lock_reset(&lock);
    idle = NULL;
    for (smolscale_team *team = load_relaxed(&ss_teams); team; team = load_relaxed(&team->next)) {
        if (!team->anybodys || ss_gate_is_busy(&team->gate))
            continue;
        team->next_unused = idle;
        idle = team;
    }
}

// ---- the call

void smolscale_parallel_for(size_t begin, size_t end, smolscale_body_fn *body, void *context,
                            const struct smolscale_parallel_attr *attr)
{
    static const struct smolscale_parallel_attr by_default = SMOLSCALE_PARALLEL_ATTR_INIT;
    if (end <= begin)
        return;
    if (!attr)
        attr = &by_default;
    size_t count = end - begin, grain = attr->grain;
    struct body_loop given = {
        .loop = {.run = grain ? run_grains : run_parts,
                 .items = grain ? count / grain + (count % grain != 0) : count,
                 .what = (const void *)(uintptr_t)body,
                 .max_threads = attr->max_threads,
                 .flags = attr->flags,
                 .guided = grain == 0},
        .body = body,
        .context = context,
        .begin = begin,
        .end = end,
        .grain = grain,
    };
    if (attr->team) {
        smolscale_team_run(attr->team, &given.loop, sizeof given);
        return;
    }
    if (given.loop.max_threads == 0)
        given.loop.max_threads = smolscale_cpus();
    size_t useful =
        given.loop.items < given.loop.max_threads ? given.loop.items : given.loop.max_threads;
    smolscale_team *team = useful > 1 ? borrow(useful) : NULL;
    smolscale_team_run(team, &given.loop, sizeof given);
    if (team)
        give_back(team);
}

SS_ROOM(region_for, NULL, after_fork);
