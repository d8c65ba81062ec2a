// SPDX-License-Identifier: ISC
//
// Parallel loops: each item once, by caller and helpers, with what is lent, taken and left behind.

#include "count.h"

SIM_STATE static struct {
    smolscale_queue *queue;
    smolscale_team *team;
} s;

// Long enough that help pays.
#define ITEM_NS (50 * SS_NS_PER_US)

static void body(void *context, size_t begin, size_t end, size_t thread)
{
    (void)context, (void)thread;
    for (size_t i = begin; i < end; i++) {
        sim_work(ITEM_NS);
        SIM_CHECK(fetch_add_relaxed(&count.runs[i], 1) == 0, "item %zu runs twice", i);
    }
}

static void loop_of(size_t items)
{
    struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
    attr.grain = 1;
    attr.max_threads = 2;
    attr.team = s.team;
    smolscale_parallel_for(0, items, body, NULL, &attr);
    for (unsigned i = 0; i < items; i++)
        SIM_CHECK(count.runs[i] == 1, "item %u ran %u times", i, count.runs[i]);
}

static void loop(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 1);
    loop_of(4);
}

const struct sim_program program_loop = {.name = "loop", .what = "a parallel loop", .run = loop};

static void loop_twice(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 1);
    loop_of(3);
    for (unsigned i = 0; i < 3; i++)
        store_relaxed(&count.runs[i], 0);
    loop_of(3);
}

const struct sim_program program_loop_twice = {
    .name = "loop-twice", .what = "a parallel loop right after another", .run = loop_twice};

static void team(void)
{
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    attr.max_threads = 2;
    attr.flags = SMOLSCALE_TEAM_OWN_THREADS;
    int err = smolscale_team_new(&s.team, &attr);
    SIM_CHECK(err == 0, "no team: %d", err);
    sim_explore_begin();
    loop_of(4);
    smolscale_team_free(s.team);
}

const struct sim_program program_team = {
    .name = "team", .what = "a team with a thread of its own, and its end", .run = team};
