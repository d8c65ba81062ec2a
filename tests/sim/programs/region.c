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

const struct sim_program program_loop = {
    .name = "loop", .what = "a parallel loop", .run = loop, .brief = true};

static void loop_twice(void)
{
    s.queue = count_queue(SMOLSCALE_UNLIMITED, 0);
    count_warm_up(s.queue, 1);
    loop_of(3);
    for (unsigned i = 0; i < 3; i++)
        store_relaxed(&count.runs[i], 0);
    loop_of(3);
}

const struct sim_program program_loop_twice = {.name = "loop-twice",
                                               .what = "a parallel loop right after another",
                                               .run = loop_twice,
                                               .brief = true};

static void team(void)
{
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    attr.max_threads = 2;
    attr.flags = SMOLSCALE_TEAM_OWN_THREADS;
    int err = smolscale_team_new(&s.team, &attr);
    sim_answered(err);
    SIM_CHECK(err == 0, "no team: %d", err);
    sim_explore_begin();
    loop_of(4);
    smolscale_team_free(s.team);
}

const struct sim_program program_team = {.name = "team",
                                         .what = "a team with a thread of its own, and its end",
                                         .run = team,
                                         .brief = true};

// ---- two callers of one team

static void *second_caller(void *arg)
{
    (void)arg;
    struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
    attr.grain = 1;
    attr.team = s.team;
    smolscale_parallel_for(8, 10, body, NULL, &attr);
    return NULL;
}

static void callers(void)
{
    struct smolscale_team_attr attr = SMOLSCALE_TEAM_ATTR_INIT;
    attr.max_threads = 2;
    int err = smolscale_team_new(&s.team, &attr);
    sim_answered(err);
    SIM_CHECK(err == 0, "no team: %d", err);
    sim_explore_begin();
    struct sim_thread *other = sim_spawn(second_caller, NULL);
    loop_of(2);
    sim_join(other);
    for (unsigned i = 8; i < 10; i++)
        SIM_CHECK(count.runs[i] == 1, "item %u ran %u times", i, count.runs[i]);
    smolscale_team_free(s.team);
}

const struct sim_program program_callers = {
    .name = "callers", .what = "two threads call loops of one team", .run = callers, .brief = true};

// ---- a call stands still while the balancer dozes for a lane of tasks

SIM_STATE static struct sim_flag go;
SIM_STATE static _Atomic unsigned over;

static int poll_on(smolscale_cx *cx, void *frame)
{
    (void)frame;
    sim_work(100 * SS_NS_PER_US);
    return load_relaxed(&over) ? 0 : smolscale_yield(cx);
}

static void body_waiting(void *context, size_t begin, size_t end, size_t thread)
{
    (void)context, (void)thread;
    for (size_t i = begin; i < end; i++) {
        if (i == 0)
            sim_flag_wait(&go);
        else
            sim_flag_set(&go);
        fetch_add_relaxed(&count.runs[i], 1);
    }
}

static void dozing(void)
{
    unsigned nothing = 0;
    struct smolscale_parallel_attr attr = SMOLSCALE_PARALLEL_ATTR_INIT;
    smolscale_task *task = NULL;
    attr.grain = 1;
    attr.max_threads = 2;
    sim_answered(smolscale_spawn(&task, poll_on, &nothing, sizeof nothing));
    static _Atomic uint32_t nothing_changes;
    ss_os.futex_wait_until(&nothing_changes, 0, sim_now() + 3 * SS_NS_PER_MS); // now it dozes
    sim_explore_begin();
    uint64_t begin = sim_now();
    smolscale_parallel_for(0, 2, body_waiting, NULL, &attr);
    SIM_CHECK(sim_now() - begin <= 3 * SS_NS_PER_MS + sim.disturbed_ns,
              "a call stood still for %llu us", (unsigned long long)(sim_now() - begin) / 1000);
    store_relaxed(&over, 1);
    smolscale_release(task);
}

const struct sim_program program_dozing = {
    .name = "dozing",
    .what = "a parallel call stands still while the balancer dozes",
    .run = dozing,
    .limit_ns = 60 * SS_NS_PER_MS,
    .fair = true,
    .needs_threads = true};
