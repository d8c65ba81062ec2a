// SPDX-License-Identifier: ISC
//
// What supervises tasks and what they meet by, mixed at random: nurseries, immortals, reapers, a
// local executor; oneshots, wait groups, barriers, intervals, wakers.

#include "count.h"
#include "smolscale_async.h"

#include <errno.h>

enum { ACTS = 5, STEPS = 3, ONESHOTS = 3, SLOTS = 3, TASKS = 8 };

// A waker that one task has left here for others.
struct slot {
    _Atomic unsigned state; // of enum slot_state
    smolscale_waker waker;
};

enum slot_state { EMPTY, FILLING, FULL };

SIM_STATE static struct {
    smolscale_nursery *nursery;
    smolscale_reaper *reaper;
    smolscale_immortal *immortal;
    smolscale_local *local;
    smolscale_oneshot oneshot[ONESHOTS];
    _Atomic unsigned given[ONESHOTS], got[ONESHOTS];
    smolscale_waitgroup group;
    smolscale_barrier barrier;
    struct slot slot[SLOTS];
    _Atomic unsigned starts, begun, ended, local_begun, local_ended, lives;
    _Atomic bool ends;
} s;

static uint64_t some_time(void)
{
    return (1 + sim_roll(3)) * 20 * SS_NS_PER_US;
}

// ---- steps

static void give(unsigned i)
{
    int err = smolscale_oneshot_send(&s.oneshot[i], &s.oneshot[i]);
    SIM_CHECK(err == 0 || err == -EALREADY, "oneshot: %d", err);
    fetch_add_relaxed(&s.given[i], err == 0);
}

static void get(unsigned i, int err, const void *value)
{
    SIM_CHECK(err != 0 || value == &s.oneshot[i], "another value was received");
    fetch_add_relaxed(&s.got[i], err == 0);
}

static void wake_one(void)
{
    struct slot *slot = &s.slot[sim_roll(SLOTS)];
    unsigned full = FULL;
    if (!cas_strong_acquire(&slot->state, &full, FILLING))
        return;
    smolscale_waker waker = slot->waker;
    if (sim_roll(2)) {
        smolscale_waker copy = smolscale_waker_clone(waker);
        smolscale_wake(copy);
        smolscale_waker_drop(copy);
    } else {
        smolscale_wake(waker);
    }
    smolscale_waker_drop(waker);
    store_release(&slot->state, EMPTY);
}

// Awaits a wake; for a poll that has nothing else to wait for.
static int wait_for_wake(smolscale_cx *cx, unsigned *turns)
{
    struct slot *slot = &s.slot[sim_roll(SLOTS)];
    unsigned empty = EMPTY;
    if ((*turns)++ > 0 || !cas_strong_acquire(&slot->state, &empty, FILLING))
        return 0;
    slot->waker = smolscale_waker_new(cx);
    store_release(&slot->state, FULL);
    return SMOLSCALE_PENDING;
}

enum step { YIELD, GIVE, GET, JOIN_IN, MEET, TICK, WAIT_FOR_WAKE, WAKE, SPAWN, STEP_KINDS };

struct doer {
    SMOLSCALE_FRAME;
    unsigned left, i, turns;
    bool is_local;
    uint64_t outer;
    int n;
    void *value;
    smolscale_interval interval;
};

static void start(void);

static void do_at_once(enum step step)
{
    switch (step) {
    case GIVE:
        give(sim_roll(ONESHOTS));
        break;
    case WAKE:
        wake_one();
        break;
    case SPAWN:
        start();
        break;
    default:
        break;
    }
}

SMOLSCALE_ASYNC(doer, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->n = 0; f->left > 0 && f->n != -ECANCELED; f->left--) {
        enum step step = (enum step)sim_roll(STEP_KINDS);
        switch (step) {
        case YIELD:
            SMOLSCALE_AWAIT(f->n, smolscale_yield(cx));
            break;
        case GET:
            f->i = sim_roll(ONESHOTS);
            SMOLSCALE_TIMEOUT(f->n, some_time(),
                              smolscale_oneshot_recv(cx, &s.oneshot[f->i], &f->value));
            get(f->i, f->n, f->value);
            break;
        case JOIN_IN:
            smolscale_waitgroup_add(&s.group, 1);
            SMOLSCALE_AWAIT(f->n, smolscale_yield(cx));
            SIM_CHECK(smolscale_waitgroup_done(&s.group) == 0, "the wait group is below 0");
            break;
        case MEET:
            SMOLSCALE_TIMEOUT(f->n, some_time(), smolscale_barrier_wait(cx, &s.barrier));
            break;
        case TICK:
            smolscale_interval_init(&f->interval, 20 * SS_NS_PER_US);
            SMOLSCALE_AWAIT(f->n, smolscale_interval_wait(cx, &f->interval));
            break;
        case WAIT_FOR_WAKE:
            f->turns = 0;
            f->outer = smolscale_begin_timeout(cx, some_time());
            SMOLSCALE_POLL(f->n, wait_for_wake(cx, &f->turns));
            smolscale_deadline(cx, f->outer);
            break;
        default:
            do_at_once(step);
            break;
        }
    }
    fetch_add_relaxed(f->is_local ? &s.local_ended : &s.ended, 1);
    SMOLSCALE_RETURN(7);
    SMOLSCALE_END;
}

