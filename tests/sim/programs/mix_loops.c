// SPDX-License-Identifier: ISC
//
// Parallel loops, mixed at random by two threads that share a team and the executor: loops within
// loops, items that sleep, limits that change. Each item runs once, no two at a time under one
// number of a thread, and at the end no worker is left.

#include "count.h"

#include <errno.h>

enum { PLAYS = 2, LOOPS = 3, ITEMS = 6, NESTED_ITEMS = 3, THREADS = 4 };

struct call {
    size_t items, threads;
    smolscale_team *team; // NULL: the executor's workers
    bool is_nested;
    _Atomic unsigned runs[ITEMS];
    _Atomic unsigned inside[THREADS]; // by the number of the thread
};

SIM_STATE static smolscale_team *team;
SIM_STATE static smolscale_queue *queue;
SIM_STATE static smolscale_group *group;

static void loop(size_t items, bool is_nested);

// ---- an item

enum kind { QUICK, COMPUTES, SLEEPS, SENDS_AWAY, LOOPS_ITSELF, KINDS };

static void run_item(const struct call *call)
{
    switch (sim_roll(KINDS)) {
    case COMPUTES:
        sim_work(50 * SS_NS_PER_US);
        break;
    case SLEEPS:
        ss_os.rest();
        break;
    case SENDS_AWAY:
        smolscale_retire_idle();
        break;
    case LOOPS_ITSELF:
        if (!call->is_nested)
            loop(1 + sim_roll(NESTED_ITEMS), true);
        break;
    default:
        break;
    }
}

static void body(void *context, size_t begin, size_t end, size_t thread)
{
    struct call *call = context;
    SIM_CHECK(thread < call->threads, "thread %zu of %zu", thread, call->threads);
    SIM_CHECK(fetch_add_relaxed(&call->inside[thread], 1) == 0, "thread %zu twice at once", thread);
    for (size_t i = begin; i < end; i++) {
        SIM_CHECK(i < call->items, "item %zu of %zu", i, call->items);
        SIM_CHECK(fetch_add_relaxed(&call->runs[i], 1) == 0, "item %zu runs twice", i);
        run_item(call);
    }
    fetch_sub_relaxed(&call->inside[thread], 1);
}

// ---- a loop

static void loop(size_t items, bool is_nested)
{
    struct call call = {.items = items, .is_nested = is_nested};
    struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
    attr.grain = sim_roll(3);
    attr.max_threads = 1 + sim_roll(THREADS);
    attr.flags = sim_roll(2) ? SMOLSCALE_LOOP_NO_LINGER : 0;
    attr.team = sim_roll(2) ? team : NULL;
    call.threads = attr.max_threads;
    smolscale_parallel_for(0, items, body, &call, &attr);
    for (size_t i = 0; i < items; i++)
        SIM_CHECK(call.runs[i] == 1, "item %zu ran %u times", i, call.runs[i]);
}

static void run_job(void *item, void *user_data)
{
    (void)item, (void)user_data;
    sim_work(20 * SS_NS_PER_US);
}

// Between two loops.
static void act(void)
{
    switch (sim_roll(6)) {
    case 0:
        smolscale_team_release_helpers(team);
        break;
    case 1:
        smolscale_team_set_threads(team, sim_roll(4));
        break;
    case 2:
        smolscale_trim();
        break;
    case 3:
        smolscale_group_retire_idle(group);
        break;
    case 4:
        smolscale_queue_push(queue, queue, NULL);
        break;
    default:
        ss_os.rest();
        break;
    }
}

static void *play(void *arg)
{
    for (unsigned loops = 0; loops < LOOPS; loops++) {
        loop(1 + sim_roll(ITEMS), false);
        if (sim_roll(2))
            act();
    }
    return arg;
}

static void new_team(void)
{
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    struct smolscale_group_attr group_attr = SMOLSCALE_GROUP_ATTR_INIT;
    attr.max_threads = 1 + sim_roll(THREADS);
    switch (sim_roll(3)) {
    case 1:
        attr.flags = SMOLSCALE_TEAM_OWN_THREADS;
        break;
    case 2:
        group_attr.max_workers = 1 + sim_roll(3);
        sim_answered(smolscale_group_new(&group, &group_attr));
        attr.group = group;
        break;
    default:
        break;
    }
    int err = smolscale_team_new(&team, &attr);
    sim_answered(err);
    SIM_CHECK(err == 0, "no team: %d", err);
}

static void mix_loops(void)
{
    sim_explore_begin();
    queue = count_queue_of(run_job, SMOLSCALE_UNLIMITED, 0);
    new_team();
    struct sim_thread *other = sim_spawn(play, NULL);
    play(NULL);
    sim_join(other);
    smolscale_queue_free(queue);
    smolscale_team_free(team);
    smolscale_group_free(group);
    end_workers();
}

const struct sim_program program_mix_loops = {.name = "mix-loops",
                                              .what = "all that parallel loops can do, at random",
                                              .run = mix_loops,
                                              .limit_ns = 300 * SS_NS_PER_MS,
                                              .needs_threads = true};