// It begins anew until it is freed.
static int poll_immortal(smolscale_cx *cx, void *frame)
{
    (void)cx, (void)frame;
    fetch_add_relaxed(&s.lives, 1);
    return 0;
}

// ---- what has tasks

static void start(void)
{
    if (load_relaxed(&s.ends) || fetch_add_relaxed(&s.starts, 1) >= TASKS)
        return;
    struct doer frame = {.left = 1 + sim_roll(STEPS)};
    smolscale_task *task;
    int err;
    unsigned how = sim_roll(4);
    frame.is_local = how == 3;
    fetch_add_relaxed(frame.is_local ? &s.local_begun : &s.begun, 1);
    switch (how) {
    case 1:
        err = smolscale_nursery_spawn(s.nursery, doer, &frame, sizeof frame);
        break;
    case 2:
        err = smolscale_spawn(&task, doer, &frame, sizeof frame);
        if (err == 0)
            err = smolscale_reaper_attach(s.reaper, task);
        break;
    case 3:
        err = smolscale_local_spawn(s.local, NULL, doer, &frame, sizeof frame);
        break;
    default:
        err = smolscale_spawn(NULL, doer, &frame, sizeof frame);
        break;
    }
    sim_answered(err);
    SIM_CHECK(err == 0, "spawn: %d", err);
}

static void *run_local(void *arg)
{
    struct doer frame = {.left = ACTS, .is_local = true};
    fetch_add_relaxed(&s.local_begun, 1);
    int result = smolscale_local_run(s.local, doer, &frame);
    sim_answered(result);
    SIM_CHECK(result == 7, "local_run gave %d", result);
    while (smolscale_local_try_tick(s.local))
        ;
    return arg;
}

static void wait_for_next(void)
{
    smolscale_task *ended = NULL;
    int err = SMOLSCALE_BLOCK(smolscale_nursery_next(cx, s.nursery, &ended));
    sim_answered(err);
    SIM_CHECK(err == 0 || err == -ENOENT, "nursery_next: %d", err);
    if (err == 0)
        smolscale_release(ended);
}

static void act(void)
{
    switch (sim_roll(7)) {
    case 1:
        smolscale_nursery_cancel(s.nursery);
        break;
    case 2:
        wait_for_next();
        break;
    case 3:
        smolscale_reaper_count(s.reaper);
        break;
    case 4:
        wake_one();
        break;
    case 5:
        give(sim_roll(ONESHOTS));
        break;
    case 6:
        ss_os.rest();
        break;
    default:
        start();
        break;
    }
}

static void begin(void)
{
    smolscale_waitgroup_init(&s.group, 0);
    smolscale_barrier_init(&s.barrier, 2);
    int err = smolscale_nursery_new(&s.nursery);
    err = err ? err : smolscale_reaper_new(&s.reaper);
    err = err ? err : smolscale_local_new(&s.local);
    err = err ? err
              : smolscale_immortal_new(&s.immortal, poll_immortal, NULL, 0,
                                       (enum smolscale_respawn)sim_roll(3), 15 * SS_NS_PER_US);
    sim_answered(err);
    SIM_CHECK(err == 0, "begin: %d", err);
}

// A task may start others until it has ended.
static void end_all(void)
{
    store_relaxed(&s.ends, true);
    bool drops = sim_roll(4) == 3; // what the local executor still has
    while (!drops && load_relaxed(&s.local_ended) < load_relaxed(&s.local_begun))
        smolscale_local_tick(s.local);
    while (load_relaxed(&s.ended) < load_relaxed(&s.begun))
        ss_os.rest();
    if (sim_roll(2))
        smolscale_nursery_cancel(s.nursery);
    int result = SMOLSCALE_BLOCK(smolscale_nursery_wait(cx, s.nursery));
    sim_answered(result);
    SIM_CHECK(result == 0, "nursery_wait: %d", result);
    smolscale_nursery_free(s.nursery);
    smolscale_reaper_free(s.reaper);
    smolscale_immortal_free(s.immortal);
    smolscale_local_free(s.local);
}

static void check_ledger(void)
{
    bool dropped = load_relaxed(&s.local_ended) < load_relaxed(&s.local_begun);
    for (unsigned i = 0; i < ONESHOTS; i++) {
        void *value;
        SIM_CHECK(s.given[i] <= 1 && s.got[i] <= s.given[i], "oneshot %u: given %u, got %u", i,
                  s.given[i], s.got[i]);
        if (s.given[i] && !s.got[i] && !dropped)
            SIM_CHECK(SMOLSCALE_BLOCK(smolscale_oneshot_recv(cx, &s.oneshot[i], &value)) == 0,
                      "a value is lost");
    }
    if (!dropped)
        SIM_CHECK(SMOLSCALE_BLOCK(smolscale_waitgroup_wait(cx, &s.group)) == 0, "the wait group");
}

static void mix_more_tasks(void)
{
    sim_explore_begin();
    begin();
    struct sim_thread *other = sim_spawn(run_local, NULL);
    for (unsigned acts = 0; acts < ACTS; acts++)
        act();
    sim_join(other);
    end_all();
    end_workers();
    check_ledger();
}

const struct sim_program program_mix_more_tasks = {
    .name = "mix-more-tasks",
    .what = "what supervises tasks, and what they meet by, at random",
    .run = mix_more_tasks,
    .limit_ns = 300 * SS_NS_PER_MS,
    .needs_threads = true};
